package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"steelyard/internal/transport"
)

// retryAfter is what a full pool advises clients, in seconds.
const retryAfter = 1

// answerCause makes an error response: the cause, a hint and the request's id,
// in the head for programs and in the body for people. status 0 is the cause's
// own; detail replaces the hint.
func (x *exchange) answerCause(cause Cause, status int, detail string) {
	x.report(cause, detail)
	x.c.at = transport.Now()
	info := &causes[cause]
	hint := info.hint
	if detail != "" && (status != 0 || !cause.private()) {
		hint = detail
	}
	if status == 0 {
		status = info.status
	}
	x.settleBody()
	id := x.requestID()
	x.beginAnswer(status)
	contentType, body := x.errorBody(&trouble{status, info.name, hint, string(id)})
	x.appendField("Content-Type", contentType)
	x.appendField("Cache-Control", "no-store")
	x.appendField("Vary", "Accept")
	if e := x.gen.Errors; e == nil || !e.HideCause {
		x.appendField("X-Steelyard-Cause", info.name)
	}
	x.out = append(x.out, "X-Request-Id: "...)
	x.out = append(append(x.out, id...), '\r', '\n')
	if status == 503 {
		x.appendField("Retry-After", strconv.Itoa(retryAfter))
	}
	if x.route != nil && x.route.Gate != nil {
		x.out = x.appendOwnGateFields(x.out)
	}
	x.endAnswer(body)
}

// answerRedirect sends the client elsewhere.
func (x *exchange) answerRedirect(r *Redirect) {
	x.settleBody()
	x.beginAnswer(r.Status)
	x.out = append(x.out, "Location: "...)
	x.out = r.To.AppendHeader(x.out, x)
	x.out = append(x.out, '\r', '\n')
	x.out = x.route.ResponseHeaders.Append(x.out, x)
	if x.route.Gate != nil {
		x.out = x.appendOwnGateFields(x.out)
	}
	x.endAnswer(nil)
}

// answerFixed sends a configured response.
func (x *exchange) answerFixed(r *Respond) {
	x.settleBody()
	x.beginAnswer(r.Status)
	typed := len(r.Body) == 0
	for _, h := range r.Headers {
		if x.hsts() && strings.EqualFold(h.Name, hstsName) {
			continue // said already
		}
		typed = typed || strings.EqualFold(h.Name, "Content-Type")
		x.appendOwnField(h.Name, h.Value)
	}
	if !typed {
		x.appendOwnField("Content-Type", "text/plain; charset=utf-8")
	}
	x.out = x.route.ResponseHeaders.Append(x.out, x)
	if x.route.Gate != nil {
		x.out = x.appendOwnGateFields(x.out)
	}
	x.endAnswer(r.Body)
}

// settleBody decides before an answer what becomes of a body nobody reads: if
// it is not here already, the connection cannot be used again.
func (x *exchange) settleBody() {
	if x.req == nil {
		return
	}
	x.up.stop()
	if !x.up.discardReady() {
		x.c.closing, x.c.linger = true, true
	}
}

func (x *exchange) beginAnswer(status int) {
	x.begun, x.status = true, status
	x.out = append(x.out[:0], "HTTP/1.1 "...)
	x.out = strconv.AppendInt(x.out, int64(status), 10)
	x.out = append(x.out, ' ')
	x.out = append(x.out, statusText(status)...)
	x.out = append(x.out, "\r\nDate: "...)
	x.out = time.Now().UTC().AppendFormat(x.out, http.TimeFormat)
	x.out = append(x.out, '\r', '\n')
	x.out = x.appendHSTS(x.out)
}

func (x *exchange) appendField(name, value string) {
	x.out = append(x.out, name...)
	x.out = append(x.out, ": "...)
	x.out = append(x.out, value...)
	x.out = append(x.out, '\r', '\n')
}

// appendOwnField is appendField unless the route removes or sets the field.
func (x *exchange) appendOwnField(name, value string) {
	if !x.route.ResponseHeaders.Drops([]byte(name)) {
		x.appendField(name, value)
	}
}

// endAnswer adds length and connection fields and sends the answer.
func (x *exchange) endAnswer(body []byte) {
	status := x.out[len("HTTP/1.1 "):]
	bodyless := string(status[:3]) == "204" || string(status[:3]) == "304"
	if !bodyless {
		x.out = append(x.out, "Content-Length: "...)
		x.out = strconv.AppendInt(x.out, int64(len(body)), 10)
		x.out = append(x.out, '\r', '\n')
	}
	x.c.closeIfDraining()
	switch {
	case x.c.closing:
		x.out = append(x.out, "Connection: close\r\n"...)
	case x.req != nil && x.req.Minor == 0:
		x.out = append(x.out, "Connection: keep-alive\r\n"...)
	}
	x.out = append(x.out, '\r', '\n')
	if !bodyless && (x.req == nil || string(x.req.Method) != "HEAD") {
		x.out = append(x.out, body...)
		x.bytesOut = int64(len(body))
	}
	if x.c.send(x.out) != nil {
		x.cut, x.c.closing = true, true
	}
}

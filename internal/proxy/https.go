package proxy

import (
	"bytes"
	"crypto/tls"
	"strconv"
	"sync/atomic"

	"steelyard/internal/certs"
)

// What a listener tells browsers about TLS, and counts of it.

const (
	hstsName  = "Strict-Transport-Security"
	hstsLower = "strict-transport-security"
)

var hstsBytes = []byte(hstsName)

// appendHSTS tells browsers to stay with TLS, unless the route says something
// else about it.
func (x *exchange) appendHSTS(dst []byte) []byte {
	if !x.hsts() {
		return dst
	}
	dst = append(dst, hstsName...)
	dst = append(dst, ": "...)
	dst = append(dst, x.c.tls.HSTS...)
	return append(dst, '\r', '\n')
}

// hsts reports whether Strict-Transport-Security is sent, in place of the
// backend's.
func (x *exchange) hsts() bool {
	t := x.c.tls
	return t != nil && t.HSTS != "" && t.done && (x.route == nil || !x.route.ResponseHeaders.Drops(hstsBytes))
}

// answerToHTTPS sends the client to the same place at a port where TLS is spoken.
// 308 keeps method and body.
func (x *exchange) answerToHTTPS(port int) {
	host := withoutHTTPPort(x.req.Host)
	if len(host) == 0 {
		x.answerCause(CauseBadRequest, 0, "the request names no host, so there is none to be sent to over https")
		return
	}
	x.settleBody()
	x.beginAnswer(308)
	x.out = append(x.out, "Location: https://"...)
	x.out = append(x.out, host...)
	if port != 443 {
		x.out = append(x.out, ':')
		x.out = strconv.AppendInt(x.out, int64(port), 10)
	}
	if x.req.Path[0] == '/' { // and not the * of OPTIONS
		x.out = append(x.out, x.uri()...)
	} else {
		x.out = append(x.out, '/')
	}
	x.out = append(x.out, '\r', '\n')
	x.endAnswer(nil)
}

// withoutHTTPPort takes the port off a Host; the brackets of IPv6 stay.
func withoutHTTPPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && i > bytes.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// handshakes counts those of a listener.
type handshakes struct {
	done   [2][2]atomic.Int64 // by version, 1.2 and 1.3, and whether a session was resumed
	failed [certs.ReasonCount]atomic.Int64
}

func (h *handshakes) ok(s *tls.ConnectionState) {
	version, resumed := 0, 0
	if s.Version == tls.VersionTLS13 {
		version = 1
	}
	if s.DidResume {
		resumed = 1
	}
	h.done[version][resumed].Add(1)
}

// Handshakes returns how many went well, by version (1.2, 1.3) and by whether a
// session was resumed, and how many failed, by reason.
func (l *Listener) Handshakes() (done [2][2]int64, failed [certs.ReasonCount]int64) {
	for v := range done {
		for r := range done[v] {
			done[v][r] = l.shakes.done[v][r].Load()
		}
	}
	for r := range failed {
		failed[r] = l.shakes.failed[r].Load()
	}
	return done, failed
}

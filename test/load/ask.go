package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"time"
)

// Answer is what became of one request.
type Answer struct {
	ID      string
	Post    bool
	Backend string        // who answered, if it went well
	Began   time.Time     //
	Took    time.Duration // until the end of the body, or until it failed
	Error   string        // the cause of Steelyard, a status, or how the transfer ended; "" if it went well
	Wrong   string        // why this is the answer to another request, or a spoilt one
}

// Well reports that the request was answered as it should be.
func (a *Answer) Well() bool { return a.Error == "" && a.Wrong == "" }

// Client is an HTTP client whose idle connections never grow so old that the
// other side may close them. A request that net/http repeats by itself is a failure.
func Client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		MaxIdleConnsPerHost: 4096, DisableCompression: true, IdleConnTimeout: 5 * time.Second,
	}}
}

// Ask sends a GET, or a POST with a body of its own, and checks the answer byte
// for byte. It may be called from any goroutine.
func Ask(c *http.Client, url, id string, post bool) Answer {
	a := Answer{ID: id, Post: post, Began: time.Now()}
	a.Error, a.Wrong, a.Backend = ask(c, url+"/item", id, post)
	a.Took = time.Since(a.Began)
	return a
}

func ask(c *http.Client, url, id string, post bool) (failed, wrong, backend string) {
	method, body := http.MethodGet, io.Reader(nil)
	if post {
		method, body = http.MethodPost, strings.NewReader(question(id))
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err.Error(), "", ""
	}
	req.Header.Set("X-Id", id)
	req.GetBody = nil // Or net/http would repeat what it has begun to send.
	connections := 0
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connections++ },
	}))
	res, err := c.Do(req)
	if err != nil {
		return "no answer: " + kind(err), "", ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	cause := res.Header.Get("X-Steelyard-Cause")
	switch {
	case err != nil:
		return "cut short: " + kind(err), "", ""
	case cause != "":
		return fmt.Sprintf("%d %s", res.StatusCode, cause), "", ""
	case res.StatusCode == http.StatusBadGateway, res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusGatewayTimeout:
		return fmt.Sprintf("%d", res.StatusCode), "", "" // of another balancer
	case res.StatusCode != http.StatusOK:
		return "", fmt.Sprintf("%d %.200q", res.StatusCode, text), ""
	case res.Header.Get("X-Id") != id:
		return "", fmt.Sprintf("the answer to %q: %.60q", res.Header.Get("X-Id"), text), ""
	case !bytes.Equal(text, answer(id)):
		return "", fmt.Sprintf("%d bytes that begin with %.60q instead of %d bytes", len(text), text, len(answer(id))), ""
	case connections > 1:
		return fmt.Sprintf("sent by net/http on %d connections", connections), "", ""
	}
	return "", "", res.Header.Get("X-Name")
}

// kind puts errors of connections into few words.
func kind(err error) string {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	}
	return err.Error()
}

// sum, answer and question are those of app.mjs.
func sum(id string) int {
	h := 7
	for _, c := range []byte(id) {
		h = (h*31 + int(c)) % 65521
	}
	return h
}

func answer(id string) []byte   { return []byte(strings.Repeat(id+"\n", 1+sum(id)%700)) }
func question(id string) string { return strings.Repeat(id+"\n", 1+sum(id+"?")%200) }

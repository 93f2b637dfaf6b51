package load

import (
	"bytes"
	"crypto/sha256"
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
// for byte. It may be called from any goroutine, as all that follow.
func Ask(c *http.Client, url, id string, post bool) Answer {
	a := Answer{ID: id, Post: post, Began: time.Now()}
	method, body := http.MethodGet, ""
	if post {
		method, body = http.MethodPost, question(id)
	}
	a.Error, a.Wrong, a.Backend = ask(c, method, url+"/item", id, body, answer(id), 0)
	a.Took = time.Since(a.Began)
	return a
}

// Download gets a number of lines. With a pace, the client takes 64 KiB at a time
// and rests in between.
func Download(c *http.Client, url, id string, lines int, pace time.Duration) (failed, wrong string) {
	failed, wrong, _ = ask(c, http.MethodGet, fmt.Sprintf("%s/download?lines=%d", url, lines), id, "", []byte(strings.Repeat(id+"\n", lines)), pace)
	return failed, wrong
}

// Upload puts a number of lines, which may be done twice.
func Upload(c *http.Client, url, id string, lines int) (failed, wrong string) {
	body := strings.Repeat(id+"\n", lines)
	failed, wrong, _ = ask(c, http.MethodPut, url+"/upload", id, body, fmt.Appendf(nil, "%x", sha256.Sum256([]byte(body))), 0)
	return failed, wrong
}

// Events takes a number of server-sent events.
func Events(c *http.Client, url, id string, count int, every time.Duration) (failed, wrong string) {
	var want []byte
	for i := range count {
		want = fmt.Appendf(want, "id: %d\ndata: %s\n\n", i, id)
	}
	failed, wrong, _ = ask(c, http.MethodGet, fmt.Sprintf("%s/events?count=%d&ms=%d", url, count, every.Milliseconds()), id, "", want, 0)
	return failed, wrong
}

// ask sends a request and compares what comes with what is wanted.
func ask(c *http.Client, method, url, id, body string, want []byte, pace time.Duration) (failed, wrong, backend string) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
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
	text, err := readAll(res.Body, pace)
	cause := res.Header.Get("X-Steelyard-Cause")
	switch {
	case err != nil:
		return "cut short: " + kind(err), "", ""
	case cause != "":
		return fmt.Sprintf("%d %s", res.StatusCode, cause), "", ""
	case res.StatusCode == http.StatusBadGateway, res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusGatewayTimeout:
		return fmt.Sprint(res.StatusCode), "", "" // of another balancer
	case res.StatusCode != http.StatusOK:
		return "", fmt.Sprintf("%d %.200q", res.StatusCode, text), ""
	case res.Header.Get("X-Id") != id:
		return "", fmt.Sprintf("the answer to %q: %.60q", res.Header.Get("X-Id"), text), ""
	case !bytes.Equal(text, want):
		return "", fmt.Sprintf("%d bytes that begin with %.60q instead of %d bytes", len(text), text, len(want)), ""
	case connections > 1:
		return fmt.Sprintf("sent by net/http on %d connections", connections), "", ""
	}
	return "", "", res.Header.Get("X-Name")
}

func readAll(r io.Reader, pace time.Duration) ([]byte, error) {
	if pace == 0 {
		return io.ReadAll(r)
	}
	var text bytes.Buffer
	for {
		if _, err := io.CopyN(&text, r, 64<<10); err == io.EOF {
			return text.Bytes(), nil
		} else if err != nil {
			return text.Bytes(), err
		}
		time.Sleep(pace) // This client is slow.
	}
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

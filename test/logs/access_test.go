// Package logs_test tells what steelyard writes of requests, and that writing it
// never holds one up.
package logs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 15 * time.Second

// line is a line of the access log.
type line struct {
	Time      time.Time
	RequestID string `json:"request_id"`
	Client    string
	Listener  string
	Method    string
	Host      string
	Path      string
	Query     string
	Protocol  string
	Status    int
	Route     string
	Pool      string
	Backend   string
	Attempts  []struct {
		Backend, Reason, Class string
		MS                     float64
	}
	Retries   int
	Cause     string
	Affinity  string
	BytesIn   int     `json:"bytes_in"`
	BytesOut  int     `json:"bytes_out"`
	Queue     float64 `json:"queue_ms"`
	Connect   float64 `json:"connect_ms"`
	FirstByte float64 `json:"first_byte_ms"`
	Total     float64 `json:"total_ms"`
	UserAgent string  `json:"user_agent"`
	Referer   string
}

// lines reads whole lines of a file; each has to be valid.
func lines(t *testing.T, path string) (all []line) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(b)) {
		if !strings.HasSuffix(text, "\n") {
			break // the rest is on its way
		}
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, l)
	}
	return all
}

// await waits for the line of the request to a path.
func await(t *testing.T, file, path string) (found line) {
	t.Helper()
	harness.Eventually(t, patience, "there is a line for "+path, func() bool {
		for _, l := range lines(t, file) {
			if l.Path == path {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// webSockets is a backend that echoes what comes through a WebSocket.
func webSockets(t *testing.T) string {
	return harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Request(); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_, _ = io.Copy(c, c.R)
	})
}

// TestALineSaysWhatHappened: what went well, was repeated, failed, was bound,
// was upgraded, was left, and how much of it there was.
func TestALineSaysWhatHappened(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	app, dead := harness.App(t, "A"), harness.FreeAddress(t)
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
access_log: {to: %q}
routes:
  - {name: bound, match: {path: /whoami}, pool: sticky}
  - {match: {path: /count}, pool: retried}
  - {match: {path: /dead}, pool: dead}
  - {match: {path: /ws}, pool: sockets}
  - {name: rest, match: {path: /*}, pool: web}
pools:
  web: {backends: [%[2]s]}
  sticky: {backends: [%[2]s], sticky: cookie}
  retried: {policy: {consistent_hash: {key: "header:x-key"}}, backends: [%[2]s, %[3]s], outlier: off}
  dead: {backends: [%[3]s]}
  sockets: {backends: [%[4]s]}
`, file, app.Address, dead, webSockets(t)))
	c := harness.Browser(t)
	do := func(method, path, body string, headers ...string) {
		t.Helper()
		if _, _, err := harness.Do(c, method, s.URL+path, body, headers...); err != nil && path != "/dead" {
			t.Fatal(err)
		}
	}

	do("GET", "/status?code=404", "", "User-Agent: me", "Referer: http://r/", "Host: shop.example", "X-Request-Id: mine")
	ok := await(t, file, "/status")
	if ok.Status != 404 || ok.Method != "GET" || ok.Query != "code=404" || ok.Host != "shop.example" || ok.Protocol != "HTTP/1.1" || ok.Client != "127.0.0.1" || ok.Listener != "web" ||
		ok.Route != "rest" || ok.Pool != "web" || ok.Backend != app.Address || ok.Cause != "" || ok.Affinity != "none" || ok.UserAgent != "me" || ok.Referer != "http://r/" || len(ok.RequestID) != 32 {
		t.Errorf("got %+v", ok)
	}
	if ok.Total <= 0 || ok.FirstByte <= 0 || ok.Connect <= 0 || ok.Total < ok.FirstByte+ok.Connect || ok.Queue != 0 || time.Since(ok.Time) > time.Minute {
		t.Errorf("times of %+v", ok)
	}

	do("POST", "/upload", strings.Repeat("x", 300_000))
	if l := await(t, file, "/upload"); l.BytesIn != 300_000 || l.BytesOut == 0 || l.BytesOut > 1000 || l.Method != "POST" {
		t.Errorf("an upload is %+v", l)
	}
	do("GET", "/download?chunked&bytes=2000000", "")
	if l := await(t, file, "/download"); l.BytesIn != 0 || l.BytesOut != 2_000_000 {
		t.Errorf("a download is %+v", l)
	}
	do("GET", "/slow?ms=200", "")
	if l := await(t, file, "/slow"); l.FirstByte < 200 || l.Total < l.FirstByte {
		t.Errorf("something slow is %+v", l)
	}

	do("GET", "/dead", "")
	if l := await(t, file, "/dead"); l.Status != 502 || l.Cause != "connect_refused" || l.Backend != dead || len(l.Attempts) != 1 || l.Attempts[0].Reason != "connect_refused" ||
		l.Attempts[0].Class != "unsent" || l.Attempts[0].Backend != dead || l.Retries != 0 {
		t.Errorf("an error is %+v", l)
	}

	for key := 0; ; key++ { // one of them belongs to the dead backend
		do("GET", "/count", "", fmt.Sprintf("X-Key: %d", key), "X-Id: 1")
		if l := lines(t, file); len(l) > 0 && key > 0 && key%10 == 0 {
			time.Sleep(150 * time.Millisecond) // lines are written together
		}
		if l := repeated(lines(t, file)); l != nil {
			if l.Status != 200 || l.Backend != app.Address || l.Retries != 1 || l.Attempts[0].Backend != dead || l.Attempts[0].Reason != "connect_refused" || l.Cause != "" {
				t.Errorf("a repeated request is %+v", l)
			}
			break
		}
		if key == 200 {
			t.Fatal("nothing was repeated")
		}
	}

	do("GET", "/whoami", "")
	do("GET", "/whoami", "")
	harness.Eventually(t, patience, "both are there", func() bool {
		var words []string
		for _, l := range lines(t, file) {
			if l.Route == "bound" {
				words = append(words, l.Affinity)
			}
		}
		return strings.Join(words, " ") == "new bound"
	})

	ws := harness.OpenWebSocket(t, s.Address, "/ws")
	if err := ws.WriteFrame(harness.OpText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for range 100 { // others use the memory that its head was in
		do("GET", "/"+strings.Repeat("z", 200), "")
	}
	time.Sleep(100 * time.Millisecond) // it lasts
	ws.Close()
	if l := await(t, file, "/ws"); l.Status != 101 || l.BytesIn != 11 || l.Total < 100 || l.Pool != "sockets" || l.Host != "app.test" {
		t.Errorf("a WebSocket is %+v", l)
	}

	gone := harness.Dial(t, s.Address)
	gone.Send(t, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
	harness.Eventually(t, patience, "the app has it", func() bool { return app.Stats(t).Busy > 0 })
	gone.Close()
	if l := await(t, file, "/hold"); l.Status != 499 || l.Cause != "client_gone" || l.BytesOut != 0 {
		t.Errorf("a client that left is %+v", l)
	}
}

// repeated finds the line of a request that was repeated.
func repeated(all []line) *line {
	for i := range all {
		if all[i].Retries > 0 {
			return &all[i]
		}
	}
	return nil
}

// TestHostileBytesAreOneValidLine: nothing that a client sends forges a line.
func TestHostileBytesAreOneValidLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	app := harness.App(t, "A")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
access_log: {to: %q}
routes: [{pool: web}]
pools: {web: {backends: [%s]}}
`, file, app.Address))
	c := harness.Dial(t, s.Address)
	if m := c.Exchange(t, "GET /\"\\?\xff<script> HTTP/1.1\r\nHost: x\r\nUser-Agent: \"}\t\xff\xfe\\\r\nReferer: \",\"status\":200,\"\r\n\r\n"); m.Status() == 0 {
		t.Fatalf("got %+v", m)
	}
	harness.Eventually(t, patience, "there is a line", func() bool { return len(lines(t, file)) == 1 })
}

// TestARouteMayStayOutOfTheLog: what goes well there has no line, what fails has.
func TestARouteMayStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
access_log: {to: %q}
routes:
  - {match: {path: /healthz}, respond: {status: 200}, access_log: false}
  - {match: {path: /quiet}, pool: dead, access_log: false}
  - {match: {path: /last}, respond: {status: 200}}
pools: {dead: {backends: [%s]}}
`, file, harness.FreeAddress(t)))
	c := harness.Client(t)
	for path, want := range map[string]int{"/healthz": 200, "/quiet": 502} {
		if status, _, _ := harness.Do(c, "GET", s.URL+path, ""); status != want {
			t.Fatalf("%s: %d, want %d", path, status, want)
		}
	}
	harness.Get(t, c, s.URL+"/last")
	await(t, file, "/last")
	if l := await(t, file, "/quiet"); l.Cause != "connect_refused" {
		t.Errorf("what failed is %+v", l)
	}
	if n := len(lines(t, file)); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}

// TestLinesOfAllRequestsAreWrittenBeforeItEnds, to standard output as well.
func TestLinesOfAllRequestsAreWrittenBeforeItEnds(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "A")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
access_log: combined
routes: [{pool: web}]
pools: {web: {backends: [%s]}}
`, app.Address))
	c := harness.Client(t)
	const n = 500
	for range n {
		harness.Get(t, c, s.URL+"/one")
	}
	s.Signal(t, syscall.SIGTERM)
	if code := s.ExitCode(t, patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if got := strings.Count(s.Output(), `"GET /one HTTP/1.1" 200 1 "-" "Go-http-client/1.1"`); got != n {
		t.Errorf("%d lines, want %d", got, n)
	}
	if !strings.Contains(s.Output(), fmt.Sprintf(`msg="access log" lines=%d dropped=0 failed=0`, n)) && !strings.Contains(s.Output(), fmt.Sprintf("access log lines=%d dropped=0 failed=0", n)) {
		t.Error("the summary does not count them")
	}
}

// TestErrorPagesByAccept: a person gets a page, a program gets JSON.
func TestErrorPagesByAccept(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, `
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /a}, respond: {status: 204}}]
`)
	for accept, want := range map[string]string{
		"text/html,application/xhtml+xml,*/*;q=0.8": "text/html; charset=utf-8 <!doctype html>",
		"application/json":                          `application/json {"status":404,"cause":"no_route",`,
		"*/*":                                       "text/plain; charset=utf-8 404 Not Found",
	} {
		req, err := http.NewRequest("GET", s.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		res, err := harness.Client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := res.Header.Get("Content-Type") + " " + string(body); !strings.HasPrefix(got, want) || res.Header.Get("Vary") != "Accept" {
			t.Errorf("%s: got %s", accept, got)
		}
	}
}

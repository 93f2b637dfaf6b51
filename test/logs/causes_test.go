package logs_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// causesYAML has a pool, and a route to it, for each cause that has to do with a
// backend.
const causesYAML = `
listeners:
  web: {address: "LISTEN", max_body_size: 1KiB, max_header_size: 8KiB, header_timeout: 500ms, body_timeout: 500ms, write_timeout: 500ms, max_target_length: 1KiB, proxy_protocol: 127.0.0.2}
  LEAVING
  secure: SECURE
admin: ADMIN
access_log: {to: FILE}
shutdown_timeout: 500ms
routes: [ROUTES]
pools:
  no_backend: {source: {file: EMPTY}}
  queue_full: {backends: [GATE_FULL], max_connections: 1, queue: 0}
  queue_timeout: {backends: [GATE_WAIT], max_connections: 1, queue: {size: 1, timeout: 200ms}}
  overloaded: {backends: [GATE_OVER], max_in_flight: 1}
  connect_refused: {backends: [DEAD], retry: off}
  connect_timeout: {backends: [DEAF], retry: off, timeouts: {connect: 200ms}}
  connect_failed: {backends: ["127.255.255.255:9"], retry: off}
  out_of_files: {backends: [SWALLOWS], retry: off}
  tls_failed: {backends: [ADMIN], retry: off, tls: true}
  reset_before_response: {backends: [CLOSES], retry: off}
  response_timeout: {backends: [GATE_SLOW], retry: off, timeouts: {response: 200ms}}
  bad_response: {backends: [RAVES], retry: off}
  response_truncated: {backends: [BREAKS]}
  drained: {backends: [GATE_DRAIN]}
  body_too_large: {backends: [SWALLOWS]}
  body_timeout: {backends: [SWALLOWS]}
  write_timeout: {backends: [FLOODS]}
  client_gone: {backends: [GATE_GONE]}
  shutdown: {backends: [GATE_STOP]}
`

// causeWorld is a running steelyard in which each cause can be provoked.
type causeWorld struct {
	*harness.Steelyard
	t       *testing.T
	log     string // its access log
	leaving string // the address of a listener that is taken away
	without string // its configuration without that
	secure  *secureListener
	gates   map[string]*gate
}

// gate is a backend that answers when the test lets it.
type gate struct {
	address string
	asked   atomic.Int64
	open    chan struct{}
	once    sync.Once
}

func newGate(t *testing.T) *gate {
	g := &gate{open: make(chan struct{})}
	g.address = harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Request(); err != nil {
			return
		}
		g.asked.Add(1)
		select {
		case <-g.open:
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		case <-t.Context().Done():
		}
	})
	return g
}

func (g *gate) letGo() { g.once.Do(func() { close(g.open) }) }

// deaf is the address of somebody who accepts no connection.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = syscall.Listen(fd, 0)
	}
	name, err2 := syscall.Getsockname(fd)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	address := fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("all connections are accepted")
	return ""
}

// says is a backend that answers each connection with the same bytes and closes.
func says(t *testing.T, text string) string {
	return harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Request(); err == nil {
			_, _ = io.WriteString(c, text)
		}
	})
}

func newCauseWorld(t *testing.T) *causeWorld {
	w := &causeWorld{t: t, log: filepath.Join(t.TempDir(), "access.log"), leaving: harness.FreeAddress(t), gates: map[string]*gate{}}
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(empty, []byte("[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.secure = newSecureListener(t)
	pairs := []string{"SECURE", w.secure.keys, "EMPTY", strconv.Quote(empty),
		"DEAD", harness.FreeAddress(t), "DEAF", deaf(t), "FILE", strconv.Quote(w.log),
		"CLOSES", says(t, ""), "RAVES", says(t, "nonsense\r\n\r\n"), "BREAKS", says(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell"),
		"FLOODS", harness.Backend(t, func(c *harness.Conn) {
			_, err := c.Request()
			for text := "HTTP/1.1 200 OK\r\n\r\n"; err == nil; text = strings.Repeat("x", 64<<10) {
				_, err = io.WriteString(c, text)
			}
		}),
		"SWALLOWS", harness.Backend(t, func(c *harness.Conn) { _, _ = io.Copy(io.Discard, c.R) }),
	}
	for _, name := range []string{"FULL", "WAIT", "OVER", "SLOW", "DRAIN", "GONE", "STOP"} {
		w.gates[name] = newGate(t)
		pairs = append(pairs, "GATE_"+name, w.gates[name].address)
	}
	var routes []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z_]+): \{(?:backends|source)`).FindAllStringSubmatch(causesYAML, -1) {
		routes = append(routes, fmt.Sprintf("{match: {path: /%s}, pool: %[1]s}", m[1]))
	}
	routes = append(routes, "{match: {path: /denied}, deny: 127.0.0.0/8, respond: {status: 200}}", "{match: {path: /rate_limited}, rate_limit: 1/m, respond: {status: 200}}",
		"{match: {path: /cors_refused}, cors: https://a.test, respond: {status: 200}}", "{match: {path: /unauthorized}, basic_auth: {users: {a: $2a$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK}}, respond: {status: 200}}",
		"{match: {path: /auth_unavailable}, forward_auth: http://"+harness.FreeAddress(t)+"/, respond: {status: 200}}")
	pairs = append(pairs, "ROUTES", strings.Join(routes, ", "))
	yaml := strings.NewReplacer(pairs...).Replace(causesYAML)
	w.without = strings.Replace(yaml, "LEAVING", "", 1)
	w.Steelyard = harness.Start(t, strings.Replace(yaml, "LEAVING", "leaving: "+strconv.Quote(w.leaving), 1))
	return w
}

// ask sends a request and reads the answer. fields end with CRLF.
func (w *causeWorld) ask(method, path, fields, body string) *harness.Message {
	w.t.Helper()
	return w.open(method, path, fields, body).Response(w.t, method)
}

// open sends a request.
func (w *causeWorld) open(method, path, fields, body string) *harness.Conn {
	w.t.Helper()
	c := harness.Dial(w.t, w.Address)
	c.Send(w.t, method+" "+path+" HTTP/1.1\r\nHost: app.test\r\nAccept: application/json\r\n"+fields+"\r\n"+body)
	return c
}

// hold sends a request to a gate and waits until it is there.
func (w *causeWorld) hold(name, method, path string) *harness.Conn {
	w.t.Helper()
	c := w.open(method, path, "", "")
	w.arrived(name)
	return c
}

func (w *causeWorld) arrived(name string) {
	w.t.Helper()
	harness.Eventually(w.t, patience, "the backend has the request", func() bool { return w.gates[name].asked.Load() > 0 })
}

// behind asks while another request keeps the only place of a pool taken.
func (w *causeWorld) behind(name, path string) *harness.Message {
	w.t.Helper()
	first := w.hold(name, "GET", path)
	m := w.ask("GET", path, "", "")
	w.gates[name].letGo()
	if status := first.Response(w.t, "GET").Status(); status != 200 {
		w.t.Errorf("the request before got %d", status)
	}
	return m
}

// broken reads to the end of a connection that has to be reset.
func (w *causeWorld) broken(c *harness.Conn) {
	w.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(c.R); err == nil || os.IsTimeout(err) {
		w.t.Errorf("the connection ended with %v behind %q, want a reset", err, rest)
	}
}

// causeCase is a cause and how it comes about.
type causeCase struct {
	cause   string
	status  int // that the client gets; 0: its connection is reset
	line    int // status of the access line, if it is another
	attempt bool
	silent  bool // is not in the list of errors: nothing has failed but the client
	provoke func(*causeWorld) *harness.Message
}

func causeCases() []causeCase {
	get := func(path string) func(*causeWorld) *harness.Message {
		return func(w *causeWorld) *harness.Message { return w.ask("GET", path, "", "") }
	}
	raw := func(text string) func(*causeWorld) *harness.Message {
		return func(w *causeWorld) *harness.Message { return harness.Dial(w.t, w.Address).Exchange(w.t, text) }
	}
	return []causeCase{
		{cause: "no_route", status: 404, provoke: get("/nowhere")},
		{cause: "no_backend", status: 503, provoke: get("/no_backend")},
		{cause: "queue_full", status: 503, provoke: func(w *causeWorld) *harness.Message { return w.behind("FULL", "/queue_full") }},
		{cause: "queue_timeout", status: 503, provoke: func(w *causeWorld) *harness.Message { return w.behind("WAIT", "/queue_timeout") }},
		{cause: "overloaded", status: 503, provoke: func(w *causeWorld) *harness.Message { return w.behind("OVER", "/overloaded") }},
		{cause: "connect_refused", status: 502, attempt: true, provoke: get("/connect_refused")},
		{cause: "connect_timeout", status: 504, attempt: true, provoke: get("/connect_timeout")},
		{cause: "connect_failed", status: 502, attempt: true, provoke: get("/connect_failed")},
		{cause: "out_of_files", status: 503, attempt: true, provoke: func(w *causeWorld) *harness.Message {
			accepted := w.accepted()
			c := harness.Dial(w.t, w.Address)
			harness.Eventually(w.t, patience, "the client is accepted", func() bool { return w.accepted() > accepted })
			again := w.WithoutFiles(w.t)
			defer again()
			return c.Exchange(w.t, "GET /out_of_files HTTP/1.1\r\nHost: app.test\r\n\r\n")
		}},
		{cause: "tls_failed", status: 502, attempt: true, provoke: get("/tls_failed")},
		{cause: "reset_before_response", status: 502, attempt: true, provoke: get("/reset_before_response")},
		{cause: "response_timeout", status: 504, attempt: true, provoke: get("/response_timeout")},
		{cause: "bad_response", status: 502, attempt: true, provoke: get("/bad_response")},
		{cause: "response_truncated", line: 200, provoke: func(w *causeWorld) *harness.Message {
			w.broken(w.open("GET", "/response_truncated", "", ""))
			return nil
		}},
		{cause: "drained", status: 503, attempt: true, provoke: func(w *causeWorld) *harness.Message {
			c := w.hold("DRAIN", "POST", "/drained")
			w.Order(w.t, "drained", w.gates["DRAIN"].address, "drain", `{"for": "1s"}`)
			return c.Response(w.t, "POST")
		}},
		{cause: "bad_request", status: 400, provoke: raw("GET / HTTP/1.1\r\nHost : x\r\n\r\n")},
		{cause: "body_too_large", status: 413, provoke: func(w *causeWorld) *harness.Message {
			return w.ask("POST", "/body_too_large", "Content-Length: 2000\r\n", "")
		}},
		{cause: "head_too_large", status: 431, provoke: raw("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 9<<10))},
		{cause: "target_too_long", status: 414, provoke: raw("GET /" + strings.Repeat("x", 1<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n")},
		{cause: "head_timeout", status: 408, provoke: raw("GET / HT")},
		{cause: "body_timeout", status: 408, provoke: func(w *causeWorld) *harness.Message {
			return w.ask("POST", "/body_timeout", "Content-Length: 10\r\n", "abc")
		}},
		{cause: "write_timeout", line: 200, provoke: func(w *causeWorld) *harness.Message {
			c := w.open("GET", "/write_timeout", "", "")
			harness.Eventually(w.t, patience, "who takes nothing is cut", func() bool { return w.counted()["write_timeout"] > 0 })
			w.broken(c)
			return nil
		}},
		{cause: "not_supported", status: 501, provoke: raw("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n")},
		{cause: "denied", status: 403, silent: true, provoke: get("/denied")},
		{cause: "rate_limited", status: 429, silent: true, provoke: func(w *causeWorld) *harness.Message {
			if m := w.ask("GET", "/rate_limited", "", ""); m.Status() != 200 {
				w.t.Errorf("the first of a minute got %q", m.First)
			}
			return w.ask("GET", "/rate_limited", "", "")
		}},
		{cause: "cors_refused", status: 403, silent: true, provoke: func(w *causeWorld) *harness.Message {
			return w.ask("OPTIONS", "/cors_refused", "Origin: https://b.test\r\nAccess-Control-Request-Method: PUT\r\n", "")
		}},
		{cause: "unauthorized", status: 401, silent: true, provoke: get("/unauthorized")},
		{cause: "auth_unavailable", status: 503, provoke: get("/auth_unavailable")},
		{cause: "proxy_header", status: 400, provoke: func(w *causeWorld) *harness.Message {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			nc, err := d.Dial("tcp", w.Address)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { nc.Close() })
			return (&harness.Conn{Conn: nc, R: bufio.NewReader(nc)}).Exchange(w.t, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		}},
		{cause: "plain_http", status: 400, provoke: func(w *causeWorld) *harness.Message {
			return harness.Dial(w.t, w.secure.address).Exchange(w.t, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		}},
		{cause: "misdirected", status: 421, provoke: func(w *causeWorld) *harness.Message {
			return w.secure.ask(w.t, "GET / HTTP/1.1\r\nHost: b.test\r\nAccept: application/json\r\n\r\n")
		}},
		{cause: "client_gone", line: 499, silent: true, provoke: func(w *causeWorld) *harness.Message {
			w.hold("GONE", "GET", "/client_gone").Close()
			return nil
		}},
		{cause: "shutdown", line: 503, provoke: func(w *causeWorld) *harness.Message {
			c := harness.Dial(w.t, w.leaving)
			c.Send(w.t, "GET /shutdown HTTP/1.1\r\nHost: app.test\r\n\r\n")
			w.arrived("STOP")
			if g := w.Reload(w.t, w.without); !g.LastOK {
				w.t.Fatal(g.Errors)
			}
			w.broken(c)
			return nil
		}},
	}
}

// TestEveryCauseIsToldEverywhere provokes each cause of docs/errors.md once: the
// client, the access log, the metrics and the list of errors agree on it, and
// nothing else is counted. Only internal is left out, which takes a fault in
// Steelyard: TestPanic of internal/proxy has one.
func TestEveryCauseIsToldEverywhere(t *testing.T) {
	t.Parallel()
	w := newCauseWorld(t)
	documented := documentedCauses(t)
	for _, tc := range causeCases() {
		statuses, ok := documented[tc.cause]
		if !ok || tc.status != 0 && !strings.Contains(statuses, strconv.Itoa(tc.status)) || tc.status == 0 && statuses != "–" {
			t.Errorf("%s is documented with the status %q, here it has %d", tc.cause, statuses, tc.status)
		}
		delete(documented, tc.cause)
		before := w.counted()
		before[tc.cause]++
		m := tc.provoke(w)
		harness.Eventually(t, patience, tc.cause+" is counted", func() bool { return w.counted()[tc.cause] == before[tc.cause] })
		if after := w.counted(); !maps.Equal(after, before) {
			t.Errorf("%s: the metrics count %v, want %v", tc.cause, after, before)
		}
		id := w.told(&tc, m)
		w.logged(&tc, id)
		w.listed(&tc, id)
	}
	// Connections that are not let in have no request, so no line and no id: test/limits.
	if left := slices.Sorted(maps.Keys(documented)); !slices.Equal(left, []string{"internal", "too_many_connections", "too_many_from_client"}) {
		t.Errorf("not provoked: %q", left)
	}
	harness.Eventually(t, patience, "the dashboard's history has them", func() bool {
		text := harness.Get(t, harness.Client(t), "http://"+w.Admin+"/api/v1/history?causes=true")
		return !slices.ContainsFunc(causeCases(), func(tc causeCase) bool { return !strings.Contains(text, strconv.Quote(tc.cause)) })
	})
}

// documentedCauses has the statuses that docs/errors.md gives each cause.
func documentedCauses(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "docs/errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([^|]*) \\|").FindAllSubmatch(text, -1) {
		all[string(row[1])] = string(row[2])
	}
	return all
}

// counted are the errors of the metrics, by cause.
func (w *causeWorld) counted() map[string]int {
	w.t.Helper()
	all := map[string]int{}
	text := harness.Get(w.t, harness.Client(w.t), "http://"+w.Admin+"/metrics")
	for _, m := range regexp.MustCompile(`(?m)^steelyard_errors_total\{.*cause="([a-z_]+)".*\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			w.t.Fatal(err)
		}
		all[m[1]] += n
	}
	return all
}

// accepted is how many connections of clients there were.
func (w *causeWorld) accepted() (n int) {
	w.t.Helper()
	text := harness.Get(w.t, harness.Client(w.t), "http://"+w.Admin+"/metrics")
	for _, m := range regexp.MustCompile(`(?m)^steelyard_listener_connections_accepted_total\{.*\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		one, err := strconv.Atoi(m[1])
		if err != nil {
			w.t.Fatal(err)
		}
		n += one
	}
	return n
}

// told holds the answer to its cause and returns the request's id, if there is one.
func (w *causeWorld) told(tc *causeCase, m *harness.Message) string {
	w.t.Helper()
	if m == nil {
		if tc.status != 0 {
			w.t.Errorf("%s: no answer", tc.cause)
		}
		return ""
	}
	id := m.Value("X-Request-Id")
	if m.Status() != tc.status || m.Value("X-Steelyard-Cause") != tc.cause || len(id) != 32 || m.Value("Cache-Control") != "no-store" {
		w.t.Errorf("%s: the client gets %q %q", tc.cause, m.First, m.Fields)
	}
	var page struct {
		Status      int
		Cause, Hint string
		ID          string `json:"request_id"`
	}
	if m.Value("Content-Type") != "application/json" { // there was no head to say what is wanted
		if text := string(m.Body); !strings.Contains(text, tc.cause+": ") || !strings.Contains(text, id) {
			w.t.Errorf("%s: the page is %q", tc.cause, text)
		}
	} else if err := json.Unmarshal(m.Body, &page); err != nil || page.Status != tc.status || page.Cause != tc.cause || page.Hint == "" || page.ID != id {
		w.t.Errorf("%s: the page is %s %v", tc.cause, m.Body, err)
	}
	if strings.Contains(string(m.Body), "127.") {
		w.t.Errorf("%s: the page names an address: %s", tc.cause, m.Body)
	}
	return id
}

// logged holds the access line to the cause.
func (w *causeWorld) logged(tc *causeCase, id string) {
	w.t.Helper()
	var found []line
	harness.Eventually(w.t, patience, "there is a line for "+tc.cause, func() bool {
		found = slices.DeleteFunc(lines(w.t, w.log), func(l line) bool { return l.Cause != tc.cause })
		return len(found) > 0
	})
	l, status := found[0], max(tc.status, tc.line)
	if len(found) != 1 || l.Status != status || id != "" && l.RequestID != id {
		w.t.Errorf("%s: %d lines, want one with the status %d and the id %q: %+v", tc.cause, len(found), status, id, l)
	}
	if tc.attempt && (len(l.Attempts) != 1 || l.Attempts[0].Reason != tc.cause || l.Pool != tc.cause || l.Backend != l.Attempts[0].Backend) {
		w.t.Errorf("%s: the line has the attempts %+v", tc.cause, l.Attempts)
	}
}

// listed holds the list of errors, which the dashboard shows, to the cause.
func (w *causeWorld) listed(tc *causeCase, id string) {
	w.t.Helper()
	var list struct {
		Errors []struct {
			Cause, Hint, Pool string
			Status            int
			RequestID         string `json:"request_id"`
			Attempts          []struct{ Cause string }
		}
	}
	status, text, err := harness.Do(harness.Client(w.t), "GET", "http://"+w.Admin+"/api/v1/errors", "")
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(text), &list) != nil {
		w.t.Fatal(status, text, err)
	}
	found := 0
	for _, e := range list.Errors {
		if e.Cause != tc.cause {
			continue
		}
		found++
		if e.Status != tc.status || e.Hint == "" || id != "" && e.RequestID != id || tc.attempt && (e.Pool != tc.cause || len(e.Attempts) != 1 || e.Attempts[0].Cause != tc.cause) {
			w.t.Errorf("%s is listed as %+v", tc.cause, e)
		}
	}
	if want := map[bool]int{true: 0, false: 1}[tc.silent]; found != want {
		w.t.Errorf("%s is listed %d times, want %d", tc.cause, found, want)
	}
}

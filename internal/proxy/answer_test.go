package proxy

import (
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
	"steelyard/internal/router"
)

// errorCase is a request that is answered with an error. backend makes the only
// one, nil stands for one that is never asked.
type errorCase struct {
	name    string
	request string
	backend func(testing.TB) string
	status  int
	cause   string
	hint    string
	closes  bool
}

func errorCases() []errorCase {
	return []errorCase{
		{"no route", "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", nil, 404, "no_route", "no route matches", false},
		{"no route, with a body", "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", nil, 404, "no_route", "no route matches", false},
		{"no route, with a body to come", "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", nil, 404, "no_route", "no route matches", true},
		{"refused", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", refused, 502, "connect_refused", "refuses connections", false},
		{"refused, for HEAD", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", refused, 502, "connect_refused", "", false},
		{"no socket there", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(testing.TB) string { return "unix:/nowhere.sock" }, 502, "connect_refused", "refuses connections", false},
		{"not HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(t testing.TB) string { return newStation(t, says("secret\r\n\r\n")).addr }, 502, "bad_response", "not a valid HTTP/1.1 response", false},
		{"hung up", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(t testing.TB) string { return newStation(t, hangsUp).addr }, 502, "reset_before_response", "closed the connection", false},
		{"not a request", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", nil, 400, "bad_request", "more than one Host", true},
		{"LF alone", "GET / HTTP/1.1\nHost: a\n\n", nil, 400, "bad_request", "LF alone", true},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", nil, 400, "bad_request", "", true},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", nil, 505, "not_supported", "only HTTP/1.0 and HTTP/1.1", true},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", nil, 501, "not_supported", "CONNECT", true},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", nil, 400, "bad_request", "both", true},
		{"large head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 20<<10), nil, 431, "head_too_large", "", true},
		{"large body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n", nil, 413, "body_too_large", "larger", true},
	}
}

// TestErrorAnswers: every error explains itself, in the head and in the body.
func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range errorCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			backend := "127.0.0.1:1"
			if tc.backend != nil {
				backend = tc.backend(t)
			}
			f := newFixture(t, []string{backend}, func(_ *fixture, _ *pool.Options, g *Generation, lim *Limits) {
				g.Table, _ = router.New([]router.Match{{Path: "/"}})
				lim.MaxBodySize = 10000
			})
			nc, r := f.dial(t)
			send(t, nc, tc.request)
			resp, body := readResponse(t, r, tc.request)
			h, id := resp.Header, resp.Header.Get("X-Request-Id")
			if resp.StatusCode != tc.status || h.Get("X-Steelyard-Cause") != tc.cause {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, h.Get("X-Steelyard-Cause"), tc.status, tc.cause)
			}
			if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) || h.Get("Date") == "" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("the head is %v", h)
			}
			if !strings.HasPrefix(tc.request, "HEAD") && (!strings.Contains(body, tc.cause+": ") || !strings.Contains(body, id) || !strings.Contains(body, tc.hint)) {
				t.Errorf("the body is %q", body)
			}
			if strings.Contains(body, backend) || strings.Contains(body, "secret") {
				t.Errorf("the body tells about the backend: %q", body)
			}
			if f.Errors()[tc.cause] != 1 || len(f.Errors()) != 1 {
				t.Errorf("errors counted: %v", f.Errors())
			}
			if resp.Close != tc.closes {
				t.Fatalf("closes: %v", resp.Close)
			}
			if tc.closes {
				if _, err := r.ReadByte(); err != io.EOF {
					t.Errorf("the connection ended with %v", err)
				}
				return
			}
			send(t, nc, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
			if resp, _ := readResponse(t, r, "GET"); resp.StatusCode != 404 {
				t.Errorf("then got %d", resp.StatusCode)
			}
		})
	}
}

// TestHeadTimeout answers a head that does not arrive, also when a client could
// have taken less time to take the answer.
func TestHeadTimeout(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) {
		lim.HeaderTimeout, lim.WriteTimeout = 200*time.Millisecond, 100*time.Millisecond
	})
	nc, r := f.dial(t)
	send(t, nc, "GET / HT")
	if resp, _ := readResponse(t, r, "GET"); resp.StatusCode != 408 || !resp.Close {
		t.Errorf("got %d, closes: %v", resp.StatusCode, resp.Close)
	}
}

// TestNoAnswerToSilence: a connection without a request ends without a word.
func TestNoAnswerToSilence(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) {
		lim.IdleTimeout = 50 * time.Millisecond
	})
	_, r := f.dial(t)
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection ended with %v", err)
	}
	nc, r := f.dial(t)
	send(t, nc, get("/", ""))
	readResponse(t, r, "GET")
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
		t.Errorf("after a request the connection ended with %q, %v", b, err)
	}
	if n := len(f.Errors()); n != 0 {
		t.Errorf("errors counted: %v", f.Errors())
	}
}

// TestRespondAndRedirect compares whole answers.
func TestRespondAndRedirect(t *testing.T) {
	t.Parallel()
	to, err := rewrite.Parse("https://{host}{uri}")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		request string
		route   Route
		want    string
	}{
		{"status alone", "GET / HTTP/1.1", Route{Respond: &Respond{Status: 204}}, "HTTP/1.1 204 No Content\r\nDate: X\r\n\r\n"},
		{"body", "GET / HTTP/1.1", Route{Respond: &Respond{Status: 200, Body: []byte("hi")}}, "HTTP/1.1 200 OK\r\nDate: X\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nhi"},
		{"body for HEAD", "HEAD / HTTP/1.1", Route{Respond: &Respond{Status: 200, Body: []byte("hi")}}, "HTTP/1.1 200 OK\r\nDate: X\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\n"},
		{"headers", "GET / HTTP/1.1", Route{Respond: &Respond{Status: 299, Headers: []rewrite.Header{{Name: "content-type", Value: "a/b"}, {Name: "X", Value: "{host}"}}, Body: []byte("hi")},
			ResponseHeaders: headers(t, rewrite.Headers{Set: []rewrite.Header{{Name: "Content-Type", Value: "c/d"}}, Add: []rewrite.Header{{Name: "X", Value: "{host}"}}})},
			"HTTP/1.1 299 Unknown\r\nDate: X\r\nX: {host}\r\nContent-Type: c/d\r\nX: a\r\nContent-Length: 2\r\n\r\nhi"},
		{"HTTP/1.0 that stays", "GET / HTTP/1.0\r\nConnection: keep-alive", Route{Respond: &Respond{Status: 200}}, "HTTP/1.1 200 OK\r\nDate: X\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
		{"last one", "GET / HTTP/1.1\r\nConnection: close", Route{Respond: &Respond{Status: 200}}, "HTTP/1.1 200 OK\r\nDate: X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"redirect", "GET /p?q=1 HTTP/1.1", Route{Redirect: &Redirect{308, to}}, "HTTP/1.1 308 Permanent Redirect\r\nDate: X\r\nLocation: https://a/p?q=1\r\nContent-Length: 0\r\n\r\n"},
		{"redirect of a target without a path", "GET http://b?q HTTP/1.1", Route{Redirect: &Redirect{301, to}}, "HTTP/1.1 301 Moved Permanently\r\nDate: X\r\nLocation: https://b/?q\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, []string{"127.0.0.1:1"}, func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) { g.Routes[0] = &tc.route })
			nc, r := f.dial(t)
			send(t, nc, tc.request+"\r\nHost: a\r\n\r\n")
			_ = nc.(interface{ CloseWrite() error }).CloseWrite()
			b, _ := io.ReadAll(r)
			got := regexp.MustCompile(`Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`).ReplaceAllString(string(b), "Date: X")
			if got != tc.want {
				t.Errorf("got\n%q, want\n%q", got, tc.want)
			}
		})
	}
}

// TestCauses: the list is closed, named and explained.
func TestCauses(t *testing.T) {
	t.Parallel()
	names := Causes()
	if len(names) != int(causeCount)-1 || slices.Contains(names, "") || len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("the causes are %q", names)
	}
	for c := CauseNoRoute; c < causeCount; c++ {
		if causes[c].status < 400 || causes[c].status > 599 || causes[c].hint == "" {
			t.Errorf("%s: %+v", c, causes[c])
		}
	}
}

// TestReporter bounds the lines of a second and counts the others.
func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reporter
		allowed := 0
		for range 10 * reportsPerSecond {
			if ok, _ := r.allow(reportsPerSecond); ok {
				allowed++
			}
		}
		if allowed != reportsPerSecond {
			t.Errorf("%d lines were allowed, want %d", allowed, reportsPerSecond)
		}
		time.Sleep(time.Second)
		if ok, dropped := r.allow(reportsPerSecond); !ok || dropped != 9*reportsPerSecond {
			t.Errorf("then %v, with %d left out", ok, dropped)
		}
		if ok, dropped := r.allow(reportsPerSecond); !ok || dropped != 0 {
			t.Errorf("then %v, with %d left out", ok, dropped)
		}
	})
}

// logged collects what is logged while a test runs.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func captureLog(t *testing.T) *logged {
	l, before := &logged{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(l, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return l
}

// TestReport: a line of the log has what the answer does not tell, and the same
// id.
func TestReport(t *testing.T) {
	l := captureLog(t)
	backend := refused(t)
	f := newFixture(t, []string{backend}, nil)
	resp, _ := f.do(t, get("/p?secret", ""))
	for _, want := range []string{"cause=connect_refused", "listener=test", "client=127.0.0.1", "request_id=" + resp.Header.Get("X-Request-Id"),
		"method=GET", "host=a", "path=/p ", "route=all", "pool=web", "attempts=1", "backend=" + backend, "refused"} {
		if !strings.Contains(l.String(), want) {
			t.Errorf("no %q in %q", want, l)
		}
	}
	resp, _ = f.do(t, "nonsense\r\n\r\n")
	if !strings.Contains(l.String(), "cause=bad_request") || !strings.Contains(l.String(), "request_id="+resp.Header.Get("X-Request-Id")) {
		t.Errorf("a head that was refused is not in %q", l)
	}
}

// TestPanic: a fault of ours is a 500 and costs one connection; it is told
// everywhere as other causes are.
func TestPanic(t *testing.T) {
	l := captureLog(t)
	s := newStation(t, ok("fine"))
	log, lines := accessLog(t, nil)
	f := newFixture(t, []string{s.addr}, func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) { g.AccessLog = log })
	for i, breaks := range []func(*Generation){
		func(g *Generation) { g.Routes = nil },
		// These are in flight on a backend when it happens.
		func(g *Generation) { g.Routes = []*Route{{Pool: f.target, RequestHeaders: panicking()}} },
		func(g *Generation) { g.Routes = []*Route{{Pool: f.target, ResponseHeaders: panicking()}} },
	} {
		g := *f.generation.Load()
		whole := f.generation.Load()
		breaks(&g)
		f.SetGeneration(&g)
		nc, r := f.dial(t)
		send(t, nc, get("/{", "X-Break: 1\r\n"))
		resp, _ := readResponse(t, r, "GET")
		if resp.StatusCode != 500 || resp.Header.Get("X-Steelyard-Cause") != "internal" || !resp.Close {
			t.Errorf("%d: got %d %q, closes: %v", i, resp.StatusCode, resp.Header.Get("X-Steelyard-Cause"), resp.Close)
		}
		f.SetGeneration(whole)
		if _, body := f.do(t, get("/", "")); body != "fine" {
			t.Errorf("%d: then got %q", i, body)
		}
	}
	if !strings.Contains(l.String(), "stack=") {
		t.Errorf("no stack in %q", l)
	}
	waitFor(t, "all are listed", func() bool { _, total := f.ErrorLog().Last(); return total == 3 })
	if records, _ := f.ErrorLog().Last(); records[0].Cause != "internal" || records[0].Status != 500 || records[0].Hint == "" || f.Errors()["internal"] != 3 || len(f.Errors()) != 1 {
		t.Errorf("counted: %v, listed: %+v", f.Errors(), records)
	}
	waitFor(t, "the connections have ended", func() bool { return f.listener.Connections() == 0 })
	if all := lines(); len(all) != 6 || strings.Count(strings.Join(all, ""), `"status":500,`) != 3 || strings.Count(strings.Join(all, ""), `"cause":"internal"`) != 3 {
		t.Errorf("lines: %q", all)
	}
}

// panicking is a rewriter with a line that has no template.
func panicking() *rewrite.HeaderRewriter {
	type line struct {
		name  string
		value *rewrite.Template
	}
	type rewriter struct {
		drops   []string
		lengths uint64
		lines   []line
	}
	return (*rewrite.HeaderRewriter)(unsafe.Pointer(&rewriter{lines: []line{{"X: ", nil}}}))
}

// TestGenerationSwap: a request keeps the generation it began with.
func TestGenerationSwap(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	s := newStation(t, func(p *peer, head string) bool { <-free; return ok("old")(p, head) })
	f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
		f.route.ResponseHeaders = headers(t, rewrite.Headers{Set: []rewrite.Header{{Name: "X-Gen", Value: "{route}"}}})
	})
	nc, r := f.dial(t)
	send(t, nc, get("/", ""))
	waitFor(t, "the request is there", func() bool { return s.count() == 1 })
	g := *f.generation.Load()
	g.Routes = []*Route{{Name: "new", Respond: &Respond{Status: 200, Body: []byte("new")}}}
	f.SetGeneration(&g)
	close(free)
	if resp, body := readResponse(t, r, "GET"); body != "old" || resp.Header.Get("X-Gen") != "all" {
		t.Errorf("got %q of generation %q", body, resp.Header.Get("X-Gen"))
	}
	send(t, nc, get("/", ""))
	if _, body := readResponse(t, r, "GET"); body != "new" {
		t.Errorf("then got %q", body)
	}
}

package http1_test

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

func TestTrailersPassBothWays(t *testing.T) {
	backend, requests := harness.Scripted(t, func(*harness.Message) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, x-second\r\n\r\n" +
			"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-Sum: 5\r\nx-second: two\r\n\r\n"
	})
	s := front(t, backend)
	c := harness.Dial(t, s.Address)
	for range 2 { // The second on the same connections: nothing of the first is left over.
		m := c.Exchange(t, "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-check\r\n\r\n"+
			"4\r\nbody\r\n0\r\nx-check: 1\r\n\r\n")
		if string(m.Body) != "abcde" {
			t.Errorf("body %q", m.Body)
		}
		equal(t, "the response's trailers", m.Trailers, []string{"X-Sum: 5", "x-second: two"})
	}
	for _, m := range requests() {
		if string(m.Body) != "body" {
			t.Errorf("the backend got the body %q", m.Body)
		}
		equal(t, "the request's trailers", m.Trailers, []string{"x-check: 1"})
	}
}

func TestEarlyHintsArriveBeforeTheResponse(t *testing.T) {
	app := harness.App(t, "a")
	s := front(t, app.Address)
	c := harness.Dial(t, s.Address)
	m := c.Exchange(t, "GET /hints HTTP/1.1\r\nHost: app.test\r\n\r\n")
	if m.Status() != 103 || m.Value("Link") != "</style.css>; rel=preload; as=style" {
		t.Fatalf("first came %s %q; want 103 with its Link", m.First, m.Fields)
	}
	if m = c.Response(t, "GET"); m.Status() != 200 || string(m.Body) != "a" {
		t.Errorf("then came %s %q", m.First, m.Body)
	}

	// HTTP/1.0 knows no 1xx.
	old := harness.Dial(t, s.Address)
	if m := old.Exchange(t, "GET /hints HTTP/1.0\r\nHost: app.test\r\n\r\n"); m.Status() != 200 {
		t.Errorf("a client of HTTP/1.0 got %s", m.First)
	}
}

func TestExpectContinueIsAnsweredOnceTheRequestIsAcceptable(t *testing.T) {
	backend, requests := harness.Scripted(t, func(*harness.Message) string { return ok })
	const head = " HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\n"

	t.Run("acceptable: 100, body, response", func(t *testing.T) {
		app := harness.App(t, "a")
		s := front(t, app.Address)
		c := harness.Dial(t, s.Address)
		for _, body := range []struct{ framing, text string }{
			{"Content-Length: 4", "body"},
			{"Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n"},
		} {
			if m := c.Exchange(t, "POST /echo"+head+body.framing+"\r\n\r\n"); m.Status() != 100 {
				t.Fatalf("got %s; want 100 Continue", m.First)
			}
			c.Send(t, body.text)
			if m := c.Response(t, "POST"); m.Status() != 200 || !strings.Contains(string(m.Body), `"body":"body"`) {
				t.Fatalf("got %s %q", m.First, m.Body)
			}
		}
	})
	t.Run("the backend ignores the expectation: the client sends after a while", func(t *testing.T) {
		s := front(t, backend)
		c := harness.Dial(t, s.Address)
		c.Send(t, "POST /"+head+"Content-Length: 4\r\n\r\n")
		// What curl does: it waits a second for the 100, or sends sooner when one comes.
		_ = c.SetReadDeadline(time.Now().Add(time.Second)) // Fails only once closed, as the read will then.
		if _, err := c.R.Peek(1); err == nil {
			if m := c.Response(t, "POST"); m.Status() != 100 {
				t.Fatalf("got %s before the body was sent", m.First)
			}
		}
		c.Send(t, "body")
		if m := c.Response(t, "POST"); m.Status() != 200 {
			t.Fatalf("got %s", m.First)
		}
		if m := only(t, requests); string(m.Body) != "body" {
			t.Errorf("the backend got %q", m.Body)
		}
	})
	t.Run("no route: 404, no body read", func(t *testing.T) {
		s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN", max_body_size: 100B}}
routes:
  - {match: {path: /there}, pool: web}
pools:
  web: {backends: [%s]}
`, backend))
		refused(t, s, "POST /nowhere"+head+"Content-Length: 4\r\n\r\n", 404, "no_route")
		refused(t, s, "POST /there"+head+"Content-Length: 101\r\n\r\n", 413, "body_too_large")
	})
	t.Run("backend unreachable: 502, no body read", func(t *testing.T) {
		s := front(t, harness.FreeAddress(t))
		refused(t, s, "POST /"+head+"Content-Length: 4\r\n\r\n", 502, "connect_refused")
	})
	t.Run("refused by the backend: its answer, no body read", func(t *testing.T) {
		refusing := harness.Backend(t, func(c *harness.Conn) {
			if _, err := c.Head(); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno") // The client notices.
			}
		})
		s := front(t, refusing)
		c := harness.Dial(t, s.Address)
		m := c.Exchange(t, "POST /"+head+"Content-Length: 4\r\n\r\n")
		if m.Status() == 100 { // Allowed: the request was acceptable to Steelyard.
			m = c.Response(t, "POST")
		}
		if m.Status() != 403 {
			t.Errorf("got %s; want the backend's 403", m.First)
		}
	})
}

// refused expects a final status with a cause although no body was sent, and
// that the connection is not used as if the body had been.
func refused(t *testing.T, s *harness.Steelyard, request string, status int, cause string) {
	t.Helper()
	c := harness.Dial(t, s.Address)
	m := c.Exchange(t, request)
	if m.Status() != status || m.Value("X-Steelyard-Cause") != cause {
		t.Errorf("got %s, cause %q; want %d %s", m.First, m.Value("X-Steelyard-Cause"), status, cause)
	}
	if strings.EqualFold(m.Value("Connection"), "close") {
		c.End(t, patience)
	}
}

func TestResponsesWithoutABodyEndWhereTheyEnd(t *testing.T) {
	backend, _ := harness.Scripted(t, func(m *harness.Message) string {
		switch {
		case strings.HasPrefix(m.First, "HEAD "):
			return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Head: 1\r\n\r\n"
		case strings.Contains(m.First, "/204"):
			return "HTTP/1.1 204 No Content\r\nX-Empty: 1\r\n\r\n"
		case strings.Contains(m.First, "/304"):
			return "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1000\r\n\r\n"
		case strings.Contains(m.First, "/zero"):
			return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		}
		return ok
	})
	s := front(t, backend)
	c := harness.Dial(t, s.Address) // One connection: each must end where it should for the next to be read.
	for _, e := range []struct {
		request string
		fields  []string
	}{
		{"HEAD /", []string{"Content-Length: 1000", "X-Head: 1"}},
		{"GET /204", []string{"X-Empty: 1"}},
		{"GET /304", []string{"ETag: \"x\"", "Content-Length: 1000"}},
		{"GET /zero", []string{"Content-Length: 0"}},
		{"HEAD /304", []string{"Content-Length: 1000", "X-Head: 1"}},
		{"GET /", []string{"Content-Length: 2"}},
	} {
		m := c.Exchange(t, e.request+" HTTP/1.1\r\nHost: app.test\r\n\r\n")
		equal(t, e.request+" got the header lines", m.Fields, e.fields)
	}
}

func TestHTTP10Clients(t *testing.T) {
	app := harness.App(t, "a")
	s := front(t, app.Address)
	t.Run("close after the response", func(t *testing.T) {
		c := harness.Dial(t, s.Address)
		m := c.Exchange(t, "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
		if m.Status() != 200 || string(m.Body) != "a" {
			t.Errorf("%s %q", m.First, m.Body)
		}
		c.End(t, patience)
	})
	t.Run("keep-alive if asked", func(t *testing.T) {
		c := harness.Dial(t, s.Address)
		for range 2 {
			m := c.Exchange(t, "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
			if m.Status() != 200 || string(m.Body) != "a" || !strings.EqualFold(m.Value("Connection"), "keep-alive") {
				t.Fatalf("%s %q %q", m.First, m.Fields, m.Body)
			}
		}
	})
	t.Run("no chunks", func(t *testing.T) {
		c := harness.Dial(t, s.Address)
		m := c.Exchange(t, "GET /stream?count=3&ms=1 HTTP/1.0\r\nHost: app.test\r\n\r\n")
		if m.Value("Transfer-Encoding") != "" || string(m.Body) != strings.Repeat("0123456789abcde\n", 3) {
			t.Errorf("%s %q %q", m.First, m.Fields, m.Body)
		}
	})
	t.Run("the backend speaks 1.0 and ends with the connection", func(t *testing.T) {
		backend := harness.Backend(t, func(c *harness.Conn) {
			if _, err := c.Request(); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\nuntil the end") // The client notices.
			}
		})
		s := front(t, backend)
		c := harness.Dial(t, s.Address)
		for range 2 {
			m := c.Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
			if m.First != "HTTP/1.1 200 OK" || string(m.Body) != "until the end" || m.Value("X-Old") != "1" {
				t.Fatalf("%s %q %q", m.First, m.Fields, m.Body)
			}
		}
	})
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	app := harness.App(t, "a")
	s := front(t, app.Address)
	c := harness.Dial(t, s.Address)
	// The first takes longest; bodies stand between the heads.
	c.Send(t, "GET /slow?ms=200 HTTP/1.1\r\nHost: app.test\r\n\r\n"+
		"POST /echo?1 HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc"+
		"POST /echo?2 HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"+
		"HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n"+
		"GET /echo?3 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
	for _, e := range []struct{ method, want string }{
		{"GET", "a"}, {"POST", `"body":"abc"`}, {"POST", `"body":"def"`}, {"HEAD", ""}, {"GET", `/echo?3`},
	} {
		if m := c.Response(t, e.method); m.Status() != 200 || !strings.Contains(string(m.Body), e.want) {
			t.Fatalf("%s %q; want %q", m.First, m.Body, e.want)
		}
	}
	if rest := c.End(t, patience); len(rest) != 0 {
		t.Errorf("after Connection: close came %q", rest)
	}
}

func TestUnixSocketBackend(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "app.sock")
	app := harness.App(t, "unix", "SOCKET="+socket)
	s := front(t, app.Address)
	if got := harness.Shares(t, harness.Client(t), s.URL, 5); got["unix"] != 5 {
		t.Errorf("got %v", got)
	}
}

func TestAResponseThatComesBeforeTheBodyIsPassedOn(t *testing.T) {
	backend := harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Head(); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno") // The client notices.
			time.Sleep(100 * time.Millisecond)                                                                     // Lets the answer out before the reset that unread bytes make.
		}
	})
	s := front(t, backend)
	c := harness.Dial(t, s.Address)
	c.Send(t, "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000000\r\n\r\n"+strings.Repeat("x", 10_000))
	if m := c.Response(t, "POST"); m.Status() != 413 || string(m.Body) != "no" {
		t.Errorf("got %s %q; want the backend's 413", m.First, m.Body)
	}
}

// What two parsers could read in two ways must reach no backend.
func TestAmbiguousFramingIsRefused(t *testing.T) {
	backend, requests := harness.Scripted(t, func(*harness.Message) string { return ok })
	s := front(t, backend)
	for name, request := range map[string]string{
		"both lengths":          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
		"a length that is none": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody",
		"space before colon":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody",
		"unknown coding":        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"folded line":           "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n X-B: 2\r\n\r\n",
		"two hosts":             "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"no host":               "GET / HTTP/1.1\r\nX-A: 1\r\n\r\n",
		"bare carriage return":  "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n",
		"NUL":                   "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\x002\r\n\r\n",
	} {
		c := harness.Dial(t, s.Address)
		m := c.Exchange(t, request)
		if m.Status() != 400 && m.Status() != 501 {
			t.Errorf("%s: got %s; want 400", name, m.First)
		}
		c.End(t, patience)
	}
	if n := len(requests()); n != 0 {
		t.Errorf("%d of them reached the backend", n)
	}
}

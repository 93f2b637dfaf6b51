package wire_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// TestUnsolicitedResponses: what a backend says on a connection that nobody has
// asked anything on is nobody's answer.
func TestUnsolicitedResponses(t *testing.T) {
	for name, says := range map[string]string{
		"a response":             answer("evil"),
		"408 and close (15.5.9)": "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nevil",
		"an interim response":    "HTTP/1.1 100 Continue\r\n\r\n",
		"half a line":            "HTTP/1.1 20",
		"one octet":              "x",
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan struct{})
			backend := harness.Backend(t, func(c *harness.Conn) {
				for {
					q, err := readRequest(c.R)
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, answer(q.target)) // Steelyard sees it.
					if q.target == "/first" {
						<-said // The client has its answer, and the connection is idle.
						_, _ = io.WriteString(c, says)
						said <- struct{}{}
					}
				}
			})
			s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
admin: {address: "ADMIN"}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q], retry: {attempts: 1}}}
`, backend))
			if got, _ := ask(t, s.Address, "GET /first HTTP/1.1"); got != "200 /first" {
				t.Fatalf("the first client got %q", got)
			}
			harness.Eventually(t, patience, "nothing is in flight", func() bool { return s.Backend(t, "web", backend).InFlight == 0 })
			said <- struct{}{}
			<-said
			for _, target := range []string{"/second", "/third"} {
				if got, _ := ask(t, s.Address, "POST "+target+" HTTP/1.1\r\nContent-Length: 0"); got != "200 "+target {
					t.Errorf("the client of %s got %q", target, got)
				}
			}
		})
	}
}

// TestResponseBeforeTheRequestIsFinished: an early answer reaches the client, and
// what the client then sends of its body is not read as a request, by nobody.
func TestResponseBeforeTheRequestIsFinished(t *testing.T) {
	const smuggled = "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for name, c := range map[string]struct{ head, part, rest string }{
		"with a length": {"Content-Length: 1000", "hello", smuggled},
		"with chunks":   {"Transfer-Encoding: chunked", "5\r\nhello\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(smuggled), smuggled)},
	} {
		t.Run(name, func(t *testing.T) {
			lines := make(chan string, 10)
			backend := harness.Backend(t, func(c *harness.Conn) {
				m, err := c.Head()
				if err != nil {
					return
				}
				lines <- m.First
				_, _ = io.WriteString(c, answer("early")) // The client sees it.
				rest, _ := io.ReadAll(c.R)                // However it ends.
				lines <- string(rest)
			})
			s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q], retry: {attempts: 1}}}
`, backend))
			client := harness.Dial(t, s.Address)
			m := client.Exchange(t, "POST /upload HTTP/1.1\r\nHost: a.test\r\n"+c.head+"\r\n\r\n"+c.part)
			if m.Status() != 200 || string(m.Body) != "early" {
				t.Errorf("the client got %s %q", m.First, m.Body)
			}
			_, _ = io.WriteString(client, c.rest) // Steelyard may have closed.
			if rest := client.End(t, patience); len(rest) > 0 {
				t.Errorf("behind its answer the client got %q", rest)
			}
			if line := <-lines; line != "POST /upload HTTP/1.1" {
				t.Errorf("the backend got %q", line)
			}
			if rest := <-lines; strings.Contains(rest, "X-Forwarded-For") { // The octets of the body may come.
				t.Errorf("behind the head the backend got %q", rest)
			}
			select {
			case line := <-lines:
				t.Errorf("the backend got %q on another connection", line)
			default:
			}
		})
	}
}

// TestTemplatesCannotSplit: values of a request that a route puts into heads stay
// within their line, in both directions.
func TestTemplatesCannotSplit(t *testing.T) {
	rec, backend := newRecorder(t)
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /go}, redirect: {to: "https://b.test/{query.x}", status: 302}}
  - match: {path: /*}
    pool: web
    request_headers: {set: {X-Query: "{query.x}", X-User: "{query.user}"}}
    response_headers: {set: {X-Query: "{query.x}", X-Cookie: "{cookie.c}", X-Path: "{path}", X-Header: "{header.x-in}"}}
pools: {web: {backends: [%q]}}
`, backend))
	for name, value := range map[string]string{
		"CRLF": "a%0d%0aEvil:%201", "LF": "a%0AEvil:%201", "CR": "a%0DEvil:%201", "a whole response": "a%0d%0a%0d%0aHTTP/1.1%20200%20OK%0d%0a", "NUL": "a%00Evil:%201",
		"DEL": "a%7fEvil:%201", "a vertical tab": "a%0bEvil:%201", "only a line end": "%0d%0a", "escaped twice": "a%250d%250aEvil:%201", "octets": "%e5%98%8a%e5%98%8dEvil:%201",
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/go", "/x"} {
				got, head := ask(t, s.Address, "GET "+path+"?x="+value+" HTTP/1.1\r\nCookie: c="+value+"\r\nX-In: a\r\nX_User: evil")
				if !strings.HasPrefix(got, "302 ") && got != "200 GET "+path+"?x="+value {
					t.Errorf("%s: the client got %q", path, got)
				}
				for _, line := range head {
					if strings.HasPrefix(strings.ToLower(line), "evil") {
						t.Errorf("%s: the client got the field %q", path, line)
					}
				}
			}
			for _, q := range rec.take(t) {
				if strings.Contains(strings.ToLower(q.raw), "\r\nevil") || strings.Contains(q.raw, "\r\nX_User") {
					t.Errorf("the backend saw %q", q.raw)
				}
			}
		})
	}
}

// TestTrailersThatARouteReplaces: what a route removes or sets cannot come as a
// trailer either.
func TestTrailersThatARouteReplaces(t *testing.T) {
	bodies := make(chan string, 1)
	backend := harness.Backend(t, func(c *harness.Conn) {
		for {
			q, err := readRequest(c.R)
			if err != nil {
				return
			}
			_, body, _ := strings.Cut(q.raw, "\r\n\r\n")
			bodies <- body
			if _, err := io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Own: 1\r\nX-Internal: 2\r\n\r\n"); err != nil {
				return
			}
		}
	})
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - match: {path: /*}
    pool: web
    request_headers: {set: {X-User: "nobody"}, remove: [X-Group]}
    response_headers: {remove: [X-Internal]}
pools: {web: {backends: [%q]}}
`, backend))
	for _, body := range []string{"2\r\nab\r\n", strings.Repeat("1\r\nx\r\n", 5000)} { // With the head, and behind it.
		m := harness.Dial(t, s.Address).Exchange(t, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"+body+
			"0\r\nX-User: root\r\nx_group: a\r\nX-Sum: 7\r\n\r\n")
		if string(m.Body) != "hello" || fmt.Sprint(m.Trailers) != "[X-Own: 1]" {
			t.Errorf("the client got %q with the trailers %q", m.Body, m.Trailers)
		}
		if saw := <-bodies; !strings.HasSuffix(saw, "\r\n0\r\nX-Sum: 7\r\n\r\n") {
			t.Errorf("the backend got a body that ends with %q", saw[max(0, len(saw)-80):])
		}
	}
}

// TestNoResetOvertakesAnAnswer: a client that has sent more than is read, behind a
// request that is to be the last, gets its answer and a clean end.
func TestNoResetOvertakesAnAnswer(t *testing.T) {
	_, backend := newRecorder(t)
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q]}}
`, backend))
	more := strings.Repeat("GET /more HTTP/1.1\r\nHost: a.test\r\n\r\n", 5000)
	for request, want := range map[string]string{get("Connection: close"): "200", get("X : 1"): "400", get("Transfer-Encoding: gzip, chunked"): "501"} {
		for range 20 {
			if got, err := exchange(plain(s.Address), request+more, false, runs[0].step); got != want || err != nil {
				t.Fatalf("%q: %q, %v; want %s", request, got, err, want)
			}
		}
	}
}

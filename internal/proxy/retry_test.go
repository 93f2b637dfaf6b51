package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"steelyard/internal/pool"
)

// withBackup makes all backends but the first backups, so that the order of
// attempts is known.
func withBackup(po *pool.Options) {
	for i := 1; i < len(po.Backends); i++ {
		po.Backends[i].Backup = true
	}
}

func request(method, fields, body string) string {
	r := method + " /x HTTP/1.1\r\nHost: a\r\n" + fields
	if body != "" {
		r += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return r + "\r\n" + body
}

// TestRetryAfterRefusal: nothing was written, so every method goes on to the
// next backend, without a budget.
func TestRetryAfterRefusal(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, ok("second"))
			f := newFixture(t, []string{refused(t), s.addr}, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				withBackup(po)
				f.target.Retry.BodyLimit = 0
			})
			resp, body := f.do(t, request(method, "", "payload"))
			if resp.StatusCode != 200 || body != "second" {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
			if _, bodies := s.seen(); len(bodies) != 1 || bodies[0] != "payload" {
				t.Errorf("the backend got %q", bodies)
			}
			if n := f.pool.Stats.Retries.Load(); n != 1 {
				t.Errorf("%d retries were counted, want 1", n)
			}
		})
	}
}

// TestNoBackendLeft: a failure that could be repeated, but nowhere, is answered.
func TestNoBackendLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{refused(t)}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
		f.target.Retry.Attempts = 5
	})
	resp, _ := f.do(t, request("GET", "", ""))
	if resp.StatusCode != 502 || resp.Header.Get("X-Steelyard-Cause") != "connect_refused" {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("X-Steelyard-Cause"))
	}
	if a, r := f.pool.Stats.Attempts.Load(), f.pool.Stats.Retries.Load(); a != 1 || r != 0 {
		t.Errorf("%d attempts and %d retries were counted, want 1 and 0", a, r)
	}
}

// retryCase is a request that meets a first backend which fails.
type retryCase struct {
	name    string
	request string
	change  func(*Retry)
	fails   act
	repeat  bool   // the second backend gets it
	cause   string // else the client gets this
}

func retryCases() []retryCase {
	on := func(f func(*Retry)) func(*Retry) { return f }
	timeouts := on(func(r *Retry) { r.Timeout = true })
	bad := on(func(r *Retry) { r.BadResponse = true })
	const key = "Idempotency-Key: 1\r\n"
	return []retryCase{
		{"GET", request("GET", "", ""), nil, hangsUp, true, ""},
		{"HEAD", request("HEAD", "", ""), nil, resets, true, ""},
		{"PUT with body", request("PUT", "", "payload"), nil, hangsUp, true, ""},
		{"DELETE", request("DELETE", "", ""), nil, hangsUp, true, ""},
		{"OPTIONS", request("OPTIONS", "", ""), nil, hangsUp, true, ""},
		{"POST", request("POST", "", "payload"), nil, hangsUp, false, "reset_before_response"},
		{"PATCH", request("PATCH", "", "payload"), nil, hangsUp, false, "reset_before_response"},
		{"POST with Idempotency-Key", request("POST", key, "payload"), nil, hangsUp, true, ""},
		{"POST by configuration", request("POST", "", "payload"), func(r *Retry) { r.Methods = []string{"POST"} }, hangsUp, true, ""},
		{"reset not repeated", request("GET", "", ""), func(r *Retry) { r.Reset = false }, hangsUp, false, "reset_before_response"},
		{"one attempt", request("GET", "", ""), func(r *Retry) { r.Attempts = 1 }, hangsUp, false, "reset_before_response"},
		{"body beyond the limit", request("PUT", "", "payload"), func(r *Retry) { r.BodyLimit = 6 }, hangsUp, false, "reset_before_response"},
		{"body at the limit", request("PUT", "", "payload"), func(r *Retry) { r.BodyLimit = 7 }, hangsUp, true, ""},
		{"ends inside its head", request("GET", "", ""), nil, saysAndEnds("HTTP/1.1 200 OK\r\nX: "), true, ""},
		{"ends after 103", request("GET", "", ""), nil, saysAndEnds("HTTP/1.1 103 Early Hints\r\n\r\n"), true, ""},
		{"not HTTP", request("GET", "", ""), nil, saysAndEnds("220 smtp.example.com\r\n\r\n"), false, "bad_response"},
		{"not HTTP, repeated", request("GET", "", ""), bad, saysAndEnds("220 smtp.example.com\r\n\r\n"), true, ""},
		{"101 that nobody asked for", request("GET", "", ""), nil, says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), false, "bad_response"},
		{"too many interim responses", request("GET", "", ""), nil, says(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 40)), false, "bad_response"},
		{"head without end", request("GET", "", ""), nil, says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10)), false, "bad_response"},
		{"body broken from the start", request("GET", "", ""), nil, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), false, "bad_response"},
		{"body broken from the start, repeated", request("GET", "", ""), bad, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), true, ""},
		{"silent", request("GET", "", ""), nil, thinks, false, "response_timeout"},
		{"silent, repeated", request("GET", "", ""), timeouts, thinks, true, ""},
		{"silent POST", request("POST", "", "payload"), timeouts, thinks, false, "response_timeout"},
	}
}

// TestRetryPossiblyProcessed: a backend may have seen the request, on a new
// connection, so only what is safe to repeat is repeated.
func TestRetryPossiblyProcessed(t *testing.T) {
	t.Parallel()
	for _, tc := range retryCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			first, second := newStation(t, tc.fails), newStation(t, ok("second"))
			f := newFixture(t, []string{first.addr, second.addr}, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				withBackup(po)
				if strings.HasPrefix(tc.name, "silent") {
					po.Transport.ResponseTimeout = 50 * time.Millisecond
				}
				if tc.change != nil {
					tc.change(&f.target.Retry)
				}
			})
			resp, body := f.do(t, tc.request)
			if first.count() != 1 {
				t.Errorf("the first backend got %d requests", first.count())
			}
			if cause := resp.Header.Get("X-Steelyard-Cause"); cause != tc.cause {
				t.Errorf("got cause %q, want %q; body %q", cause, tc.cause, body)
			}
			if _, bodies := second.seen(); tc.repeat != (len(bodies) == 1) {
				t.Errorf("the second backend got %d requests", len(bodies))
			} else if _, firsts := first.seen(); tc.repeat && bodies[0] != firsts[0] {
				t.Errorf("the second backend got the body %q", bodies[0])
			}
		})
	}
}

// TestRetryStale: a kept connection closes as the request is written to it.
func TestRetryStale(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: 1\r\n"
	for _, tc := range []struct {
		name    string
		request string
		change  func(*Retry)
		repeat  bool
	}{
		{"GET", request("GET", "", ""), nil, true},
		{"PUT with body", request("PUT", "", "payload"), nil, true},
		{"POST", request("POST", "", "payload"), nil, false},
		{"POST with Idempotency-Key", request("POST", key, "payload"), nil, true},
		{"GET, reset not repeated", request("GET", "", ""), func(r *Retry) { r.Reset = false }, false},
	} {
		for _, backends := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d backends", tc.name, backends), func(t *testing.T) {
				t.Parallel()
				first, second := newStation(t, ok("first"), hangsUp, ok("first")), newStation(t, ok("second"))
				f := newFixture(t, []string{first.addr, second.addr}[:backends], func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
					withBackup(po)
					if tc.change != nil {
						tc.change(&f.target.Retry)
					}
				})
				f.do(t, request("GET", "", ""))
				f.waitIdle(t, 1)
				resp, body := f.do(t, tc.request)
				want := []string{"first", "second"}[backends-1]
				if !tc.repeat {
					if resp.StatusCode != 502 || first.count()+second.count() != 2 {
						t.Errorf("got %d after %d requests", resp.StatusCode, first.count()+second.count())
					}
					if !strings.Contains(body, "had been idle for 0.0 s; its keep-alive timeout is 60 s") {
						t.Errorf("the answer does not explain itself: %q", body)
					}
					return
				}
				if resp.StatusCode != 200 || body != want {
					t.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
				}
			})
		}
	}
}

// TestRetryAfterInterim: a kept connection that has brought something was not
// stale, so the backend is not asked again.
func TestRetryAfterInterim(t *testing.T) {
	t.Parallel()
	s := newStation(t, ok("first"), saysAndEnds("HTTP/1.1 103 Early Hints\r\n\r\n"), ok("again"))
	f := newFixture(t, []string{s.addr}, nil)
	f.do(t, request("GET", "", ""))
	f.waitIdle(t, 1)
	resp, body := f.do(t, request("GET", "", ""))
	if resp.StatusCode != 502 || s.count() != 2 || strings.Contains(body, "idle") {
		t.Errorf("got %d %q after %d requests", resp.StatusCode, body, s.count())
	}
}

// TestRetryInTheMiddleOfUpload: what was read goes to the second backend, and so
// does what comes after that.
func TestRetryInTheMiddleOfUpload(t *testing.T) {
	t.Parallel()
	asked, got := make(chan struct{}), make(chan string, 1)
	first := scripted(t, func(p *peer, _ int) {
		p.head()
		_, _ = p.r.Peek(3)
	})
	second := scripted(t, func(p *peer, _ int) {
		head := p.head()
		close(asked)
		got <- p.body(head)
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		p.waitClosed()
	})
	f := newFixture(t, []string{first, second}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) { withBackup(po) })
	nc, r := f.dial(t)
	send(t, nc, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
	<-asked
	send(t, nc, "def")
	if resp, _ := readResponse(t, r, "PUT"); resp.StatusCode != 200 || resp.Close {
		t.Errorf("got %d, closes: %v", resp.StatusCode, resp.Close)
	}
	if s := <-got; s != "abcdef" {
		t.Errorf("the second backend got %q", s)
	}
}

// TestRetryUsesFreshConnections: when one kept connection was stale, the next
// attempt does not trust another.
func TestRetryUsesFreshConnections(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	waits := func(p *peer, head string) bool { <-hold; return ok("first")(p, head) }
	s := newStation(t, waits, waits, waits, hangsUp, ok("again"))
	f := newFixture(t, []string{s.addr}, nil)
	done := make(chan struct{})
	for range 3 {
		go func() {
			defer func() { done <- struct{}{} }()
			f.do(t, request("GET", "", ""))
		}()
	}
	waitFor(t, "three requests at once", func() bool { return s.count() == 3 })
	close(hold)
	for range 3 {
		<-done
	}
	f.waitIdle(t, 3)
	if resp, body := f.do(t, request("GET", "", "")); resp.StatusCode != 200 || body != "again" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if n := f.pool.Snapshot().Endpoints[0].Conns.Dials(); n != 4 {
		t.Errorf("%d connections were made, want 4", n)
	}
}

// TestRetryBudget: an outage is not multiplied.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	first, second := newStation(t, hangsUp), newStation(t, hangsUp)
	f := newFixture(t, []string{first.addr, second.addr}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
		po.RetryBudget = 0
	})
	const requests = 40
	for range requests {
		if resp, _ := f.do(t, request("GET", "", "")); resp.StatusCode != 502 {
			t.Fatalf("got %d", resp.StatusCode)
		}
	}
	s := &f.pool.Stats
	if s.Retries.Load() >= requests/2 || s.RetriesDenied.Load() == 0 {
		t.Errorf("%d of %d requests were repeated, %d denied", s.Retries.Load(), requests, s.RetriesDenied.Load())
	}
	if got, want := int64(first.count()+second.count()), requests+s.Retries.Load(); got != want {
		t.Errorf("the backends got %d requests, want %d", got, want)
	}
}

// TestRetryStatus: a response of a status that is repeated is given up only for
// a backend that could do better.
func TestRetryStatus(t *testing.T) {
	t.Parallel()
	busy := status("503 Service Unavailable", "busy")
	long := strings.Repeat("p", 9000)
	for _, tc := range []struct {
		name    string
		request string
		change  func(*Retry, *pool.Options)
		second  act
		want    string
		status  int
	}{
		{"GET", request("GET", "", ""), nil, ok("second"), "second", 200},
		{"PUT whose body follows the head", request("PUT", "", long), nil, ok("second"), "second", 200},
		{"POST", request("POST", "", "payload"), nil, ok("second"), "busy", 503},
		{"beyond the limit", request("PUT", "", long), func(r *Retry, _ *pool.Options) { r.BodyLimit = 5000 }, ok("second"), "busy", 503},
		{"all busy", request("GET", "", ""), nil, busy, "busy", 503},
		{"other status", request("GET", "", ""), func(r *Retry, _ *pool.Options) { r.Statuses = []int{500} }, ok("second"), "busy", 503},
		{"one backend", request("GET", "", ""), func(_ *Retry, po *pool.Options) { po.Backends = po.Backends[:1] }, ok("second"), "busy", 503},
		{"one attempt", request("GET", "", ""), func(r *Retry, _ *pool.Options) { r.Attempts = 1 }, ok("second"), "busy", 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			first, second := newStation(t, busy), newStation(t, tc.second)
			f := newFixture(t, []string{first.addr, second.addr}, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				withBackup(po)
				f.target.Retry.Statuses = []int{502, 503}
				if tc.change != nil {
					tc.change(&f.target.Retry, po)
				}
			})
			resp, body := f.do(t, tc.request)
			if resp.StatusCode != tc.status || body != tc.want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tc.status, tc.want)
			}
			if c := resp.Header.Get("X-Steelyard-Cause"); c != "" {
				t.Errorf("a response of a backend has the cause %q", c)
			}
		})
	}
}

// TestReplayOfKeptBody: what was streamed is kept up to the limit, in the bytes
// that went out, and goes to the next backend whole.
func TestReplayOfKeptBody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 3000)
	chunks := fmt.Sprintf("%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n", len(long), long, len(long), long)
	for _, tc := range []struct{ name, request string }{
		{"length", request("PUT", "", long)},
		{"chunked", "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			read := make(chan string, 2)
			reads := func(answer string) func(p *peer, n int) {
				return func(p *peer, _ int) {
					read <- p.body(p.head())
					p.say(answer)
				}
			}
			first, second := scripted(t, reads("")), scripted(t, reads("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
			f := newFixture(t, []string{first, second}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) { withBackup(po) })
			resp, _ := f.do(t, tc.request)
			if resp.StatusCode != 200 {
				t.Fatalf("got %d", resp.StatusCode)
			}
			a, b := <-read, <-read
			if a != b || strings.Count(a, "0123456789") < 3000 {
				t.Errorf("the first backend got %d bytes, the second %d other", len(a), len(b))
			}
		})
	}
}

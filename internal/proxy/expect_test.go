package proxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"steelyard/internal/pool"
)

const expecting = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

// TestExpectContinue: the backend decides whether the body is wanted.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := newStation(t, ok("done"))
	f := newFixture(t, []string{s.addr}, nil)
	nc, r := f.dial(t)
	for range 2 {
		send(t, nc, expecting)
		got := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		send(t, nc, "abc")
		if resp, body := readResponse(t, r, "PUT"); resp.StatusCode != 200 || body != "done" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	if _, bodies := s.seen(); bodies[0] != "abc" || bodies[1] != "abc" {
		t.Errorf("the backend got %q", bodies)
	}
}

// TestExpectRefused: a final status means that no body is read, and that the
// connection cannot be used again.
func TestExpectRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fixture, *pool.Options, *Generation, *Limits){
		"by the backend": nil,
		"by the limit":   func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) { lim.MaxBodySize = 2 },
		"by the route": func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
			f.route.Pool, f.route.Respond = nil, &Respond{Status: 413}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				p.head()
				p.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
				p.waitClosed()
			})}, change)
			nc, r := f.dial(t)
			send(t, nc, expecting)
			resp, _ := readResponse(t, r, "PUT")
			if resp.StatusCode != 413 || !resp.Close {
				t.Errorf("got %d, closes: %v", resp.StatusCode, resp.Close)
			}
			send(t, nc, "abc") // a client that sends nevertheless is not reset
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

// TestExpectNotAwaited: clients need not wait, and old ones do not.
func TestExpectNotAwaited(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ request, interim string }{
		"body at once": {expecting + "abc", "HTTP/1.1 100 Continue\r\n\r\n"},
		"HTTP/1.0":     {strings.Replace(expecting, "1.1\r\n", "1.0\r\nConnection: keep-alive\r\n", 1) + "abc", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, []string{newStation(t, ok("done")).addr}, nil)
			nc, r := f.dial(t)
			for range 2 {
				send(t, nc, tc.request)
				got := make([]byte, len(tc.interim))
				if _, err := io.ReadFull(r, got); string(got) != tc.interim {
					t.Fatalf("got %q, %v", got, err)
				}
				line, err := r.Peek(12)
				if string(line) != "HTTP/1.1 200" {
					t.Fatalf("got %q, %v", line, err)
				}
				readResponse(t, r, "PUT")
			}
		})
	}
	t.Run("body before the word", func(t *testing.T) {
		asked := make(chan struct{})
		got := make(chan string, 1)
		f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
			head := p.head()
			close(asked)
			got <- p.body(head) // never says 100
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			p.waitClosed()
		})}, nil)
		nc, r := f.dial(t)
		send(t, nc, expecting)
		<-asked
		send(t, nc, "abc")
		if resp, _ := readResponse(t, r, "PUT"); resp.StatusCode != 200 || resp.Close || <-got != "abc" {
			t.Errorf("got %d, closes: %v", resp.StatusCode, resp.Close)
		}
	})
}

// TestExpectWhoIsSilent: before its word the backend is late, behind it the
// client.
func TestExpectWhoIsSilent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		script func(*peer, int)
		change func(*pool.Options, *Limits)
		cause  string
	}{
		{"the backend", func(p *peer, _ int) { p.head(); p.waitClosed() },
			func(po *pool.Options, lim *Limits) {
				po.Transport.ResponseTimeout, lim.BodyTimeout = 300*time.Millisecond, 20*time.Millisecond
			}, "response_timeout"},
		{"the client", func(p *peer, _ int) { p.head(); p.say("HTTP/1.1 100 Continue\r\n\r\n"); p.waitClosed() },
			func(_ *pool.Options, lim *Limits) { lim.BodyTimeout = 100 * time.Millisecond }, "body_timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, []string{scripted(t, tc.script)}, func(_ *fixture, po *pool.Options, _ *Generation, lim *Limits) { tc.change(po, lim) })
			resp, _ := f.do(t, expecting)
			if c := resp.Header.Get("X-Steelyard-Cause"); c != tc.cause {
				t.Errorf("got %d %q, want %q", resp.StatusCode, c, tc.cause)
			}
		})
	}
}

// TestExpectRetried: the word of the first backend is passed on once, and the
// second one gets the body that followed it.
func TestExpectRetried(t *testing.T) {
	t.Parallel()
	first, second := newStation(t, hangsUp), newStation(t, ok("second"))
	f := newFixture(t, []string{first.addr, second.addr}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) { withBackup(po) })
	nc, r := f.dial(t)
	send(t, nc, expecting)
	if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	_, _ = r.ReadString('\n')
	send(t, nc, "abc")
	line, err := r.Peek(12)
	if string(line) != "HTTP/1.1 200" {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, body := readResponse(t, r, "PUT"); body != "second" {
		t.Errorf("got %q", body)
	}
	if _, bodies := second.seen(); len(bodies) != 1 || bodies[0] != "abc" {
		t.Errorf("the second backend got %q", bodies)
	}
}

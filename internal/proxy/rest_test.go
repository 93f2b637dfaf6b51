package proxy

import (
	"bufio"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs"
	"steelyard/internal/pool"
)

// only is the one connection of the listener.
func (f *fixture) only(t testing.TB) *clientConn {
	t.Helper()
	f.listener.mu.Lock()
	defer f.listener.mu.Unlock()
	if len(f.listener.conns) != 1 {
		t.Fatalf("%d connections", len(f.listener.conns))
	}
	for c := range f.listener.conns {
		return c
	}
	return nil
}

// resters is how many goroutines wait with a connection that rests. Tests that ask
// must not run beside others.
func resters() int {
	buf := make([]byte, 1<<20)
	n := 0
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "(*clientConn).waitResting(") && !strings.Contains(g, "fasthttp") {
			n++
		}
	}
	return n
}

func rests(t testing.TB) {
	t.Helper()
	waitFor(t, "the connection rests", func() bool { return resters() == 1 })
}

// TestRest: a connection that is silent goes to rest and is served again from there,
// as often as it likes.
func TestRest(t *testing.T) {
	for _, secure := range []bool{false, true} {
		name := "plain"
		if secure {
			name = "tls"
		}
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
			var nc io.ReadWriteCloser
			if secure {
				nc = overTLS(t, f, certs.Options{}, "").dial(t, f, nil)
			} else {
				nc, _ = f.dial(t)
			}
			r := bufio.NewReader(nc)
			serve := func(request string, n int) {
				t.Helper()
				if _, err := io.WriteString(nc, request); err != nil {
					t.Fatal(err)
				}
				for range n {
					if resp, body := readResponse(t, r, "GET"); resp.StatusCode != 200 || body != "hello" {
						t.Fatalf("got %d %q", resp.StatusCode, body)
					}
				}
			}
			serve(smallGet, 1)
			rests(t)
			serve(smallGet+smallGet, 2) // the second is there when the first has been read
			rests(t)
			half := len(smallGet) / 2
			serve(smallGet[:half], 0)
			waitFor(t, "the connection is awake", func() bool { return resters() == 0 })
			serve(smallGet[half:]+smallGet, 2)
			nc.Close()
			waitFor(t, "the connection is forgotten", func() bool { return f.listener.Connections() == 0 })
		})
	}
}

// TestRestBeforeTheFirstRequest: who connects and says nothing needs no deep stack
// either.
func TestRestBeforeTheFirstRequest(t *testing.T) {
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	nc, r := f.dial(t)
	rests(t)
	send(t, nc, smallGet)
	if resp, body := readResponse(t, r, "GET"); resp.StatusCode != 200 || body != "hello" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// TestRestEnds: idle_timeout counts from the last response, and a stop lets go of who
// rests.
func TestRestEnds(t *testing.T) {
	const idle = 300 * time.Millisecond
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) {
		lim.IdleTimeout = idle
	})
	nc, r := f.dial(t)
	send(t, nc, smallGet)
	readResponse(t, r, "GET")
	since := time.Now()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection ended with %v", err)
	}
	if took := time.Since(since); took < idle-50*time.Millisecond {
		t.Errorf("closed after %v", took)
	}

	lim := testLimits()
	f.listener.Configure("test", lim)
	nc, r = f.dial(t)
	send(t, nc, smallGet)
	readResponse(t, r, "GET")
	rests(t)
	cut := f.shutdown()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection ended with %v", err)
	}
	if n := <-cut; n != 0 {
		t.Errorf("%d connections were cut", n)
	}
}

// TestServedWhileStopping: a request that wakes a connection after a stop has begun
// is served.
func TestServedWhileStopping(t *testing.T) {
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	nc, r := f.dial(t)
	send(t, nc, smallGet)
	readResponse(t, r, "GET")
	rests(t)
	cut := f.shutdown()
	waitFor(t, "the listener stops", f.listener.draining.Load)
	send(t, nc, smallGet)
	if resp, body := readResponse(t, r, "GET"); resp.StatusCode != 200 || body != "hello" || !resp.Close {
		t.Errorf("got %d %q, closes: %v", resp.StatusCode, body, resp.Close)
	}
	if n := <-cut; n != 0 {
		t.Errorf("%d connections were cut", n)
	}
}

// TestReleasedWhileARequestComes: of a stop and a request in the same moment the
// request wins, at rest too.
func TestReleasedWhileARequestComes(t *testing.T) {
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	nc, r := f.dial(t)
	send(t, nc, smallGet)
	readResponse(t, r, "GET")
	rests(t)
	c := f.only(t)
	f.listener.mu.Lock()
	if !c.state.CompareAndSwap(connIdle, connReleased) {
		t.Error("it does not wait")
	}
	f.listener.mu.Unlock()
	send(t, nc, smallGet)
	if resp, body := readResponse(t, r, "GET"); resp.StatusCode != 200 || body != "hello" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// TestLively: a connection stays awake for long only when its requests follow each
// other soon.
func TestLively(t *testing.T) {
	for _, tc := range []struct {
		name     string
		requests int
		ago      time.Duration
		want     time.Duration
	}{
		{"the first request", 0, time.Millisecond, awakeBriefly},
		{"the second, at once", 1, time.Millisecond, awakeLively},
		{"after it went to rest", 1, 4 * awakeBriefly, awakeLively},
		{"a minute later", 100, time.Minute, awakeBriefly},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &clientConn{requests: tc.requests, at: 2 * time.Minute}
			if c.enliven(c.at + tc.ago); c.awake() != tc.want || c.at != 2*time.Minute+tc.ago {
				t.Errorf("awake for %v at %v, want %v", c.awake(), c.at, tc.want)
			}
		})
	}
}

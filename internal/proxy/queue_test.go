package proxy

import (
	"sync"
	"testing"
	"time"

	"steelyard/internal/pool"
	"steelyard/internal/router"
)

// TestQueue lets requests wait, in order, for as long as they may.
func TestQueue(t *testing.T) {
	t.Parallel()
	// The one backend is busy with a request until release is called.
	setUp := func(t *testing.T, size int, timeout time.Duration) (_ *fixture, _ *station, release func()) {
		free := make(chan struct{})
		release = sync.OnceFunc(func() { close(free) })
		t.Cleanup(release)
		s := newStation(t, func(p *peer, head string) bool { <-free; return ok("done")(p, head) })
		f := newFixture(t, []string{s.addr}, func(_ *fixture, po *pool.Options, _ *Generation, lim *Limits) {
			po.Backends[0].MaxConnections, po.Queue, po.QueueTimeout = 1, size, timeout
			lim.WriteTimeout = 100 * time.Millisecond // shorter than the wait
		})
		nc, _ := f.dial(t)
		send(t, nc, get("/", ""))
		waitFor(t, "the backend is full", func() bool { return s.count() == 1 })
		return f, s, release
	}
	refuses := func(t *testing.T, f *fixture, cause string) {
		t.Helper()
		resp, body := f.do(t, get("/", ""))
		if resp.StatusCode != 503 || resp.Header.Get("X-Steelyard-Cause") != cause || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %d %q, want %q", resp.StatusCode, body, cause)
		}
	}
	t.Run("none", func(t *testing.T) {
		f, _, _ := setUp(t, 0, 0)
		refuses(t, f, "queue_full")
	})
	t.Run("timeout", func(t *testing.T) {
		f, _, _ := setUp(t, 1, 300*time.Millisecond)
		refuses(t, f, "queue_timeout")
	})
	t.Run("full, and then free", func(t *testing.T) {
		f, s, release := setUp(t, 1, patience)
		nc, r := f.dial(t)
		send(t, nc, get("/", ""))
		waitFor(t, "the request waits", f.pool.Crowded)
		refuses(t, f, "queue_full")
		release()
		if _, body := readResponse(t, r, "GET"); body != "done" || s.count() != 2 {
			t.Errorf("got %q after %d requests", body, s.count())
		}
	})
	t.Run("client leaves", func(t *testing.T) {
		f, s, _ := setUp(t, 1, patience)
		nc, _ := f.dial(t)
		send(t, nc, get("/", ""))
		waitFor(t, "the request waits", f.pool.Crowded)
		nc.Close()
		waitFor(t, "it waits no more", func() bool { return !f.pool.Crowded() })
		waitFor(t, "the error is counted", func() bool { return f.Errors()["client_gone"] == 1 })
		if s.count() != 1 {
			t.Errorf("the backend got %d requests", s.count())
		}
	})
}

// TestResponseTimeoutAfterQueue: the time in the queue is not the backend's.
func TestResponseTimeoutAfterQueue(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	end := make(chan struct{})
	f := newFixture(t, []string{newStation(t, func(p *peer, _ string) bool {
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		<-end
		return p.say("0\r\n\r\n")
	}, func(p *peer, head string) bool {
		time.Sleep(timeout / 4)
		return ok("in time")(p, head)
	}).addr}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
		po.Backends[0].MaxConnections, po.Queue, po.QueueTimeout, po.Transport.ResponseTimeout = 1, 1, patience, timeout
	})
	first, firstR := f.dial(t)
	send(t, first, get("/", ""))
	if _, err := firstR.Peek(1); err != nil {
		t.Fatal(err)
	}
	nc, r := f.dial(t)
	send(t, nc, get("/", ""))
	waitFor(t, "the request waits", f.pool.Crowded)
	time.Sleep(2 * timeout) // the wait is longer than the backend may think
	close(end)
	if resp, body := readResponse(t, r, "GET"); body != "in time" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// TestRouting hands each route's requests to what it says.
func TestRouting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, ok("pool")).addr}, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
		var err error
		g.Table, err = router.New([]router.Match{{Path: "/a/*"}, {Headers: []router.Field{{Name: "X-A", Value: "1"}}}, {Query: []router.Field{{Name: "a", Value: "~^[0-9]+$"}}}})
		if err != nil {
			t.Fatal(err)
		}
		respond := func(s string) *Route { return &Route{Name: s, Respond: &Respond{Status: 200, Body: []byte(s)}} }
		g.Routes = []*Route{f.route, respond("header"), respond("query")}
	})
	for _, tc := range []struct{ target, fields, want string }{
		{"/a/b", "", "pool"}, {"/", "x-a: 1\r\n", "header"}, {"/?b&a=1%32", "", "query"},
	} {
		if _, body := f.do(t, get(tc.target, tc.fields)); body != tc.want {
			t.Errorf("%q: got %q, want %q", tc.target, body, tc.want)
		}
	}
	if resp, _ := f.do(t, get("/?a=x", "")); resp.StatusCode != 404 || resp.Header.Get("X-Steelyard-Cause") != "no_route" {
		t.Errorf("got %d", resp.StatusCode)
	}
}

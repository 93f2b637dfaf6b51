package proxy

import (
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"steelyard/internal/metrics"
	"steelyard/internal/pool"
)

// TestCounters: every request is counted once in its route and pool, by what
// its client got, and once on its backend, by what that answered.
func TestCounters(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	ok := cannedResponse(smallResponse)
	gone := make(chan struct{})
	cases := []struct {
		name    string
		request string
		backend func(t testing.TB) string
		leave   bool
		client  [6]int64 // classes of route and pool
		backs   [6]int64
		latency uint64
		first   uint64
		passed  int64
		errors  map[string]int64
	}{
		{name: "ok", request: get, backend: ok, client: [6]int64{2: 1}, backs: [6]int64{2: 1}, latency: 1, first: 1},
		{name: "a backend's error", request: get, backend: cannedResponse("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
			client: [6]int64{5: 1}, backs: [6]int64{5: 1}, latency: 1, first: 1, passed: 1},
		{name: "an error of ours", request: get, backend: closingBackend, client: [6]int64{5: 1}, latency: 1,
			errors: map[string]int64{"reset_before_response": 1}},
		{name: "cut", request: get, backend: cutBackend("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell"),
			client: [6]int64{0: 1}, backs: [6]int64{2: 1}, first: 1, errors: map[string]int64{"response_truncated": 1}},
		{name: "the client left", request: get, leave: true, client: [6]int64{0: 1},
			backend: func(t testing.TB) string { return silentBackend(t, gone) }, errors: map[string]int64{"client_gone": 1}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, []string{tc.backend(t)}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
				f.route.Stats = new(RouteStats)
				f.target.Retry.Attempts = 1
			})
			nc, r := f.dial(t)
			send(t, nc, tc.request)
			if tc.leave {
				<-gone
				nc.Close()
			} else {
				_, _ = io.ReadAll(io.LimitReader(r, 16))
			}
			waitFor(t, "it is counted", func() bool { return f.route.Stats.Classes.Read() == tc.client })
			if got := f.pool.Stats.Classes.Read(); got != tc.client {
				t.Errorf("pool: %v, want %v", got, tc.client)
			}
			e := f.pool.Snapshot().Endpoints[0]
			if got := e.Classes(); got != tc.backs {
				t.Errorf("backend: %v, want %v", got, tc.backs)
			}
			var d metrics.Distribution
			waitFor(t, "the latency is counted", func() bool { f.pool.Stats.Latency.Read(&d); return d.Count == tc.latency })
			if e.FirstByte(&d); d.Count != tc.first {
				t.Errorf("%d first bytes, want %d", d.Count, tc.first)
			}
			for _, c := range f.ErrorCounts() {
				if c.Count != tc.errors[c.Cause] {
					t.Errorf("%d errors of %s, want %d", c.Count, c.Cause, tc.errors[c.Cause])
				}
			}
			ofPool := map[string]int64{}
			for _, c := range AppendErrorCounts(nil, &f.pool.Stats.Errors) {
				ofPool[c.Cause] = c.Count
			}
			if !maps.Equal(ofPool, tc.errors) {
				t.Errorf("errors of the pool: %v, want %v", ofPool, tc.errors)
			}
			for _, c := range f.UnpooledErrorCounts() {
				if c.Count != 0 {
					t.Errorf("%d errors of %s have no pool", c.Count, c.Cause)
				}
			}
			if got := f.pool.Stats.PassedOn.Load(); got != tc.passed {
				t.Errorf("%d responses of 500 and above were passed on, want %d", got, tc.passed)
			}
			if got := f.listener.Accepted(); got != 1 {
				t.Errorf("%d connections accepted", got)
			}
		})
	}
}

// TestErrorsWithoutPool: what ends before a pool is found is nobody's.
func TestErrorsWithoutPool(t *testing.T) {
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	nc, r := f.dial(t)
	send(t, nc, "GET / HTTP/1.0\r\nHost: x\r\nBad Name: y\r\n\r\n")
	_, _ = io.ReadAll(r)
	waitFor(t, "it is counted", func() bool { return f.Errors()["bad_request"] == 1 })
	if got := AppendErrorCounts(nil, &f.pool.Stats.Errors); len(got) != 0 {
		t.Errorf("the pool has %v", got)
	}
	for _, c := range f.UnpooledErrorCounts() {
		if want := f.Errors()[c.Cause]; c.Count != want {
			t.Errorf("%d of %s, want %d", c.Count, c.Cause, want)
		}
	}
}

func cannedResponse(response string) func(testing.TB) string {
	return func(t testing.TB) string { return cannedBackend(t, response) }
}

// closingBackend reads a head and closes.
func closingBackend(t testing.TB) string { return cutBackend("")(t) }

// cutBackend reads a head, answers with response and closes.
func cutBackend(response string) func(testing.TB) string {
	return func(t testing.TB) string {
		return rawBackend(t, func(nc net.Conn, _ int) {
			buf := make([]byte, 4096)
			if _, err := nc.Read(buf); err == nil {
				_, _ = io.WriteString(nc, response)
			}
		})
	}
}

// silentBackend reads a request, says so and never answers.
func silentBackend(t testing.TB, got chan<- struct{}) string {
	return rawBackend(t, func(nc net.Conn, _ int) {
		buf := make([]byte, 4096)
		if _, err := nc.Read(buf); err == nil {
			got <- struct{}{}
			_, _ = nc.Read(buf)
		}
	})
}

// TestQueuedIsCounted: who waits is counted with how long; who need not, is not.
func TestQueuedIsCounted(t *testing.T) {
	release := make(chan struct{})
	backend := rawBackend(t, func(nc net.Conn, _ int) {
		buf := make([]byte, 4096)
		for {
			if _, err := nc.Read(buf); err != nil {
				return
			}
			<-release
			_, _ = io.WriteString(nc, smallResponse)
		}
	})
	f := newFixture(t, []string{backend}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
		po.Backends[0].MaxConnections, po.Queue, po.QueueTimeout = 1, 10, time.Minute
	})
	for n := range 2 {
		nc, _ := f.dial(t)
		send(t, nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		waitFor(t, "it is taken", func() bool { return f.inFlight(0) == 1 && f.pool.Waiting() == n })
	}
	const waited = 20 * time.Millisecond
	time.Sleep(waited) // so that there is something to measure
	close(release)
	var d metrics.Distribution
	waitFor(t, "both are answered", func() bool { f.pool.Stats.Latency.Read(&d); return d.Count == 2 })
	if f.pool.Stats.Queued.Read(&d); d.Count != 1 || d.Sum < waited {
		t.Errorf("%d waited, %v in all", d.Count, d.Sum)
	}
}

// TestRetryCounts: in a fixed order, and the same as in Retries.
func TestRetryCounts(t *testing.T) {
	p := New(&Generation{})
	for range 3 {
		p.countRetry(&failure{cause: CauseReset, class: classStale})
	}
	p.countRetry(&failure{cause: CauseBadResponse, class: classPossible, granted: true})
	var got []string
	for _, c := range p.RetryCounts() {
		got = append(got, c.Class+"/"+c.Reason)
		if n := p.Retries()[c.Class+"/"+c.Reason]; n != c.Count {
			t.Errorf("%v, but %d in Retries", c, n)
		}
	}
	if want := "stale/reset_before_response possibly_processed/status"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// BenchmarkCounters is what a request pays for being counted: in its route, its
// pool and its backend, with all durations.
func BenchmarkCounters(b *testing.B) {
	f := newFixture(b, []string{cannedBackend(b, smallResponse)}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
		f.route.Stats = new(RouteStats)
	})
	c := &clientConn{listener: f.listener, at: 2 * time.Millisecond, started: time.Millisecond}
	x := acquireExchange(c)
	defer x.release()
	x.route, x.target, x.snap, x.index, x.status = f.route, f.target, f.pool.Snapshot(), 0, 200
	b.ReportAllocs()
	for b.Loop() {
		x.endpoint().ObserveFirstByte(time.Millisecond)
		f.pool.Answered(x.endpoint(), 200)
		x.settleSafely()
	}
}

package pool

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/internal/transport"
)

// eventually waits for a condition, at most 5 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// options are those of n backends b0, b1, …
func options(n int) Options {
	o := Options{Policy: balancer.Options{Policy: "round_robin"}, Transport: transport.DefaultOptions(), RetryBudget: 0.2}
	for i := range n {
		o.Backends = append(o.Backends, BackendOptions{Address: fmt.Sprintf("b%d", i), Weight: 1})
	}
	return o
}

// newPool makes a pool that is closed at the end, with all its goroutines.
func newPool(t testing.TB, o Options) *Pool {
	t.Helper()
	before := runtime.NumGoroutine()
	p, err := New("web", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if !t.Failed() {
			eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
		}
	})
	return p
}

func apply(t testing.TB, p *Pool, o Options) {
	t.Helper()
	if err := p.Apply(o); err != nil {
		t.Fatal(err)
	}
}

// written waits until the writer has done everything asked of it before.
func written(t testing.TB, p *Pool) {
	t.Helper()
	err := p.command(func(w *writer) error {
		w.publish()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// state is what the pool makes of a backend; "" if it does not have it.
func state(t testing.TB, p *Pool, address string) string {
	t.Helper()
	return statusOf(t, p, address).State
}

// statusOf is the status of a backend; empty if the pool does not have it.
func statusOf(t testing.TB, p *Pool, address string) BackendStatus {
	t.Helper()
	s, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range s.Backends {
		if b.Address == address {
			return b
		}
	}
	return BackendStatus{}
}

// index finds a backend in the snapshot, -1 if it is not there.
func index(s *Snapshot, address string) int {
	for i, e := range s.Endpoints {
		if e.Address == address {
			return i
		}
	}
	return -1
}

func endpoint(t testing.TB, p *Pool, address string) *Endpoint {
	t.Helper()
	s := p.Snapshot()
	i := index(s, address)
	if i < 0 {
		t.Fatalf("there is no backend %s", address)
	}
	return s.Endpoints[i]
}

// picked counts which backends n picks give.
func picked(s *Snapshot, n int) map[string]int {
	got := map[string]int{}
	for range n {
		if i := s.Pick(0, &Tried{}); i >= 0 {
			got[s.Endpoints[i].Address]++
		} else {
			got["none"]++
		}
	}
	return got
}

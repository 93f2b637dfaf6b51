package pool

import (
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// settle lets the writer do what it was asked, in the bubble.
func settle() { synctest.Wait() }

// inBubble runs a test with a pool on synthetic time.
func inBubble(t *testing.T, o Options, f func(t *testing.T, p *Pool)) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New("web", o)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		settle()
		f(t, p)
	})
}

// isHeld reports whether a backend is left alone because dials to it failed.
func isHeld(t *testing.T, p *Pool, address string) bool {
	return state(t, p, address) == "unreachable"
}

// TestHoldOff: a backend that cannot be connected to is left alone, each time
// twice as long, up to 8 s; one that can again starts over.
func TestHoldOff(t *testing.T) {
	inBubble(t, options(3), func(t *testing.T, p *Pool) {
		e := endpoint(t, p, "b1")
		for _, hold := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 8000} {
			hold *= time.Millisecond
			p.ConnectFailed(e)
			settle()
			if got := picked(p.Snapshot(), 10); got["b1"] != 0 || got["none"] != 0 || !isHeld(t, p, "b1") {
				t.Fatalf("picked %v while b1 is held off", got)
			}
			time.Sleep(hold - time.Millisecond)
			settle()
			if !isHeld(t, p, "b1") {
				t.Fatalf("held for less than %v", hold)
			}
			p.ConnectFailed(e) // late failures do not prolong it
			settle()
			time.Sleep(2*sweepEvery + time.Millisecond)
			settle()
			if got := picked(p.Snapshot(), 9); got["b1"] != 3 || isHeld(t, p, "b1") {
				t.Fatalf("picked %v after %v", got, hold)
			}
		}
		p.Connected(e)
		settle()
		p.ConnectFailed(e)
		settle()
		time.Sleep(holdFirst + 2*sweepEvery)
		settle()
		if isHeld(t, p, "b1") {
			t.Error("a backend that had recovered does not start over")
		}
	})
}

// TestRecovery: a connection that works ends the hold-off at once.
func TestRecovery(t *testing.T) {
	inBubble(t, options(2), func(t *testing.T, p *Pool) {
		e := endpoint(t, p, "b0")
		s := p.Snapshot()
		p.Connected(e)
		settle()
		if p.Snapshot() != s {
			t.Error("a connection to a healthy backend makes a snapshot")
		}
		p.ConnectFailed(e)
		settle()
		if p.Snapshot() == s || !isHeld(t, p, "b0") {
			t.Fatal("not held")
		}
		p.Connected(e)
		settle()
		if got := picked(p.Snapshot(), 4); isHeld(t, p, "b0") || got["b0"] != 2 {
			t.Errorf("picked %v after the recovery", got)
		}
	})
}

// TestFailOpen: when every backend is held off, all are tried; backups count,
// backends of weight 0 do not.
func TestFailOpen(t *testing.T) {
	o := options(4)
	o.Backends[2].Backup = true
	o.Backends[3].Weight = 0
	inBubble(t, o, func(t *testing.T, p *Pool) {
		steps := []struct {
			do   func(*Endpoint)
			name string
			want map[string]int
		}{
			{p.ConnectFailed, "b0", map[string]int{"b1": 4}},
			{p.ConnectFailed, "b1", map[string]int{"b2": 4}},
			{p.ConnectFailed, "b2", map[string]int{"b0": 2, "b1": 2}},
			{p.Connected, "b1", map[string]int{"b1": 4}},
		}
		for _, s := range steps {
			s.do(endpoint(t, p, s.name))
			settle()
			if got := picked(p.Snapshot(), 4); !maps.Equal(got, s.want) {
				t.Errorf("after %s: picked %v, want %v", s.name, got, s.want)
			}
		}
	})
}

// TestHoldOffOfRemovedBackend: what is heard of a backend that is gone changes
// nothing, also when another has its address.
func TestHoldOffOfRemovedBackend(t *testing.T) {
	inBubble(t, options(2), func(t *testing.T, p *Pool) {
		old := endpoint(t, p, "b1")
		apply(t, p, options(1))
		apply(t, p, options(2))
		s := p.Snapshot()
		p.ConnectFailed(old)
		settle()
		if p.Snapshot() != s {
			t.Error("a snapshot is made in vain")
		}
		if got := picked(p.Snapshot(), 4); got["b1"] != 2 || isHeld(t, p, "b1") {
			t.Errorf("picked %v", got)
		}
	})
}

// TestFailuresTogether: what has piled up makes one snapshot.
func TestFailuresTogether(t *testing.T) {
	inBubble(t, options(3), func(t *testing.T, p *Pool) {
		s := p.Snapshot()
		busy := make(chan struct{})
		p.commands <- func(*writer) { <-busy }
		p.ConnectFailed(endpoint(t, p, "b0"))
		p.commands <- func(*writer) {
			if p.Snapshot() != s {
				t.Error("a snapshot for each failure")
			}
		}
		p.ConnectFailed(endpoint(t, p, "b1"))
		close(busy)
		settle()
		if got := picked(p.Snapshot(), 3); got["b2"] != 3 {
			t.Errorf("picked %v", got)
		}
	})
}

// TestHoldSurvivesApply: a reload does not send requests to a dead backend.
func TestHoldSurvivesApply(t *testing.T) {
	inBubble(t, options(2), func(t *testing.T, p *Pool) {
		p.ConnectFailed(endpoint(t, p, "b1"))
		settle()
		apply(t, p, options(2))
		if got := picked(p.Snapshot(), 4); got["b0"] != 4 {
			t.Errorf("picked %v", got)
		}
	})
}

// TestRetryBudget: a floor, a share of the recent requests above it, and a
// window that forgets.
func TestRetryBudget(t *testing.T) {
	cases := []struct {
		name     string
		share    float64
		requests int64
		want     int
	}{
		{"the floor without traffic", 0.2, 0, 10},
		{"the floor with a share of 0", 0, 1000, 10},
		{"a fifth", 0.2, 1000, 210},
		{"all", 1, 1000, 1010},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := options(1)
			o.RetryBudget = c.share
			inBubble(t, o, func(t *testing.T, p *Pool) {
				p.Stats.Requests.Add(c.requests)
				if got := allowed(p); got < c.want-1 || got > c.want {
					t.Errorf("%d retries, want %d", got, c.want)
				}
				if p.Stats.RetriesDenied.Load() == 0 {
					t.Error("the denial is not counted")
				}
				time.Sleep(budgetSlot + sweepEvery)
				settle()
				if got := allowed(p); got != 0 {
					t.Errorf("%d more within the window", got)
				}
				time.Sleep(2*budgetSlot + sweepEvery)
				settle()
				if got := allowed(p); got != budgetFloor {
					t.Errorf("%d after the window, want the floor", got)
				}
			})
		})
	}
}

// TestDenialsAreFree: retries that were denied do not count against later ones.
func TestDenialsAreFree(t *testing.T) {
	inBubble(t, options(1), func(t *testing.T, p *Pool) {
		for range 1000 {
			p.MayRetry()
		}
		p.Stats.Requests.Add(1000)
		if got := allowed(p); got < 199 || got > 200 {
			t.Errorf("%d retries after 1000 requests, want 200", got)
		}
	})
}

// TestBudgetTogether: many at once get no more than one after the other.
func TestBudgetTogether(t *testing.T) {
	p := newPool(t, options(1))
	p.Stats.Requests.Add(5000)
	var got atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if p.MayRetry() {
					got.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := got.Load(); n > 1010 || n < 990 {
		t.Errorf("%d retries, want 1010", n)
	}
}

// allowed takes retries until one is denied.
func allowed(p *Pool) (n int) {
	for n < 1_000_000 && p.MayRetry() {
		n++
	}
	return n
}

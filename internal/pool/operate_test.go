package pool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
)

// bound says what a client that is bound to a backend can do.
func (l *lab) bound(address string) Bound {
	s := l.Snapshot()
	return s.Bound(index(s, address), &Tried{})
}

// TestOperator: what each order does to new requests, to bound clients and to
// what is in flight.
func TestOperator(t *testing.T) {
	drain := func(d time.Duration) func(*lab) { return func(l *lab) { l.do(l.Drain("b1", d)) } }
	disable := func(l *lab) { l.do(l.Disable("b1")) }
	enable := func(l *lab) { l.do(l.Enable("b1")) }
	weigh := func(w int) func(*lab) { return func(l *lab) { l.do(l.SetWeight("b1", w)) } }
	wait := func(l *lab) { l.after(time.Minute + sweepEvery) }
	for _, c := range []struct {
		name  string
		do    func(*lab)
		is    string
		picks string
		bound Bound
		cut   bool
	}{
		{"drained", drain(0), "draining", "b0", BoundOK, false},
		{"drained without a bound, for long", all(drain(0), wait), "draining", "b0", BoundOK, false},
		{"drained with a bound", drain(time.Minute), "draining", "b0", BoundOK, false},
		{"drained, time is over", all(drain(time.Minute), wait), "draining", "b0", BoundGone, true},
		{"drained, time is over, enabled", all(drain(time.Minute), wait, enable), "healthy", "b0 b1", BoundOK, false},
		{"drained, time is over, weighed", all(drain(time.Minute), wait, weigh(3)), "draining", "b0", BoundGone, true},
		{"drained, time is over, drained", all(drain(time.Minute), wait, drain(time.Minute)), "draining", "b0", BoundOK, false},
		{"drained, time is over, options applied", all(drain(time.Minute), wait, func(l *lab) { apply(l.T, l.Pool, l.o) }), "draining", "b0", BoundGone, true},
		{"drained twice, the later bound counts", all(drain(time.Hour), drain(time.Minute), wait), "draining", "b0", BoundGone, true},
		{"drained, then disabled", all(drain(time.Minute), disable), "disabled", "b0", BoundGone, false},
		{"drained, then disabled, for long", all(drain(time.Minute), disable, wait), "disabled", "b0", BoundGone, false},
		{"disabled", disable, "disabled", "b0", BoundGone, false},
		{"disabled, then drained", all(disable, drain(time.Minute)), "draining", "b0", BoundOK, false},
		{"disabled, then enabled", all(disable, enable), "healthy", "b0 b1", BoundOK, false},
		{"weight 0", weigh(0), "healthy", "b0", BoundOK, false},
		{"weight 0 and back", all(weigh(0), weigh(-1)), "healthy", "b0 b1", BoundOK, false},
		{"left while drained, and back", all(drain(time.Minute), leaveAndReturn), "draining", "b0", BoundOK, false},
		{"left while disabled, and back", all(disable, leaveAndReturn), "disabled", "b0", BoundGone, false},
		{"left when its drain was over, and back", all(drain(time.Minute), wait, leaveAndReturn), "draining", "b0", BoundGone, true},
		{"left and back", leaveAndReturn, "healthy", "b0 b1", BoundOK, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 2, cookies, func(l *lab) {
				s, e := l.Snapshot(), l.e("b1")
				s.Acquire(index(s, "b1"))
				tunnel := &fakeTunnel{}
				e.Attach(tunnel)
				c.do(l)
				l.want("b1", c.is)
				l.wantPicks(c.picks)
				if got := l.bound("b1"); got != c.bound {
					t.Errorf("bound clients: %d, want %d", got, c.bound)
				}
				if l.e("b1") != e || e.Backend.InFlight() != 1 {
					t.Error("what is in flight is lost")
				}
				if e.Cut() != c.cut || c.cut && tunnel.left == 0 {
					t.Errorf("cut %v, tunnel told %d times", e.Cut(), tunnel.left)
				}
				e.Detach(tunnel)
				l.Release(s, index(s, "b1"))
			})
		})
	}
}

func leaveAndReturn(l *lab) {
	apply(l.T, l.Pool, l.with(1))
	l.want("b1", map[bool]string{true: "disabled", false: "draining"}[l.e("b1").disabled])
	apply(l.T, l.Pool, l.with(2))
}

type fakeTunnel struct{ left int }

func (t *fakeTunnel) Leave() { t.left++ }

// TestOrdersOutliveMembers: a backend that is gone and comes back, as another
// endpoint, is as the operator has left it. What is remembered is bounded.
func TestOrdersOutliveMembers(t *testing.T) {
	inLab(t, 4, nil, func(l *lab) {
		l.do(l.Disable("b1"))
		l.do(l.SetWeight("b2", 0))
		l.do(l.Drain("b3", 0))
		old := l.e("b1")
		apply(t, l.Pool, l.with(1))
		if err := l.Enable("b1"); !errors.Is(err, ErrNoBackend) || !strings.Contains(err.Error(), "pool web: has no such backend b1") {
			t.Errorf("an order to one that has left: %v", err)
		}
		l.after(time.Second)
		apply(t, l.Pool, l.with(4))
		l.want("b1", "disabled")
		l.want("b3", "draining")
		l.wantPicks("b0")
		if l.e("b1") == old {
			t.Error("it was not forgotten")
		}
		l.do(l.Enable("b1"))
		l.wantPicks("b0 b1")
	})
	inLab(t, 0, sourced, func(l *lab) {
		for i := range maxRemembered + 20 {
			a := fmt.Sprintf("s%d", i)
			l.src.set([]discovery.Member{{Address: "keep", Weight: 1}, {Address: "keep2", Weight: 1}, {Address: a, Weight: 1}})
			settle()
			l.do(l.Disable(a))
			l.after(6 * time.Second) // or the guard takes it for a mass removal
		}
		l.tell("keep", "keep2", "s0", fmt.Sprintf("s%d", maxRemembered+10))
		l.want("s0", "healthy")
		l.want(fmt.Sprintf("s%d", maxRemembered+10), "disabled")
		var n int
		l.do(l.command(func(w *writer) error { n = len(w.operated); return nil }))
		if n > maxRemembered+1 {
			t.Errorf("%d are remembered", n)
		}
	})
}

// TestOrdersAreRefused with a reason when they make no sense.
func TestOrdersAreRefused(t *testing.T) {
	inLab(t, 1, nil, func(l *lab) {
		for what, err := range map[string]error{
			"pool web: weight 65536 is not within 0 to 65535": l.SetWeight("b0", balancer.MaxWeight+1),
			"pool web: has no such backend x":                 l.Drain("x", 0),
		} {
			if err == nil || err.Error() != what {
				t.Errorf("%v, want %s", err, what)
			}
		}
	})
}

// TestLeaving: a backend that is not named any more finishes what it has, within
// the pool's drain timeout, and is then forgotten.
func TestLeaving(t *testing.T) {
	for _, c := range []struct {
		name   string
		bound  time.Duration // of the pool's drains
		sticky bool
		do     func(l *lab, e *Endpoint)
		there  bool
		cut    bool
	}{
		{"nothing in flight", 0, false, nil, false, false},
		{"in flight", 0, false, nil, true, false},
		{"in flight, within the bound", time.Hour, false, nil, true, false},
		{"in flight, beyond the bound", time.Minute, false, nil, true, true},
		{"bound clients", time.Hour, true, nil, true, false},
		{"bound clients, beyond the bound", time.Minute, true, nil, false, true},
		{"bound clients, not to be connected to", time.Hour, true, func(l *lab, e *Endpoint) { l.ConnectFailed(e); settle() }, false, false},
		{"bound clients without a bound", 0, true, nil, true, false},
		{"bound clients without a bound, a day", 0, true, func(l *lab, _ *Endpoint) { l.after(sessionsFor) }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 2, func(l *lab) {
				l.o.DrainTimeout = c.bound
				if c.sticky {
					cookies(l)
				}
			}, func(l *lab) {
				e := l.e("b1")
				if strings.HasPrefix(c.name, "in flight") {
					e.Backend.Acquire(0)
				}
				apply(t, l.Pool, l.with(1))
				l.wantPicks("b0")
				if c.do != nil {
					c.do(l, e)
				}
				l.after(2 * time.Minute)
				if got := state(t, l.Pool, "b1") != ""; got != c.there || e.Cut() != c.cut {
					t.Errorf("there %v, cut %v", got, e.Cut())
				}
				if e.Backend.InFlight() > 0 {
					e.Backend.Release()
				}
			})
		})
	}
	t.Run("disabled, with affinity", func(t *testing.T) {
		inLab(t, 2, cookies, func(l *lab) {
			l.do(l.Disable("b1"))
			apply(t, l.Pool, l.with(1))
			settle()
			l.want("b1", "")
		})
	})
}

// TestADrainAfterLeavingCanBeShortened: who has left drains by the pool's time,
// unless the operator says less.
func TestADrainAfterLeavingCanBeShortened(t *testing.T) {
	inLab(t, 2, func(l *lab) { l.o.DrainTimeout = time.Hour }, func(l *lab) {
		s := l.Snapshot()
		e := l.e("b1")
		if !s.Acquire(1) {
			t.Fatal("not acquired")
		}
		apply(t, l.Pool, l.with(1))
		l.do(l.Drain("b1", 2*time.Second))
		l.after(time.Second)
		if e.Cut() {
			t.Error("cut before its time")
		}
		l.after(time.Second + 2*sweepEvery)
		if !e.Cut() {
			t.Error("not cut when its time was over")
		}
		l.Release(s, 1)
		l.after(time.Second)
		l.want("b1", "")
		if err := l.Drain("b1", time.Second); !errors.Is(err, ErrNoBackend) {
			t.Errorf("a drain of one that is gone: %v", err)
		}
	})
}

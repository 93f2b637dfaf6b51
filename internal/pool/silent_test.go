package pool

import (
	"testing"
	"time"
)

// TestSilent: who waits for a backend hears that it is silent when it is out by a
// check that heard nothing, not when it has answered, and not before it is out.
func TestSilent(t *testing.T) {
	inLab(t, 2, checked, func(l *lab) {
		l.after(time.Second)
		for _, c := range []struct {
			is            string
			after         time.Duration
			state, silent string
		}{
			{"mute", 1500 * time.Millisecond, "healthy", "no"}, // one failure of two
			{"mute", 2 * time.Second, "unhealthy", "yes"},
			{"up", 4 * time.Second, "healthy", "no"},
			{"down", 4 * time.Second, "unhealthy", "no"},
		} {
			l.probe.put("b1", c.is)
			l.after(c.after)
			l.want("b1", c.state)
			if got := l.e("b1").Silent(); got != (c.silent == "yes") {
				t.Errorf("%s for %v: silent %v", c.is, c.after, got)
			}
			if l.e("b0").Silent() {
				t.Errorf("%s: the other one is silent", c.is)
			}
		}
	})
}

// TestMayMove: those that leave a silent backend are no more than the recent
// requests, and cost no retries.
func TestMayMove(t *testing.T) {
	count := func(p *Pool) (n int) {
		for n < 100_000 && p.MayMove() {
			n++
		}
		return n
	}
	inBubble(t, options(2), func(t *testing.T, p *Pool) {
		p.Stats.Requests.Add(1000)
		if n := count(p); n != 1000+budgetFloor {
			t.Errorf("%d of 1000 may move", n)
		}
		if n := allowed(p); n < 200 || p.Stats.RetriesDenied.Load() > 1 {
			t.Errorf("%d retries are left, %d denied", n, p.Stats.RetriesDenied.Load())
		}
		time.Sleep(2*budgetSlot + sweepEvery)
		settle()
		if n := count(p); n != budgetFloor {
			t.Errorf("%d may move after the window", n)
		}
	})
	o := options(2)
	o.RetryBudget = 0
	inBubble(t, o, func(t *testing.T, p *Pool) {
		p.Stats.Requests.Add(1000)
		if n := count(p); n != budgetFloor {
			t.Errorf("%d may move in a pool without a budget", n)
		}
	})
}

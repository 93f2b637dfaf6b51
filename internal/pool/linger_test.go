package pool

import (
	"testing"
	"time"

	"steelyard/discovery"
)

func serving(addresses ...string) []discovery.Member {
	var members []discovery.Member
	for _, a := range addresses {
		members = append(members, discovery.Member{Address: a, Weight: 1})
	}
	return members
}

// TestLinger: who leaves serves on while none of those who come has ended its
// first check, and no longer.
func TestLinger(t *testing.T) {
	for _, c := range []struct {
		name  string
		is    string // the newcomer's check
		next  []discovery.Member
		lasts time.Duration // how long the old one serves on
	}{
		{"until the first check passes", "slow", serving("new"), 700 * time.Millisecond},
		{"until the first check fails", "down", serving("new"), 0},
		{"no longer than a start may take", "hangs", serving("new"), startLimit},
		{"not when another stays", "hangs", serving("new", "stays"), 0},
		{"not when nobody comes", "hangs", nil, 0},
		{"not for who is to get nothing", "hangs", []discovery.Member{{Address: "new", Weight: 0}}, 0},
		{"not for who is in maintenance", "hangs", []discovery.Member{{Address: "new", Weight: 1, State: discovery.Draining}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			unguarded := func(l *lab) { l.o.Sources[0].Guard.MaxRemoval = 1 }
			patient := func(l *lab) { l.o.Check.Timeout, l.o.Check.Interval = time.Minute, time.Minute }
			inLab(t, 0, all(checked, patient, sourced, unguarded), func(l *lab) {
				first := serving("old")
				if len(c.next) == 2 {
					first = serving("old", "stays")
				}
				l.src.set(first)
				settle()
				if got := picked(l.Snapshot(), 10); got["old"] == 0 {
					t.Fatalf("at first: %v", got)
				}
				l.probe.put("new", c.is)
				l.src.set(c.next)
				settle()
				if c.lasts > 0 {
					time.Sleep(c.lasts - 10*time.Millisecond)
					settle()
					if got := picked(l.Snapshot(), 10); got["old"] != 10 {
						t.Errorf("just before %v: %v", c.lasts, got)
					}
					if b := statusOf(t, l.Pool, "old"); b.State != "healthy" || b.Reason == "" || b.Left {
						t.Errorf("lingering it shows %+v", b)
					}
					time.Sleep(10*time.Millisecond + 2*sweepEvery)
					settle()
				}
				time.Sleep(sweepEvery)
				settle()
				if got := picked(l.Snapshot(), 10); got["old"] != 0 {
					t.Errorf("after %v: %v", c.lasts, got)
				}
				if s := state(t, l.Pool, "old"); s != "" {
					t.Errorf("it is still there, %s", s)
				}
			})
		})
	}
}

// TestLingerEndsByComingBack: one that is named again is a member as before.
func TestLingerEndsByComingBack(t *testing.T) {
	unguarded := func(l *lab) { l.o.Sources[0].Guard.MaxRemoval = 1 }
	inLab(t, 0, all(checked, sourced, unguarded), func(l *lab) {
		l.src.set(serving("old"))
		settle()
		l.probe.put("new", "hangs")
		l.src.set(serving("new"))
		settle()
		l.src.set(serving("new", "old"))
		settle()
		if b := statusOf(t, l.Pool, "old"); b.State != "healthy" || b.Reason != "" {
			t.Errorf("it shows %+v", b)
		}
		time.Sleep(2 * startLimit)
		settle()
		if got := picked(l.Snapshot(), 10); got["old"] != 10 {
			t.Errorf("%v", got)
		}
	})
}

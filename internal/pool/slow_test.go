package pool

import (
	"testing"
	"time"
)

const slow = 20 * time.Second

func slowly(l *lab) { l.o.SlowStart = slow }

// ejectAndReturn has b1 ejected until its time is over.
func ejectAndReturn(l *lab) {
	l.fails("b1", 5)
	l.want("b1", "ejected")
	l.after(10*time.Second + sweepEvery)
}

// slowStarts are ways in which b1, beside b0, becomes healthy.
var slowStarts = []struct {
	name   string
	change func(*lab)
	do     func(*lab)
	slowly bool
}{
	{"the pool starts", checked, func(l *lab) { l.after(time.Second) }, false},
	{"its first check is late", func(l *lab) { checked(l); l.probe.put("b1", "hangs"); l.o.Check.Timeout = 3 * time.Second },
		func(l *lab) {
			l.after(time.Second)
			l.probe.put("b1", "up")
			l.want("b1", "checking")
			l.after(time.Minute)
		}, true},
	{"checked late, first result good", func(l *lab) { checked(l); slowFirst(l, "b1") },
		func(l *lab) { l.after(2 * time.Second) }, false},
	{"ejected", judged, ejectAndReturn, true},
	{"unhealthy", checked, func(l *lab) {
		l.probe.put("b1", "down")
		l.after(3 * time.Second)
		l.want("b1", "unhealthy")
		l.probe.put("b1", "up")
		l.after(3 * time.Second)
	}, true},
	{"drained", nil, func(l *lab) { l.do(l.Drain("b1", 0)); l.do(l.Enable("b1")) }, true},
	{"disabled", nil, func(l *lab) { l.do(l.Disable("b1")); l.do(l.Enable("b1")) }, true},
	{"left and back", nil, func(l *lab) {
		p := l.Snapshot()
		p.Acquire(1)
		apply(l.T, l.Pool, l.with(1))
		apply(l.T, l.Pool, l.with(2))
		l.Release(p, 1)
	}, true},
	{"new", nil, func(l *lab) { apply(l.T, l.Pool, l.with(1)); l.after(time.Second); apply(l.T, l.Pool, l.with(2)) }, true},
	{"unreachable for a moment", nil, func(l *lab) { l.ConnectFailed(l.e("b1")); settle(); l.Connected(l.e("b1")); settle() }, false},
	{"unreachable for long", nil, func(l *lab) {
		for range 4 {
			l.ConnectFailed(l.e("b1"))
			l.after(3 * time.Second)
		}
		l.Connected(l.e("b1"))
		settle()
	}, true},
	{"unhealthy, then unreachable for a moment", checked, func(l *lab) {
		l.probe.put("b1", "down")
		l.after(3 * time.Second)
		l.probe.put("b1", "up")
		for statusOf(l.T, l.Pool, "b1").Progress != "1 of 2 passes" {
			l.after(100 * time.Millisecond)
		}
		l.after(850 * time.Millisecond) // the next check is near
		l.want("b1", "unhealthy")
		l.ConnectFailed(l.e("b1"))
		l.after(200 * time.Millisecond)
		l.want("b1", "unreachable")
		l.Connected(l.e("b1"))
		settle()
	}, true},
	{"weight 0 and back", nil, func(l *lab) { l.do(l.SetWeight("b1", 0)); l.do(l.SetWeight("b1", -1)) }, false},
	{"check added", nil, func(l *lab) { checked(l); apply(l.T, l.Pool, l.o); l.after(time.Second) }, false},
}

// TestWhoStartsSlowly: a backend that was out, or comes new, gets its weight
// little by little; one that was away for a moment does not, nor do the backends
// with which a pool starts.
func TestWhoStartsSlowly(t *testing.T) {
	for _, c := range slowStarts {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 2, all(slowly, func(l *lab) {
				if c.change != nil {
					c.change(l)
				}
			}), func(l *lab) {
				c.do(l)
				is := state(l.T, l.Pool, "b1")
				if got := is == "slow_start"; got != c.slowly || !got && is != "healthy" {
					// A long wait may have ended the start; that it was slow is in the log.
					if !c.slowly || l.log.lines("backend is slow_start") == 0 {
						t.Fatalf("b1 is %s", is)
					}
				}
				if r := l.ramp("b1"); is == "slow_start" && (r < 5 || r > 95) {
					t.Errorf("it gets %d %% of its weight", r)
				}
				if r := l.ramp("b0"); r != 100 {
					t.Errorf("b0 gets %d %%", r)
				}
			})
		})
	}
}

// slowFirst makes the first check of a backend take a while, and pass.
func slowFirst(l *lab, address string) { l.probe.put(address, "slow") }

// with is the options with n static backends.
func (l *lab) with(n int) Options {
	o := l.o
	o.Backends = options(n).Backends
	return o
}

// TestSlowStartRamps: the share grows with time, in steps, to the whole.
func TestSlowStartRamps(t *testing.T) {
	inLab(t, 2, slowly, func(l *lab) {
		l.do(l.Disable("b1"))
		l.do(l.Enable("b1"))
		last := 0
		for i := range 10 {
			want := max(i*10, 5)
			if got := l.ramp("b1"); got < want || got > want+5 || got < last {
				t.Errorf("%d %% after %d s, want %d", got, 2*i, want)
			}
			last = l.ramp("b1")
			l.after(slow / 10)
		}
		l.after(sweepEvery)
		l.want("b1", "healthy")
	})
}

// TestSlowStartInterrupted: one that fails again begins anew, one that was gone
// for a moment goes on.
func TestSlowStartInterrupted(t *testing.T) {
	for _, c := range []struct {
		name     string
		do       func(*lab)
		min, max int
	}{
		{"disabled", func(l *lab) { l.do(l.Disable("b1")); l.after(time.Second); l.do(l.Enable("b1")) }, 5, 5},
		{"unreachable for a moment", func(l *lab) { l.ConnectFailed(l.e("b1")); settle(); l.Connected(l.e("b1")); settle() }, 50, 55},
		{"weight changed", func(l *lab) { l.do(l.SetWeight("b1", 7)) }, 50, 55},
		{"options applied", func(l *lab) { apply(l.T, l.Pool, l.o) }, 50, 55},
		{"switched off", func(l *lab) { l.o.SlowStart = 0; apply(l.T, l.Pool, l.o) }, 100, 100},
		{"switched off and on", func(l *lab) {
			o := l.o
			o.SlowStart = 0
			apply(l.T, l.Pool, o)
			apply(l.T, l.Pool, l.o)
		}, 100, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 2, slowly, func(l *lab) {
				l.do(l.Disable("b1"))
				l.do(l.Enable("b1"))
				l.after(slow/2 + sweepEvery)
				c.do(l)
				if got := l.ramp("b1"); got < c.min || got > c.max {
					t.Errorf("%d %%, want %d to %d", got, c.min, c.max)
				}
			})
		})
	}
}

// TestLongerSlowStart: what has its weight keeps it when slow_start is raised.
func TestLongerSlowStart(t *testing.T) {
	inLab(t, 2, slowly, func(l *lab) {
		l.do(l.Disable("b1"))
		l.do(l.Enable("b1"))
		l.after(slow + sweepEvery)
		l.want("b1", "healthy")
		l.o.SlowStart = time.Hour
		apply(t, l.Pool, l.o)
		l.want("b1", "healthy")
	})
}

// TestSlowStartIsRelative: where all start alike nobody is held back, and backups
// are apart from primaries.
func TestSlowStartIsRelative(t *testing.T) {
	inLab(t, 3, all(slowly, func(l *lab) { l.o.Backends[2].Backup = true }), func(l *lab) {
		for _, b := range []string{"b0", "b1"} {
			l.do(l.Disable(b))
		}
		l.wantPicks("b2")
		l.do(l.Enable("b0"))
		l.wantPicks("b0")
		if l.ramp("b0") != 100 || l.ramp("b2") != 100 {
			t.Error("the only primary is held back")
		}
		l.after(slow / 2)
		l.do(l.Enable("b1"))
		if r := l.ramp("b1"); l.ramp("b0") != 100 || r < 9 || r > 11 {
			t.Errorf("5 %% beside 50 %% is %d %%", r)
		}
	})
}

// TestSourcesStartTogether: a source that answers a little late brings backends
// that start with the pool; one that comes later brings newcomers.
func TestSourcesStartTogether(t *testing.T) {
	inLab(t, 1, all(slowly, sourced), func(l *lab) {
		l.after(time.Second)
		l.tell("s0")
		l.want("s0", "healthy")
		l.after(time.Second)
		l.tell("s0", "s1")
		l.want("s1", "slow_start")
	})
}

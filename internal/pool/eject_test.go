package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"steelyard/internal/outlier"
)

// TestEjection: who fails in a row is ejected for a while, longer each time, and
// comes back; the counter and the log say so.
func TestEjection(t *testing.T) {
	inLab(t, 4, judged, func(l *lab) {
		l.fails("b1", 4)
		l.wantPicks("b0 b1 b2 b3")
		l.Answered(l.e("b1"), 200)
		l.Answered(l.e("b1"), 500) // not a gateway failure
		l.fails("b1", 4)
		l.wantPicks("b0 b1 b2 b3")
		l.Answered(l.e("b1"), 502)
		settle()
		l.wantPicks("b0 b2 b3")
		b := statusOf(t, l.Pool, "b1")
		if b.State != "ejected" || b.Reason != "5 gateway failures in a row" || time.Until(b.EjectedUntil) != 10*time.Second {
			t.Errorf("%+v", b)
		}
		l.after(10*time.Second - time.Millisecond)
		l.want("b1", "ejected")
		l.after(sweepEvery)
		l.wantPicks("b0 b1 b2 b3")
		l.fails("b1", 5)
		if d := time.Until(statusOf(t, l.Pool, "b1").EjectedUntil); d != 20*time.Second {
			t.Errorf("the second time lasts %v", d)
		}
		if n := l.Stats.Ejections.Load(); n != 2 || l.log.lines("backend ejected") != 2 {
			t.Errorf("counted %d times", n)
		}
	})
}

// TestEjectionHasBounds: how many of a pool are ejected when all of them fail.
func TestEjectionHasBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		change  func(*lab)
		before  func(*lab)
		ejected int
	}{
		{"half of four", 4, nil, nil, 2},
		{"one of three", 3, nil, nil, 1},
		{"one of two", 2, nil, nil, 1},
		{"never the only one", 1, nil, nil, 0},
		{"none if so wanted", 4, func(l *lab) { l.o.Outlier.MaxEjected = 0 }, nil, 0},
		{"all but one at most", 4, func(l *lab) { l.o.Outlier.MaxEjected = 1 }, nil, 3},
		{"not the last that is usable", 4, nil, func(l *lab) {
			for _, b := range []string{"b0", "b1", "b2"} {
				l.do(l.SetWeight(b, 0))
			}
		}, 0},
		{"drained ones take no one's place", 4, nil, func(l *lab) {
			for _, b := range []string{"b0", "b1"} {
				l.fails(b, 5)
				l.do(l.Drain(b, 0))
			}
		}, 3}, // b0, b1, and one of two
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, c.n, all(judged, func(l *lab) {
				if c.change != nil {
					c.change(l)
				}
			}), func(l *lab) {
				if c.before != nil {
					c.before(l)
				}
				for i := range c.n {
					l.fails(fmt.Sprintf("b%d", i), 5)
				}
				l.after(time.Second)
				ejected, refused := 0, 0
				for _, b := range l.status().Backends {
					if !b.EjectedUntil.IsZero() {
						ejected++
					} else if strings.Contains(b.Reason, "would be ejected (5 gateway failures in a row), but the pool cannot spare it") {
						refused++
					}
				}
				if ejected != c.ejected {
					t.Errorf("%d ejected, want %d", ejected, c.ejected)
				}
				if picked(l.Snapshot(), 10)["none"] > 0 {
					t.Error("the pool is empty")
				}
				if c.ejected == 0 && c.before == nil && refused != c.n {
					t.Errorf("%d are said to be refused", refused)
				}
			})
		})
	}
}

// TestEjectionByShare counts whether or not the pool is otherwise at rest.
func TestEjectionByShare(t *testing.T) {
	inLab(t, 4, func(l *lab) {
		judged(l)
		l.o.Outlier.FailureShare, l.o.Outlier.Consecutive = 0.3, 0
	}, func(l *lab) {
		l.after(time.Hour)
		for i := range 40 {
			for _, b := range []string{"b0", "b1", "b2"} {
				status := 200
				if b == "b1" && i%3 == 0 {
					status = 502
				}
				l.Answered(l.e(b), status)
			}
			l.after(50 * time.Millisecond)
		}
		l.after(sweepEvery)
		l.want("b1", "ejected")
		l.wantPicks("b0 b2 b3")
	})
}

// TestEjectionByShareOfAll: the requests before the first failure count too.
func TestEjectionByShareOfAll(t *testing.T) {
	inLab(t, 4, func(l *lab) {
		judged(l)
		l.o.Outlier.FailureShare, l.o.Outlier.Consecutive = 0.3, 0
	}, func(l *lab) {
		e := l.e("b1")
		l.Failed(e)
		for i := range 64 {
			if i >= 60 {
				l.fails("b1", 30)
			} else {
				for range 100 {
					l.Answered(e, 200)
				}
			}
			l.after(sweepEvery)
		}
		l.want("b1", "healthy") // 120 of some 4000 failed
	})
}

// TestEjectionFollowsOptions: what was counted under other options does not
// count, and switching outliers off takes everybody back.
func TestEjectionFollowsOptions(t *testing.T) {
	inLab(t, 4, judged, func(l *lab) {
		l.fails("b0", 5)
		l.fails("b1", 4)
		l.want("b0", "ejected")
		o := l.o
		o.Outlier.Consecutive = 3
		apply(t, l.Pool, o)
		l.after(time.Second)
		l.want("b0", "ejected")
		l.want("b1", "healthy")
		o.Outlier = outlier.Options{}
		apply(t, l.Pool, o)
		l.want("b0", "healthy")
		l.fails("b1", 50)
		apply(t, l.Pool, l.o)
		l.after(time.Second)
		l.want("b1", "healthy")
		l.fails("b1", 5)
		l.want("b1", "ejected")
		apply(t, l.Pool, l.o) // the same again
		l.want("b1", "ejected")
	})
}

// TestFailedDialsInAStorm wake the writer once and not each time, and none that
// matters is missed.
func TestFailedDialsInAStorm(t *testing.T) {
	inLab(t, 2, nil, func(l *lab) {
		e := l.e("b1")
		l.ConnectFailed(e)
		settle()
		s := l.Snapshot()
		for range 1000 {
			l.ConnectFailed(e)
		}
		if len(l.wake) != 0 {
			t.Error("the writer is woken for what it knows")
		}
		l.after(holdFirst + sweepEvery)
		if l.Snapshot() == s {
			t.Fatal("not let in again")
		}
		l.want("b1", "healthy")
		l.after(time.Second)
		l.want("b1", "healthy") // what failed meanwhile was late
		l.ConnectFailed(e)
		settle()
		l.want("b1", "unreachable")
	})
}

// TestLogIsBounded: what happens to thousands, or all the time, is told in a few
// lines that say how much it was.
func TestLogIsBounded(t *testing.T) {
	const n = 400
	for _, c := range []struct {
		name string
		do   func(l *lab)
		one  string // a line that is told a few times
		more string
		most int // lines of all kinds
	}{
		{"all unhealthy, each at its time", func(l *lab) {
			for i := range n {
				l.probe.put(fmt.Sprintf("b%d", i), "down")
			}
			l.after(15 * time.Second)
		}, "backend is unhealthy", "backends=380", 30},
		{"all unreachable", func(l *lab) {
			for _, e := range l.Snapshot().Endpoints {
				l.ConnectFailed(e)
			}
			l.after(5 * time.Second)
			for _, e := range l.Snapshot().Endpoints {
				l.Connected(e)
			}
			l.after(15 * time.Second)
		}, reconnected, "backends=380", 70},
		{"half ejected", func(l *lab) {
			for _, e := range l.Snapshot().Endpoints {
				for range 5 {
					l.Failed(e)
				}
			}
			l.after(15 * time.Second)
		}, "backend ejected", "backends=180", 90},
		{"one that flaps", func(l *lab) {
			e := l.e("b0")
			for range 1000 {
				l.ConnectFailed(e)
				l.after(5 * time.Millisecond)
				l.Connected(e)
				l.after(5 * time.Millisecond)
			}
		}, "backend is unreachable", "", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, n, all(checked, judged, func(l *lab) { l.o.Check.Interval = 5 * time.Second }), func(l *lab) {
				l.after(10 * time.Second)
				before := l.log.lines("")
				c.do(l)
				l.after(tellEvery + sweepEvery)
				if l.log.lines(c.one) == 0 || c.more != "" && l.log.lines(c.more) == 0 {
					t.Error("it is not told")
				}
				if got := l.log.lines("") - before; got > c.most {
					t.Errorf("%d lines", got)
				}
				if t.Failed() {
					t.Log(l.log.text.String()[max(0, l.log.text.Len()-3000):])
				}
			})
		})
	}
}

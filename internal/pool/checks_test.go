package pool

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/healthcheck"
	"steelyard/internal/sticky"
)

// TestChecksDecide: a backend that fails fall checks leaves, and comes back after
// rise.
func TestChecksDecide(t *testing.T) {
	inLab(t, 2, checked, func(l *lab) {
		l.after(time.Second)
		l.wantPicks("b0 b1")
		l.probe.put("b1", "down")
		l.after(3 * time.Second)
		l.want("b1", "unhealthy")
		l.wantPicks("b0")
		if got := statusOf(t, l.Pool, "b1"); got.Reason != "status 500, expected 200 to 399" || got.Check != "unhealthy" || len(got.Results) == 0 {
			t.Errorf("%+v", got)
		}
		l.probe.put("b1", "up")
		l.after(3 * time.Second)
		l.wantPicks("b0 b1")
		if l.log.lines("backend is unhealthy") != 1 || l.log.lines("backend is healthy") != 1 {
			t.Error("a change is not told once")
		}
	})
}

// ready reports whether requests may come.
func (l *lab) ready() bool {
	select {
	case <-l.Ready():
		return true
	default:
		return false
	}
}

// TestReady: a pool waits for its first checks and its sources, for some time.
func TestReady(t *testing.T) {
	hangs := func(backends ...string) func(*lab) {
		return func(l *lab) {
			checked(l)
			l.o.Check.Timeout = time.Hour
			for _, b := range backends {
				l.probe.put(b, "hangs")
			}
		}
	}
	for _, c := range []struct {
		name     string
		change   func(*lab)
		do       func(*lab)
		not, yes time.Duration // when it is not ready yet, and when it is
	}{
		{"without checks", nil, nil, -1, 0},
		{"first checks pass", checked, nil, -1, 10 * time.Millisecond},
		{"first checks fail", func(l *lab) { checked(l); l.probe.put("b0", "down"); l.probe.put("b1", "down") }, nil, -1, 10 * time.Millisecond},
		{"one hangs", hangs("b1"), nil, 400 * time.Millisecond, startGrace + 2*sweepEvery},
		{"all hang", hangs("b0", "b1"), nil, startLimit - sweepEvery, startLimit + sweepEvery},
		{"a source does not answer", sourced, nil, 400 * time.Millisecond, startGrace + 2*sweepEvery},
		{"a source answers", sourced, func(l *lab) { l.tell("s0") }, -1, 0},
		{"a source names nobody", sourced, func(l *lab) { l.tell() }, -1, 0},
		{"a source fails", sourced, func(l *lab) { l.src.fail(healthcheck.ErrNotChecked); settle() }, -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 2, c.change, func(l *lab) {
				if c.do != nil {
					c.do(l)
				}
				if c.not >= 0 {
					l.after(c.not)
					if l.ready() {
						t.Errorf("ready after %v", c.not)
					}
				}
				l.after(c.yes - max(c.not, 0))
				if !l.ready() {
					t.Errorf("not ready after %v", c.yes)
				}
				l.after(time.Minute) // it is closed once
			})
		})
	}
}

// TestReadyMeansBackends: who has waited for a pool finds its backends.
func TestReadyMeansBackends(t *testing.T) {
	for range 5 {
		src := newFakeSource()
		o := options(0)
		o.Policy = balancer.Options{Policy: "maglev", Key: balancer.Key{Source: "client_ip"}} // it takes its time
		o.Log = slog.New(slog.DiscardHandler)
		o.Sources = []SourceOptions{{Key: "fake", Source: src}}
		p, err := New("web", o)
		if err != nil {
			t.Fatal(err)
		}
		go src.set(manyMembers(0, 5000))
		<-p.Ready()
		if p.Snapshot().Pick(0, &Tried{}) < 0 {
			t.Fatalf("ready, but %s", p.Snapshot().Why())
		}
		p.Close()
	}
}

// TestNewBackendWaitsForItsCheck, but not for ever if there is no other.
func TestNewBackendWaitsForItsCheck(t *testing.T) {
	hang := func(l *lab) {
		checked(l)
		l.o.Check.Timeout = time.Hour
		l.probe.put("b0", "hangs")
		l.probe.put("b1", "hangs")
	}
	inLab(t, 2, hang, func(l *lab) {
		l.wantPicks("none")
		if why := l.Snapshot().Why(); !strings.Contains(why, "b0 is checking (its first check has not ended)") {
			t.Error(why)
		}
		l.after(startLimit + sweepEvery)
		l.wantPicks("b0 b1")
	})
	inLab(t, 2, func(l *lab) { hang(l); l.probe.put("b0", "up") }, func(l *lab) {
		l.after(time.Minute)
		l.wantPicks("b0")
	})
}

// TestApplyChecks: new options keep what was found out, and a backend at work
// goes on until its first check speaks against it.
func TestApplyChecks(t *testing.T) {
	inLab(t, 2, nil, func(l *lab) {
		bare := l.o
		l.wantPicks("b0 b1")
		l.probe.put("b0", "slow")
		l.probe.put("b1", "hangs") // until its timeout, 900 ms
		checked(l)
		apply(t, l.Pool, l.o)
		l.wantPicks("b0 b1")
		l.after(600 * time.Millisecond)
		l.wantPicks("b0 b1")
		l.after(5 * time.Second)
		l.wantPicks("b0")

		check := l.e("b1").checked.Check
		apply(t, l.Pool, l.o)
		if l.e("b1").checked.Check != check {
			t.Error("the same options make a new check")
		}
		o := l.o
		other := *o.Check
		other.Interval, o.Check = 2*time.Second, &other
		apply(t, l.Pool, o)
		settle()
		if l.e("b1").checked.Check == check {
			t.Error("other options do not make a new check")
		}
		l.wantPicks("b0")
		if got := statusOf(t, l.Pool, "b1"); len(got.Results) < 4 {
			t.Errorf("%d results are left", len(got.Results))
		}
		apply(t, l.Pool, bare)
		l.wantPicks("b0 b1")
		tries := l.probe.tries("b0")
		l.after(time.Minute)
		if l.probe.tries("b0") != tries {
			t.Error("checks go on after they were switched off")
		}
	})
}

// TestChecksNeedAScheduler: the mistake is an error and changes nothing.
func TestChecksNeedAScheduler(t *testing.T) {
	o := options(1)
	check := healthcheck.DefaultOptions()
	o.Check = &check
	want := "pool web: check: there is no scheduler to run it; set Options.Checks"
	if _, err := New("web", o); err == nil || err.Error() != want {
		t.Errorf("New: %v", err)
	}
	p := newPool(t, options(2))
	if err := p.Apply(o); err == nil || err.Error() != want {
		t.Errorf("Apply: %v", err)
	}
	if got := picked(p.Snapshot(), 4); got["b1"] != 2 {
		t.Errorf("picked %v after the error", got)
	}
}

// TestLeavingBackendIsChecked: one that has left and keeps its sessions is
// checked until it is forgotten, which it is when its check fails.
func TestLeavingBackendIsChecked(t *testing.T) {
	inLab(t, 2, all(checked, cookies), func(l *lab) {
		l.after(time.Second)
		e, check := l.e("b1"), l.e("b1").checked
		apply(t, l.Pool, l.with(1))
		i := index(l.Snapshot(), "b1")
		if i < 0 || l.Snapshot().Bound(i, &Tried{}) != BoundOK {
			t.Fatal("sessions are lost")
		}
		tries := l.probe.tries("b1")
		l.after(3 * time.Second)
		if l.probe.tries("b1") < tries+2 {
			t.Error("it is not checked any more")
		}
		l.probe.put("b1", "down")
		l.after(4 * time.Second)
		if index(l.Snapshot(), "b1") >= 0 || !check.Next().IsZero() || e.Conns.Open() != 0 {
			t.Error("it is not forgotten")
		}
	})
}

// cookies binds clients by cookie.
func cookies(l *lab) {
	l.o.Sticky = &sticky.Options{Cookie: &sticky.Cookie{Name: "s", Secret: strings.Repeat("x", 32)}}
}

// TestWhenAllAreOut: which backends are used when none is healthy.
func TestWhenAllAreOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		reject bool
		out    func(l *lab, b string)
		want   string // picked when b0 to b4 are out; b2 is a backup, b3 drains, b4 has weight 0
		open   bool
	}{
		{"unhealthy", false, func(l *lab, b string) { l.probe.put(b, "down"); l.after(4 * time.Second) }, "b0 b1", true},
		{"unhealthy, rejecting", true, func(l *lab, b string) { l.probe.put(b, "down"); l.after(4 * time.Second) }, "none", false},
		{"unreachable", false, func(l *lab, b string) { l.ConnectFailed(l.e(b)); settle() }, "b0 b1", true},
		{"unreachable, rejecting", true, func(l *lab, b string) { l.ConnectFailed(l.e(b)); settle() }, "b0 b1", true},
		{"disabled", false, func(l *lab, b string) { l.do(l.Disable(b)) }, "none", false},
		{"draining", false, func(l *lab, b string) { l.do(l.Drain(b, 0)) }, "none", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 5, all(checked, func(l *lab) {
				l.o.Backends[2].Backup = true
				l.o.Backends[4].Weight = 0
				l.o.Reject = c.reject
			}), func(l *lab) {
				l.after(time.Second)
				l.do(l.Drain("b3", 0))
				c.out(l, "b0")
				l.wantPicks("b1")
				c.out(l, "b1")
				l.wantPicks("b2")
				c.out(l, "b2")
				l.wantPicks(c.want)
				s, status := l.Snapshot(), l.status()
				if s.FailOpen != c.open || (s.Why() == "") != c.open || status.Why == "" || status.FailOpenSince.IsZero() == c.open {
					t.Errorf("open %v, why %q, status %q since %v", s.FailOpen, s.Why(), status.Why, status.FailOpenSince)
				}
				told := l.log.lines("no backend is healthy")
				if n := int(l.Stats.FailOpens.Load()); c.open != (n == 1) || told != n || l.log.lines("no backend can be used") != 1-n {
					t.Errorf("counted %d times, told %d times", n, told)
				}
			})
		})
	}
}

func (l *lab) status() Status {
	l.Helper()
	s, err := l.Pool.Status()
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// TestFailOpenIsToldOnce: a dead pool that is tried now and then is one event,
// which ends when a backend is reached, or was not in doubt for a while.
func TestFailOpenIsToldOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(l *lab)
	}{
		{"reached", func(l *lab) { l.Connected(l.e("b0")); settle() }},
		{"not tried any more", func(l *lab) { l.after(2*holdMost + 2*sweepEvery) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, 2, nil, func(l *lab) {
				for range 600 {
					l.ConnectFailed(l.e("b0"))
					l.ConnectFailed(l.e("b1"))
					l.after(100 * time.Millisecond)
				}
				if n := l.Stats.FailOpens.Load(); n != 1 || l.log.lines("no backend is healthy") != 1 || l.log.lines("again") != 0 {
					t.Errorf("told %d times, counted %d", l.log.lines("no backend is healthy"), n)
				}
				c.end(l)
				if l.log.lines("some backend is healthy again") != 1 || !l.status().FailOpenSince.IsZero() {
					t.Error("the end is not told")
				}
			})
		})
	}
}

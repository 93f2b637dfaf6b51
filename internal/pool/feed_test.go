package pool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/discovery"
)

// TestSourceOwnsItsMembers: they come and go with its answers; those of the
// configuration stay as it has them.
func TestSourceOwnsItsMembers(t *testing.T) {
	inLab(t, 1, sourced, func(l *lab) {
		l.src.set([]discovery.Member{
			{Address: "b0", Weight: 9, State: discovery.Failing, Name: "static too"},
			{Address: "s0", Weight: 3, MaxConnections: 7, Name: "zero", Tags: []string{"a"}, Meta: map[string]string{"k": "v"}},
			{Address: "s1", Weight: 1, State: discovery.Failing, Reason: "its agent says critical"},
			{Address: "s2", Weight: 1, State: discovery.Draining, Reason: "in maintenance"},
			{Address: "s3", Weight: 1, Backup: true},
		})
		settle()
		l.wantPicks("b0 s0")
		if b := statusOf(t, l.Pool, "b0"); b.Source != "" || b.Weight != 1 || b.State != "healthy" {
			t.Errorf("the source changed what the configuration says: %+v", b)
		}
		if b := statusOf(t, l.Pool, "s0"); b.Source != "fake" || b.Weight != 3 || b.Name != "zero" || b.Tags[0] != "a" || b.Meta["k"] != "v" {
			t.Errorf("%+v", b)
		}
		if b := statusOf(t, l.Pool, "s1"); b.State != "unhealthy" || b.Reason != "its agent says critical" {
			t.Errorf("%+v", b)
		}
		if b := statusOf(t, l.Pool, "s2"); b.State != "draining" || b.Reason != "in maintenance" {
			t.Errorf("%+v", b)
		}
		e := l.e("s0")
		l.tell("s1", "s0")
		l.wantPicks("b0 s0 s1")
		if l.e("s0") != e {
			t.Error("a member that stays is another endpoint")
		}
	})
}

// TestFailingSourceKeepsMembers, says so once, and recovers.
func TestFailingSourceKeepsMembers(t *testing.T) {
	inLab(t, 0, sourced, func(l *lab) {
		l.src.fail(errors.New("agent 127.0.0.1:8500 refuses connections; start it"))
		settle()
		if why := l.Snapshot().Why(); !strings.Contains(why, "the pool has no backends; agent 127.0.0.1:8500 refuses") {
			t.Error(why)
		}
		l.tell("s0", "s1")
		l.src.fail(errors.New("again"))
		l.after(time.Hour)
		l.wantPicks("s0 s1")
		if s := l.status().Sources[0]; s.Members != 2 || s.Err != "again" || !s.Answered || time.Since(s.ErrSince) != time.Hour {
			t.Errorf("%+v", s)
		}
		l.tell("s0", "s1", "s2")
		l.wantPicks("s0 s1 s2")
		if s := l.status().Sources[0]; s.Err != "" || l.log.lines("source answers again") != 2 {
			t.Errorf("%+v", s)
		}
		l.src.set(nil)
		settle()
		l.after(2 * time.Minute)
		if why := l.Snapshot().Why(); why != "the pool has no backends; fake names no members" {
			t.Error(why)
		}
	})
}

// TestSourcesTogether: of two that name one address the first counts, and the
// backend stays while one of them names it.
func TestSourcesTogether(t *testing.T) {
	other := newFakeSource()
	inLab(t, 0, all(sourced, func(l *lab) {
		other = newFakeSource()
		l.o.Sources[0].Guard.MaxRemoval = 1
		l.o.Sources = append(l.o.Sources, SourceOptions{Key: "other", Source: other, Guard: discovery.GuardOptions{MaxRemoval: 1}})
	}), func(l *lab) {
		l.src.set([]discovery.Member{{Address: "s0", Weight: 2}})
		other.set([]discovery.Member{{Address: "s0", Weight: 5}, {Address: "s1", Weight: 1}})
		settle()
		e := l.e("s0")
		if b := statusOf(t, l.Pool, "s0"); b.Weight != 2 {
			t.Errorf("%+v", b)
		}
		l.tell()
		if b := statusOf(t, l.Pool, "s0"); b.Weight != 5 || b.State != "healthy" || l.e("s0") != e {
			t.Errorf("%+v", b)
		}
		l.wantPicks("s0 s1")
	})
}

// TestApplySources: a source with the same key goes on undisturbed; one that is
// gone is not listened to any more, nor is one that is named twice.
func TestApplySources(t *testing.T) {
	inLab(t, 1, sourced, func(l *lab) {
		l.tell("s0")
		apply(t, l.Pool, l.o)
		l.tell("s0", "s1")
		l.wantPicks("b0 s0 s1")

		twice := l.o
		twice.Sources = append(twice.Sources[:1:1], twice.Sources[0])
		if err := l.Apply(twice); err == nil || !strings.Contains(err.Error(), `source "fake" is named twice`) {
			t.Errorf("twice the same: %v", err)
		}

		// What it says while the options change comes too late.
		busy := make(chan struct{})
		l.commands <- func(*writer) { <-busy }
		settle()
		var sink discovery.Sink
		l.src.told <- func(s discovery.Sink) { sink = s }
		none := l.o
		none.Sources = nil
		applied := make(chan error)
		go func() { applied <- l.Apply(none) }()
		settle()
		go func() {
			sink.Set(members("late"))
			sink.Fail(errors.New("told to stop"))
		}()
		settle()
		close(busy)
		if err := <-applied; err != nil {
			t.Fatal(err)
		}
		settle()
		l.wantPicks("b0")
		if len(l.status().Sources) != 0 || index(l.Snapshot(), "late") >= 0 || l.log.lines("told to stop") > 0 {
			t.Error("the source is listened to")
		}
		select {
		case l.src.told <- func(discovery.Sink) {}:
			t.Error("the source is still at work")
		default:
		}
		again := l.o
		l.src = newFakeSource()
		again.Sources = []SourceOptions{{Key: "fake", Source: l.src, Guard: discovery.GuardOptions{MaxRemoval: 1}}}
		apply(t, l.Pool, again)
		l.tell("s7")
		l.wantPicks("b0 s7")
	})
}

// lateSource does not return when it is told to, for a while, and talks on.
type lateSource struct{ returned chan struct{} }

func (lateSource) String() string { return "late" }
func (s lateSource) Run(ctx context.Context, sink discovery.Sink) {
	defer close(s.returned)
	<-ctx.Done()
	for range 1000 { // more than there is room for
		sink.Set(nil)
	}
	time.Sleep(time.Second)
	sink.Fail(errors.New("late"))
}

// TestCloseWaitsForSources, and they do not block it.
func TestCloseWaitsForSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lateSource{make(chan struct{})}
		o := options(1)
		o.Sources = []SourceOptions{{Key: "late", Source: s}}
		p, err := New("web", o)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		select {
		case <-s.returned:
		default:
			t.Error("the source is still at work")
		}
		if err := p.Drain("b0", 0); !errors.Is(err, errClosed) {
			t.Errorf("a command after Close: %v", err)
		}
	})
}

// twenty are the addresses of so many members.
func twenty() []string {
	var all []string
	for i := range 20 {
		all = append(all, "s"+string(rune('a'+i)))
	}
	return all
}

// TestGuard: half of a pool that vanishes from its source stays while its checks
// pass; what the guard does is visible, told once, and ends in four ways.
func TestGuard(t *testing.T) {
	addresses := twenty()
	for _, c := range []struct {
		name  string
		end   func(l *lab)
		stays bool // the held ones are members at the end
	}{
		{"released", func(l *lab) {
			if n, err := l.ReleaseHeld(); n != 12 || err != nil {
				l.Errorf("released %d, %v", n, err)
			}
		}, false},
		{"back", func(l *lab) { l.tell(addresses...) }, true},
		{"time is over", func(l *lab) { l.after(time.Minute + sweepEvery) }, false},
		{"their checks fail", func(l *lab) {
			for _, a := range addresses[8:] {
				l.probe.put(a, "down")
			}
			l.after(4 * time.Second)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			// With affinity, who leaves is seen for a while.
			inLab(t, 0, all(checked, sourced, cookies), func(l *lab) {
				l.tell(addresses...)
				l.after(time.Second)
				l.tell(addresses[:8]...)
				l.after(10 * time.Second)
				l.wantPicks(strings.Join(addresses, " "))
				s := l.status()
				if src := s.Sources[0]; len(src.Held) != 12 || !strings.HasPrefix(src.Alarm, "fake would remove 12 of 20 members at once") || src.Members != 20 {
					t.Errorf("%+v", src)
				}
				if !statusOf(t, l.Pool, addresses[10]).Held || statusOf(t, l.Pool, addresses[0]).Held {
					t.Error("the status does not say who is held")
				}
				if l.log.lines("held a removal") != 1 {
					t.Errorf("the alarm is told %d times", l.log.lines("held a removal"))
				}
				c.end(l)
				settle()
				want := strings.Join(addresses[:8], " ")
				if c.stays {
					want = strings.Join(addresses, " ")
				}
				l.wantPicks(want)
				for _, b := range l.status().Backends {
					if b.Held {
						t.Errorf("%s is held after the end", b.Address)
					}
				}
				if l.log.lines("no removal is held any more") != 1 || l.status().Sources[0].Alarm != "" {
					t.Error("the end is not told")
				}
			})
		})
	}
}

// TestGuardKeepsWhatIsChecking: a held member is not dropped for a check that
// has not ended, nor one that the configuration names too.
func TestGuardKeepsWhatIsChecking(t *testing.T) {
	inLab(t, 1, all(checked, sourced, func(l *lab) { l.o.Check.Timeout = time.Hour }), func(l *lab) {
		l.probe.put("s1", "hangs")
		l.tell("b0", "s0", "s1", "s2")
		l.after(time.Second)
		l.tell("s0")
		l.probe.put("b0", "down")
		l.after(10 * time.Second)
		if got := l.status().Sources[0].Held; strings.Join(got, " ") != "b0 s1 s2" {
			t.Errorf("held: %v", got)
		}
		l.wantPicks("s0 s2")
	})
}

// TestAHeldBackendThatRefusesLeaves: without a check, refused connections show
// that the source was right, but not at once.
func TestAHeldBackendThatRefusesLeaves(t *testing.T) {
	inLab(t, 0, sourced, func(l *lab) {
		l.tell("s0", "s1")
		l.after(10 * time.Second)
		l.tell()
		gone := l.e("s0")
		for range 4 { // for 250 ms, 500 ms, 1 s and 2 s: 3.75 s in all
			l.ConnectFailed(gone)
			settle()
			l.after(gone.hold + sweepEvery)
		}
		if !statusOf(t, l.Pool, "s0").Held {
			t.Fatal("it left at once")
		}
		l.ConnectFailed(gone)
		l.after(heldPatience)
		if statusOf(t, l.Pool, "s0").Held {
			t.Error("a held backend that refuses for long stays")
		}
		if !statusOf(t, l.Pool, "s1").Held {
			t.Error("one that does not refuse has left too")
		}
		if l.log.lines("does not answer either") != 1 {
			t.Error("it is not told")
		}
	})
}

package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a probe whose answer can be set; it counts and times its runs.
type scripted struct {
	mu     sync.Mutex
	err    error
	status int
	hang   map[string]bool // addresses that answer only when the context ends
	begun  []time.Time
	active map[string]int
	double bool // two checks of one address at a time
}

func (p *scripted) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *scripted) runs() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.begun...)
}

func (p *scripted) Run(ctx context.Context, address string) (int, error) {
	p.mu.Lock()
	if p.active == nil {
		p.active = map[string]int{}
	}
	p.begun = append(p.begun, time.Now())
	p.active[address]++
	p.double = p.double || p.active[address] > 1
	hang, status, err := p.hang[address], p.status, p.err
	p.mu.Unlock()
	if hang {
		<-ctx.Done()
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active[address]--
	return status, err
}

func schedulerOptions() *Options {
	o := DefaultOptions()
	o.Interval, o.Timeout = 10*time.Second, 2*time.Second
	return &o
}

func TestCheckFollowsResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{status: 200}
		var changes atomic.Int32
		c := s.Add(Target{Address: "a:1", Probe: p, Options: schedulerOptions(), Changed: func() { changes.Add(1) }})
		if c.State() != Checking || c.Progress() != "" {
			t.Fatalf("%v %q before the first check", c.State(), c.Progress())
		}
		if _, ok := c.Last(); ok {
			t.Fatal("a result before the first check")
		}
		began := time.Now()
		synctest.Wait()
		if c.State() != Healthy || changes.Load() != 1 || !c.Since().Equal(began) {
			t.Fatalf("%v, %d changes, since %v after the first check", c.State(), changes.Load(), c.Since())
		}
		if wait := c.Next().Sub(began); wait <= 0 || wait > 10*time.Second {
			t.Fatalf("the second check comes after %v", wait)
		}

		p.set(errors.New("status 500, expected 200-399"))
		second := c.Next()
		time.Sleep(time.Until(second) + 1)
		synctest.Wait()
		if c.State() != Healthy || c.Progress() != "1 of 3 failures" {
			t.Fatalf("%v %q after one failure", c.State(), c.Progress())
		}
		if wait := c.Next().Sub(second); wait != time.Second {
			t.Errorf("the check after a failure comes after %v, expected the fast interval", wait)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if c.State() != Unhealthy || c.Progress() != "" || changes.Load() != 2 {
			t.Fatalf("%v %q, %d changes after three failures", c.State(), c.Progress(), changes.Load())
		}
		if wait := c.Next().Sub(second); wait != 10*time.Second {
			t.Errorf("settled again, it is due %v after the last settled one, expected its own moment", wait)
		}
		last, _ := c.Last()
		if last.OK || last.Status != 200 || last.Err != "status 500, expected 200-399" {
			t.Errorf("%+v", last)
		}

		p.set(nil)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if c.State() != Healthy || changes.Load() != 3 {
			t.Fatalf("%v, %d changes after two passes", c.State(), changes.Load())
		}
	})
}

// TestChecksSpreadEvenly: a thousand checks added together fill every tenth of
// the interval alike, after their first check and after an outage of them all.
func TestChecksSpreadEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{}
		for i := range 1000 {
			s.Add(Target{Address: fmt.Sprintf("a:%d", i), Probe: p, Options: schedulerOptions()})
		}
		start := time.Now()
		time.Sleep(600 * time.Millisecond)
		firsts := p.runs()
		for i := 999; i > 20; i-- { // the last of the first checks; some have had their second
			if first := firsts[i].Sub(start); first > 600*time.Millisecond {
				t.Fatalf("first check after %v", first)
			}
		}
		even := func(what string, from time.Time) {
			t.Helper()
			var slots [10]int
			for _, at := range p.runs() {
				if d := at.Sub(from); d >= 0 && d < 10*time.Second {
					slots[d/time.Second]++
				}
			}
			for _, n := range slots {
				if n < 95 || n > 105 {
					t.Errorf("%s: %v checks in the tenths of the interval, expected 100 each", what, slots)
					return
				}
			}
		}
		time.Sleep(20 * time.Second)
		even("settled", start.Add(10*time.Second))
		p.set(errors.New("down"))
		time.Sleep(30 * time.Second)
		p.set(nil)
		time.Sleep(40 * time.Second)
		even("after an outage", start.Add(80*time.Second))
	})
}

func TestFirstChecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{}
		o := schedulerOptions()
		o.Interval = time.Hour
		for i := range 4000 {
			s.Add(Target{Address: fmt.Sprintf("a:%d", i), Probe: p, Options: o})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(p.runs()); n < 1990 || n > 2050 {
			t.Errorf("%d first checks in a second, expected 2000", n)
		}
		time.Sleep(1100 * time.Millisecond)
		if n := len(p.runs()); n < 4000 {
			t.Errorf("%d first checks in two seconds, expected 4000", n)
		}
	})
}

func TestHangingBackendDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{hang: map[string]bool{"slow:1": true}}
		o := schedulerOptions()
		o.Interval, o.Timeout = time.Second, 5*time.Second
		slow := s.Add(Target{Address: "slow:1", Probe: p, Options: o})
		quick := s.Add(Target{Address: "quick:1", Probe: p, Options: o})
		begun := time.Now()
		time.Sleep(4500 * time.Millisecond)
		synctest.Wait()
		if at, ok := slow.Running(); !ok || !at.Equal(begun) || slow.State() != Checking || !slow.Next().IsZero() {
			t.Errorf("slow: running %v %v, %v, next %v", at, ok, slow.State(), slow.Next())
		}
		if n := len(quick.Results()); n < 5 || n > 6 {
			t.Errorf("quick: %d results in 4.5s, expected 5 or 6", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if last, ok := slow.Last(); !ok || last.Latency != 5*time.Second || slow.State() != Unhealthy {
			t.Errorf("slow: %+v, %v", last, slow.State())
		}
		if at, ok := slow.Running(); !ok || !at.Equal(begun.Add(5*time.Second)) {
			t.Errorf("slow: the overdue check began at %v", at.Sub(begun))
		}
		if p.double {
			t.Error("two checks of one backend at a time")
		}
	})
}

func TestStart(t *testing.T) {
	cases := []struct {
		start string
		err   error
		want  []State // at first, and after each of three checks
	}{
		{"checking", nil, []State{Checking, Healthy, Healthy, Healthy}},
		{"checking", errors.New("x"), []State{Checking, Unhealthy, Unhealthy, Unhealthy}},
		{"healthy", errors.New("x"), []State{Healthy, Healthy, Healthy, Unhealthy}},
		{"unhealthy", nil, []State{Unhealthy, Unhealthy, Healthy, Healthy}},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.start, " ", c.err), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewScheduler()
				defer s.Close()
				o := schedulerOptions()
				o.Start = c.start
				check := s.Add(Target{Address: "a:1", Probe: &scripted{err: c.err}, Options: o})
				got := []State{check.State()}
				for len(got) < len(c.want) {
					synctest.Wait()
					got = append(got, check.State())
					time.Sleep(time.Until(check.Next()))
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %v, expected %v", got, c.want)
				}
			})
		})
	}
}

func TestStopDropsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		var changes atomic.Int32
		p := &scripted{hang: map[string]bool{"a:1": true}}
		c := s.Add(Target{Address: "a:1", Probe: p, Options: schedulerOptions(), Changed: func() { changes.Add(1) }})
		time.Sleep(time.Second)
		before := time.Now()
		c.Stop()
		if !time.Now().Equal(before) {
			t.Error("Stop has waited")
		}
		c.Stop()             // Twice is no harm.
		s.again(c, 0, false) // A result that was taken before Stop.
		time.Sleep(time.Minute)
		if len(c.Results()) > 0 || changes.Load() > 0 || c.State() != Checking || len(p.runs()) != 1 || !c.Next().IsZero() {
			t.Errorf("%v, %d changes, %d runs, next %v after Stop", c.Results(), changes.Load(), len(p.runs()), c.Next())
		}
	})
}

func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{err: errors.New("down")}
		o := schedulerOptions()
		o.Start = "healthy"
		old := s.Add(Target{Address: "a:1", Probe: p, Options: o})
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if old.Progress() != "2 of 3 failures" {
			t.Fatalf("progress %q", old.Progress())
		}
		since, results := old.Since(), fmt.Sprint(old.Results())
		changed := *o
		changed.Interval, changed.Fall = 5*time.Second, 4
		c := s.Add(Target{Address: "a:1", Probe: p, Options: &changed, Continue: old})
		if c.State() != Healthy || c.Progress() != "2 of 4 failures" || !c.Since().Equal(since) || fmt.Sprint(c.Results()) != results {
			t.Errorf("%v %q since %v %v", c.State(), c.Progress(), c.Since(), c.Results())
		}
		synctest.Wait()
		if passed, failed := c.Counts(); passed != 0 || failed != 3 {
			t.Errorf("%d passed, %d failed; those of the old check count too", passed, failed)
		}
		if c.Progress() != "3 of 4 failures" {
			t.Errorf("progress %q after a check with the new options", c.Progress())
		}
		time.Sleep(time.Minute)
		if n := len(old.Results()); n != 2 {
			t.Errorf("the old check went on: %d results", n)
		}
		if c.State() != Unhealthy || len(c.Results()) < 10 {
			t.Errorf("%v, %d results", c.State(), len(c.Results()))
		}
	})
}

// TestContinueBeforeAnyResult: what was never checked begins as the new options
// say.
func TestContinueBeforeAnyResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{hang: map[string]bool{"a:1": true}}
		old := s.Add(Target{Address: "a:1", Probe: p, Options: schedulerOptions()})
		o := schedulerOptions()
		o.Start = "healthy"
		if c := s.Add(Target{Address: "a:1", Probe: p, Options: o, Continue: old}); c.State() != Healthy {
			t.Errorf("%v, expected healthy", c.State())
		}
	})
}

func TestNotCheckedIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{}
		c := s.Add(Target{Address: "a:1", Probe: p, Options: schedulerOptions()})
		synctest.Wait()
		p.set(&notChecked{"too many open files here"})
		time.Sleep(time.Minute)
		synctest.Wait()
		last, _ := c.Last()
		if c.State() != Healthy || c.Progress() != "" || last.OK || last.Err != "not checked: too many open files here" {
			t.Errorf("%v %q %+v", c.State(), c.Progress(), last)
		}
		if passed, failed := c.Counts(); passed != 1 || failed != 0 {
			t.Errorf("%d passed, %d failed", passed, failed)
		}
	})
}

func TestHistoryKeepsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{status: 503, err: errors.New(strings.Repeat("long\n", 100))}
		c := s.Add(Target{Address: "a:1", Probe: p, Options: schedulerOptions()})
		time.Sleep(700 * time.Second)
		synctest.Wait()
		all := c.Results()
		if len(all) != HistorySize || len(p.runs()) < 70 {
			t.Fatalf("%d results of %d checks", len(all), len(p.runs()))
		}
		runs := p.runs()
		for i, r := range all {
			if want := runs[len(runs)-HistorySize+i]; !r.At.Equal(want) || r.OK || r.Status != 503 {
				t.Fatalf("result %d is %+v, expected one of %v", i, r, want)
			}
			if len(r.Err) > 200 || !strings.HasPrefix(r.Err, `long\nlong\n`) || !strings.HasSuffix(r.Err, "…") {
				t.Fatalf("error of %d bytes: %q", len(r.Err), r.Err)
			}
		}
		if cap(c.history.entries) != HistorySize {
			t.Errorf("room for %d results", cap(c.history.entries))
		}
	})
}

// TestStandstill: a process that was suspended does not dial all at once.
func TestStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewScheduler()
		defer s.Close()
		p := &scripted{}
		o := schedulerOptions()
		for i := range 1000 {
			s.Add(Target{Address: fmt.Sprintf("a:%d", i), Probe: p, Options: o})
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		s.mu.Lock() // As if the clock had gone on without us.
		s.base = s.base.Add(-30 * time.Second)
		before := len(p.runs())
		s.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		if n := len(p.runs()) - before; n < 100 || n > 400 {
			t.Errorf("%d checks in the 100ms after a standstill, expected about 200", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n := len(p.runs()) - before; n < 900 {
			t.Errorf("%d checks in the 600ms after a standstill, expected all", n)
		}
	})
}

// TestCommandsAreBounded: at most 16 commands run at a time, and waiting is not
// held against a backend.
func TestCommandsAreBounded(t *testing.T) {
	leaks(t)
	o := testOptions("exec")
	o.HTTP = HTTP{}
	o.Exec.Command = []string{"sleep", "0.3"}
	o.Timeout, o.Interval = 10*time.Second, time.Hour
	p := probeWith(t, o)
	s := NewScheduler()
	defer s.Close()
	checks := make([]*Check, 40)
	for i := range checks {
		checks[i] = s.Add(Target{Address: fmt.Sprintf("127.0.0.1:%d", 1+i), Probe: p, Options: &o})
	}
	waitFor(t, 30*time.Second, "all commands", func() bool {
		return !slices.ContainsFunc(checks, func(c *Check) bool { return c.State() != Healthy })
	})
	most := 0
	for _, c := range checks {
		at, together := c.Results()[0].At, 0
		for _, other := range checks {
			r := other.Results()[0]
			if !at.Before(r.At) && at.Before(r.At.Add(r.Latency)) {
				together++
			}
		}
		most = max(most, together)
	}
	if most > maxExec || most < 2 {
		t.Errorf("%d commands at a time, expected at most %d", most, maxExec)
	}
	for _, c := range checks {
		if last, _ := c.Last(); last.Latency > 5*time.Second {
			t.Errorf("waiting was counted: %+v", last)
		}
	}
}

// TestCloseLeavesNothing: goroutines and files are as before, with backends that
// hang in every probe.
func TestCloseLeavesNothing(t *testing.T) {
	leaks(t)
	hanging := serve(t, untilClosed)
	s := NewScheduler()
	var kinds []*Options
	for _, kind := range []string{"http", "tcp", "grpc", "exec"} {
		o := testOptions(kind)
		o.Timeout, o.Interval = time.Minute, 10*time.Millisecond
		switch kind {
		case "tcp":
			o.TCP.Expect = "never"
		case "exec":
			o.Exec.Command = []string{"sleep", "60"}
		}
		kinds = append(kinds, &o)
	}
	var checks []*Check
	for _, o := range kinds {
		p := probeWith(t, *o)
		for range 10 {
			checks = append(checks, s.Add(Target{Address: hanging, Probe: p, Options: o}))
		}
	}
	waitFor(t, 10*time.Second, "all to run", func() bool {
		for _, c := range checks {
			if _, ok := c.Running(); !ok && len(c.Results()) == 0 {
				return false
			}
		}
		return true
	})
	for _, c := range checks {
		if n := len(c.Results()); n > 0 {
			t.Errorf("%v against a backend that hangs", c.Results())
		}
	}
	checks[0].Stop()
	begun := time.Now()
	s.Close()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	c := s.Add(Target{Address: hanging, Probe: probeWith(t, *kinds[0]), Options: kinds[0]})
	if c.State() != Checking || !c.Next().IsZero() {
		t.Errorf("after Close: %v, next %v", c.State(), c.Next())
	}
	c.Stop()
}

// TestManyAtOnce has the race detector look at everything together.
func TestManyAtOnce(t *testing.T) {
	leaks(t)
	address := serve(t, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	o := testOptions("http")
	o.Interval = 10 * time.Millisecond
	p := probeWith(t, o)
	s := NewScheduler()
	defer s.Close()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			var c *Check
			for range 30 {
				c = s.Add(Target{Address: address, Probe: p, Options: &o, Continue: c, Changed: func() {}})
				c.Results()
				c.Last()
				c.Next()
				c.Progress()
				c.Since()
			}
			waitFor(t, 10*time.Second, "a pass", func() bool { return c.State() == Healthy })
			c.Stop()
		})
	}
	group.Wait()
}

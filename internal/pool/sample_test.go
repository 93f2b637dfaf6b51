package pool

import (
	"fmt"
	"testing"
	"time"

	"steelyard/internal/metrics"
)

// TestSample: it says what Status says, however often its slices were used
// before.
func TestSample(t *testing.T) {
	inLab(t, 3, checked, func(l *lab) {
		l.probe.put("b1", "down")
		l.after(3 * time.Second)
		if err := l.SetWeight("b2", 7); err != nil {
			t.Fatal(err)
		}
		l.Answered(endpoint(t, l.Pool, "b0"), 200)
		l.Answered(endpoint(t, l.Pool, "b0"), 502)
		l.Stats.Requests.Add(2)
		into := metrics.PoolSample{Backends: make([]metrics.BackendSample, 9), Sources: make([]metrics.SourceSample, 9)}
		for i := range into.Backends { // what an earlier sample may have left
			into.Backends[i] = metrics.BackendSample{Reason: "old", Percent: 3, Backup: true, Left: true, ChecksFailed: 9, CheckLatency: 1}
		}
		for range 2 {
			if err := l.Sample(&into); err != nil {
				t.Fatal(err)
			}
		}
		if into.Name != "web" || into.Policy != "round_robin" || into.Requests != 2 || into.FailOpen || len(into.Sources) != 0 || len(into.Backends) != 3 {
			t.Fatalf("%+v", into)
		}
		for i, want := range []string{
			"b0 healthy  usable=true weight=1 100% backup=false left=false requests=2 failures=1",
			"b1 unhealthy status 500, expected 200 to 399 usable=false weight=1 0% backup=false left=false requests=0 failures=0",
			"b2 healthy  usable=true weight=7 100% backup=false left=false requests=0 failures=0",
		} {
			b := &into.Backends[i]
			got := fmt.Sprintf("%s %s %s usable=%v weight=%d %d%% backup=%v left=%v requests=%d failures=%d", b.Address, b.State, b.Reason,
				b.Usable, b.Weight, b.Percent, b.Backup, b.Left, b.Requests, b.Failures)
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if !b.Checked || b.ChecksPassed+b.ChecksFailed < 2 || (b.ChecksFailed > 0) != (i == 1) {
				t.Errorf("%s: checked %v, %d passed, %d failed", b.Address, b.Checked, b.ChecksPassed, b.ChecksFailed)
			}
		}
		if c := into.Backends[0].Classes; c != [6]int64{0, 0, 1, 0, 0, 1} {
			t.Errorf("classes %v", c)
		}
	})
}

// TestSampleOfSources: what sources say is there, and who has left is last.
func TestSampleOfSources(t *testing.T) {
	inLab(t, 0, sourced, func(l *lab) {
		l.tell("s0", "s1")
		if e := endpoint(t, l.Pool, "s0"); !e.Backend.Acquire(0) {
			t.Fatal("s0 takes no request")
		} else {
			defer e.Backend.Release()
		}
		l.tell("s1")
		var into metrics.PoolSample
		if err := l.Sample(&into); err != nil {
			t.Fatal(err)
		}
		if n := len(into.Sources); n != 1 || into.Sources[0].Members != 1 || into.Sources[0].Failing {
			t.Errorf("sources %+v", into.Sources)
		}
		if len(into.Backends) != 2 || into.Backends[1].Address != "s0" || !into.Backends[1].Left || into.Backends[1].Usable {
			t.Errorf("backends %+v", into.Backends)
		}
	})
}

// TestSampleOfClosed: a pool that is gone says so.
func TestSampleOfClosed(t *testing.T) {
	p, err := New("web", options(1))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := p.Sample(&metrics.PoolSample{}); err == nil {
		t.Error("no error")
	}
}

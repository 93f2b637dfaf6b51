package outlier

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// at is the time of the k-th step of a writer.
func at(k int) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(k) * 250 * time.Millisecond)
}

// feed counts results, given as s and f, in their order.
func feed(c *Counter, o *Options, results string) {
	for _, r := range results {
		if r == 'f' {
			c.Failure(o.Consecutive)
		} else {
			c.Success()
		}
	}
}

func TestStep(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *Options)
		steps  map[int]string // results that arrive before a step.
		last   int            // the step whose answer counts; those before must be "".
		want   string
	}{
		{"nothing", nil, nil, 5, ""},
		{"run", nil, map[int]string{1: "sfffff"}, 1, "5 gateway failures in a row"},
		{"run over steps", nil, map[int]string{1: "sff", 4: "ff", 5: "ff"}, 5, "6 gateway failures in a row"},
		{"run of 5xx", func(o *Options) { o.On = On5xx }, map[int]string{1: "fffff"}, 1, "5 failures in a row"},
		{"run ended before the step", nil, map[int]string{1: "fffffs"}, 1, "5 gateway failures in a row"},
		{"broken run", nil, map[int]string{1: "ffffsffff", 2: "sffff"}, 2, ""},
		{"no run wanted", func(o *Options) { o.Consecutive = 0 }, map[int]string{1: strings.Repeat("f", 50)}, 1, ""},
		{"off", func(o *Options) { o.Off = true }, map[int]string{1: "fffffff"}, 1, ""},
		{"share", share(0.3), map[int]string{1: strings.Repeat("sfs", 40)}, 1, "33 % of 120 requests failed in 10s"},
		{"share exactly", share(0.07), map[int]string{1: strings.Repeat("s", 93) + "fffffff"}, 1, "7 % of 100 requests failed in 10s"},
		{"share not reached", share(0.34), map[int]string{1: strings.Repeat("sfs", 40)}, 1, ""},
		{"share of too few", share(0.3), map[int]string{1: strings.Repeat("sf", 9) + "s"}, 1, ""},
		{"share of just enough", share(0.3), map[int]string{1: strings.Repeat("sf", 10)}, 1, "50 % of 20 requests failed in 10s"},
		{"share over steps", share(0.3), map[int]string{1: strings.Repeat("s", 30), 10: strings.Repeat("f", 10), 20: "fff"}, 20, "30 % of 43 requests failed in 10s"},
		{"share after the window moved", share(0.3), map[int]string{1: strings.Repeat("s", 60), 30: strings.Repeat("f", 10), 42: strings.Repeat("s", 10)}, 42, "50 % of 20 requests failed in 10s"},
		{"failures left the window", share(0.3), map[int]string{1: "sssssssffffffffff", 42: strings.Repeat("s", 20)}, 42, ""},
		{"short window", func(o *Options) { share(0.5)(o); o.Window = time.Second }, map[int]string{1: strings.Repeat("f", 19), 6: "f"}, 6, ""},
		{"long window", func(o *Options) { share(0.5)(o); o.Window = 90 * time.Second }, map[int]string{1: strings.Repeat("f", 19), 300: "f"}, 300, "100 % of 20 requests failed in 1m30s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			if c.change != nil {
				c.change(&o)
			}
			var counter Counter
			var record Record
			for k := range c.last + 1 {
				feed(&counter, &o, c.steps[k])
				got := record.Step(at(k), &counter, &o)
				if k < c.last && got != "" {
					t.Fatalf("step %d: %q", k, got)
				} else if k == c.last && got != c.want {
					t.Fatalf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

func share(s float64) func(o *Options) {
	return func(o *Options) { o.Consecutive, o.FailureShare = 0, s }
}

// TestStepNamesWhileTheCauseLasts is for a pool without room for an ejection.
func TestStepNamesWhileTheCauseLasts(t *testing.T) {
	o := DefaultOptions()
	o.FailureShare, o.MinRequests = 0.9, 10
	var counter Counter
	var record Record
	feed(&counter, &o, "fffff")
	for k := range 3 {
		if got := record.Step(at(k), &counter, &o); got != "5 gateway failures in a row" {
			t.Fatalf("step %d: %q", k, got)
		}
	}
	feed(&counter, &o, "s")
	if got := record.Step(at(3), &counter, &o); got != "" {
		t.Errorf("after a success: %q", got)
	}
}

// TestStepAfterAPause must not take an hour's requests for the window's.
func TestStepAfterAPause(t *testing.T) {
	o := DefaultOptions()
	share(0.2)(&o)
	var counter Counter
	var record Record
	record.Step(at(0), &counter, &o)
	feed(&counter, &o, strings.Repeat("f", 100))
	if got := record.Step(at(0).Add(time.Hour), &counter, &o); got != "" {
		t.Errorf("after an hour without a step: %q", got)
	}
	// A change of the window, by a reload, starts a new one.
	feed(&counter, &o, strings.Repeat("f", 19))
	if got := record.Step(at(1).Add(time.Hour), &counter, &o); got != "" {
		t.Errorf("%q", got)
	}
	o.Window = time.Minute
	feed(&counter, &o, "f")
	if got := record.Step(at(2).Add(time.Hour), &counter, &o); got != "" {
		t.Errorf("in a new window: %q", got)
	}
}

// TestStepAfterShortPauses leaves slots of the window out.
func TestStepAfterShortPauses(t *testing.T) {
	o := DefaultOptions()
	share(0.2)(&o)
	var counter Counter
	var record Record
	feed(&counter, &o, strings.Repeat("f", 19))
	for _, seconds := range []int{0, 5, 12} {
		if seconds == 12 {
			feed(&counter, &o, "f")
		}
		if got := record.Step(at(4*seconds), &counter, &o); got != "" {
			t.Errorf("after %d s: %q", seconds, got)
		}
	}
}

// TestStepFollowsAThresholdThatChanges is a reload in the middle of a run.
func TestStepFollowsAThresholdThatChanges(t *testing.T) {
	o := DefaultOptions()
	var counter Counter
	var record Record
	feed(&counter, &o, "ffff")
	if got := record.Step(at(0), &counter, &o); got != "" {
		t.Fatal(got)
	}
	o.Consecutive = 3
	if got := record.Step(at(1), &counter, &o); got != "4 gateway failures in a row" {
		t.Errorf("%q", got)
	}
}

// TestEjectionStartsClean lets requests in flight fail while the backend is
// ejected, and one failure less than needed before and after.
func TestEjectionStartsClean(t *testing.T) {
	o := DefaultOptions()
	o.FailureShare = 0.5
	var counter Counter
	var record Record
	feed(&counter, &o, strings.Repeat("f", 30))
	if record.Step(at(0), &counter, &o) == "" {
		t.Fatal("not named")
	}
	until := record.Eject(at(0), &o)
	if !until.Equal(at(0).Add(o.Ejection)) || !record.Until().Equal(until) || record.Ejections() != 1 {
		t.Fatalf("until %v and %v, %d ejections", until, record.Until(), record.Ejections())
	}
	for k := 1; k < 40; k++ {
		feed(&counter, &o, "ffffff")
		if got := record.Step(at(k), &counter, &o); got != "" {
			t.Fatalf("named while ejected: %q", got)
		}
		if got := record.Eject(at(k), &o); !got.Equal(until) {
			t.Fatalf("extended to %v", got)
		}
	}
	feed(&counter, &o, "ffffff") // after the last step.
	record.End(at(40))
	if !record.Until().IsZero() || record.Ejections() != 1 {
		t.Fatalf("until %v, %d ejections after the end", record.Until(), record.Ejections())
	}
	feed(&counter, &o, "ffff")
	if got := record.Step(at(41), &counter, &o); got != "" {
		t.Fatalf("four failures after its return: %q", got)
	}
	feed(&counter, &o, "f")
	if got := record.Step(at(42), &counter, &o); got != "5 gateway failures in a row" {
		t.Errorf("five failures after its return: %q", got)
	}
}

func TestEjectionsDoubleAndAreForgotten(t *testing.T) {
	const s = time.Second
	// Pairs of the calm before an ejection and how long it lasts.
	for _, c := range []struct {
		name                  string
		ejection, maxEjection time.Duration
		calm, want            []time.Duration
	}{
		{"no calm", 10 * s, 300 * s,
			[]time.Duration{0, 0, 0, 0, 0, 0, 0},
			[]time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 300 * s, 300 * s}},
		{"too little calm", 10 * s, 300 * s,
			[]time.Duration{0, 9 * s, 19 * s},
			[]time.Duration{10 * s, 20 * s, 40 * s}},
		{"one stretch", 10 * s, 300 * s,
			[]time.Duration{0, 0, 20 * s, 20 * s},
			[]time.Duration{10 * s, 20 * s, 20 * s, 20 * s}},
		{"by halves", 10 * s, 300 * s,
			[]time.Duration{0, 0, 0, 0, 2 * 80 * s, 40 * s},
			[]time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 40 * s, 40 * s}},
		{"for ever", 10 * s, 300 * s,
			[]time.Duration{0, 0, 0, 1000 * time.Hour, 0},
			[]time.Duration{10 * s, 20 * s, 40 * s, 10 * s, 20 * s}},
		{"from the cap", 10 * s, 60 * s,
			[]time.Duration{0, 0, 0, 0, 60 * s},
			[]time.Duration{10 * s, 20 * s, 40 * s, 60 * s, 30 * s}},
		{"one length", 10 * s, 10 * s,
			[]time.Duration{0, 0, 3 * s, 30 * s},
			[]time.Duration{10 * s, 10 * s, 10 * s, 10 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.Ejection, o.MaxEjection = c.ejection, c.maxEjection
			var record Record
			now := at(0)
			var got []time.Duration
			for _, calm := range c.calm {
				now = now.Add(calm)
				until := record.Eject(now, &o)
				got = append(got, until.Sub(now))
				now = until
				record.End(now)
				record.End(now.Add(time.Hour)) // not ejected: nothing happens.
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("ejections %v after calm of %v, want %v", got, c.calm, c.want)
			}
		})
	}
}

func TestRoom(t *testing.T) {
	for _, c := range []struct {
		share             float64
		backends, ejected int
		want              bool
	}{
		{0.5, 4, 0, true}, {0.5, 4, 1, true}, {0.5, 4, 2, false},
		{0.5, 5, 1, true}, {0.5, 5, 2, false},
		{0.29, 100, 28, true}, {0.29, 100, 29, false},
		{0.1, 3, 0, true}, {0.1, 3, 1, false}, // one at least.
		{0, 10, 0, false},
		{0.5, 0, 0, false}, {0.5, 1, 0, false}, {1, 1, 0, false}, // never the last.
		{1, 4, 2, true}, {1, 4, 3, false},
		{0.5, 4, 4, false}, {0.5, 2, 3, false}, // after backends have left.
	} {
		o := DefaultOptions()
		o.MaxEjected = c.share
		if got := Room(&o, c.backends, c.ejected); got != c.want {
			t.Errorf("Room with max_ejected %v and %d of %d ejected = %v", c.share, c.ejected, c.backends, got)
		}
		o.Off = true
		if Room(&o, c.backends, c.ejected) {
			t.Error("room while off")
		}
	}
}

// TestTrafficIsJudged sends random traffic: a backend with 30 % failures leaves
// within a window, one with 1 % never.
func TestTrafficIsJudged(t *testing.T) {
	for seed := range uint64(20) {
		for _, rate := range []int{3, 25, 1000} { // requests between two steps.
			t.Run(fmt.Sprintf("seed %d rate %d", seed, rate), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				o := DefaultOptions()
				o.FailureShare = 0.2
				bad := o
				bad.Consecutive = 0 // the share alone.
				if got := judge(r, &bad, rate, 0.3, 40); got < 0 {
					t.Error("30 % failures were not noticed within the window")
				}
				if got := judge(r, &o, rate, 0.01, 400); got >= 0 {
					t.Errorf("1 %% failures were ejected in step %d", got)
				}
			})
		}
	}
}

// judge returns the first of n steps that names the backend, or -1.
func judge(r *rand.Rand, o *Options, rate int, failures float64, n int) int {
	var counter Counter
	var record Record
	for k := range n {
		for range rate {
			if r.Float64() < failures {
				counter.Failure(o.Consecutive)
			} else {
				counter.Success()
			}
		}
		if record.Step(at(k+1), &counter, o) != "" {
			return k
		}
	}
	return -1
}

package adaptive

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// app is what a Limit stands in front of, in simulated time: it works on some
// requests at once and lets the others wait, first come first served.
type app struct {
	limit   *Limit
	random  *rand.Rand
	at      time.Duration
	workers int
	takes   time.Duration // on average
	rate    float64       // requests per second that arrive

	busy    int
	waiting []time.Duration // when they arrived
	ends    ends
	next    time.Duration // arrival
	adjust  time.Duration

	done, shed int
	slowest    time.Duration
	sum        time.Duration
}

type end struct{ at, arrived time.Duration }
type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newApp(workers int, takes time.Duration) *app {
	l := &Limit{}
	l.Configure(DefaultOptions())
	return &app{limit: l, random: rand.New(rand.NewPCG(1, 2)), workers: workers, takes: takes}
}

// capacity is how many requests per second the app can answer.
func (a *app) capacity() float64 { return float64(a.workers) / a.takes.Seconds() }

// run lets d pass with rate requests per second, and forgets what it counted before.
func (a *app) run(d time.Duration, rate float64) {
	a.rate, a.done, a.shed, a.slowest, a.sum = rate, 0, 0, 0, 0
	until := a.at + d
	a.next = a.at + a.gap()
	for {
		at := min(a.next, a.adjust)
		if len(a.ends) > 0 {
			at = min(at, a.ends[0].at)
		}
		if at > until {
			a.at = until
			return
		}
		a.at = at
		switch {
		case len(a.ends) > 0 && a.ends[0].at == at:
			a.finish()
		case a.next == at:
			a.next += a.gap()
			a.arrive()
		default:
			a.limit.Adjust(at)
			a.adjust += 250 * time.Millisecond
		}
	}
}

func (a *app) gap() time.Duration {
	return time.Duration(a.random.ExpFloat64() * float64(time.Second) / a.rate)
}

func (a *app) arrive() {
	if !a.limit.Acquire() {
		a.shed++
		return
	}
	if a.busy == a.workers {
		a.waiting = append(a.waiting, a.at)
		return
	}
	a.begin(a.at)
}

func (a *app) begin(arrived time.Duration) {
	a.busy++
	takes := time.Duration((0.7 + 0.6*a.random.Float64()) * float64(a.takes))
	heap.Push(&a.ends, end{a.at + takes, arrived})
}

func (a *app) finish() {
	e := heap.Pop(&a.ends).(end)
	a.busy--
	took := a.at - e.arrived
	a.limit.Answered(took)
	a.done++
	a.sum += took
	a.slowest = max(a.slowest, took)
	if len(a.waiting) > 0 {
		arrived := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.begin(arrived)
	}
}

// apps differ in how much they do at once and how long that takes.
var apps = []struct {
	name    string
	workers int
	takes   time.Duration
}{
	{"one process that computes", 1, 5 * time.Millisecond},
	{"four processes that compute", 4, 20 * time.Millisecond},
	{"one that waits for a database", 200, 100 * time.Millisecond},
	{"fast and wide", 16, 2 * time.Millisecond},
	{"slow", 50, time.Second},
}

// TestOverload holds what the limit is for: at twice what an app can do, it does
// all it can and what it answers, it answers soon; below that nothing is kept
// away; and a minute of it changes nothing.
func TestOverload(t *testing.T) {
	for _, c := range apps {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(c.workers, c.takes)
			a.run(30*time.Second, 0.5*a.capacity())
			if share := float64(a.shed) / float64(a.shed+a.done); share > 0.01 {
				t.Errorf("at half of its capacity %.1f %% were kept away; limit %d", 100*share, a.limit.Value())
			}
			a.run(5*time.Second, 2*a.capacity()) // while it finds out
			for minute := range 3 {
				a.run(time.Minute, 2*a.capacity())
				if got := float64(a.done) / 60 / a.capacity(); got < 0.9 {
					t.Errorf("minute %d at twice its capacity it answered %.2f of what it can; limit %d, base %v", minute, got, a.limit.Value(), a.limit.Base())
				}
				if mean := a.sum / time.Duration(a.done); mean > 4*c.takes+20*time.Millisecond {
					t.Errorf("minute %d at twice its capacity an answer took %v, by itself %v; limit %d, base %v", minute, mean, c.takes, a.limit.Value(), a.limit.Base())
				}
			}
			a.run(5*time.Second, 0.7*a.capacity())
			a.run(10*time.Second, 0.7*a.capacity())
			if share := float64(a.shed) / float64(a.shed+a.done); share > 0.01 {
				t.Errorf("five seconds after the overload %.1f %% were still kept away; limit %d", 100*share, a.limit.Value())
			}
		})
	}
}

// TestOverloadFromTheStart has no time in which the base shows by itself.
func TestOverloadFromTheStart(t *testing.T) {
	for _, c := range apps {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(c.workers, c.takes)
			a.run(40*time.Second, 2*a.capacity())
			a.run(time.Minute, 2*a.capacity())
			if got := float64(a.done) / 60 / a.capacity(); got < 0.9 {
				t.Errorf("answered %.2f of what it can; limit %d, base %v", got, a.limit.Value(), a.limit.Base())
			}
			if mean := a.sum / time.Duration(a.done); mean > 5*c.takes+20*time.Millisecond {
				t.Errorf("an answer took %v, by itself %v; limit %d, base %v", mean, c.takes, a.limit.Value(), a.limit.Base())
			}
		})
	}
}

// TestAppChanges lets the app itself take longer, or do more at once, while the
// limit holds: that must not be taken for overload for ever.
func TestAppChanges(t *testing.T) {
	a := newApp(200, 20*time.Millisecond)
	a.run(20*time.Second, 0.5*a.capacity())
	a.run(20*time.Second, 2*a.capacity())

	a.takes = 100 * time.Millisecond
	a.run(60*time.Second, 2*a.capacity())
	a.run(30*time.Second, 2*a.capacity())
	if got := float64(a.done) / 30 / a.capacity(); got < 0.9 {
		t.Errorf("slower: answered %.2f of what it can; limit %d, base %v", got, a.limit.Value(), a.limit.Base())
	}
	a.takes = 20 * time.Millisecond
	a.run(10*time.Second, 2*a.capacity())
	a.run(30*time.Second, 2*a.capacity())
	if got := float64(a.done) / 30 / a.capacity(); got < 0.9 {
		t.Errorf("fast again: answered %.2f of what it can; limit %d, base %v", got, a.limit.Value(), a.limit.Base())
	}
	a.workers = 1000
	a.run(15*time.Second, 2*a.capacity())
	a.run(30*time.Second, 2*a.capacity())
	if got := float64(a.done) / 30 / a.capacity(); got < 0.9 {
		t.Errorf("wider: answered %.2f of what it can; limit %d, base %v", got, a.limit.Value(), a.limit.Base())
	}
	a.workers = 20
	a.run(15*time.Second, 2*a.capacity())
	a.run(30*time.Second, 2*a.capacity())
	if got := float64(a.done) / 30 / a.capacity(); got < 0.9 {
		t.Errorf("narrower: answered %.2f of what it can; limit %d, base %v", got, a.limit.Value(), a.limit.Base())
	}
	if mean := a.sum / time.Duration(a.done); mean > 4*a.takes+20*time.Millisecond {
		t.Errorf("narrower: an answer took %v; limit %d, base %v", mean, a.limit.Value(), a.limit.Base())
	}
}

func TestNothingIsLost(t *testing.T) {
	l := &Limit{}
	l.Configure(Options{Min: 3, Max: 3, Tolerance: 2})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if l.Acquire() {
					if l.Pending() > 3+8 { // others may be about to be refused
						t.Error("more than the limit were let in")
					}
					l.Answered(time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	if l.Pending() != 0 {
		t.Errorf("%d are pending after the last has gone", l.Pending())
	}
	for range 3 {
		if !l.Acquire() {
			t.Fatal("a free place was refused")
		}
	}
	if l.Acquire() || l.Room() {
		t.Error("a fourth was let in")
	}
	l.Failed()
	if !l.Room() || !l.Acquire() {
		t.Error("a place that became free was refused")
	}
}

func TestOptions(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Error(err)
	}
	for _, o := range []Options{{0, 1, 2}, {1, 0, 2}, {5, 4, 2}, {1, 2, 1}, {1, 2, 21}, {1, 1_000_001, 2}} {
		if o.Validate() == nil {
			t.Errorf("%+v is allowed", o)
		}
	}
}

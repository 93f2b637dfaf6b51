package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Check is the running check of one backend. Scheduler.Add makes it; its methods
// are safe for concurrent use.
type Check struct {
	scheduler *Scheduler
	target    Target
	ctx       context.Context
	cancel    context.CancelFunc
	state     atomic.Uint32
	silent    atomic.Bool

	// Guarded by Scheduler.mu.
	due     time.Duration
	index   int  // in the queue; -1 if not there
	gone    bool // stopped
	resumed bool // put off once after a standstill

	// Set once.
	phase uint64        // where in the interval it is checked, of 2^64
	early time.Duration // how much before it is due it may begin

	telling sync.Mutex // held while a result is taken and Changed is called
	stopped bool       // guarded by telling

	mu      sync.Mutex // guards what follows; held after telling
	machine Machine
	since   time.Time
	running time.Time // when the check that runs has begun; zero if none does
	history history
	passed  int64
	failed  int64
}

func newCheck(s *Scheduler, t Target) *Check {
	c := &Check{scheduler: s, target: t, index: -1}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.machine = NewMachine(t.Options.startState(), t.Options.Rise, t.Options.Fall)
	c.early = min(together, t.Options.Interval/togetherPart, t.Options.fast()/10)
	c.since = time.Now()
	if old := t.Continue; old != nil {
		old.Stop()
		old.mu.Lock()
		c.history = old.history.clone(old.scheduler.base.Sub(s.base))
		c.passed, c.failed = old.passed, old.failed
		if len(c.history.entries) > 0 { // Otherwise nothing is known that could go on.
			c.machine, c.since = old.machine, old.since
			c.machine.SetThresholds(t.Options.Rise, t.Options.Fall)
		}
		old.mu.Unlock()
		c.target.Continue = nil // Or a chain of all that ever were would be kept.
	}
	c.state.Store(uint32(c.machine.State()))
	return c
}

// startState is Start as a State.
func (o *Options) startState() State {
	switch o.Start {
	case "healthy":
		return Healthy
	case "unhealthy":
		return Unhealthy
	}
	return Checking
}

// fast is the interval while a backend is changing.
func (o *Options) fast() time.Duration {
	if o.FastInterval > 0 {
		return o.FastInterval
	}
	return min(o.Interval, defaultFast)
}

// State is the state in force. It costs one atomic load.
func (c *Check) State() State { return State(c.state.Load()) }

// Silent reports that the backend is unhealthy, and that not one byte came from
// it when it was checked the last time: its process hangs or is stopped, or its
// machine is gone. What waits for an answer of it may wait for ever. It costs one
// atomic load.
func (c *Check) Silent() bool { return c.silent.Load() }

// Address is that of the target.
func (c *Check) Address() string { return c.target.Address }

// Since is when the state in force began.
func (c *Check) Since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since
}

// Results lists the last results, oldest first, at most HistorySize.
func (c *Check) Results() []Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.results(c.scheduler.base)
}

// Last is the newest result; ok is false if no check has ended.
func (c *Check) Last() (r Result, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.history.last()
	if last == nil {
		return Result{}, false
	}
	return last.result(c.scheduler.base), true
}

// Counts is how many checks ever passed and failed, those that Continue names
// included. A check that could not be made (ErrNotChecked) is neither.
func (c *Check) Counts() (passed, failed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed, c.failed
}

// Running is when the check that runs at this moment has begun; ok is false if
// none does.
func (c *Check) Running() (begun time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running, !c.running.IsZero()
}

// Next is when the next check is due. While one runs, it is zero, and so it is
// when the check has been stopped.
func (c *Check) Next() time.Time {
	c.scheduler.mu.Lock()
	defer c.scheduler.mu.Unlock()
	if c.index < 0 {
		return time.Time{}
	}
	return c.scheduler.base.Add(c.due)
}

// Progress says how far the next change of the state is, such as "2 of 3
// failures" or "1 of 2 passes"; it is "" if the last result speaks for the state.
func (c *Check) Progress() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, of := c.machine.Progress()
	if n == 0 {
		return ""
	}
	what := "failures"
	if c.machine.State() == Unhealthy {
		what = "passes"
	}
	return fmt.Sprintf("%d of %d %s", n, of, what)
}

// Stop ends the check. Once it has returned, the state stays and Changed is not
// called any more. It does not wait for a probe that runs, whose result is
// dropped. It must not be called from Changed.
func (c *Check) Stop() {
	c.telling.Lock()
	c.stopped = true
	c.telling.Unlock()
	c.cancel()
	c.scheduler.remove(c)
}

func (c *Check) began(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = at
}

// record takes the result of a check. ok is false if it is not wanted any more;
// changing says whether the next check is due sooner.
func (c *Check) record(begun time.Time, latency time.Duration, status int, err error) (changing, ok bool) {
	c.telling.Lock()
	defer c.telling.Unlock()
	if c.stopped || c.ctx.Err() != nil {
		return false, false
	}
	text := ""
	if err != nil {
		if text = clip(err.Error(), maxErr); text == "" {
			text = "failed"
		}
	}
	c.mu.Lock()
	c.running = time.Time{}
	c.history.add(begun.Sub(c.scheduler.base), latency, status, text)
	switch {
	case err == nil:
		c.passed++
	case !errors.Is(err, ErrNotChecked):
		c.failed++
	}
	changed := !errors.Is(err, ErrNotChecked) && c.machine.Observe(err == nil)
	changing = c.machine.Changing()
	if changed {
		c.since = time.Now()
		c.state.Store(uint32(c.machine.State()))
	}
	if !errors.Is(err, ErrNotChecked) {
		c.silent.Store(c.machine.State() == Unhealthy && errors.Is(err, ErrSilent))
	}
	c.mu.Unlock()
	if changed && c.target.Changed != nil {
		c.target.Changed()
	}
	return changing, true
}

// after is when the next check is due, if one began at begun. A settled check
// has moments of its own, one in each interval, at the same phase; it comes back
// to them after it was changing, so that checks stay spread.
func (c *Check) after(begun time.Duration, changing bool) time.Duration {
	if changing {
		return begun + c.target.Options.fast()
	}
	interval := c.target.Options.Interval
	offset, _ := bits.Mul64(c.phase, uint64(interval))
	passed := (begun - time.Duration(offset)) % interval
	if passed < 0 {
		passed += interval
	}
	return begun + interval - passed
}

package healthcheck

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// firstGap is the time between two first checks, so that ten thousand
	// backends added at once are not all dialled at once.
	firstGap = time.Second / 2000
	// standstill is a lateness that says that this process has not run (it was
	// suspended, or starved). What is due then resumes at the pace of first
	// checks, because everything is.
	standstill = time.Second
	// maxExec is how many commands run at a time.
	maxExec = 16
	// defaultFast bounds the interval while a backend is changing, unless told.
	defaultFast = time.Second
	// together bounds how much sooner than due a check may begin, to begin with
	// one that is due, and togetherPart which part of its interval that may be.
	// Waking up costs more than a check.
	together     = 20 * time.Millisecond
	togetherPart = 100
	// golden is the golden ratio's fraction of 2^64.
	golden = 0x9E3779B97F4A7C15
)

// Scheduler runs checks, each at its own time. One goroutine waits for what is
// due; every check that is due runs in a goroutine of its own, so that a backend
// that hangs delays nobody. Its methods are safe for concurrent use.
type Scheduler struct {
	base   time.Time // what durations below are counted from
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // has room for one: the earliest due time has changed
	execs  chan struct{} // one token for each command that runs
	ended  chan struct{} // closed when the goroutine has ended
	runs   sync.WaitGroup

	mu     sync.Mutex
	queue  queue
	first  time.Duration // when the next first check may begin
	phase  uint64        // of the check that was added last
	closed bool
}

// NewScheduler starts a scheduler, which Close must end.
func NewScheduler() *Scheduler {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Scheduler{
		base: time.Now(), ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), execs: make(chan struct{}, maxExec), ended: make(chan struct{}),
		phase: rand.Uint64(),
	}
	go s.loop()
	return s
}

// Close stops every check and waits until those that run have ended. It must not
// be called from Target.Changed.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	<-s.ended
	s.runs.Wait()
}

// Target is a backend to be checked.
type Target struct {
	// Address is host:port, [v6]:port or unix:/path.
	Address string
	// Probe is shared by the backends of a pool.
	Probe Probe
	// Options must be valid; they are kept and must not be changed.
	Options *Options
	// Continue is an earlier check of the same backend, or nil. It is stopped,
	// and the new one takes over its state, progress and history.
	Continue *Check
	// Changed, if set, is called after each change of the state, by whichever
	// goroutine has run the check, in order and never twice at a time. It must
	// not wait for anything, and must not call Stop, Close or Add.
	Changed func()
}

// Add begins to check t. The first check begins at once or, if many are added
// together, in its turn (2000 a second); the later ones are spread evenly over
// the interval. After Close nothing is checked any more.
func (s *Scheduler) Add(t Target) *Check {
	c := newCheck(s, t)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Multiples of the golden ratio are spread more evenly than random numbers,
	// for any number of checks. They begin at a random one, so that several
	// Steelyards do not check in step.
	s.phase += golden
	c.phase = s.phase
	if t.Continue != nil {
		c.phase = t.Continue.phase
	}
	if !s.closed {
		s.enqueue(c, s.turn())
	}
	return c
}

// turn is when one more first check may begin. s.mu must be held.
func (s *Scheduler) turn() time.Duration {
	at := max(s.first, s.now())
	s.first = at + firstGap
	return at
}

func (s *Scheduler) now() time.Duration { return time.Since(s.base) }

// enqueue sets when c is due. s.mu must be held.
func (s *Scheduler) enqueue(c *Check, due time.Duration) {
	c.due = due
	heap.Push(&s.queue, c)
	if c.index == 0 {
		select {
		case s.wake <- struct{}{}:
		default: // It will look at the queue anyway.
		}
	}
}

// remove takes c out of the queue, if it is there.
func (s *Scheduler) remove(c *Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.gone = true
	if c.index >= 0 {
		heap.Remove(&s.queue, c.index)
	}
}

func (s *Scheduler) loop() {
	defer close(s.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		timer.Reset(s.start())
	}
}

// start starts what is due and returns how long to wait for the next.
func (s *Scheduler) start() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, any := s.now(), false
	for len(s.queue) > 0 && !s.closed {
		c := s.queue[0]
		if c.due > now && (!any || c.due-now > c.early) {
			return c.due - now
		}
		any = true
		heap.Pop(&s.queue)
		if now-c.due > standstill && !c.resumed {
			c.resumed = true
			s.enqueue(c, s.turn())
			continue
		}
		c.resumed = false
		s.runs.Add(1)
		go s.run(c)
	}
	return time.Hour
}

// run makes one check and says when the next is due.
func (s *Scheduler) run(c *Check) {
	defer s.runs.Done()
	probe, linger := c.target.Probe.(lingering)
	if _, ok := c.target.Probe.(*execProbe); ok {
		select {
		case s.execs <- struct{}{}:
			defer func() { <-s.execs }()
		case <-c.ctx.Done():
			return
		}
	}
	begun := time.Now()
	c.began(begun)
	ctx, cancel := context.WithTimeout(c.ctx, c.target.Options.Timeout)
	var left leaving
	var status int
	var err error
	if linger {
		status, left, err = probe.check(ctx, c.target.Address)
	} else {
		status, err = c.target.Probe.Run(ctx, c.target.Address)
	}
	latency := time.Since(begun)
	cancel()
	if changing, ok := c.record(begun, latency, status, err); ok {
		s.again(c, begun.Sub(s.base), changing)
	}
	left.close()
}

// again says when c is due after a check that began at begun.
func (s *Scheduler) again(c *Check, begun time.Duration, changing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || c.gone {
		return
	}
	s.enqueue(c, max(c.after(max(begun, c.due), changing), s.now()))
}

// queue is a heap of checks, the one that is due first on top. Scheduler.mu
// guards it and the fields of its checks that say so.
type queue []*Check

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *queue) Push(x any) {
	c := x.(*Check)
	c.index = len(*q)
	*q = append(*q, c)
}
func (q *queue) Pop() any {
	old := *q
	n := len(old) - 1
	c := old[n]
	old[n] = nil
	*q = old[:n]
	c.index = -1
	return c
}

package discovery

import (
	"context"
	"sync"
	"time"
)

const (
	// longWait is how long a query may wait for a change when there is a
	// connection for each. It is also how long a query that was given up may go
	// on in the agent.
	longWait = time.Minute
	// Watches that take turns are asked once in turnCycle, but all of them
	// together not more than turnRate times a second.
	turnCycle = time.Second
	turnRate  = 200
)

// turns shares few connections among many watches: so long as there is one for
// each, everyone waits for long; with more watches, each waits for its share of
// a cycle and lets the next one in, first come, first served.
type turns struct {
	slots chan struct{} // one is put in by each query under way

	mu      sync.Mutex
	watches int
	// calm ends when there are more watches than slots: those who wait for long
	// then must let others in.
	calm  context.Context
	crowd context.CancelFunc
}

// newTurns leaves connections free for the registration and for probes.
func newTurns(maxConnections int) *turns {
	spare := 2
	if maxConnections < 4 {
		spare = 1
	}
	t := &turns{slots: make(chan struct{}, maxConnections-spare)}
	t.calm, t.crowd = context.WithCancel(context.Background())
	return t
}

// join counts one watch more, leave one less.
func (t *turns) join() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watches++; t.watches == cap(t.slots)+1 {
		t.crowd()
	}
}

func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watches--; t.watches == cap(t.slots) {
		t.calm, t.crowd = context.WithCancel(context.Background())
	}
}

// take waits for a slot, which give gives back.
func (t *turns) take(ctx context.Context) error {
	select {
	case t.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turns) give() { <-t.slots }

// wait is how long the next query may wait for a change. If that is long, it
// must end when calm does.
func (t *turns) wait() (wait time.Duration, calm context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watches <= cap(t.slots) {
		return jitter(longWait, 0.1), t.calm
	}
	cycle := max(turnCycle, time.Duration(t.watches)*time.Second/turnRate)
	return cycle * time.Duration(cap(t.slots)) / time.Duration(t.watches), context.Background()
}

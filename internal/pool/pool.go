// Package pool keeps one pool of backends: its single writer merges what
// configuration says with what connections showed, and publishes one immutable
// Snapshot behind one atomic pointer. Runtime state (load, connections,
// bindings) is keyed by backend address and outlives configurations.
//
// It knows nothing of HTTP requests; the request path asks it for a backend
// and tells it how that went.
package pool

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"steelyard/balancer"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// Options is everything a pool is configured with.
type Options struct {
	Policy    balancer.Options
	Backends  []BackendOptions
	Transport transport.Options
	Sticky    *sticky.Options
	// Queue is the most requests that wait while all backends are at their
	// limit, each for at most QueueTimeout.
	Queue        int
	QueueTimeout time.Duration
	// RetryBudget is the share of recent requests that may be repeated, 0 to 1.
	RetryBudget float64
}

// BackendOptions is one backend of a pool.
type BackendOptions struct {
	Address        string
	Weight         int
	Backup         bool
	MaxConnections int // 0: no limit
}

// sweepEvery is how often idle connections are looked after and times checked.
const sweepEvery = 250 * time.Millisecond

// Pool is one pool. Its methods are safe for concurrent use.
type Pool struct {
	name string
	snap atomic.Pointer[Snapshot]

	// Stats counts what happened; see there.
	Stats Stats

	budget budget
	queue  queue

	commands chan func(*writer)
	done     chan struct{}
	stopped  sync.WaitGroup
	bindings atomic.Pointer[sticky.Table]
}

// New starts a pool. Close must be called to stop its goroutine.
func New(name string, o Options) (*Pool, error) {
	p := &Pool{name: name, commands: make(chan func(*writer), 256), done: make(chan struct{})}
	w := &writer{pool: p, endpoints: map[string]*Endpoint{}}
	if err := w.apply(o); err != nil {
		return nil, fmt.Errorf("pool %s: %w", name, err)
	}
	p.stopped.Add(1)
	go w.run()
	return p, nil
}

// Name is the pool's name.
func (p *Pool) Name() string { return p.name }

// Snapshot is the membership of this moment.
func (p *Pool) Snapshot() *Snapshot { return p.snap.Load() }

// Bindings is the table of clients known by header or address; nil if the pool
// does not bind that way.
func (p *Pool) Bindings() *sticky.Table { return p.bindings.Load() }

// Apply replaces the options. Backends that stay keep their connections and
// counters; the membership changes at once or, on error, not at all.
func (p *Pool) Apply(o Options) error {
	errs := make(chan error, 1)
	select {
	case p.commands <- func(w *writer) { errs <- w.apply(o) }:
	case <-p.done:
	}
	select {
	case err := <-errs:
		if err != nil {
			return fmt.Errorf("pool %s: %w", p.name, err)
		}
		return nil
	case <-p.done:
		return fmt.Errorf("pool %s: is closed", p.name)
	}
}

// Close stops the pool and closes its idle connections. It must be called once.
func (p *Pool) Close() {
	close(p.done)
	p.stopped.Wait()
	for _, e := range p.Snapshot().Endpoints {
		e.Conns.Close()
	}
}

// ConnectFailed tells the pool that a dial to e failed, so that the next
// requests go elsewhere for a while. It never blocks.
func (p *Pool) ConnectFailed(e *Endpoint) {
	if e.failing.Swap(true) && e.held.Load() {
		return
	}
	p.post(func(w *writer) { w.holdOff(e) })
}

// Connected tells the pool that a dial to e succeeded.
func (p *Pool) Connected(e *Endpoint) {
	if e.failing.Load() {
		e.failing.Store(false)
		p.post(func(w *writer) { w.recovered(e) })
	}
}

func (p *Pool) post(f func(*writer)) {
	select {
	case p.commands <- f:
	default: // the writer is behind; the next failure tells it again
	}
}

// Package pool keeps one pool of backends: its single writer merges what
// configuration, sources, checks, real traffic and the operator say, and
// publishes one immutable Snapshot behind one atomic pointer. Runtime state
// (load, connections, checks, ejections) is keyed by backend address and
// outlives memberships and configurations.
//
// It knows nothing of HTTP requests; the request path asks it for a backend
// and tells it how that went.
package pool

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/adaptive"
	"steelyard/internal/outlier"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// Options is everything a pool is configured with.
type Options struct {
	Policy    balancer.Options
	Backends  []BackendOptions // the static ones
	Sources   []SourceOptions  // where more come from
	Transport transport.Options
	Sticky    *sticky.Options
	// Queue is the most requests that wait while all backends are at their
	// limit, each for at most QueueTimeout.
	Queue        int
	QueueTimeout time.Duration
	// RetryBudget is the share of recent requests that may be repeated, 0 to 1.
	RetryBudget float64
	// MaxInFlight limits the requests of the whole pool; 0: no limit.
	MaxInFlight int
	// Adaptive finds out how many requests the pool can work on; nil: it is not
	// asked.
	Adaptive *adaptive.Options
	// MaxConnections limits the requests in flight on backends of sources that
	// say nothing about it; 0: no limit.
	MaxConnections int

	// Check is how backends are checked; nil: not at all.
	Check *healthcheck.Options
	// Outlier says whom real traffic takes out; the zero value: nobody.
	Outlier outlier.Options
	// SlowStart is how long a backend that comes back, or comes new, takes to
	// get its whole weight; 0: none.
	SlowStart time.Duration
	// DrainTimeout bounds the draining of a backend that has left, or that the
	// operator drains without a bound of his own; 0: no bound.
	DrainTimeout time.Duration
	// Reject answers with an error when all backends are out, instead of using
	// them all (fail open).
	Reject bool

	// Checks runs the checks; needed with Check. Log is where changes are told;
	// nil is slog's default.
	Checks *healthcheck.Scheduler
	Log    *slog.Logger

	probe healthcheck.Probe // instead of the one that Check names, in tests
}

// BackendOptions is one static backend of a pool.
type BackendOptions struct {
	Address        string
	Weight         int
	Backup         bool
	MaxConnections int // 0: no limit
}

// SourceOptions is one source of a pool.
type SourceOptions struct {
	// Key identifies the source across changes of options: one that is the
	// same goes on undisturbed.
	Key    string
	Source discovery.Source
	Guard  discovery.GuardOptions
}

// sweepEvery is how often everything that depends on time is looked after.
const sweepEvery = 250 * time.Millisecond

// Pool is one pool. Its methods are safe for concurrent use.
type Pool struct {
	name string
	snap atomic.Pointer[Snapshot]

	// Stats counts what happened; see there.
	Stats Stats

	budget    budget
	queue     queue
	admission admission
	outlier   atomic.Pointer[outlier.Options]

	commands chan func(*writer)
	wake     chan struct{} // something the writer judges by has changed
	done     chan struct{}
	ready    chan struct{} // closed when requests may come
	stopped  sync.WaitGroup
	bindings atomic.Pointer[sticky.Table]
	counted  boundCount
}

// New starts a pool. Close must be called to stop its goroutine.
func New(name string, o Options) (*Pool, error) {
	p := &Pool{
		name:     name,
		commands: make(chan func(*writer), 256),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		ready:    make(chan struct{}),
	}
	w := newWriter(p)
	if err := w.apply(o); err != nil {
		w.release()
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

// Ready is closed when requests may be let in: the sources have said something
// and the first checks have ended, or it has lasted too long (startLimit).
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// errClosed is what commands return once the pool is closed.
var errClosed = errors.New("is closed")

// Apply replaces the options. Backends that stay keep their connections,
// counters and history; the membership changes at once or, on error, not at all.
func (p *Pool) Apply(o Options) error {
	return p.command(func(w *writer) error { return w.apply(o) })
}

// command runs f in the writer's goroutine and waits for it.
func (p *Pool) command(f func(*writer) error) error {
	errs := make(chan error, 1)
	select {
	case p.commands <- func(w *writer) { errs <- f(w) }:
	case <-p.done:
	}
	select {
	case err := <-errs:
		if err != nil {
			return fmt.Errorf("pool %s: %w", p.name, err)
		}
		return nil
	case <-p.done:
		return fmt.Errorf("pool %s: %w", p.name, errClosed)
	}
}

// Close stops the pool, its sources and checks, and closes its idle
// connections. It must be called once.
func (p *Pool) Close() {
	close(p.done)
	p.stopped.Wait()
}

// poke makes the writer look at everything again; it never blocks, and pokes
// that come together cost one look.
func (p *Pool) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"steelyard/balancer"
	"steelyard/healthcheck"
	"steelyard/internal/outlier"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// writer is the only one who changes a pool. All its state belongs to the
// goroutine of run, and to New before that runs.
type writer struct {
	pool   *Pool
	log    *slog.Logger
	opts   Options
	policy balancer.Policy
	backup balancer.Policy
	probe  healthcheck.Probe // of opts.Check

	endpoints map[string]*Endpoint // by address, all that are in use
	operated  map[string]operated  // by address, what the operator has said; outlives members
	feeds     []*feed              // of opts.Sources, in their order
	outgoing  []claimed            // of the options before, until new sources answer
	ctx       context.Context      // ends with the writer
	cancel    context.CancelFunc

	began      time.Time
	usableAt   time.Time // when the first backend could be used; zero: none yet
	isReady    bool
	failOpen   time.Time // since when all are used because none is healthy; zero: no
	roster     roster
	rosters    uint64            // made so far
	members    []balancer.Member // of the roster, as if all were healthy
	moved      bool              // who is in the roster, or its order, has to be found anew
	stale      bool              // something that verdicts depend on may have changed
	nextLook   time.Time         // not before, so that looking is never all the writer does
	ticks      int
	membersLog membersChange
	telling    telling
	policies   uint64 // made so far
	nobody     bool   // no backend can be used, and that was told
}

func newWriter(p *Pool) *writer {
	w := &writer{
		pool:      p,
		endpoints: map[string]*Endpoint{},
		operated:  map[string]operated{},
		began:     time.Now(),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *writer) run() {
	p := w.pool
	defer p.stopped.Done()
	defer w.release()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	late := time.NewTimer(time.Hour)
	defer late.Stop()
	for {
		select {
		case <-p.done:
			return
		case f := <-p.commands:
			f(w)
			w.drainCommands()
		case <-p.wake:
			w.stale = true
		case <-ticker.C:
			w.tick(time.Now())
		case <-late.C:
		}
		if !w.stale && !w.moved {
			continue
		}
		if wait := time.Until(w.nextLook); wait > 0 {
			late.Reset(wait)
			continue
		}
		w.publish()
	}
}

// drainCommands takes the commands that are there, so that many changes at once
// cost one snapshot and not one each.
func (w *writer) drainCommands() {
	for range cap(w.pool.commands) { // more than that wait for the next round
		select {
		case f := <-w.pool.commands:
			f(w)
		case <-w.pool.wake:
			w.stale = true
		default:
			return
		}
	}
}

// release stops what the writer has started.
func (w *writer) release() {
	w.cancel()
	for _, e := range w.endpoints {
		e.checked.stop()
		e.Conns.Close()
	}
}

// tick looks after everything that depends on time. It asks for a look only if
// there is something to see, so that a pool at rest costs next to nothing.
func (w *writer) tick(now time.Time) {
	w.eject(now)
	w.pool.adjust(transport.Now())
	for _, e := range w.endpoints {
		e.Conns.Sweep()
		if e.due(now) {
			w.stale = true
		}
	}
	for _, f := range w.feeds {
		if f.guard.Tick(now) {
			w.moved = true
		}
	}
	if !w.isReady || !w.failOpen.IsZero() {
		w.stale = true
	}
	w.tellRest(now)
	if w.ticks++; time.Duration(w.ticks)*sweepEvery >= budgetSlot {
		w.ticks = 0
		w.pool.budget.rotate(&w.pool.Stats)
	}
}

// apply takes new options over; on error nothing has changed.
func (w *writer) apply(o Options) error {
	if err := distinct(&o); err != nil {
		return err
	}
	if o.Adaptive != nil {
		if err := o.Adaptive.Validate(); err != nil {
			return fmt.Errorf("adaptive limit: %w", err)
		}
	}
	policy, backup := w.policy, w.backup
	another := policy == nil || o.Policy != w.opts.Policy
	if another {
		var err error
		if policy, err = balancer.New(o.Policy); err != nil {
			return err
		}
		if backup, err = balancer.New(o.Policy); err != nil {
			return err
		}
	}
	recheck := o.Checks != w.opts.Checks || !reflect.DeepEqual(o.Check, w.opts.Check)
	probe, err := w.probe, error(nil)
	if recheck {
		if probe, err = newProbe(&o); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	if o.Outlier == (outlier.Options{}) {
		o.Outlier.Off = true
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if another {
		w.policies++
	}
	w.policy, w.backup, w.probe = policy, backup, probe
	secret := cookieSecret(w.opts.Sticky) != cookieSecret(o.Sticky)
	anew := w.opts.Outlier != o.Outlier
	static := w.staticClaims()
	w.opts, w.log = o, o.Log.With("pool", w.pool.name)
	w.pool.budget.share.Store(int64(o.RetryBudget * budgetScale))
	w.pool.queue.configure(o.Queue, o.QueueTimeout)
	w.pool.admission.configure(&o)
	w.pool.queue.wakeAll()
	w.pool.outlier.Store(&o.Outlier)
	w.applySticky(o.Sticky)
	w.handOver(static, w.applySources(o.Sources))
	for _, e := range w.endpoints {
		e.Conns.SetOptions(o.Transport)
		if recheck {
			w.check(e)
		}
		if secret {
			e.id = ""
		}
		if anew {
			e.acquit()
		}
	}
	w.moved = true
	w.publish()
	return nil
}

// newProbe makes the probe of o.Check; nil without one.
func newProbe(o *Options) (healthcheck.Probe, error) {
	switch {
	case o.Check == nil:
		return nil, nil
	case o.Checks == nil:
		return nil, errors.New("there is no scheduler to run it; set Options.Checks")
	case o.probe != nil:
		return o.probe, nil
	}
	return healthcheck.NewProbe(*o.Check)
}

// distinct refuses what is named twice: neither could be told from the other
// when the options change.
func distinct(o *Options) error {
	named := make(map[string]bool, len(o.Backends))
	for _, b := range o.Backends {
		if named[b.Address] {
			return fmt.Errorf("backend %s is named twice", b.Address)
		}
		named[b.Address] = true
	}
	keys := make(map[string]bool, len(o.Sources))
	for _, s := range o.Sources {
		if keys[s.Key] {
			return fmt.Errorf("source %q is named twice; remove one of them", s.Source)
		}
		keys[s.Key] = true
	}
	return nil
}

// applySticky makes the table of bindings, or keeps the one there is.
func (w *writer) applySticky(o *sticky.Options) {
	size, ttl := 0, time.Duration(0)
	switch {
	case o != nil && o.Header != nil:
		size, ttl = o.Header.Size, o.Header.TTL
	case o != nil && o.ClientIP != nil:
		size, ttl = o.ClientIP.Size, o.ClientIP.TTL
	default:
		w.pool.bindings.Store(nil)
		return
	}
	if table := w.pool.bindings.Load(); table != nil {
		w.pool.bindings.Store(table.Resize(size, ttl))
	} else {
		w.pool.bindings.Store(sticky.NewTable(size, ttl, nil))
	}
}

func cookieSecret(o *sticky.Options) string {
	if o != nil && o.Cookie != nil {
		return o.Cookie.Secret
	}
	return ""
}

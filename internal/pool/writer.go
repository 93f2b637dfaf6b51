package pool

import (
	"hash/maphash"
	"time"

	"steelyard/balancer"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// How long a backend that cannot be connected to is left alone: the first time
// and at most.
const (
	holdFirst = 250 * time.Millisecond
	holdMost  = 8 * time.Second
)

// writer is the only one who changes a pool. All its state belongs to the
// goroutine of run, and to New before that runs.
type writer struct {
	pool      *Pool
	opts      Options
	policy    balancer.Policy
	backup    balancer.Policy
	endpoints map[string]*Endpoint // by address, all that are in use
	ticks     int
}

func (w *writer) run() {
	p := w.pool
	defer p.stopped.Done()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case f := <-p.commands:
			f(w)
		case <-ticker.C:
			w.tick(time.Now())
		}
	}
}

// tick looks after everything that depends on time.
func (w *writer) tick(now time.Time) {
	changed := false
	for _, e := range w.endpoints {
		e.Conns.Sweep()
		if e.held.Load() && now.After(e.heldUntil) {
			e.held.Store(false)
			changed = true
		}
	}
	if changed {
		w.publish()
	}
	if w.ticks++; time.Duration(w.ticks)*sweepEvery >= budgetSlot {
		w.ticks = 0
		w.pool.budget.rotate(&w.pool.Stats)
	}
}

// apply takes new options over; on error nothing has changed.
func (w *writer) apply(o Options) error {
	policy, backup := w.policy, w.backup
	if policy == nil || o.Policy != w.opts.Policy {
		var err error
		if policy, err = balancer.New(o.Policy); err != nil {
			return err
		}
		if backup, err = balancer.New(o.Policy); err != nil {
			return err
		}
	}
	w.policy, w.backup, w.opts = policy, backup, o
	w.pool.budget.share.Store(int64(o.RetryBudget * budgetScale))
	w.pool.queue.configure(o.Queue, o.QueueTimeout)
	w.applySticky(o.Sticky)
	w.applyBackends(o)
	w.publish()
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

// applyBackends makes endpoints for new addresses and lets go of those that
// are no longer named. Requests in flight on them end in their own time.
func (w *writer) applyBackends(o Options) {
	named := make(map[string]bool, len(o.Backends))
	for _, b := range o.Backends {
		named[b.Address] = true
		if e, ok := w.endpoints[b.Address]; ok {
			e.Conns.SetOptions(o.Transport)
			continue
		}
		w.endpoints[b.Address] = &Endpoint{
			Address: b.Address,
			Backend: balancer.NewBackend(b.Address, b.Address),
			Conns:   transport.NewEndpoint(b.Address, o.Transport),
		}
	}
	for address, e := range w.endpoints {
		if !named[address] {
			e.Conns.Close()
			delete(w.endpoints, address)
		}
	}
}

// publish builds the snapshot of what the writer knows now.
func (w *writer) publish() {
	o := &w.opts
	s := &Snapshot{byID: make(map[string]int, len(o.Backends)), byBinding: make(map[uint64]int, len(o.Backends))}
	s.Timed = o.Policy.Policy == "least_time"
	failOpen := w.allHeld()
	for pass, wantBackup := range []bool{false, true} {
		for _, b := range o.Backends {
			if b.Backup != wantBackup {
				continue
			}
			e := w.endpoints[b.Address]
			s.Endpoints = append(s.Endpoints, e)
			s.members = append(s.members, balancer.Member{
				Backend: e.Backend,
				Weight:  b.Weight,
				Down:    e.held.Load() && !failOpen,
				Limit:   int64(b.MaxConnections),
			})
		}
		if pass == 0 {
			s.primaries = len(s.members)
		}
	}
	w.index(s)
	s.primary = w.policy.Build(s.members[:s.primaries:s.primaries])
	if s.primaries < len(s.members) {
		s.backup = w.backup.Build(s.members[s.primaries:])
	}
	w.pool.snap.Store(s)
	w.pool.queue.wakeAll()
}

// index fills the maps by which bound clients find their backend.
func (w *writer) index(s *Snapshot) {
	secret := ""
	if w.opts.Sticky != nil && w.opts.Sticky.Cookie != nil {
		secret = w.opts.Sticky.Cookie.Secret
	}
	s.ids = make([]string, len(s.Endpoints))
	s.bindings = make([]uint64, len(s.Endpoints))
	for i, e := range s.Endpoints {
		s.ids[i] = sticky.ID(secret, w.pool.name, e.Address)
		s.bindings[i] = maphash.String(bindingSeed, e.Address)
		s.byID[s.ids[i]] = i
		s.byBinding[s.bindings[i]] = i
	}
}

// bindingSeed makes the table's values of this process; they never leave it.
var bindingSeed = maphash.MakeSeed()

// allHeld reports that no backend with a weight is left: then it is better to
// try than to refuse (fail open).
func (w *writer) allHeld() bool {
	for _, b := range w.opts.Backends {
		if b.Weight > 0 && !w.endpoints[b.Address].held.Load() {
			return false
		}
	}
	return true
}

// holdOff takes a backend out after a failed dial, each time for longer.
func (w *writer) holdOff(e *Endpoint) {
	if e.held.Load() || w.endpoints[e.Address] != e {
		return
	}
	e.hold = min(max(2*e.hold, holdFirst), holdMost)
	e.heldUntil = time.Now().Add(e.hold)
	e.held.Store(true)
	w.publish()
}

func (w *writer) recovered(e *Endpoint) {
	e.hold = 0
	if e.held.Swap(false) {
		w.publish()
	}
}

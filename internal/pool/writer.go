package pool

import (
	"fmt"
	"hash/maphash"
	"slices"
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
	roster    roster               // of opts
	members   []balancer.Member    // of opts, in the order of the roster
	stale     bool                 // what is published is not what the writer knows
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
			w.drain()
		case <-ticker.C:
			w.tick(time.Now())
		}
		if w.stale {
			w.publish()
		}
	}
}

// drain takes the commands that are there, so that many backends failing at
// once cost one snapshot and not one each.
func (w *writer) drain() {
	for {
		select {
		case f := <-w.pool.commands:
			f(w)
		default:
			return
		}
	}
}

// tick looks after everything that depends on time.
func (w *writer) tick(now time.Time) {
	for _, e := range w.endpoints {
		e.Conns.Sweep()
		if e.held.Load() && now.After(e.heldUntil) {
			e.held.Store(false)
			w.stale = true
		}
	}
	if w.ticks++; time.Duration(w.ticks)*sweepEvery >= budgetSlot {
		w.ticks = 0
		w.pool.budget.rotate(&w.pool.Stats)
	}
}

// apply takes new options over; on error nothing has changed.
func (w *writer) apply(o Options) error {
	named := make(map[string]bool, len(o.Backends))
	for _, b := range o.Backends {
		if named[b.Address] {
			return fmt.Errorf("backend %s is named twice", b.Address)
		}
		named[b.Address] = true
	}
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
	w.applyBackends(o, named)
	w.enrol()
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
func (w *writer) applyBackends(o Options, named map[string]bool) {
	for _, b := range o.Backends {
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

// enrol makes the roster and the members of the options.
func (w *writer) enrol() {
	o := &w.opts
	n := len(o.Backends)
	r := roster{
		Timed:     o.Policy.Policy == "least_time",
		Endpoints: make([]*Endpoint, 0, n),
		ids:       make([]string, 0, n),
		bindings:  make([]uint64, 0, n),
		byID:      make(map[string]int, n),
		byBinding: make(map[uint64]int, n),
	}
	secret := ""
	if o.Sticky != nil && o.Sticky.Cookie != nil {
		secret = o.Sticky.Cookie.Secret
	}
	w.members = make([]balancer.Member, 0, n)
	for _, backup := range []bool{false, true} {
		for _, b := range o.Backends {
			if b.Backup != backup {
				continue
			}
			e, i := w.endpoints[b.Address], len(r.Endpoints)
			id, binding := sticky.ID(secret, w.pool.name, e.Address), maphash.String(bindingSeed, e.Address)
			r.Endpoints, r.ids, r.bindings = append(r.Endpoints, e), append(r.ids, id), append(r.bindings, binding)
			r.byID[id], r.byBinding[binding] = i, i
			w.members = append(w.members, balancer.Member{Backend: e.Backend, Weight: b.Weight, Limit: int64(b.MaxConnections)})
		}
		if !backup {
			r.primaries = len(r.Endpoints)
		}
	}
	w.roster = r
}

// publish builds the snapshot of what the writer knows now.
func (w *writer) publish() {
	s := &Snapshot{roster: w.roster, members: slices.Clone(w.members)}
	failOpen := w.allHeld()
	for i, e := range s.Endpoints {
		s.members[i].Down = e.held.Load() && !failOpen
	}
	s.primary = w.policy.Build(s.members[:s.primaries:s.primaries])
	if s.primaries < len(s.members) {
		s.backup = w.backup.Build(s.members[s.primaries:])
	}
	w.stale = false
	w.pool.snap.Store(s)
	w.pool.queue.wakeAll()
}

// bindingSeed makes the table's values of this process; they never leave it.
var bindingSeed = maphash.MakeSeed()

// allHeld reports that no backend with a weight is left: then it is better to
// try than to refuse (fail open).
func (w *writer) allHeld() bool {
	for i, e := range w.roster.Endpoints {
		if w.members[i].Weight > 0 && !e.held.Load() {
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
	w.stale = true
}

func (w *writer) recovered(e *Endpoint) {
	e.hold = 0
	if e.held.Swap(false) {
		w.stale = true
	}
}

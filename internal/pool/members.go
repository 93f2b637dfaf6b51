package pool

import (
	"cmp"
	"hash/maphash"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// bindingSeed makes the table's values of this process; they never leave it.
var bindingSeed = maphash.MakeSeed()

// claimed is one backend that somebody names.
type claimed struct {
	address string
	first   bool // by the first answer of its source
	claim
}

// collect lists the members of this moment: the static ones, then those of the
// sources in their order. Of several claims to one address the first counts.
func (w *writer) collect() []claimed {
	n := len(w.opts.Backends) + len(w.outgoing)
	for _, f := range w.feeds {
		n += len(f.members)
	}
	all := append(make([]claimed, 0, n), w.staticClaims()...)
	if len(w.feeds) == 0 {
		return all // distinct by configuration
	}
	seen := make(map[string]bool, n)
	for i := range all {
		seen[all[i].address] = true
	}
	for _, f := range w.feeds {
		for i := range f.members {
			m := &f.members[i]
			if seen[m.Address] {
				continue
			}
			seen[m.Address] = true
			all = append(all, claimed{m.Address, f.first, w.claimOf(f, m)})
		}
	}
	for _, c := range w.outgoing {
		if !seen[c.address] {
			all = append(all, c)
		}
	}
	return all
}

// staticClaims lists the members that the options name themselves.
func (w *writer) staticClaims() []claimed {
	all := make([]claimed, len(w.opts.Backends))
	for i, b := range w.opts.Backends {
		all[i] = claimed{b.Address, false, claim{weight: b.Weight, backup: b.Backup, limit: int64(b.MaxConnections)}}
	}
	return all
}

func (w *writer) claimOf(f *feed, m *discovery.Member) claim {
	c := claim{
		weight: m.Weight, backup: m.Backup, limit: int64(cmp.Or(m.MaxConnections, w.opts.MaxConnections)),
		state: m.State, reason: m.Reason, source: f.name, name: m.Name, tags: m.Tags, meta: m.Meta,
	}
	_, c.kept = f.held[m.Address]
	return c
}

// move brings the endpoints and the roster in line with what is claimed.
func (w *writer) move(now time.Time) {
	for _, f := range w.feeds {
		f.refresh()
	}
	all := w.collect()
	for _, e := range w.endpoints {
		e.here = false
	}
	order := make([]*Endpoint, len(all))
	for i := range all {
		e, known := w.endpoints[all[i].address]
		if !known {
			e = w.newEndpoint(all[i].address, now)
			e.early = !w.isReady || all[i].first && now.Sub(w.began) < startLimit
		}
		if !e.leftAt.IsZero() {
			w.rejoin(e)
		}
		e.here, e.lingers, e.claim = true, false, all[i].claim
		order[i] = e
	}
	awaited := w.awaitsFirst(order, now)
	for _, e := range w.endpoints {
		if e.here || !e.leftAt.IsZero() {
			continue
		}
		if e.lingers = awaited && e.verdict.usable(); e.lingers {
			e.here = true
			order = append(order, e)
		} else {
			w.leave(e, now)
		}
	}
	for _, f := range w.feeds {
		f.first = false
	}
	w.enrol(order)
	w.moved, w.stale = false, true
}

func (w *writer) newEndpoint(address string, now time.Time) *Endpoint {
	e := &Endpoint{
		Address: address,
		Backend: balancer.NewBackend(address, address),
		Conns:   transport.NewEndpoint(address, w.opts.Transport),
	}
	e.since = now
	w.recall(e)
	w.endpoints[address] = e
	w.membersLog.added++
	w.check(e)
	return e
}

// check starts the checks of a backend as the options want them, or ends them;
// what earlier ones found out is kept.
func (w *writer) check(e *Endpoint) {
	before := e.checked
	if before.Check == nil {
		e.proven = e.verdict.usable()
	}
	if w.probe == nil {
		before.stop()
		e.checked = checkOf{}
		return
	}
	e.checked = checkOf{w.opts.Checks.Add(healthcheck.Target{
		Address: e.Address, Probe: w.probe, Options: w.opts.Check, Continue: before.Check, Changed: w.pool.poke,
	})}
	before.stop()
}

// checkOf is a check, or none.
type checkOf struct{ *healthcheck.Check }

func (c checkOf) stop() {
	if c.Check != nil {
		c.Stop()
	}
}

// leave begins the drain of a backend that nobody names any more.
func (w *writer) leave(e *Endpoint, now time.Time) {
	e.leftAt, e.kept = now, false
	w.membersLog.removed++
	if e.drain == nil {
		e.drain = newDrain(now, w.opts.DrainTimeout)
	}
}

// awaitsFirst reports whether none of those who are named can be used yet, but
// the first check of some has not ended. Until it has, who leaves lingers: when
// all members are exchanged at once, there must not be nobody between.
func (w *writer) awaitsFirst(named []*Endpoint, now time.Time) (awaited bool) {
	for _, e := range named {
		switch {
		case e.lingers || e.currentWeight() == 0 || e.judge().ordered():
		case e.sound():
			return false
		case e.health() == verdictChecking && now.Sub(e.since) < startLimit:
			awaited = true
		}
	}
	return awaited
}

// succeeded lets those who linger leave as soon as nothing is awaited any more.
func (w *writer) succeeded(now time.Time) {
	for _, e := range w.roster.Endpoints {
		if e.lingers {
			w.moved = w.moved || !w.awaitsFirst(w.roster.Endpoints, now)
			return
		}
	}
}

// rejoin takes a backend back that had left and was not yet forgotten.
func (w *writer) rejoin(e *Endpoint) {
	e.leftAt = time.Time{}
	w.recall(e)
	w.membersLog.added++
}

// sessionsFor bounds how long a backend that has left waits for the clients that
// are bound to it, where its drain has no bound; that is the longest a drain can
// be given. Or a pool whose backends change all the time would keep all of them.
const sessionsFor = 24 * time.Hour

// forget drops the backends that have left and have nothing to do any more. A
// request that has just taken one from an old snapshot may still be served.
func (w *writer) forget(now time.Time) {
	for address, e := range w.endpoints {
		if e.leftAt.IsZero() || e.Backend.InFlight() > 0 {
			continue
		}
		if w.opts.Sticky != nil && !e.drain.over && !e.disabled && e.sound() && now.Sub(e.leftAt) < sessionsFor {
			continue // bound sessions may come
		}
		e.checked.stop()
		e.Conns.Close()
		delete(w.endpoints, address)
		w.remember(address, now)
		w.moved = w.moved || w.opts.Sticky != nil // it was in the roster
	}
}

// enrol makes the roster and the members of the endpoints in order.
func (w *writer) enrol(order []*Endpoint) {
	n := len(order)
	w.rosters++
	r := roster{
		serial:    w.rosters,
		Timed:     w.opts.Policy.Policy == "least_time",
		Endpoints: make([]*Endpoint, 0, n),
	}
	for _, backup := range []bool{false, true} {
		for _, e := range order {
			if e.backup == backup {
				r.Endpoints = append(r.Endpoints, e)
			}
		}
		if !backup {
			r.primaries = len(r.Endpoints)
		}
	}
	r.pickable = len(r.Endpoints)
	if w.opts.Sticky != nil {
		for _, e := range w.endpoints {
			if !e.here {
				r.Endpoints = append(r.Endpoints, e)
			}
		}
		w.identify(&r)
	}
	w.members = make([]balancer.Member, len(r.Endpoints))
	for i, e := range r.Endpoints {
		w.members[i] = balancer.Member{Backend: e.Backend, Weight: e.currentWeight(), Limit: e.limit, Down: !e.here}
	}
	w.roster = r
}

// identify fills in how bound clients name the backends.
func (w *writer) identify(r *roster) {
	n := len(r.Endpoints)
	r.ids, r.bindings = make([]string, n), make([]uint64, n)
	r.byID, r.byBinding = make(map[string]int, n), make(map[uint64]int, n)
	secret := cookieSecret(w.opts.Sticky)
	for i, e := range r.Endpoints {
		if e.id == "" {
			e.id = sticky.ID(secret, w.pool.name, e.Address)
			e.binding = maphash.String(bindingSeed, e.Address)
		}
		r.ids[i], r.bindings[i] = e.id, e.binding
		r.byID[e.id], r.byBinding[e.binding] = i, i
	}
}

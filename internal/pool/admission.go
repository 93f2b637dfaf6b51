package pool

import (
	"sync/atomic"
	"time"

	"steelyard/internal/adaptive"
)

// admission bounds the requests of the whole pool, whatever its backends could
// take. A pool without such bounds pays for one look at on.
type admission struct {
	on       atomic.Bool
	max      atomic.Int64 // 0: no limit
	inFlight atomic.Int64 // of those that were admitted while on
	adapts   atomic.Bool
	adaptive adaptive.Limit
}

// Ticket is what a request has been counted in with. Its zero value is nothing.
type Ticket uint8

const (
	ticketInFlight Ticket = 1 << iota
	ticketPending         // in the adaptive limit
)

func (a *admission) configure(o *Options) {
	a.max.Store(int64(o.MaxInFlight))
	if o.Adaptive != nil {
		a.adaptive.Configure(*o.Adaptive)
	}
	a.adapts.Store(o.Adaptive != nil)
	a.on.Store(o.MaxInFlight > 0 || o.Adaptive != nil)
}

// room reports whether Admit would succeed.
func (a *admission) room() bool {
	if !a.on.Load() {
		return true
	}
	limit := a.max.Load()
	return (limit == 0 || a.inFlight.Load() < limit) && (!a.adapts.Load() || a.adaptive.Room())
}

// Admit counts a request in, unless the pool is at its limit. Discharge must
// follow if it returns true.
func (p *Pool) Admit(t *Ticket) bool {
	a := &p.admission
	if !a.on.Load() {
		return true
	}
	n := a.inFlight.Add(1)
	if limit := a.max.Load(); limit > 0 && n > limit {
		a.inFlight.Add(-1)
		return false
	}
	if a.adapts.Load() {
		if !a.adaptive.Acquire() {
			a.inFlight.Add(-1)
			return false
		}
		*t |= ticketPending
	}
	*t |= ticketInFlight
	return true
}

// Admits reports whether Admit would succeed now.
func (p *Pool) Admits() bool { return p.admission.room() }

// Discharge counts a request out with whatever it still holds.
func (p *Pool) Discharge(t *Ticket) {
	if *t == 0 {
		return
	}
	p.Unmeasured(t)
	if *t&ticketInFlight != 0 {
		p.admission.inFlight.Add(-1)
	}
	*t = 0
}

// Measured tells the adaptive limit that a request has been answered after that
// time. From then on the request does not count for it: what is left is to carry
// the response.
func (p *Pool) Measured(t *Ticket, took time.Duration) {
	if *t&ticketPending != 0 {
		*t &^= ticketPending
		p.admission.adaptive.Answered(took)
		p.wakeFirst()
	}
}

// Unmeasured is Measured for a request that says nothing about how fast the app
// is.
func (p *Pool) Unmeasured(t *Ticket) {
	if *t&ticketPending != 0 {
		*t &^= ticketPending
		p.admission.adaptive.Failed()
		p.wakeFirst()
	}
}

// adjust lets the adaptive limit look at what it has measured.
func (p *Pool) adjust(at time.Duration) {
	if p.admission.adapts.Load() && p.admission.adaptive.Adjust(at) {
		p.queue.wakeAll()
	}
}

// Admission is how many requests a pool may have at once, at one moment.
type Admission struct {
	MaxInFlight int64 // 0: no limit
	InFlight    int64 // 0 while there is no limit: they are not counted then
	// AdaptiveLimit is what the pool can work on, as far as it is known; 0 without
	// such a limit. Pending is how many it works on, Base how long an answer takes
	// without a queue (0: unknown).
	AdaptiveLimit int64
	Pending       int64
	Base          time.Duration
}

// admission describes the limits; it is the writer's.
func (w *writer) admission() Admission {
	a := &w.pool.admission
	s := Admission{MaxInFlight: a.max.Load()}
	if a.on.Load() {
		s.InFlight = a.inFlight.Load()
	}
	if a.adapts.Load() {
		s.AdaptiveLimit, s.Pending, s.Base = a.adaptive.Value(), a.adaptive.Pending(), a.adaptive.Base()
	}
	return s
}

package pool

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"steelyard/balancer"
)

// operated is what the operator has said of a backend. It is kept when the
// backend goes, so that one that comes back is as it was left.
type operated struct {
	disabled  bool
	drain     *drain
	weightSet bool
	weight    int
	gone      time.Time // when the backend was forgotten; zero: it is there
}

// maxRemembered bounds of how many backends that are gone it is known what the
// operator has said of them.
const maxRemembered = 1000

func (o operated) restore(e *Endpoint) {
	e.disabled, e.drain, e.weightSet, e.operWeight = o.disabled, o.drain, o.weightSet, o.weight
	e.cut.Store(o.drain != nil && o.drain.over)
}

// recall gives a backend that comes, or comes back, what the operator has said
// of it.
func (w *writer) recall(e *Endpoint) {
	o, ok := w.operated[e.Address]
	if ok {
		o.gone = time.Time{}
		w.operated[e.Address] = o
	}
	o.restore(e)
}

// remember notes that a backend is gone of which the operator has said
// something, and forgets the one that is gone for longest if they are too many.
func (w *writer) remember(address string, now time.Time) {
	o, ok := w.operated[address]
	if !ok {
		return
	}
	o.gone = now
	w.operated[address] = o
	gone, oldest := 0, address
	for a, other := range w.operated {
		if other.gone.IsZero() {
			continue
		}
		if gone++; other.gone.Before(w.operated[oldest].gone) {
			oldest = a
		}
	}
	if gone > maxRemembered {
		delete(w.operated, oldest)
	}
}

// ErrNoBackend is what commands about a backend return that is not there.
var ErrNoBackend = errors.New("has no such backend")

func newDrain(now time.Time, bound time.Duration) *drain {
	d := &drain{since: now}
	if bound > 0 {
		d.until = now.Add(bound)
	}
	return d
}

// operate changes what the operator wants of a backend.
func (p *Pool) operate(address string, change func(*operated, *writer)) error {
	return p.command(func(w *writer) error {
		e, ok := w.endpoints[address]
		if !ok || !e.here {
			return fmt.Errorf("%w %s", ErrNoBackend, address)
		}
		o := w.operated[address]
		change(&o, w)
		if o == (operated{}) {
			delete(w.operated, address)
		} else {
			w.operated[address] = o
		}
		o.restore(e)
		w.moved = true
		w.publish()
		return nil
	})
}

// Drain gives a backend nothing new but the requests of clients bound to it.
// After bound (0: the pool's drain timeout) their sessions move, and what is
// still in flight is cut. The error is ErrNoBackend.
//
// A backend that has left drains already; for that one, this sets another bound.
func (p *Pool) Drain(address string, bound time.Duration) error {
	left := false
	err := p.command(func(w *writer) error {
		e, ok := w.endpoints[address]
		if left = ok && !e.here && !e.leftAt.IsZero(); left {
			e.drain = newDrain(time.Now(), cmp.Or(bound, w.opts.DrainTimeout))
			w.moved = true
			w.publish()
		}
		return nil
	})
	if left || err != nil {
		return err
	}
	return p.operate(address, func(o *operated, w *writer) {
		if bound == 0 {
			bound = w.opts.DrainTimeout
		}
		o.disabled, o.drain = false, newDrain(time.Now(), bound)
	})
}

// Disable gives a backend nothing at all from now on; what is in flight ends
// in its own time. The error is ErrNoBackend.
func (p *Pool) Disable(address string) error {
	return p.operate(address, func(o *operated, _ *writer) { o.disabled, o.drain = true, nil })
}

// Enable undoes Drain and Disable. Checks, source and traffic still have their
// say. The error is ErrNoBackend.
func (p *Pool) Enable(address string) error {
	return p.operate(address, func(o *operated, _ *writer) { o.disabled, o.drain = false, nil })
}

// SetWeight overrides the weight of a backend, 0 to balancer.MaxWeight; below 0
// it has the configured one again. The error is ErrNoBackend or names the range.
func (p *Pool) SetWeight(address string, weight int) error {
	if weight > balancer.MaxWeight {
		return fmt.Errorf("pool %s: weight %d is not within 0 to %d", p.name, weight, balancer.MaxWeight)
	}
	return p.operate(address, func(o *operated, _ *writer) {
		o.weightSet, o.weight = weight >= 0, max(weight, 0)
	})
}

// ReleaseHeld carries out the removals that the registry guard holds, and returns
// how many backends leave by it.
func (p *Pool) ReleaseHeld() (n int, err error) {
	err = p.command(func(w *writer) error {
		for _, f := range w.feeds {
			n += f.guard.Release()
		}
		w.moved = true
		w.publish()
		return nil
	})
	return n, err
}

// endDrain ends what a drained backend still has.
func (w *writer) endDrain(e *Endpoint) {
	e.drain.over = true
	n := e.Backend.InFlight()
	e.cutAll()
	if w.mayTell(slog.LevelInfo, "drain is over") {
		w.log.Info("drain is over", "backend", e.Address, "requests_cut", n)
	}
}

// currentWeight is the operator's word, else the claim's.
func (e *Endpoint) currentWeight() int {
	if e.weightSet {
		return e.operWeight
	}
	return e.weight
}

// Package ratelimit counts requests by key against a rate, in a fixed amount of
// memory and without a lock.
//
// A key has a bucket of Burst requests that fills at the rate; a request takes
// one out or is refused. What is kept of a bucket is the moment at which it will
// be full again (the generic cell rate algorithm, ITU-T I.371, Annex A, in its
// virtual scheduling form). A bucket that is full is one that is not kept, so
// that forgetting it changes nothing.
//
// The package knows nothing of requests, addresses or headers.
package ratelimit

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Time is counted in units of which a request costs this many, so that what is
// kept fits half a word, whatever the rate.
const perRequest = 256

// Limiter holds the buckets of one rate. It is safe for concurrent use, waits
// for nobody and allocates only to grow.
type Limiter struct {
	opts    Options
	store   *Store
	full    uint64 // what a bucket holds, in units
	slack   uint64 // by how much two readings of the clock may be out of order, in units
	table   atomic.Pointer[table]
	growing sync.Mutex
}

// Decision is what became of a request.
type Decision struct {
	OK bool
	// Remaining is how many more there are in the bucket.
	Remaining int
	// Wait is when the next one comes in.
	Wait time.Duration
}

// clockSlack is how much later another request may have read the clock that was
// counted before.
const clockSlack = 2 * time.Second

func newLimiter(o Options, s *Store) *Limiter {
	l := &Limiter{opts: o, store: s, full: uint64(o.Burst) * perRequest}
	l.slack = l.units(clockSlack)
	l.table.Store(newTable(minBits))
	return l
}

// Options are those it was made with.
func (l *Limiter) Options() Options { return l.opts }

// Take takes one request out of the bucket of a key, a hash of Store, at a time
// on any monotonic clock.
func (l *Limiter) Take(key uint64, at time.Duration) Decision {
	now := l.units(at)
	for {
		t := l.table.Load()
		place, was, used, other := t.find(key, now, l.full, l.slack)
		if used+perRequest > l.full {
			return Decision{Wait: l.duration(used + perRequest - l.full)}
		}
		if !place.CompareAndSwap(was, t.entry(key, now+used+perRequest)) {
			continue
		}
		if other {
			l.displaced(t, now)
		}
		return l.rest(used + perRequest)
	}
}

// Peek says what Take would, and takes nothing: Remaining is what there is now.
func (l *Limiter) Peek(key uint64, at time.Duration) Decision {
	_, _, used, _ := l.table.Load().find(key, l.units(at), l.full, l.slack)
	if used+perRequest > l.full {
		return Decision{Wait: l.duration(used + perRequest - l.full)}
	}
	return l.rest(used)
}

// rest is the decision for a request after which a bucket lacks used.
func (l *Limiter) rest(used uint64) Decision {
	d := Decision{OK: true, Remaining: int((l.full - used) / perRequest)}
	if next := uint64(d.Remaining+1) * perRequest; next <= l.full {
		d.Wait = l.duration(used + next - l.full)
	}
	return d
}

// units is a time in units, which is exact for every rate.
func (l *Limiter) units(at time.Duration) uint64 {
	hi, lo := bits.Mul64(uint64(at), uint64(l.opts.Requests)*perRequest)
	n, _ := bits.Div64(hi, lo, uint64(l.opts.Per))
	return n
}

// duration is a number of units as time, rounded up.
func (l *Limiter) duration(units uint64) time.Duration {
	hi, lo := bits.Mul64(units, uint64(l.opts.Per))
	n, rest := bits.Div64(hi, lo, uint64(l.opts.Requests)*perRequest)
	if rest > 0 {
		n++
	}
	return time.Duration(n)
}

// displaced notes that a bucket in use was given up for another, and gives the
// table more room if that has happened often.
func (l *Limiter) displaced(t *table, now uint64) {
	l.store.forgotten.Add(1)
	if t.displaced.Add(1) <= int64(len(t.sets)/16) || !l.growing.TryLock() {
		return
	}
	defer l.growing.Unlock()
	if l.table.Load() != t {
		return
	}
	t.displaced.Store(0)
	if t.bits < maxBits && l.store.reserve(t.size()) {
		l.table.Store(t.grown(now, l.full, l.slack))
	}
}

// Close gives its memory back to the store. What is taken afterwards still
// counts.
func (l *Limiter) Close() {
	l.growing.Lock() // and never again: it does not grow any more
	l.store.free(l.table.Load().size())
}

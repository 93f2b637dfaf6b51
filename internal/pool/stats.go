package pool

import (
	"sync/atomic"
	"time"

	"steelyard/internal/metrics"
)

// Stats counts what happened in a pool since it was made. Fields only grow.
type Stats struct {
	Requests atomic.Int64
	// Attempts counts the tries on backends, Retries those that repeated one.
	Attempts atomic.Int64
	Retries  atomic.Int64
	// RetriesDenied counts retries that the budget did not allow.
	RetriesDenied atomic.Int64
	// Ejections counts backends taken out by what traffic saw.
	Ejections atomic.Int64
	// FailOpens counts how often no backend was healthy and all were used,
	// FailOpenRequests the requests of those times.
	FailOpens        atomic.Int64
	FailOpenRequests atomic.Int64

	// Classes counts what clients got, errors that Steelyard made included.
	Classes metrics.Classes
	// Errors counts what Steelyard answered or cut itself, by the number that the
	// request path gives a cause; PassedOn the responses of 500 and above that
	// clients got from backends.
	Errors   metrics.Causes
	PassedOn atomic.Int64
	// Latency is the time from a request's first byte to the end of its
	// response; upgraded connections and broken responses are not in it.
	Latency metrics.Histogram
	// Queued is how long requests waited in the queue, those that gave up
	// included; requests that did not have to wait are not in it.
	Queued metrics.Histogram
}

// Waiting is the number of requests in the queue now.
func (p *Pool) Waiting() int { return int(p.queue.waiting.Load()) }

// The retry budget looks at the last two slots of this length.
const (
	budgetSlot  = 5 * time.Second
	budgetFloor = 10 // retries allowed in that time whatever the traffic
	budgetScale = 1 << 20
)

// budget allows retries as a share of recent requests, so that an outage is not
// multiplied. It reads counters that exist anyway, so requests pay nothing.
type budget struct {
	share    atomic.Int64 // of budgetScale
	spent    atomic.Int64 // retries ever charged
	moved    atomic.Int64 // requests ever sent elsewhere by MayMove
	requests [2]atomic.Int64
	charged  [2]atomic.Int64
	moves    [2]atomic.Int64
}

// rotate forgets what is older than one to two slots.
func (b *budget) rotate(s *Stats) {
	b.requests[0].Store(b.requests[1].Load())
	b.charged[0].Store(b.charged[1].Load())
	b.requests[1].Store(s.Requests.Load())
	b.charged[1].Store(b.spent.Load())
	b.moves[0].Store(b.moves[1].Load())
	b.moves[1].Store(b.moved.Load())
}

// MayRetry charges one retry of a request that a backend may have seen, and
// reports false when the budget is used up.
func (p *Pool) MayRetry() bool {
	b := &p.budget
	recent := p.Stats.Requests.Load() - b.requests[0].Load()
	allowed := budgetFloor + recent*b.share.Load()/budgetScale
	// Charged first, so that many at once cannot pass the limit together.
	if b.spent.Add(1)-b.charged[0].Load() > allowed {
		b.spent.Add(-1)
		p.Stats.RetriesDenied.Add(1)
		return false
	}
	return true
}

// MayMove charges one request that waits for a backend which has fallen silent
// and could be sent to another. That backend does nothing with it, so this is not
// charged as a retry; but there may be many that wait, and together they are no
// more than the recent requests, so that the others get twice their load at most.
// Who may not move yet goes on waiting, and asks again.
func (p *Pool) MayMove() bool {
	b := &p.budget
	allowed := int64(budgetFloor)
	if b.share.Load() > 0 {
		allowed += p.Stats.Requests.Load() - b.requests[0].Load()
	}
	if b.moved.Add(1)-b.moves[0].Load() > allowed {
		b.moved.Add(-1)
		return false
	}
	return true
}

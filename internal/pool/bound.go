package pool

import (
	"sync"
	"time"

	"steelyard/internal/metrics"
	"steelyard/internal/sticky"
)

// A count of the bound clients reads the whole table of bindings. It is kept for
// boundFor at least, and for so long that counting takes no more of a core than
// one part in boundShare, however large the table is and however many ask.
const (
	boundFor   = time.Second
	boundShare = 100
)

// boundCount is the last count.
type boundCount struct {
	mu     sync.Mutex // also while it is counted: who asks then waits for that
	table  *sticky.Table
	counts map[uint64]int
	until  time.Time // when it is too old
}

// recent counts the bindings of table, or returns a count that is not old. What it
// returns must not be changed.
func (b *boundCount) recent(table *sticky.Table) map[uint64]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	began := time.Now()
	if b.table != table || !began.Before(b.until) {
		b.table, b.counts = table, table.Counts()
		now := time.Now()
		b.until = now.Add(max(boundFor, boundShare*now.Sub(began)))
	}
	return b.counts
}

// BoundSessions counts, by address, the clients that are bound to each backend.
// It is nil in a pool that does not know: cookies are kept by the clients. It
// reads the whole table of bindings, so it is for what happens seldom.
func (p *Pool) BoundSessions() map[string]int {
	table := p.Bindings()
	if table == nil {
		return nil
	}
	return p.Snapshot().byAddress(table.Counts())
}

// recentlyBound is BoundSessions for those who ask again and again; it may be a
// little old.
func (p *Pool) recentlyBound() map[string]int {
	table := p.Bindings()
	if table == nil {
		return nil
	}
	return p.Snapshot().byAddress(p.counted.recent(table))
}

// byAddress says whom the counts are of. Bindings to a backend that is gone are
// nobody's: those clients are bound anew when they come.
func (r *roster) byAddress(counts map[uint64]int) map[string]int {
	by := make(map[string]int, len(r.bindings))
	for i, b := range r.bindings {
		by[r.Endpoints[i].Address] = counts[b]
	}
	return by
}

// SampleBound fills into with how many clients are bound to the backends of a
// sample, which Sample has made. It is apart from that because it costs more.
func (p *Pool) SampleBound(into *metrics.PoolSample) {
	by := p.recentlyBound()
	into.Bindings = by != nil
	for i := range into.Backends {
		into.Backends[i].Bound = by[into.Backends[i].Address]
	}
}

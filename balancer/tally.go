package balancer

import "sync/atomic"

// load is the sum of the requests in flight on the backends that tallies attach
// to it. The bounded ring reads it on every pick, where a sum over all members
// would cost a cache miss for each.
//
// Exactness: every change of a backend's counter is followed by a sync of the
// tally that is attached at that time (see tally.sync), so that n equals the
// sum whenever no Acquire or Release is between its two steps. It cannot drift.
type load struct {
	_ [cacheLine]byte
	n atomic.Int64
	_ [cacheLine - 8]byte
	// stolen is set once another Build has attached one of the backends
	// elsewhere; n is then no longer kept and its reader must sum by itself.
	stolen atomic.Bool
	_      [cacheLine - 4]byte
}

// tally is what one backend contributes to a load.
type tally struct {
	load    *load
	counted atomic.Int64
	_       [cacheLine - 16]byte // backends do not share a line.
}

// sync makes the contribution equal to counter. The loop ends the race of two
// callers: whoever stored last has seen the counter as it was after its store,
// so that no older value stays.
func (t *tally) sync(counter *atomic.Int64) {
	for {
		n := counter.Load()
		t.load.n.Add(n - t.counted.Swap(n))
		if counter.Load() == n {
			return
		}
	}
}

// attachLoad makes a load over the live members of s. A backend is attached to
// one load at a time: those it was attached to before are marked stolen, and
// the pickers that still use them fall back to summing.
func attachLoad(s *set) *load {
	l := &load{}
	tallies := make([]tally, len(s.live))
	for k, i := range s.live {
		b, t := s.members[i].Backend, &tallies[k]
		t.load = l
		if old := b.tally.Swap(t); old != nil {
			old.load.stolen.Store(true)
		}
		// A change that went to the old tally happened before the Swap and
		// is in what this sync reads.
		t.sync(&b.inFlight)
	}
	return l
}

// total is the number of requests in flight on the live members of s, for which
// l was made: one atomic load, or a sum over the members when l was stolen.
func (l *load) total(s *set) int64 {
	if !l.stolen.Load() {
		return max(0, l.n.Load())
	}
	var sum int64
	for _, i := range s.live {
		sum += s.members[i].Backend.InFlight()
	}
	return sum
}

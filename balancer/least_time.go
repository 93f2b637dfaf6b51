package balancer

import "sync/atomic"

// Least time: the member with the lowest product of expected time to first byte
// and requests in flight (the new one included) per unit of weight. The
// expectation is a moving average over about a second that also halves with
// every halfLife of silence, so that a backend that was slow once is asked again
// instead of being shunned for ever (traefik#12306: 5 requests of 1,500), and
// one that is new is asked at once, but with one request until it has answered.
// See Backend.expectedWait.
//
// Locks: none. Build is called by one goroutine at a time. Pick reads the
// backends' counters one after the other and writes the time of the pick into
// the one it chose. It reads the clock once and every live member, O(n).

type leastTime struct {
	clock func() int64
	turn  atomic.Uint64
}

type leastTimePicker struct {
	set
	clock func() int64
	turn  *atomic.Uint64
}

// Build copies the members; all of least_time's state is in the backends.
func (p *leastTime) Build(members []Member) Picker {
	return &leastTimePicker{set: newSet(members), clock: p.clock, turn: &p.turn}
}

// Pick returns the member that is expected to answer first. Equals, which are
// members that were never tried, are asked from a start that moves on.
func (p *leastTimePicker) Pick(_ uint64, tried *Tried) int {
	n := len(p.live)
	if n == 0 {
		return -1
	}
	now := p.clock()
	at := int((p.turn.Add(1) - 1) % uint64(n))
	best, bestCost := -1, 0.0
	for range n {
		i := int(p.live[at])
		if at++; at == n {
			at = 0
		}
		m := &p.members[i]
		inFlight := m.Backend.InFlight()
		cost := m.Backend.expectedWait(now) * float64(inFlight+1) / float64(m.Weight)
		if best >= 0 && cost >= bestCost || m.Limit > 0 && inFlight >= m.Limit || tried.Has(i) {
			continue
		}
		best, bestCost = i, cost
	}
	if best >= 0 {
		p.members[best].Backend.pickedAt.Store(now)
	}
	return best
}

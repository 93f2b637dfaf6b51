package balancer

import (
	"math/bits"
	"sync/atomic"
)

// Least time: the member with the lowest product of expected time to first byte
// and requests in flight (the new one included) per unit of weight. The
// expectation is a moving average over about a second that also halves with
// every halfLife of silence, so that a backend that was slow once is asked again
// instead of being shunned for ever (traefik#12306: 5 requests of 1,500), and
// one that is new is asked at once, but with one request until it has answered.
// See Backend.expectedWait. A member that ramps is picked on its own turns only,
// which come by its ramped weight, so that it gets no more than that however fast
// it is.
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
	return &leastTimePicker{set: newShares(members), clock: p.clock, turn: &p.turn}
}

// Pick returns the member that is expected to answer first. Equals, which are
// members that were never tried, are asked from a start that moves on.
func (p *leastTimePicker) Pick(_ uint64, tried *Tried) int {
	if len(p.live) == 0 {
		return -1
	}
	now := p.clock()
	best := p.choose(now, p.turn.Add(1)-1, tried)
	if best >= 0 {
		p.members[best].Backend.pickedAt.Store(now)
	}
	return best
}

// choose is Pick at a time and with a turn, but for what Pick leaves behind.
func (p *leastTimePicker) choose(now int64, turn uint64, tried *Tried) int {
	switch {
	case len(p.live) == 0:
		return -1
	case p.ramping:
		return p.pickRamping(now, turn, tried)
	}
	best, _ := p.leastCost(p.live, now, turn, tried)
	return best
}

// leastCost is the usable member with the lowest cost of those that among lists,
// and that cost; -1 if there is none.
func (p *leastTimePicker) leastCost(among []int32, now int64, turn uint64, tried *Tried) (best int, bestCost float64) {
	n := len(among)
	at := int(turn % uint64(n))
	best = -1
	for range n {
		i := int(among[at])
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
	return best, bestCost
}

// rampPatience is how many times the best steady member's cost a ramping one may
// have on its own turn. Its turns bound what it gets already; without patience it
// would lose most of them to whoever of its equals is the fastest at the moment.
const rampPatience = 2

// pickRamping is Pick while a member ramps, but for the time of the pick.
func (p *leastTimePicker) pickRamping(now int64, turn uint64, tried *Tried) int {
	best, bestCost := p.leastCost(p.steady, now, turn, tried)
	if best < 0 {
		best, _ = p.leastCost(p.live, now, turn, tried)
		return best
	}
	i := p.onTurn(turn * golden)
	m := &p.members[i]
	if m.Ramp == 0 || !p.usable(i, tried) {
		return best
	}
	// A whole weight is the share divided by the percentage.
	cost := m.Backend.expectedWait(now) * float64(m.Backend.InFlight()+1) / float64(m.Weight) * float64(m.Ramp) / float64(p.steadyAt)
	if cost <= rampPatience*bestCost {
		return i
	}
	return best
}

// onTurn is the live member at r, uniform, of the line of shares: multiples of
// golden make members take turns.
func (s *set) onTurn(r uint64) int {
	rest, _ := bits.Mul64(r, uint64(s.weight))
	for _, i := range s.live {
		w := uint64(s.members[i].Weight)
		if rest < w {
			return int(i)
		}
		rest -= w
	}
	return int(s.live[len(s.live)-1]) // never: rest is below the sum.
}

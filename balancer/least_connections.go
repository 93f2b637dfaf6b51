package balancer

import "math/bits"

// Least connections, weighted: the member with the fewest requests in flight
// per unit of weight. Members of equal load take turns by weight. A member that
// ramps is picked on its own turns only, which come by its ramped weight, so that
// it gets no more than that however idle it is.
//
// Locks: none. Build is called by one goroutine at a time. Pick reads the
// backends' counters one after the other, so that its answer is right for loads
// that were true during the call, and takes turns from a cursor of the policy,
// which old and new pickers share.
//
// Growth: a pick that meets an idle member among the first few of the schedule
// is O(1), since nothing is below idle; otherwise it reads every live member,
// O(n), about 5 ns each: 0.5 us for 100 busy backends, 5 us for 1,000, 50 us for
// 10,000, and more when other cores write the counters. From a thousand busy
// backends on, power_of_two is the better choice.

// idleDraws is how many turns a pick looks for an idle member before it reads
// them all.
const idleDraws = 4

type leastConnections struct{ cursors cursors }

type leastConnectionsPicker struct {
	set
	slots   []int32
	cursors *cursors
}

// Build makes the schedule that breaks ties, at the cost of round robin's.
func (p *leastConnections) Build(members []Member) Picker {
	s := newShares(members)
	return &leastConnectionsPicker{set: s, slots: newSchedule(&s), cursors: &p.cursors}
}

// Pick returns the least loaded member; see above for its cost.
func (p *leastConnectionsPicker) Pick(_ uint64, tried *Tried) int {
	n := uint64(len(p.slots))
	if n == 0 {
		return -1
	}
	if p.ramping {
		return p.pickRamping(tried)
	}
	var turn uint64
	for range idleDraws {
		turn = p.cursors.next(tried)
		i := int(p.slots[turn%n])
		if p.members[i].Backend.InFlight() == 0 && p.usable(i, tried) {
			return i
		}
	}
	return p.leastLoaded(p.live, turn*golden, tried)
}

// pickRamping is Pick while a member ramps. It takes one turn, so that turns come
// round as the schedule has them, and looks for an idle member at random.
func (p *leastConnectionsPicker) pickRamping(tried *Tried) int {
	n := uint64(len(p.slots))
	turn := p.cursors.next(tried)
	i := int(p.slots[turn%n])
	onTurn := p.members[i].Ramp > 0 && p.usable(i, tried)
	if onTurn && p.members[i].Backend.InFlight() == 0 {
		return i
	}
	for k := uint64(0); k < idleDraws && !onTurn; k++ {
		if p.members[i].Ramp == 0 && p.usable(i, tried) && p.members[i].Backend.InFlight() == 0 {
			return i
		}
		at, _ := bits.Mul64(mix64(turn*idleDraws+k), n)
		i = int(p.slots[at])
	}
	best := p.leastLoaded(p.steady, turn*golden, tried)
	switch {
	case best < 0:
		return p.leastLoaded(p.live, turn*golden, tried)
	case onTurn && !p.overloaded(i, best):
		return i
	}
	return best
}

// leastLoaded is the usable member with the lowest load per weight of those that
// among lists. r chooses among equals by weight: multiples of golden make them
// take turns.
func (s *set) leastLoaded(among []int32, r uint64, tried *Tried) int {
	best, ties := -1, 0
	var bestLoad, bestWeight, tiedWeight int64
	for _, i := range among {
		m := &s.members[i]
		load, weight := m.Backend.InFlight(), int64(m.Weight)
		if best >= 0 && lighter(bestLoad, bestWeight, load, weight) || m.Limit > 0 && load >= m.Limit || tried.Has(int(i)) {
			continue
		}
		if best < 0 || lighter(load, weight, bestLoad, bestWeight) {
			best, bestLoad, bestWeight = int(i), load, weight
			ties, tiedWeight = 0, 0
		}
		ties++
		tiedWeight += weight
	}
	if ties <= 1 {
		return best
	}
	rest, _ := bits.Mul64(r, uint64(tiedWeight))
	for _, i := range among {
		m := &s.members[i]
		weight := int64(m.Weight)
		if m.Backend.InFlight()*bestWeight != bestLoad*weight || !s.usable(int(i), tried) {
			continue
		}
		if rest < uint64(weight) {
			return int(i)
		}
		rest -= uint64(weight)
	}
	// Loads changed between the passes; best was the least a moment ago.
	return best
}

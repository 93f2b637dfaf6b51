package balancer

// Round robin, smooth and weighted: members take turns by a schedule that is
// precomputed in Build (see newSchedule) from the members that are not Down,
// whose shares so go to the others in proportion. A member that ramps has the
// turns of its ramped weight.
//
// Locks: none. Build is called by one goroutine at a time. Pick takes a turn
// from a cursor of the policy, one atomic addition, which old and new pickers
// share, so that a rebuild does not begin again at the first member.

type roundRobin struct{ cursors cursors }

type roundRobinPicker struct {
	set
	slots   []int32
	cursors *cursors
}

// Build makes the schedule: O(total of the reduced weights * log members),
// bounded as newSchedule says.
func (p *roundRobin) Build(members []Member) Picker {
	s := newShares(members)
	return &roundRobinPicker{set: s, slots: newSchedule(&s), cursors: &p.cursors}
}

// Pick takes the next turn; the turns of full and tried members are passed on
// in proportion, because they are used up like any other. O(1), or O(members)
// after maxDraws turns of unusable ones.
func (p *roundRobinPicker) Pick(_ uint64, tried *Tried) int {
	n := uint64(len(p.slots))
	if n == 0 {
		return -1
	}
	var turn uint64
	for range maxDraws {
		turn = p.cursors.next(tried)
		if i := int(p.slots[turn%n]); p.usable(i, tried) {
			return i
		}
	}
	return p.weighted(mix64(turn), tried, -1)
}

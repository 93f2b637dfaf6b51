package balancer

import "math/bits"

// set is what every picker keeps of the membership it was built for: a private
// copy, so that the caller may reuse its slice. It is immutable; only the
// backends' counters change under it.
type set struct {
	members []Member
	live    []int32 // indexes of the members with weight that are not Down.
	weight  int64   // sum of the weights of live.
	// ramping says that a live member has a Ramp and that the weights of the
	// live members, and their sum, are shares (see scale).
	ramping  bool
	steadyAt int64   // percentage of the steady members, set by newShares.
	steady   []int32 // those of live, while others ramp, set by newShares.
}

// newSet copies members. Weights outside 0 to MaxWeight are clamped, so that no
// arithmetic on them can overflow, and a Ramp outside 1 to 99 becomes 0. It
// leaves ramps to be applied: by newShares, or by the hash policies once they
// have their table.
func newSet(members []Member) set {
	s := set{members: make([]Member, len(members)), live: make([]int32, 0, len(members))}
	copy(s.members, members)
	for i := range s.members {
		m := &s.members[i]
		m.Weight = min(max(m.Weight, 0), MaxWeight)
		if m.Ramp < 0 || m.Ramp >= wholeWeight {
			m.Ramp = 0
		}
		if m.Weight > 0 && !m.Down {
			s.live = append(s.live, int32(i))
			s.weight += int64(m.Weight)
		}
	}
	return s
}

// usable reports whether member i may be picked now.
func (s *set) usable(i int, tried *Tried) bool {
	m := &s.members[i]
	return m.Weight > 0 && !m.Down && !m.full() && !tried.Has(i)
}

// full reports whether m is at its limit.
func (m *Member) full() bool {
	return m.Limit > 0 && m.Backend.InFlight() >= m.Limit
}

// weighted picks among the usable members other than except (-1: none excluded)
// by weight, with the uniform number r. It is the O(n) end of every search by
// draws: exact where luck ran out because nearly all members are full or tried.
// It returns -1 only if it saw no usable member.
func (s *set) weighted(r uint64, tried *Tried, except int) int {
	first, sum := -1, uint64(0)
	for _, i := range s.live {
		if int(i) != except && s.usable(int(i), tried) {
			if first < 0 {
				first = int(i)
			}
			sum += uint64(s.members[i].Weight)
		}
	}
	if first < 0 {
		return -1
	}
	rest, _ := bits.Mul64(r, sum)
	for _, i := range s.live {
		if int(i) != except && s.usable(int(i), tried) {
			w := uint64(s.members[i].Weight)
			if rest < w {
				return int(i)
			}
			rest -= w
		}
	}
	// Members became full between the passes; first was usable a moment ago.
	return first
}

// lighter reports whether loadA/weightA is below loadB/weightB.
func lighter(loadA, weightA, loadB, weightB int64) bool {
	return loadA*weightB < loadB*weightA
}

package balancer

import "math/bits"

// Slow start. A weighted policy counts with shares, Weight*Ramp/100 in whole
// numbers, instead of weights. Where it also goes by load or by time, shares do
// not hold a newcomer back: it is idle, or fast because it is, and would be
// flooded. There a ramping member is picked on its own turn only, which comes
// round by its share, and the rest is chosen among the steady members.

// wholeWeight is the percentage of a member that does not ramp.
const wholeWeight = 100

// percent is how much of its weight m gets.
func (m *Member) percent() int {
	if m.Ramp == 0 {
		return wholeWeight
	}
	return m.Ramp
}

// percents are the lowest and the highest percentage of the live members.
func (s *set) percents() (lowest, highest int) {
	lowest = wholeWeight
	for _, i := range s.live {
		p := s.members[i].percent()
		lowest, highest = min(lowest, p), max(highest, p)
	}
	return lowest, highest
}

// scale turns the weights of the live members into shares: hundredths of a
// weight, at most 100*MaxWeight each.
func (s *set) scale() {
	s.ramping, s.weight = true, 0
	for _, i := range s.live {
		m := &s.members[i]
		m.Weight *= m.percent()
		s.weight += int64(m.Weight)
	}
}

// newShares is newSet for weighted policies. Shares are relative, so that the
// members with the highest percentage are the steady ones, with a Ramp of 0,
// even if they ramp; where all ramp alike, none does. So there always is a
// steady member among the live.
func newShares(members []Member) set {
	s := newSet(members)
	lowest, highest := s.percents()
	if lowest < highest {
		s.scale()
	}
	s.steadyAt = int64(highest)
	for _, i := range s.live {
		if m := &s.members[i]; m.percent() == highest {
			m.Ramp = 0
			if s.ramping {
				s.steady = append(s.steady, i)
			}
		}
	}
	return s
}

// overloaded reports whether the ramping member i has more in flight per unit of
// its whole weight than the steady member j would have with one request more.
// Its turns bound what it gets already; this is for a newcomer that is slow.
func (s *set) overloaded(i, j int) bool {
	mi, mj := &s.members[i], &s.members[j]
	// A whole weight is the share divided by the percentage.
	return lighter((mj.Backend.InFlight()+1)*s.steadyAt, int64(mj.Weight), mi.Backend.InFlight()*int64(mi.Ramp), int64(mi.Weight))
}

// accepts reports whether the key with the hash h is among those that the member
// m, of the ID hash id, takes at its Ramp. A key it takes at one percentage it
// takes at every higher one; which those are, no other member has a say in.
func (m *Member) accepts(h, id uint64) bool {
	if m.Ramp == 0 {
		return true
	}
	turn, _ := bits.Mul64(mix64(h^id^0x72616d70), wholeWeight)
	return turn < uint64(m.Ramp)
}

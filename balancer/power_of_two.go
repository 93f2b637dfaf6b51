package balancer

// Power of two choices: of two distinct members drawn by weight, the one with
// fewer requests in flight per unit of weight (M. Mitzenmacher, "The power of
// two choices in randomized load balancing", IEEE TPDS 12, 2001). Nearly as
// even as least_connections, at a cost that does not grow with the pool. A member that
// ramps is drawn by its ramped weight, as the first of the two only, so that it
// gets no more than that however idle it is.
//
// Locks: none. Build is called by one goroutine at a time; Pick reads an
// immutable table and the counters of two backends.

type powerOfTwo struct{ random func() uint64 }

type powerOfTwoPicker struct {
	set
	table  aliasTable
	random func() uint64
}

// Build makes the alias table of the members that are not Down, in O(members).
func (p *powerOfTwo) Build(members []Member) Picker {
	s := newShares(members)
	return &powerOfTwoPicker{set: s, table: newAliasTable(&s), random: p.random}
}

// Pick returns the first drawn of two equally loaded members, so that an idle
// pool is used by weight. O(1), or O(members) when most are full or tried.
func (p *powerOfTwoPicker) Pick(_ uint64, tried *Tried) int {
	if len(p.table) == 0 {
		return -1
	}
	a := p.table.drawUsable(&p.set, p.random, tried, -1)
	if a < 0 || len(p.table) == 1 {
		return a
	}
	if p.ramping {
		return p.pickRamping(a, tried)
	}
	b := p.table.drawUsable(&p.set, p.random, tried, a)
	if b < 0 {
		return a
	}
	ma, mb := &p.members[a], &p.members[b]
	if lighter(mb.Backend.InFlight(), int64(mb.Weight), ma.Backend.InFlight(), int64(ma.Weight)) {
		return b
	}
	return a
}

// pickRamping is Pick once a is drawn, while a member ramps.
func (p *powerOfTwoPicker) pickRamping(a int, tried *Tried) int {
	if a < 0 {
		return -1
	}
	b := p.table.drawSteady(&p.set, p.random, tried, a)
	switch {
	case b < 0:
		return a
	case p.members[a].Ramp > 0:
		if p.overloaded(a, b) {
			return b
		}
		return a
	}
	ma, mb := &p.members[a], &p.members[b]
	if lighter(mb.Backend.InFlight(), int64(mb.Weight), ma.Backend.InFlight(), int64(ma.Weight)) {
		return b
	}
	return a
}

package balancer

// Random, weighted: each pick is an independent draw by the alias method. A
// member that ramps is drawn by its ramped weight.
//
// Locks: none. Build is called by one goroutine at a time; Pick reads an
// immutable table.

type random struct{ random func() uint64 }

type randomPicker struct {
	set
	table  aliasTable
	random func() uint64
}

// Build makes the alias table of the members that are not Down, in O(members).
func (p *random) Build(members []Member) Picker {
	s := newShares(members)
	return &randomPicker{set: s, table: newAliasTable(&s), random: p.random}
}

// Pick draws a member. O(1), or O(members) when most are full or tried.
func (p *randomPicker) Pick(_ uint64, tried *Tried) int {
	if len(p.table) == 0 {
		return -1
	}
	return p.table.drawUsable(&p.set, p.random, tried, -1)
}

package balancer

import "math/bits"

// Maglev hashing (D. Eisenbud et al., "Maglev: a fast and reliable software
// network load balancer", NSDI 2016, section 3.4), weighted: one table lookup
// for a key, shares exact to one entry of the table, at the price of a few moved
// keys between survivors when the membership changes.
//
// The table is made of the members with weight, Down or not. A key whose member
// cannot be used looks up further entries that only this key determines: a dead
// member's keys spread over all survivors by weight, and no other key moves. A
// member that ramps keeps its entries, and is passed over for the keys that it
// does not accept yet (see accepts).
//
// Locks: none. Build is called by one goroutine at a time and keeps the table
// for the next Build with the same IDs and weights; Pick reads immutable memory
// and the counters of the members it looks at.

const (
	minTableSize = 101
	maxTableSize = 16_777_213 // the greatest prime below 2^24: 64 MiB of table.
	// maxProbes is how many entries a pick looks at for a usable member before
	// it turns to rendezvous hashing, which is O(members).
	maxProbes = 64
)

type maglev struct {
	tableSize int          // 0 is automatic.
	table     *maglevTable // of the last Build.
}

// maglevTable is immutable.
type maglevTable struct {
	identity
	owners []int32 // member indexes; nil without members of weight.
}

type maglevPicker struct {
	set
	*maglevTable
}

// Build fills the table in expected O(size * log size), unless the last one
// still fits; then it is O(members).
func (p *maglev) Build(members []Member) Picker {
	s := newSet(members)
	if p.table == nil || !p.table.same(s.members) {
		p.table = newMaglevTable(s.members, p.tableSize)
	}
	if lowest, _ := s.percents(); lowest < wholeWeight {
		s.scale()
	}
	return &maglevPicker{set: s, maglevTable: p.table}
}

// autoTableSize is the smallest size, of few, with at least 100 entries per
// member, as the paper advises for shares within 1 %. A change of size moves
// nearly every key, so sizes are a factor of two apart.
func autoTableSize(members int) int {
	for _, prime := range []int{65_537, 131_101, 262_147, 524_309, 1_048_583, 2_097_169, 4_194_319, 8_388_617} {
		if prime >= 100*members {
			return prime
		}
	}
	return maxTableSize
}

func newMaglevTable(members []Member, size int) *maglevTable {
	t := &maglevTable{identity: identityOf(members)}
	if size == 0 {
		size = autoTableSize(len(members))
	}
	turns := maglevTurns(t, size)
	if len(turns) == 0 {
		return t
	}
	t.owners = make([]int32, size)
	for i := range t.owners {
		t.owners[i] = -1
	}
	// A member's preferences are offset, offset+skip, offset+2*skip, ...
	// modulo the size, which visits every entry because the size is prime.
	at, skip := make([]int32, len(members)), make([]int32, len(members))
	for i, h := range t.hashes {
		at[i] = int32(mix64(h^0x6d61676c6576) % uint64(size))
		skip[i] = int32(mix64(h^0x736b6970)%uint64(size-1)) + 1
	}
	for _, turn := range turns[:size] {
		i := turn.owner
		for t.owners[at[i]] >= 0 {
			at[i] = step(at[i], skip[i], size)
		}
		t.owners[at[i]] = i
	}
	return t
}

func step(at, skip int32, size int) int32 {
	if at += skip; int(at) >= size {
		at -= int32(size)
	}
	return at
}

// maglevTurns is the order, of at least size turns, in which members claim
// entries. The paper goes round the members, which are of equal weight; here
// turn k of a member comes at the time (k + phase) / weight, where phase is a
// fraction from its ID. Equal weights so go round in the order of phases, and a
// member that comes or goes changes no order among the others.
func maglevTurns(t *maglevTable, size int) []point {
	var sum, members int
	for _, w := range t.weights {
		if w > 0 {
			sum += w
			members++
		}
	}
	if members == 0 {
		return nil
	}
	// Before the time x member i has at least x*weight - 1 turns, hence all
	// together x*sum - members: size of them at the horizon.
	horizon := float64(size+members) / float64(sum)
	turns := make([]point, 0, size+2*members)
	for i, w := range t.weights {
		if w <= 0 {
			continue
		}
		phase := float64(mix64(t.hashes[i])>>11) / (1 << 53)
		for k := 0; ; k++ {
			at := (float64(k) + phase) / float64(w) / horizon
			if at >= 1 {
				break
			}
			turns = append(turns, point{at: uint64(at*(1<<63)) << 1, owner: int32(i)})
		}
	}
	sorted, _, _ := sortPoints(turns, t.before)
	return sorted
}

// Pick returns the owner of key's entry or, if that is not usable or does not
// accept the key yet, of the first of the key's further entries that does. O(1),
// or O(members) after maxProbes entries of members that cannot be used.
func (p *maglevPicker) Pick(key uint64, tried *Tried) int {
	if len(p.live) == 0 {
		return -1
	}
	h := mix64(key)
	if !p.ramping {
		// Nearly always the first entry is it, and this is half the cost of a call.
		entry, _ := bits.Mul64(h, uint64(len(p.owners)))
		if i := int(p.owners[entry]); p.usable(i, tried) {
			return i
		}
	}
	i := p.search(h, tried, p.ramping)
	if i < 0 && p.ramping {
		i = p.search(h, tried, false)
	}
	return i
}

// search is the first usable member of the entries that h determines, of those
// that accept h alone if ramps are to be heeded, or -1.
func (p *maglevPicker) search(h uint64, tried *Tried, ramps bool) int {
	probe := h
	for range maxProbes {
		entry, _ := bits.Mul64(probe, uint64(len(p.owners)))
		i := int(p.owners[entry])
		if p.usable(i, tried) && (!ramps || p.members[i].accepts(h, p.hashes[i])) {
			return i
		}
		probe = mix64(probe)
	}
	return p.rendezvous(&p.identity, h, tried, 0, ramps)
}

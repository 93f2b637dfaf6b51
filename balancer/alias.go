package balancer

import "math/bits"

// aliasTable draws members by weight in constant time with one random number:
// the alias method of A. J. Walker (1977), built in O(n) as M. D. Vose does
// ("A linear algorithm for generating random numbers with a given
// distribution", 1991). All arithmetic is on integers, so that shares are exact
// to 2^-64.
type aliasTable []aliasColumn

// aliasColumn gives own for fractions below cut, and other from there on.
type aliasColumn struct {
	cut        uint64
	own, other int32
}

// newAliasTable is a table of the live members of s.
func newAliasTable(s *set) aliasTable {
	n := len(s.live)
	table := make(aliasTable, n)
	rest := make([]uint64, n) // what is left of column k's weight, in 1/n of the mean.
	var small, large []int
	for k, i := range s.live {
		table[k] = aliasColumn{cut: ^uint64(0), own: i, other: i}
		rest[k] = uint64(s.members[i].Weight) * uint64(n)
		if rest[k] < uint64(s.weight) {
			small = append(small, k)
		} else {
			large = append(large, k)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		a, b := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		table[a].cut, _ = bits.Div64(rest[a], 0, uint64(s.weight))
		table[a].other = s.live[b]
		rest[b] -= uint64(s.weight) - rest[a]
		if rest[b] < uint64(s.weight) {
			large = large[:len(large)-1]
			small = append(small, b)
		}
	}
	return table
}

// draw returns the member for the uniform number r. The table must not be empty.
func (t aliasTable) draw(r uint64) int {
	k, fraction := bits.Mul64(r, uint64(len(t)))
	c := &t[k]
	if fraction < c.cut {
		return int(c.own)
	}
	return int(c.other)
}

// maxDraws is how many members a policy that draws looks at before it searches
// them all. Unless most of a pool is full or tried, a few are enough.
const maxDraws = 16

// drawUsable draws until it meets a usable member other than except (-1: none
// excluded), or falls back to the exact search; -1 if there is none.
func (t aliasTable) drawUsable(s *set, random func() uint64, tried *Tried, except int) int {
	for range maxDraws {
		if i := t.draw(random()); i != except && s.usable(i, tried) {
			return i
		}
	}
	return s.weighted(random(), tried, except)
}

// drawSteady draws until it meets a steady member other than except; -1 if it
// met none in maxDraws.
func (t aliasTable) drawSteady(s *set, random func() uint64, tried *Tried, except int) int {
	for range maxDraws {
		if i := t.draw(random()); i != except && s.members[i].Ramp == 0 && s.usable(i, tried) {
			return i
		}
	}
	return -1
}

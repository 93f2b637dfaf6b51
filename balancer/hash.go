package balancer

import (
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Hash is the hash of a request's affinity key that Picker.Pick expects:
// XXH64 with seed 0. It is the same in every process, on every platform and in
// every release, so that several Steelyards send a key to the same backend.
// It does not resist chosen collisions, which only unbalance the pool of the
// client that chose them.
func Hash(key []byte) uint64 { return xxhash.Sum64(key) }

// hashID is the identity of a backend in the hash policies.
func hashID(id string) uint64 { return xxhash.Sum64String(id) }

// golden is 2^64 divided by the golden ratio: multiples of it visit the 64-bit
// range as evenly as is possible (Weyl sequence).
const golden = 0x9e3779b97f4a7c15

// mix64 is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable
// pseudorandom number generators", OOPSLA 2014): a bijection in which every
// input bit moves every output bit. Picks mix keys once more, so that a caller
// with poorly mixed keys does not unbalance a pool.
func mix64(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// point is a member's claim at a position of a circle or a line.
type point struct {
	at    uint64
	owner int32
}

// sortPoints sorts points by position and returns them with an index: the
// points whose top bits are b begin at index[b]. It is a counting sort that
// takes linear time for positions that are spread evenly, as hashes are. Equal
// positions are ordered by before, which must not depend on the members' order.
func sortPoints(points []point, before func(a, b int32) bool) (sorted []point, index []uint32, shift uint) {
	width := uint(bits.Len(uint(max(len(points), 2) - 1)))
	shift = 64 - width
	index = make([]uint32, 1<<width+1)
	for i := range points {
		index[points[i].at>>shift+1]++
	}
	for b := 1; b < len(index); b++ {
		index[b] += index[b-1]
	}
	sorted = make([]point, len(points))
	next := slices.Clone(index)
	for _, p := range points {
		b := p.at >> shift
		sorted[next[b]] = p
		next[b]++
	}
	for i := 1; i < len(sorted); i++ {
		p, j := sorted[i], i
		for j > 0 && (p.at < sorted[j-1].at || p.at == sorted[j-1].at && before(p.owner, sorted[j-1].owner)) {
			sorted[j] = sorted[j-1]
			j--
		}
		sorted[j] = p
	}
	return sorted, index, shift
}

// identity is a membership as the hash policies see it: what they place by, in
// the order of the members.
type identity struct {
	ids     []string
	hashes  []uint64
	weights []int
}

func identityOf(members []Member) identity {
	id := identity{
		ids:     make([]string, len(members)),
		hashes:  make([]uint64, len(members)),
		weights: make([]int, len(members)),
	}
	for i := range members {
		id.ids[i] = members[i].Backend.ID
		id.hashes[i] = hashID(members[i].Backend.ID)
		id.weights[i] = members[i].Weight
	}
	return id
}

// same reports whether members have this identity: a table built for it can
// then be used again. That is the case when only health or limits changed.
func (id *identity) same(members []Member) bool {
	if len(members) != len(id.ids) {
		return false
	}
	for i := range members {
		if members[i].Weight != id.weights[i] || members[i].Backend.ID != id.ids[i] {
			return false
		}
	}
	return true
}

// before orders members independently of their place in the list.
func (id *identity) before(a, b int32) bool {
	if id.hashes[a] != id.hashes[b] {
		return id.hashes[a] < id.hashes[b]
	}
	return id.ids[a] < id.ids[b]
}

// rendezvous picks among the usable members by weighted highest random weight
// hashing (Thaler and Ravishankar 1998; weights by exponential variates), in
// O(n). It is how the hash policies end a search that met too many unusable
// members: like their tables, it moves only the keys of a member that leaves.
// With perWeight above 0, members at their bound (see bound) are passed over, with
// ramps those that do not accept h. Weights are those of id: ramps must not move
// keys here in a second way.
func (s *set) rendezvous(id *identity, h uint64, tried *Tried, perWeight float64, ramps bool) int {
	best, bestAt := -1, math.Inf(1)
	for _, i := range s.live {
		m := &s.members[i]
		if !s.usable(int(i), tried) || perWeight > 0 && m.Backend.InFlight() >= bound(perWeight, m.Weight) || ramps && !m.accepts(h, id.hashes[i]) {
			continue
		}
		u := (float64(mix64(h^id.hashes[i])>>11) + 0.5) / (1 << 53)
		if at := -math.Log(u) / float64(id.weights[i]); best < 0 || at < bestAt {
			best, bestAt = int(i), at
		}
	}
	return best
}

package balancer

import (
	"math"
)

// Consistent hashing on a ring (D. Karger et al., "Consistent hashing and
// random trees", STOC 1997), optionally with bounded loads (V. Mirrokni,
// M. Thorup, M. Zadimoghaddam, "Consistent hashing with bounded loads", SODA
// 2018). A member has virtual nodes in proportion to its weight; a key belongs
// to the first virtual node at or after its hash.
//
// The ring is made of the members with weight, Down or not: health only skips,
// so that a flapping backend moves no keys but its own. A member's virtual
// nodes depend on its ID and weight alone. The one exception is the bound on
// their total (maxPoints): a ring above it has every member's nodes halved until
// it fits, so that a membership that crosses it moves keys once. Weights are
// deliberately not divided by a common divisor: the divisor changes when one
// member leaves, and would move keys between all others.
//
// A member that ramps keeps its virtual nodes, and is skipped for the keys that
// it does not accept yet (see accepts); its bound is that of its ramped weight.
//
// Locks: none. Build is called by one goroutine at a time and keeps the ring
// for the next Build with the same IDs and weights; Pick reads immutable
// memory, the counters of the members it looks at and, with bounded loads, one
// total.

const (
	// defaultReplicas leaves the shares of equal members with a standard
	// deviation of 1/sqrt(160) = 8 %.
	defaultReplicas = 160
	maxReplicas     = 10_000
	// maxPoints bounds the virtual nodes of one ring, at 20 bytes each.
	maxPoints = 1 << 20
	// maxWalk is how many virtual nodes a pick looks at for a usable member
	// before it turns to rendezvous hashing, which is O(members).
	maxWalk                      = 128
	minLoadFactor, maxLoadFactor = 1.05, 10.0
)

type consistentHash struct {
	replicas   int
	loadFactor float64 // 0 is unbounded.
	ring       *ring   // of the last Build.
}

// ring is immutable.
type ring struct {
	identity
	points []point // by position.
	index  []uint32
	shift  uint
}

type ringPicker struct {
	set
	*ring
	loadFactor float64
	load       *load // nil when unbounded.
}

// Build makes the ring, in time linear in its virtual nodes, unless the last
// one still fits; then it is O(members).
func (p *consistentHash) Build(members []Member) Picker {
	s := newSet(members)
	if p.ring == nil || !p.ring.same(s.members) {
		p.ring = newRing(s.members, p.replicas)
	}
	if lowest, _ := s.percents(); lowest < wholeWeight {
		s.scale()
	}
	picker := &ringPicker{set: s, ring: p.ring, loadFactor: p.loadFactor}
	if p.loadFactor > 0 {
		picker.load = attachLoad(&picker.set)
	}
	return picker
}

func newRing(members []Member, replicas int) *ring {
	r := &ring{identity: identityOf(members)}
	counts := pointCounts(members, replicas)
	total := 0
	for _, c := range counts {
		total += c
	}
	points := make([]point, 0, total)
	for i, c := range counts {
		// A SplitMix64 stream seeded by the ID: fewer virtual nodes are
		// always the first of more.
		at := r.hashes[i]
		for range c {
			points = append(points, point{at: mix64(at), owner: int32(i)})
			at += golden
		}
	}
	r.points, r.index, r.shift = sortPoints(points, r.before)
	return r
}

// pointCounts is the number of virtual nodes of each member: replicas*weight,
// halved for all until the total is at most maxPoints, but at least 1 each for
// members with weight.
func pointCounts(members []Member, replicas int) []int {
	counts := make([]int, len(members))
	for halvings := 0; ; halvings++ {
		total, atFloor := 0, true
		for i := range members {
			counts[i] = 0
			if w := members[i].Weight; w > 0 {
				counts[i] = max(1, replicas*w>>halvings)
				atFloor = atFloor && counts[i] == 1
			}
			total += counts[i]
		}
		if total <= maxPoints || atFloor {
			return counts
		}
	}
}

// Pick returns the owner of key or, if that is not usable, does not accept the
// key yet or is at its bound, the next member on the ring for which none of this
// is so. Expected O(1).
func (p *ringPicker) Pick(key uint64, tried *Tried) int {
	if len(p.live) == 0 {
		return -1
	}
	h, perWeight := mix64(key), 0.0
	if p.load != nil {
		perWeight = p.loadFactor * float64(p.load.total(&p.set)+1) / float64(p.weight)
	}
	j := p.seek(h)
	if !p.ramping && j < len(p.points) {
		// Nearly always the owner is it, and the call is spared.
		if i := int(p.points[j].owner); p.usable(i, tried) &&
			(perWeight == 0 || p.members[i].Backend.InFlight() < bound(perWeight, p.members[i].Weight)) {
			return i
		}
	}
	i := p.search(j, h, tried, perWeight, p.ramping)
	if i < 0 && p.ramping {
		i = p.search(j, h, tried, perWeight, false)
	}
	if i >= 0 || perWeight == 0 {
		return i
	}
	// The bounds alone always leave room for one more request. Limits and tried
	// members can take that room away; then a request is worth more than the bound.
	return p.leastLoaded(p.live, h, tried)
}

// search is the next usable member below its bound from point j on, which is
// where h belongs; of those that accept h alone if ramps are to be heeded. It is
// -1 if there is none.
func (p *ringPicker) search(j int, h uint64, tried *Tried, perWeight float64, ramps bool) int {
	for range min(maxWalk, len(p.points)) {
		if j == len(p.points) {
			j = 0
		}
		i := int(p.points[j].owner)
		m := &p.members[i]
		if p.usable(i, tried) && (perWeight == 0 || m.Backend.InFlight() < bound(perWeight, m.Weight)) &&
			(!ramps || m.accepts(h, p.hashes[i])) {
			return i
		}
		j++
	}
	return p.rendezvous(&p.identity, h, tried, perWeight, ramps)
}

// seek is the first point at or after h; len(points) means the first of all.
func (r *ring) seek(h uint64) int {
	points := r.points
	j := int(r.index[h>>r.shift])
	for j < len(points) && points[j].at < h {
		j++
	}
	return j
}

// bound is the number of requests in flight at which a member of a bounded ring
// takes no more: ceil(LoadFactor * (total + 1) * weight / weights), where total
// and weights are those of the members that are not Down, for the rest of the
// pool does not share the load. The subtrahend keeps rounding errors from
// raising a whole number to the next.
//
// Pick and Acquire are two steps: c requests that pick at the same moment can
// exceed the bound by c-1 together.
func bound(perWeight float64, weight int) int64 {
	return max(1, int64(math.Ceil(perWeight*float64(weight)-1e-9)))
}

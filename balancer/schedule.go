package balancer

import (
	"cmp"
	"math/bits"
	"slices"
	"sync/atomic"
)

// Bounds of a schedule's length. A longer one is scaled down, which moves some
// requests to other members than weights say: rounding, at most 0.7 % of all;
// the one turn that every member keeps, at most another 0.5 % for each fifth of
// the members that weighs next to nothing beside the rest.
const (
	minScheduleLimit       = 1 << 17
	scheduleLimitPerMember = 40
)

// cursors are the positions of a policy in its schedule; they outlive pickers.
// Retries have their own: were they to draw from the same one, a pool of two
// would give every first attempt to the backend that fails, because the retry
// takes the other one's turn.
type cursors struct {
	_     [cacheLine]byte
	first atomic.Uint64
	_     [cacheLine - 8]byte
	retry atomic.Uint64
	_     [cacheLine - 8]byte
}

// next takes a turn.
func (c *cursors) next(tried *Tried) uint64 {
	if tried.Len() > 0 {
		return c.retry.Add(1) - 1
	}
	return c.first.Add(1) - 1
}

// newSchedule returns a smooth weighted order of the live members of s: in
// every stretch of it from the start, each member has had its weight's share to
// within less than one turn. It takes O(total log n).
//
// The order is Tijdeman's for the chairman assignment problem (R. Tijdeman,
// Discrete Mathematics 32, 1980), the tightest possible: turn k of a member
// with the share r may be given from step (k+d)/r on and is due at step
// (k+1-d)/r, with d = 1/(2n-2); of the turns that may be given, the one that is
// due first is. Of two due at the same step the member with fewer turns goes
// first, which gives nginx's order (5, 1, 1: a a b a c a a).
func newSchedule(s *set) []int32 {
	n := len(s.live)
	if n <= 1 {
		return slices.Clone(s.live)
	}
	turns, total := scaledTurns(s)
	// order[p] is a position in live; members of fewer turns come first, so
	// that p is the tie-break.
	order := make([]int32, n)
	for p := range order {
		order[p] = int32(p)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(turns[a], turns[b]) })

	d := int64(2*n - 2)
	given := make([]int64, n)         // turns given so far, by p.
	waiting := make([]int32, total+2) // waiting[t] heads the list of p that may be given from step t on.
	follows := make([]int32, n)       // the rest of p's list; both hold p+1, 0 ends a list.
	put := func(p int32, step int64) {
		follows[p] = waiting[step]
		waiting[step] = p + 1
	}
	for p := n - 1; p >= 0; p-- {
		put(int32(p), ceilDiv(total, d*turns[order[p]]))
	}
	var due minHeap
	slots := make([]int32, 0, total)
	for step := int64(1); step <= total; step++ {
		for p := waiting[step] - 1; p >= 0; p = follows[p] - 1 {
			deadline := ceilDiv(((given[p]+1)*d-1)*total, d*turns[order[p]])
			due.push(uint64(deadline)<<32 | uint64(p))
		}
		p := int32(uint32(due.pop()))
		slots = append(slots, s.live[order[p]])
		given[p]++
		if w := turns[order[p]]; given[p] < w {
			put(p, max(step+1, ceilDiv((given[p]*d+1)*total, d*w)))
		}
	}
	return slots
}

// scaledTurns returns the number of turns of each live member and their sum:
// weights divided by their greatest common divisor, then scaled down to the
// limit if there are still too many. Every member keeps at least one turn.
func scaledTurns(s *set) (turns []int64, total int64) {
	turns = make([]int64, len(s.live))
	var divisor int64
	for k, i := range s.live {
		turns[k] = int64(s.members[i].Weight)
		divisor = gcd(divisor, turns[k])
	}
	sum := s.weight / divisor
	limit := int64(max(minScheduleLimit, scheduleLimitPerMember*len(s.live)))
	for k := range turns {
		turns[k] /= divisor
		if sum > limit {
			turns[k] = max(1, (turns[k]*limit*2+sum)/(sum*2))
		}
		total += turns[k]
	}
	return turns, total
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// minHeap is a binary heap of numbers, smallest first.
type minHeap []uint64

func (h *minHeap) push(v uint64) {
	*h = append(*h, v)
	h.rise(len(*h) - 1)
}

// pop must not be called on an empty heap. It moves the hole at the top down to
// a leaf without a branch that depends on data, which a processor would guess
// wrongly half of the time, and lets the last number rise from there.
func (h *minHeap) pop() uint64 {
	q := *h
	top, v := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	if len(q) == 0 {
		return top
	}
	i, child := 0, 1
	for child+1 < len(q) {
		_, right := bits.Sub64(q[child+1], q[child], 0) // 1 if the right one is smaller.
		child += int(right)
		q[i] = q[child]
		i, child = child, 2*child+1
	}
	if child < len(q) {
		q[i] = q[child]
		i = child
	}
	q[i] = v
	q.rise(i)
	return top
}

// rise moves the number at i up to its place.
func (h minHeap) rise(i int) {
	v := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= v {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = v
}

package balancer

import "math/bits"

// peeker is a Picker whose Pick leaves a trace: it takes a turn, or notes a time.
type peeker interface {
	peek(key uint64, tried *Tried) int
}

// Peek returns what p.Pick would return at this moment, without what Pick leaves
// behind: no turn is taken. For policies that draw it is one that could be drawn.
// It may allocate, and is for explanations, not for requests.
func Peek(p Picker, key uint64, tried *Tried) int {
	if p, ok := p.(peeker); ok {
		return p.peek(key, tried)
	}
	return p.Pick(key, tried)
}

// copied is a copy of c, from which turns can be taken without anyone noticing.
func (c *cursors) copied() *cursors {
	o := &cursors{}
	o.first.Store(c.first.Load())
	o.retry.Store(c.retry.Load())
	return o
}

func (p *roundRobinPicker) peek(key uint64, tried *Tried) int {
	q := *p
	q.cursors = p.cursors.copied()
	return q.Pick(key, tried)
}

func (p *leastConnectionsPicker) peek(key uint64, tried *Tried) int {
	q := *p
	q.cursors = p.cursors.copied()
	return q.Pick(key, tried)
}

func (p *leastTimePicker) peek(_ uint64, tried *Tried) int {
	return p.choose(p.clock(), p.turn.Load(), tried)
}

// Owner is the member that a hash policy gives key to while every member can be
// used and none ramps; -1 for other policies and for pickers without members of
// weight. It is for explanations.
func Owner(p Picker, key uint64) int {
	switch p := p.(type) {
	case *ringPicker:
		if len(p.points) > 0 {
			return int(p.points[p.seek(mix64(key))%len(p.points)].owner)
		}
	case *maglevPicker:
		if len(p.owners) > 0 {
			entry, _ := bits.Mul64(mix64(key), uint64(len(p.owners)))
			return int(p.owners[entry])
		}
	}
	return -1
}

// Shares is the part of all keys, 0 to 1 and by index, that each member of a
// consistent_hash picker gets, but for limits and bounded loads: the length of its
// arcs, and of those of members that are Down and come to it. It is nil for other
// policies, and while a member ramps: there weights and ramps say it well enough.
// It takes a look at every virtual node and is for explanations.
func Shares(p Picker) []float64 {
	ring, ok := p.(*ringPicker)
	if !ok || len(ring.live) == 0 || ring.ramping {
		return nil
	}
	points := ring.points
	arcs := make([]uint64, len(ring.members)) // in parts of the whole ring, 2^64
	heir := int32(-1)
	// Twice round from the end, so that the heir of the last arcs is known when
	// they are counted.
	for j := 2*len(points) - 1; j >= 0; j-- {
		at := points[j%len(points)]
		if m := &ring.members[at.owner]; m.Weight > 0 && !m.Down {
			heir = at.owner
		}
		if j < len(points) {
			arcs[heir] += at.at - points[(j+len(points)-1)%len(points)].at // the first one goes over zero
		}
	}
	shares := make([]float64, len(arcs))
	for i, arc := range arcs {
		shares[i] = float64(arc) / (1 << 64)
	}
	if len(ring.live) == 1 {
		shares[heir] = 1 // the whole ring is 0 in 64 bits
	}
	return shares
}

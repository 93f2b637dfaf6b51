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

package pool

import (
	"slices"

	"steelyard/balancer"
)

// Snapshot is one immutable membership. Backends are known by their index.
type Snapshot struct {
	roster
	members []balancer.Member
	keeps   []bool // by index: bound clients may stay
	primary balancer.Picker
	backup  balancer.Picker // nil without backups
	madeBy  uint64          // which policy has built the pickers

	// FailOpen says that no backend is healthy and that all are used.
	FailOpen bool
	why      string
}

// Why says why no backend can be picked at all; "" if one can. It names
// addresses, so it is for the operator alone.
func (s *Snapshot) Why() string { return s.why }

// same reports whether s would not make a difference to o.
func (o *Snapshot) same(s *Snapshot) bool {
	return o.serial == s.serial && o.FailOpen == s.FailOpen && o.why == s.why &&
		slices.Equal(o.members, s.members) && slices.Equal(o.keeps, s.keeps)
}

// picksLike reports whether the pickers of o pick for s as well.
func (o *Snapshot) picksLike(s *Snapshot) bool {
	return o.madeBy == s.madeBy && o.primaries == s.primaries &&
		slices.Equal(o.members[:o.pickable], s.members[:s.pickable])
}

// roster is the part of a snapshot that only new options change; snapshots
// between them share it.
type roster struct {
	// Endpoints are primaries, then backups, then those that have left and keep
	// the clients that are bound to them.
	Endpoints []*Endpoint
	serial    uint64 // tells rosters of one pool apart
	// Timed says that the policy wants to know the time to first byte.
	Timed     bool
	primaries int
	pickable  int // how many are not gone
	ids       []string
	bindings  []uint64
	byID      map[string]int
	byBinding map[uint64]int
}

// Tried is the set of backends that one request has been sent to.
type Tried struct{ primary, backup balancer.Tried }

// Reset empties the set.
func (t *Tried) Reset() { *t = Tried{} }

// Add puts backend i of s into the set.
func (t *Tried) Add(s *Snapshot, i int) {
	if i < s.primaries {
		t.primary.Add(i)
	} else {
		t.backup.Add(i - s.primaries)
	}
}

func (t *Tried) has(s *Snapshot, i int) bool {
	if i < s.primaries {
		return t.primary.Has(i)
	}
	return t.backup.Has(i - s.primaries)
}

// Pick returns the index of the backend for a request, or -1 if none can take
// it. Backups are used only when no primary can be.
func (s *Snapshot) Pick(key uint64, t *Tried) int {
	if i := s.primary.Pick(key, &t.primary); i >= 0 {
		return i
	}
	if s.backup != nil {
		if i := s.backup.Pick(key, &t.backup); i >= 0 {
			return i + s.primaries
		}
	}
	return -1
}

// Acquire counts a request in on backend i; it reports false when the backend
// has just reached its limit. Release must follow exactly once.
func (s *Snapshot) Acquire(i int) bool {
	m := &s.members[i]
	return m.Backend.Acquire(m.Limit)
}

// Full reports whether some backend would be picked if it were not at its limit.
func (s *Snapshot) Full(t *Tried) bool {
	for i := range s.members {
		if s.members[i].Weight > 0 && !s.members[i].Down && s.atLimit(i) && !t.has(s, i) {
			return true
		}
	}
	return false
}

// hasPlace reports whether some backend could take a request of somebody.
func (s *Snapshot) hasPlace() bool {
	for i := range s.members {
		if !s.members[i].Down && !s.atLimit(i) {
			return true
		}
	}
	return false
}

func (s *Snapshot) atLimit(i int) bool {
	m := &s.members[i]
	return m.Limit > 0 && m.Backend.InFlight() >= m.Limit
}

// ID is the opaque id of backend i for affinity cookies; "" in a pool without
// affinity, as a request may meet it whose generation still had some.
func (s *Snapshot) ID(i int) string {
	if s.ids == nil {
		return ""
	}
	return s.ids[i]
}

// Binding is what stands for backend i in the table of bindings; ok is false in
// a pool without affinity, as for ID.
func (s *Snapshot) Binding(i int) (b uint64, ok bool) {
	if s.bindings == nil {
		return 0, false
	}
	return s.bindings[i], true
}

// ByID finds the backend with that opaque id, -1 if it is gone.
func (s *Snapshot) ByID(id []byte) int {
	if i, ok := s.byID[string(id)]; ok {
		return i
	}
	return -1
}

// ByBinding finds the backend a binding stands for, -1 if it is gone.
func (s *Snapshot) ByBinding(b uint64) int {
	if i, ok := s.byBinding[b]; ok {
		return i
	}
	return -1
}

// Bound says what a client that is bound to backend i can do.
type Bound uint8

// The states of a binding.
const (
	BoundGone Bound = iota // bind to another
	BoundFull              // wait, or use another this time
	BoundOK
)

// Bound reports whether a bound client can be served by backend i: yes also at
// weight 0 and while it is drained, which keep the clients a backend has while
// it gets no new ones.
func (s *Snapshot) Bound(i int, t *Tried) Bound {
	switch {
	case i < 0 || !s.keeps[i] || t.has(s, i):
		return BoundGone
	case s.atLimit(i):
		return BoundFull
	}
	return BoundOK
}

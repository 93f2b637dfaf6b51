// Package balancer chooses a backend for a request.
//
// A Policy is configured once per pool and builds a Picker for each membership:
// all work that depends on members and weights is paid in Build, so that
// Picker.Pick takes no lock and allocates nothing. The package knows nothing of
// HTTP, YAML or the rest of Steelyard.
package balancer

// Member is one backend as a Picker sees it for one membership.
type Member struct {
	// Backend is the runtime identity; it outlives memberships and carries
	// the load counters that least_connections, least_time and the limits read.
	Backend *Backend
	// Weight is the share of new requests relative to the other members,
	// 0 to MaxWeight. A member of weight 0 gets nothing new.
	Weight int
	// Down marks a member that must not be picked (unhealthy, held off,
	// draining or disabled). Hash policies keep its place in their table, so
	// that its going away moves no other member's keys.
	Down bool
	// Limit is the highest number of requests in flight on this member;
	// 0 means no limit. A member at its limit is skipped.
	Limit int64
	// Ramp is the percentage of its weight that the member gets for now, 1 to
	// 99, because it starts slowly; 0 and anything else mean all of it. Hash
	// policies keep the member's place for its whole weight and skip it for the
	// keys that are not its turn yet, so that only its own keys move while it
	// ramps up. A ramp holds a member back in favour of others: if none of them
	// is usable, it is picked like any other.
	Ramp int
}

// MaxWeight is the highest weight of a member.
const MaxWeight = 65535

// MaxTried is how many members one request can try.
const MaxTried = 16

// Tried is the set of members a request has already been sent to. It lists
// indexes instead of keeping a bit per member, so that it stays small for pools
// of any size. The zero value is empty. Picker is an interface, so a Tried that
// is given to Pick escapes: keep it in the request's pooled state and reset it
// with *t = Tried{}, or pass nil on the first attempt.
type Tried struct {
	n   int
	idx [MaxTried]int32
}

// Add puts member i into the set. Beyond MaxTried members it does nothing.
func (t *Tried) Add(i int) {
	if t.n < MaxTried {
		t.idx[t.n] = int32(i)
		t.n++
	}
}

// Has reports whether member i is in the set. A nil set is empty.
func (t *Tried) Has(i int) bool {
	if t == nil {
		return false
	}
	for _, v := range t.idx[:t.n] {
		if int(v) == i {
			return true
		}
	}
	return false
}

// Len is the number of members in the set. A nil set is empty.
func (t *Tried) Len() int {
	if t == nil {
		return 0
	}
	return t.n
}

// A Policy builds pickers for one pool. It keeps what must survive a change of
// membership, such as cursors. Build is called by one goroutine at a time;
// pickers already built stay valid and may be in use while it runs.
type Policy interface {
	Build(members []Member) Picker
}

// A Picker chooses members of the membership it was built for. It is safe for
// concurrent use. One whose Pick leaves something behind has a peek as well, for
// Peek.
type Picker interface {
	// Pick returns the index of a member that is usable (weight above 0, not
	// Down, below its Limit, not in tried), or -1 if there is none. key is the
	// hash of the request's affinity key; policies that do not hash ignore it.
	// Calling Pick again with the index added to tried yields the next choice.
	Pick(key uint64, tried *Tried) int
}

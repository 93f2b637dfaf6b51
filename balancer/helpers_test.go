package balancer

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// newMembers makes one member for each weight, with IDs 0 to n-1 spelt like
// addresses and no limits.
func newMembers(weights ...int) []Member {
	members := make([]Member, len(weights))
	for i, w := range weights {
		id := fmt.Sprintf("10.0.%d.%d:3000", i/250, i%250+1)
		members[i] = Member{Backend: NewBackend(id, id), Weight: w}
	}
	return members
}

// repeat is n times the weight w.
func repeat(n, w int) []int {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = w
	}
	return weights
}

// newPolicy makes a policy whose random numbers are the same in every run.
func newPolicy(tb testing.TB, name string) Policy {
	tb.Helper()
	o := Options{Policy: name}
	if o.Hashes() {
		o.Key = Key{Source: "client_ip"}
	}
	p, err := New(o)
	if err != nil {
		tb.Fatalf("New(%s): %v", name, err)
	}
	return seeded(p)
}

func seeded(p Policy) Policy {
	switch p := p.(type) {
	case *powerOfTwo:
		p.random = seededRandom()
	case *random:
		p.random = seededRandom()
	}
	return p
}

// seededRandom is not safe for concurrent use, like nothing that is seeded.
func seededRandom() func() uint64 { return rand.New(rand.NewPCG(1, 2)).Uint64 }

// key is the hash of the k-th test key.
func key(k int) uint64 { return Hash(fmt.Appendf(nil, "user-%d", k)) }

// owners picks once for each of n keys.
func owners(p Picker, n int) []int {
	picked := make([]int, n)
	for k := range picked {
		picked[k] = p.Pick(key(k), nil)
	}
	return picked
}

// virtualClock is time that a test moves.
type virtualClock struct{ now int64 }

func (c *virtualClock) read() int64 { return c.now }

// use moves members and a least_time policy to the clock.
func (c *virtualClock) use(p Policy, members []Member) {
	if lt, ok := p.(*leastTime); ok {
		lt.clock = c.read
	}
	for _, m := range members {
		m.Backend.clock = c.read
	}
}

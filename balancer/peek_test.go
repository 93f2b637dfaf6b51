package balancer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever a pool has been through: Peek says what the next Pick returns, and
// changes nothing, however often it is asked. Policies that draw can only be held
// to an answer that is possible.
func TestPeekIsTheNextPick(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 22))
			for range 60 {
				members := peekMembers(r)
				picker := newPolicy(t, name).Build(members)
				if p, ok := picker.(*leastTimePicker); ok {
					p.clock = func() int64 { return 1e9 } // time would be a difference
				}
				draws := name == "random" || name == "power_of_two"
				for k := range 200 {
					peekOnce(t, r, picker, members, key(k), draws)
				}
			}
		})
	}
}

// peekMembers are members in all conditions.
func peekMembers(r *rand.Rand) []Member {
	members := newMembers(repeat(1+r.IntN(12), 1)...)
	ramps := r.IntN(3) == 0
	for i := range members {
		m := &members[i]
		m.Weight, m.Down = r.IntN(4), r.IntN(5) == 0
		if r.IntN(3) == 0 {
			m.Limit = int64(1 + r.IntN(3))
		}
		if ramps {
			m.Ramp = r.IntN(100)
		}
	}
	return members
}

func peekOnce(t *testing.T, r *rand.Rand, picker Picker, members []Member, k uint64, draws bool) {
	t.Helper()
	var tried Tried
	for range r.IntN(3) {
		if i := picker.Pick(k, &tried); i >= 0 && r.IntN(2) == 0 {
			tried.Add(i)
		}
	}
	var peeked []int
	for range 3 {
		peeked = append(peeked, Peek(picker, k, &tried))
	}
	i := picker.Pick(k, &tried)
	if draws {
		if (peeked[0] < 0) != (i < 0) || peeked[0] >= 0 && tried.Has(peeked[0]) {
			t.Fatalf("Peek = %d, Pick = %d", peeked[0], i)
		}
	} else if slices.ContainsFunc(peeked, func(p int) bool { return p != i }) {
		t.Fatalf("Peek = %v, but the next Pick = %d", peeked, i)
	}
	if i >= 0 {
		if b := members[i].Backend; r.IntN(2) == 0 || !b.Acquire(members[i].Limit) {
			for _, m := range members {
				if m.Backend.InFlight() > 0 && r.IntN(2) == 0 {
					m.Backend.Release()
				}
			}
		}
	}
}

// The owner of a key is who gets it while all can be used, and stays the owner
// when it cannot be.
func TestOwner(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			members := newMembers(1, 2, 3, 0, 5)
			p := newPolicy(t, name)
			whole := p.Build(members)
			members[2].Down, members[4].Ramp = true, 40
			broken := p.Build(members)
			for k := range 500 {
				want := -1
				if (Options{Policy: name}).Hashes() {
					want = whole.Pick(key(k), nil)
				}
				if a, b := Owner(whole, key(k)), Owner(broken, key(k)); a != want || b != want {
					t.Fatalf("key %d: Owner = %d, and %d when some are out; want %d", k, a, b, want)
				}
			}
			for i := range members {
				members[i].Weight = 0
			}
			if i := Owner(p.Build(members), 1); i != -1 {
				t.Errorf("Owner = %d without weights, want -1", i)
			}
		})
	}
}

// The shares of a ring are those that keys find, also while members are out.
func TestSharesOfARing(t *testing.T) {
	for _, tc := range []struct {
		name    string
		weights []int
		down    []int
	}{
		{"equals", []int{1, 1, 1, 1}, nil},
		{"weights", []int{1, 3, 0, 2}, nil},
		{"one is down", []int{2, 1, 1}, []int{0}},
		{"all but one are down", []int{1, 1, 1}, []int{0, 2}},
		{"one", []int{5}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			members := newMembers(tc.weights...)
			for _, i := range tc.down {
				members[i].Down = true
			}
			picker := newPolicy(t, "consistent_hash").Build(members)
			shares := Shares(picker)
			const n = 100_000
			found := make([]float64, len(members))
			for _, i := range owners(picker, n) {
				found[i] += 1.0 / n
			}
			sum := 0.0
			for i := range members {
				sum += shares[i]
				if math.Abs(shares[i]-found[i]) > 0.01 {
					t.Errorf("member %d has a share of %.4f, but gets %.4f of the keys", i, shares[i], found[i])
				}
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("the shares are %v in all", sum)
			}
		})
	}
	if s := Shares(newPolicy(t, "consistent_hash").Build(newMembers(0))); s != nil {
		t.Errorf("nobody has %v", s)
	}
	if s := Shares((&consistentHash{replicas: 1}).Build(newMembers(1))); len(s) != 1 || s[0] != 1 {
		t.Errorf("the only point has %v", s)
	}
	if s := Shares(newPolicy(t, "maglev").Build(newMembers(1))); s != nil {
		t.Errorf("maglev has %v", s)
	}
}

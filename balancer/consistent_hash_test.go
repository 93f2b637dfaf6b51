package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func newRingPolicy(loadFactor float64) *consistentHash {
	return &consistentHash{replicas: defaultReplicas, loadFactor: loadFactor}
}

// hashPolicies are the policies that keep keys where they are.
func hashPolicies() map[string]func() Policy {
	return map[string]func() Policy{
		"consistent_hash": func() Policy { return newRingPolicy(0) },
		"maglev":          func() Policy { return &maglev{} },
	}
}

func TestRingRemovalMovesOnlyItsKeys(t *testing.T) {
	for name, weights := range map[string][]int{
		"equal":                    repeat(10, 1),
		"weighted":                 {3, 1, 4, 1, 5, 9, 2, 6, 5, 3},
		"divisor of the rest":      {2, 4, 2, 4, 2, 4, 2, 4, 2, 3},
		"added beside other parts": {10, 20, 10, 20, 10, 20, 10, 20, 10, 20},
	} {
		t.Run(name, func(t *testing.T) {
			members := newMembers(weights...)
			before := owners(newRingPolicy(0).Build(members), testKeys)
			for gone := range members {
				rest := slices.Delete(slices.Clone(members), gone, gone+1)
				after := owners(newRingPolicy(0).Build(rest), testKeys)
				moved := 0
				for k := range before {
					switch {
					case before[k] == gone:
						moved++
					case members[before[k]].Backend != rest[after[k]].Backend:
						t.Fatalf("key %d moved from %s to %s when %s left", k, members[before[k]].Backend.ID,
							rest[after[k]].Backend.ID, members[gone].Backend.ID)
					}
				}
				sum := 0
				for _, w := range weights {
					sum += w
				}
				if share := float64(moved) / testKeys; share > 1.3*float64(weights[gone])/float64(sum) {
					t.Errorf("removing %d of weight %d moved %.1f %% of keys", gone, weights[gone], 100*share)
				}
			}
		})
	}
}

// TestDownMovesOnlyItsKeys takes a member down, and a second one: only their keys
// move, they go to all survivors, and come back.
func TestDownMovesOnlyItsKeys(t *testing.T) {
	for name, policy := range hashPolicies() {
		t.Run(name, func(t *testing.T) {
			p, members := policy(), newMembers(2, 1, 1, 3, 1, 1, 1, 2)
			before := owners(p.Build(members), testKeys)
			current := before
			for _, down := range []int{3, 5} {
				members[down].Down = true
				after := owners(p.Build(members), testKeys)
				heirs := make([]int, len(members))
				for k := range current {
					if current[k] == down {
						heirs[after[k]]++
					} else if current[k] != after[k] {
						t.Fatalf("key %d moved from %d to %d when %d went down", k, current[k], after[k], down)
					}
				}
				for i, n := range heirs {
					if n == 0 && !members[i].Down {
						t.Errorf("member %d inherited no key of %d: %v", i, down, heirs)
					}
				}
				current = after
			}
			members[3].Down, members[5].Down = false, false
			if !slices.Equal(owners(p.Build(members), testKeys), before) {
				t.Error("keys are not where they were after all came back")
			}
		})
	}
}

// TestMaglevSpreadsByWeight checks that a dead member's keys go to the survivors
// by weight.
func TestMaglevSpreadsByWeight(t *testing.T) {
	p, members := &maglev{}, newMembers(4, 1, 2, 1)
	before := owners(p.Build(members), testKeys)
	members[0].Down = true
	after := owners(p.Build(members), testKeys)
	heirs := make([]float64, 4)
	lost := 0.0
	for k := range before {
		if before[k] == 0 {
			heirs[after[k]]++
			lost++
		}
	}
	for i, want := range []float64{0, 0.25, 0.5, 0.25} {
		if got := heirs[i] / lost; math.Abs(got-want) > 0.02 {
			t.Errorf("member %d inherited %.3f of the keys, want %.2f", i, got, want)
		}
	}
}

// TestMassFailureMovesOnlyItsKeys reaches the end of every search, where most of
// a pool is down, and takes one more down.
func TestMassFailureMovesOnlyItsKeys(t *testing.T) {
	for name, policy := range hashPolicies() {
		t.Run(name, func(t *testing.T) {
			p, members := policy(), newMembers(repeat(2000, 1)...)
			for i := range members {
				members[i].Down = i%400 != 0
			}
			const keys = testKeys / 10
			before := owners(p.Build(members), keys)
			members[800].Down = true
			after := owners(p.Build(members), keys)
			got := make(map[int]int)
			for k := range before {
				got[before[k]]++
				if before[k] != 800 && before[k] != after[k] {
					t.Fatalf("key %d moved from %d to %d when 800 went down", k, before[k], after[k])
				}
			}
			for i, n := range got {
				if n < keys/5/3 || n > keys/5*3 {
					t.Errorf("member %d of 5 has %d of %d keys", i, n, keys)
				}
			}
		})
	}
}

// TestHashPlacementIsStable pins owners: they must not change with a release,
// because running Steelyards of two versions have to agree.
func TestHashPlacementIsStable(t *testing.T) {
	// The first is XXH64's published value for no input.
	for text, want := range map[string]uint64{"": 0xef46db3751d8e999, "steelyard": 0x8013c61bede42eb2} {
		if got := Hash([]byte(text)); got != want {
			t.Errorf("Hash(%q) = %#x, want %#x", text, got, want)
		}
	}
	for name, want := range map[string][]int{
		"consistent_hash": {1, 0, 2, 0, 1, 0, 3, 0, 2, 0, 4, 0, 0, 3, 0, 2},
		"maglev":          {3, 4, 0, 4, 3, 3, 0, 0, 1, 2, 4, 2, 4, 3, 0, 0},
	} {
		if got := owners(hashPolicies()[name]().Build(newMembers(3, 1, 2, 1, 1)), 16); !slices.Equal(got, want) {
			t.Errorf("%s: owners %v, want %v", name, got, want)
		}
	}
}

func TestMaglevSharesAndDisruption(t *testing.T) {
	for name, weights := range map[string][]int{
		"equal":    repeat(20, 1),
		"weighted": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		"extreme":  {MaxWeight, 30_000, 20_000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			members := newMembers(weights...)
			full := newMaglevTable(members, autoTableSize(len(members)))
			sum := 0
			for _, w := range weights {
				sum += w
			}
			entries := make([]int, len(weights))
			for _, i := range full.owners {
				entries[i]++
			}
			for i, w := range weights {
				if want := float64(len(full.owners)) * float64(w) / float64(sum); math.Abs(float64(entries[i])-want) > 2 {
					t.Errorf("member %d of weight %d has %d entries, want %.1f within 2", i, w, entries[i], want)
				}
			}
			for gone := 0; gone < len(members); gone += removalStep {
				rest := slices.Delete(slices.Clone(members), gone, gone+1)
				less := newMaglevTable(rest, len(full.owners))
				moved := 0
				for e := range full.owners {
					a, b := members[full.owners[e]].Backend, rest[less.owners[e]].Backend
					if a != b && a != members[gone].Backend {
						moved++
					}
				}
				if share := float64(moved) / float64(len(full.owners)); share > 0.05 {
					t.Errorf("removing %d of weight %d moved %.1f %% of keys between survivors, want at most 5 %%", gone, weights[gone], 100*share)
				}
			}
		})
	}
}

// TestRingPointsAreBounded keeps the total and, above it, the shares.
func TestRingPointsAreBounded(t *testing.T) {
	for _, c := range []struct {
		members  []Member
		replicas int
		want     []int // of the first and the last member.
	}{
		{newMembers(1, 2), 160, []int{160, 320}},
		{newMembers(0, 3), 1, []int{0, 3}},
		{newMembers(repeat(10_000, MaxWeight)...), 10_000, []int{78, 78}},
		{newMembers(MaxWeight, 1), 160, []int{655350, 10}},
		{newMembers(append(repeat(1000, MaxWeight), 1)...), 10_000, []int{624, 1}},
	} {
		counts := pointCounts(c.members, c.replicas)
		total := 0
		for _, n := range counts {
			total += n
		}
		got := []int{counts[0], counts[len(counts)-1]}
		if total > maxPoints || !slices.Equal(got, c.want) {
			t.Errorf("%d members: %d points, first and last %v, want %v", len(counts), total, got, c.want)
		}
	}
}

// TestRingSeek compares the indexed search with a plain one.
func TestRingSeek(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{1, 2, 3, 50} {
		ring := newRing(newMembers(repeat(n, 1)...), 1+n%3)
		if !slices.IsSortedFunc(ring.points, func(a, b point) int {
			if a.at < b.at {
				return -1
			}
			return 1
		}) {
			t.Fatalf("%d members: points are not sorted", n)
		}
		hashes := []uint64{0, 1, math.MaxUint64}
		for _, p := range ring.points {
			hashes = append(hashes, p.at, p.at-1, p.at+1)
		}
		for range 1000 {
			hashes = append(hashes, r.Uint64())
		}
		for _, h := range hashes {
			want := slices.IndexFunc(ring.points, func(p point) bool { return p.at >= h })
			if want < 0 {
				want = len(ring.points)
			}
			if got := ring.seek(h); got != want {
				t.Fatalf("%d members: seek(%#x) = %d, want %d", n, h, got, want)
			}
		}
	}
}

// TestBoundedLoadNeverExceedsItsFactor runs a skewed load (few keys get most
// requests) with requests that end in any order, and checks the bound after
// every pick. Members that are down and have long requests do not count.
func TestBoundedLoadNeverExceedsItsFactor(t *testing.T) {
	for _, n := range []int{3, 10, 1500} {
		for _, factor := range []float64{1.05, 1.25, 2} {
			t.Run(fmt.Sprintf("%d members factor %v", n, factor), func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				members := newMembers(repeat(n, 1)...)
				weights := 0
				for i := range members {
					members[i].Weight = 1 + i%3
					if i%5 == 4 {
						members[i].Down = true
						members[i].Backend.Acquire(0)
					} else {
						weights += members[i].Weight
					}
				}
				p := newRingPolicy(factor)
				picker := p.Build(members)
				var inFlight []*Backend
				for step := range testKeys / 8 {
					if len(inFlight) > 0 && (r.IntN(5) < 2 || len(inFlight) > 4*n) {
						k := r.IntN(len(inFlight))
						inFlight[k].Release()
						inFlight = slices.Delete(inFlight, k, k+1)
						continue
					}
					if step%1000 == 999 {
						picker = p.Build(members) // the total goes on.
					}
					i := mustPick(t, picker, members, key(int(math.Abs(r.NormFloat64())*3)), nil)
					b := members[i].Backend
					b.Acquire(0)
					inFlight = append(inFlight, b)
					most := math.Ceil(factor * float64(len(inFlight)) * float64(members[i].Weight) / float64(weights))
					if float64(b.InFlight()) > most {
						t.Fatalf("step %d: member %d has %d of %d in flight, want at most %v", step, i, b.InFlight(), len(inFlight), most)
					}
				}
			})
		}
	}
}

// TestBoundedLoadKeepsKeysWhileItCan is the other half: below the bound nothing moves.
func TestBoundedLoadKeepsKeysWhileItCan(t *testing.T) {
	members := newMembers(repeat(10, 1)...)
	bounded, plain := newRingPolicy(1.25).Build(members), newRingPolicy(0).Build(members)
	if !slices.Equal(owners(bounded, 1000), owners(plain, 1000)) {
		t.Error("keys are elsewhere on an idle ring with bounded loads")
	}
}

// TestBoundedLoadGivesWayToLimits serves requests when limits leave no room below
// the bound.
func TestBoundedLoadGivesWayToLimits(t *testing.T) {
	members := newMembers(1, 1)
	members[0].Limit = 1
	picker := newRingPolicy(1.05).Build(members)
	for k := range 20 {
		members[mustPick(t, picker, members, key(k), nil)].Backend.Acquire(0)
	}
	if a, b := members[0].Backend.InFlight(), members[1].Backend.InFlight(); a != 1 || b != 19 {
		t.Errorf("in flight %d and %d, want 1 and 19", a, b)
	}
}

// TestBoundedLoadAfterTheBackendsMoved attaches the backends to another policy, as
// a reload does; the old picker must go on with right totals.
func TestBoundedLoadAfterTheBackendsMoved(t *testing.T) {
	members := newMembers(1, 1, 1)
	for _, m := range members {
		m.Backend.Acquire(0)
	}
	old := newRingPolicy(1.25).Build(members).(*ringPicker)
	if got := old.load.total(&old.set); got != 3 {
		t.Fatalf("total = %d, want 3 that were in flight before", got)
	}
	other := newRingPolicy(1.25).Build(members[:2]).(*ringPicker)
	members[0].Backend.Acquire(0)
	members[0].Backend.Acquire(0)
	members[2].Backend.Acquire(0)
	members[1].Backend.Release()
	if got := old.load.total(&old.set); got != 5 {
		t.Errorf("the old picker's total = %d, want 5", got)
	}
	if got := other.load.total(&other.set); got != 3 {
		t.Errorf("the new picker's total = %d, want 3", got)
	}
}

func TestBound(t *testing.T) {
	for _, c := range []struct {
		factor        float64
		total, weight int
		weights       float64
		want          int64
	}{
		{1.25, 0, 1, 10, 1},
		{1.25, 7, 1, 10, 1}, // exactly 1.
		{1.25, 8, 1, 10, 2},
		{1.1, 49, 1, 1, 55}, // 55.00000000000001 in floating point.
		{2, 99, 3, 10, 60},
		{10, 1_000_000, MaxWeight, MaxWeight, 10_000_010},
	} {
		perWeight := c.factor * float64(c.total+1) / c.weights
		if got := bound(perWeight, c.weight); got != c.want {
			t.Errorf("bound with factor %v, total %d and %d of %v weights = %d, want %d", c.factor, c.total, c.weight, c.weights, got, c.want)
		}
	}
}

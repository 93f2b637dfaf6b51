package balancer

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestConformance holds every policy of Names to what Policy and Picker promise.
func TestConformance(t *testing.T) {
	scenarios := []struct {
		name string
		run  func(t *testing.T, p Policy)
	}{
		{"empty", testEmpty},
		{"single", testSingle},
		{"all tried", testAllTried},
		{"retries visit everyone once", testRetrySequence},
		{"all down", testAllDown},
		{"zero weights", testZeroWeights},
		{"all zero weights", testAllZeroWeights},
		{"weights out of range", testWeightsOutOfRange},
		{"extreme weights", testExtremeWeights},
		{"full members", testFull},
		{"one usable of many", testNeedle},
		{"everyone is served", testEveryoneServed},
		{"200 members", testTwoHundred},
		{"caller reuses its slice", testCallerReusesSlice},
		{"shrinking and growing", testShrinkingGrowing},
		{"shares", testShares},
		{"order of members", testOrderOfMembers},
		{"unmixed keys", testUnmixedKeys},
		{"no allocation", testNoAllocation},
		{"ramps", testRamps},
		{"no allocation with ramps", testNoAllocationWithRamps},
		{"one usable and it ramps", testRampingNeedle},
	}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			for _, s := range scenarios {
				t.Run(s.name, func(t *testing.T) { s.run(t, newPolicy(t, name)) })
			}
		})
	}
}

// mustPick picks and checks the promise that holds always: the member is usable
// and not tried.
func mustPick(t *testing.T, p Picker, members []Member, k uint64, tried *Tried) int {
	t.Helper()
	i := p.Pick(k, tried)
	if i < 0 || i >= len(members) {
		t.Fatalf("Pick = %d of %d members, want a usable one", i, len(members))
	}
	m := members[i]
	if m.Weight <= 0 || m.Down || m.Limit > 0 && m.Backend.InFlight() >= m.Limit || tried.Has(i) {
		t.Fatalf("Pick = %d, which is not usable: weight %d, down %v, %d of %d in flight, tried %v",
			i, m.Weight, m.Down, m.Backend.InFlight(), m.Limit, tried.Has(i))
	}
	return i
}

func mustPickNone(t *testing.T, p Picker, tried *Tried) {
	t.Helper()
	for k := range 50 {
		if i := p.Pick(key(k), tried); i != -1 {
			t.Fatalf("Pick = %d, want -1", i)
		}
	}
}

func testEmpty(t *testing.T, p Policy) {
	mustPickNone(t, p.Build(nil), nil)
	mustPickNone(t, p.Build([]Member{}), &Tried{})
}

func testSingle(t *testing.T, p Policy) {
	members := newMembers(7)
	picker := p.Build(members)
	for k := range 50 {
		mustPick(t, picker, members, key(k), nil)
	}
}

func testAllTried(t *testing.T, p Policy) {
	var tried Tried
	for i := range MaxTried {
		tried.Add(i)
	}
	mustPickNone(t, p.Build(newMembers(repeat(MaxTried, 3)...)), &tried)
}

func testRetrySequence(t *testing.T, p Policy) {
	members := newMembers(1, 1, 5, 100, 65535, 1, 2)
	members[1].Down = true
	picker := p.Build(members)
	for k := range 200 {
		var tried Tried
		for range 6 {
			tried.Add(mustPick(t, picker, members, key(k), &tried))
		}
		if i := picker.Pick(key(k), &tried); i != -1 {
			t.Fatalf("Pick after all were tried = %d, want -1", i)
		}
	}
}

func testAllDown(t *testing.T, p Policy) {
	members := newMembers(1, 2, 3)
	for i := range members {
		members[i].Down = true
	}
	mustPickNone(t, p.Build(members), nil)
}

func testZeroWeights(t *testing.T, p Policy) {
	members := newMembers(0, 2, 0, 0, 1, 0)
	picker := p.Build(members)
	for k := range 200 {
		mustPick(t, picker, members, key(k), nil)
	}
}

func testAllZeroWeights(t *testing.T, p Policy) {
	mustPickNone(t, p.Build(newMembers(0, 0, 0)), nil)
}

func testWeightsOutOfRange(t *testing.T, p Policy) {
	members := newMembers(-1, math.MaxInt, 1, math.MinInt)
	picker := p.Build(members)
	for k := range 200 {
		mustPick(t, picker, members, key(k), nil)
	}
}

func testExtremeWeights(t *testing.T, p Policy) {
	members := newMembers(append(repeat(50, MaxWeight), repeat(50, 1)...)...)
	picker := p.Build(members)
	for k := range 1000 {
		mustPick(t, picker, members, key(k), nil)
	}
}

func testFull(t *testing.T, p Policy) {
	members := newMembers(4, 1, 2, 3)
	for i := range members {
		members[i].Limit = int64(i + 1)
	}
	picker := p.Build(members)
	for k := range 1 + 2 + 3 + 4 {
		i := mustPick(t, picker, members, key(k), nil)
		if !members[i].Backend.Acquire(members[i].Limit) {
			t.Fatalf("Acquire refused on member %d below its limit", i)
		}
	}
	mustPickNone(t, picker, nil)
	members[2].Backend.Release()
	for k := range 50 {
		if i := mustPick(t, picker, members, key(k), nil); i != 2 {
			t.Fatalf("Pick = %d, want 2, the only one below its limit", i)
		}
	}
}

// testNeedle leaves one usable member among 300, of little weight, which
// searches by draws miss.
func testNeedle(t *testing.T, p Policy) {
	members := newMembers(append(repeat(299, 1000), 1)...)
	for i := range 299 {
		switch i % 3 {
		case 0:
			members[i].Down = true
		default:
			members[i].Limit = 1
			members[i].Backend.Acquire(0)
		}
	}
	picker := p.Build(members)
	for k := range 50 {
		mustPick(t, picker, members, key(k), nil)
	}
}

func testEveryoneServed(t *testing.T, p Policy) {
	members := newMembers(1, 1, 1, 1, 1)
	clock := &virtualClock{now: 1}
	clock.use(p, members)
	picker := p.Build(members)
	served := make([]int, len(members))
	for k := range 2000 {
		clock.now += int64(10 * time.Millisecond)
		i := mustPick(t, picker, members, key(k), nil)
		served[i]++
		members[i].Backend.ObserveFirstByte(10 * time.Millisecond)
	}
	for i, n := range served {
		if n < 200 {
			t.Errorf("member %d got %d of 2000 requests, all were alike: %v", i, n, served)
		}
	}
}

func testTwoHundred(t *testing.T, p Policy) {
	members := newMembers(repeat(200, 1)...)
	for i := range members {
		members[i].Weight = 1 + i%4
		members[i].Down = i%7 == 0
		members[i].Limit = 40
	}
	picker := p.Build(members)
	for k := range 4000 {
		i := mustPick(t, picker, members, key(k), nil)
		members[i].Backend.Acquire(0)
	}
}

func testCallerReusesSlice(t *testing.T, p Policy) {
	members := newMembers(1, 1)
	picker := p.Build(members)
	clear(members)
	for k := range 20 {
		if i := picker.Pick(key(k), nil); i != 0 && i != 1 {
			t.Fatalf("Pick = %d after the caller cleared its slice", i)
		}
	}
}

func testShrinkingGrowing(t *testing.T, p Policy) {
	all := newMembers(repeat(40, 2)...)
	type generation struct {
		picker  Picker
		members []Member
	}
	var generations []generation
	for _, n := range []int{3, 1, 0, 40, 2, 17, 0, 16, 40, 1} {
		// From the end, so that indexes change their meaning.
		members := slices.Clone(all[len(all)-n:])
		generations = append(generations, generation{p.Build(members), members})
		for k := range 60 {
			for _, g := range generations {
				if len(g.members) == 0 {
					mustPickNone(t, g.picker, nil)
					continue
				}
				i := mustPick(t, g.picker, g.members, key(k), nil)
				g.members[i].Backend.Acquire(0)
				g.members[i].Backend.Release()
			}
		}
	}
}

// testShares checks shares over weights with nothing in flight, for the
// policies that promise them; the numbers are the allowed relative deviation.
// least_time promises none: it goes by time.
func testShares(t *testing.T, p Policy) {
	var tolerance float64
	switch p.(type) {
	case *roundRobin, *leastConnections:
		tolerance = 0.01
	case *maglev, *random, *powerOfTwo:
		tolerance = 0.05
	case *consistentHash:
		tolerance = 0.25
	default:
		t.Skip("promises no shares")
	}
	weights := []int{5, 1, 3, 0, 10, 1}
	members := newMembers(weights...)
	picker := p.Build(members)
	const perWeight = 3000
	got := make([]int, len(weights))
	for k := range 20 * perWeight {
		got[mustPick(t, picker, members, key(k), nil)]++
	}
	for i, w := range weights {
		if want := float64(w * perWeight); math.Abs(float64(got[i])-want) > want*tolerance {
			t.Errorf("member %d of weight %d got %d requests, want %.0f within %.0f %%", i, w, got[i], want, 100*tolerance)
		}
	}
}

// testOrderOfMembers shuffles the list: policies that hash must not notice, in
// their first choice as in their retries.
func testOrderOfMembers(t *testing.T, p Policy) {
	switch p.(type) {
	case *consistentHash, *maglev:
	default:
		t.Skip("does not hash")
	}
	members := newMembers(3, 1, 2, 1, 1, 7, 1, 1)
	reversed := slices.Clone(members)
	slices.Reverse(reversed)
	a, b := p.Build(members), p.Build(reversed)
	for k := range 2000 {
		var triedA, triedB Tried
		for range len(members) {
			i, j := a.Pick(key(k), &triedA), b.Pick(key(k), &triedB)
			if members[i].Backend != reversed[j].Backend {
				t.Fatalf("key %d after %d tries: %s, and %s in another order", k, triedA.Len(), members[i].Backend.ID, reversed[j].Backend.ID)
			}
			triedA.Add(i)
			triedB.Add(j)
		}
	}
}

// testUnmixedKeys uses small consecutive numbers as keys.
func testUnmixedKeys(t *testing.T, p Policy) {
	members := newMembers(repeat(10, 1)...)
	picker := p.Build(members)
	got := make([]int, len(members))
	for k := range 5000 {
		i := mustPick(t, picker, members, uint64(k), nil)
		got[i]++
		members[i].Backend.Acquire(0)
	}
	if slices.Min(got) < 250 {
		t.Errorf("requests per member %v, want about 500 each", got)
	}
}

// testRamps retries through memberships with every kind of ramp: everyone is
// tried once, the ramping ones last of all if need be.
func testRamps(t *testing.T, p Policy) {
	for _, ramps := range [][]int{{1}, {0, 1}, {50, 0, 0, 0}, {10, 20, 30, 0, 99, 1}, {1, 1, 2}, {-7, 100, 50}} {
		members := newMembers(1, 3, MaxWeight, 1, 0, 7)
		for i := range members {
			members[i].Ramp = ramps[i%len(ramps)]
		}
		members[3].Down = true
		picker := p.Build(members)
		for k := range 300 {
			var tried Tried
			for range 4 {
				i := mustPick(t, picker, members, key(k), &tried)
				tried.Add(i)
				if k%3 == 0 {
					members[i].Backend.Acquire(0)
				}
			}
			if i := picker.Pick(key(k), &tried); i != -1 {
				t.Fatalf("ramps %v: Pick after all were tried = %d, want -1", ramps, i)
			}
		}
	}
}

// testRampingNeedle has everyone but one ramping member down, full or tried.
func testRampingNeedle(t *testing.T, p Policy) {
	members := newMembers(append(repeat(299, 1000), 1)...)
	var tried Tried
	for i := range 299 {
		switch {
		case i < 10:
			tried.Add(i)
		case i%3 == 0:
			members[i].Down = true
		default:
			members[i].Limit = 1
			members[i].Backend.Acquire(0)
		}
		if i%5 == 0 {
			members[i].Ramp = 80
		}
	}
	members[299].Ramp = 1
	picker := p.Build(members)
	for k := range 100 {
		if i := mustPick(t, picker, members, key(k), &tried); i != 299 {
			t.Fatalf("Pick = %d, want 299", i)
		}
		members[299].Backend.Acquire(0)
	}
}

func testNoAllocation(t *testing.T, p Policy) { checkNoAllocation(t, p, 0) }

func testNoAllocationWithRamps(t *testing.T, p Policy) { checkNoAllocation(t, p, 30) }

func checkNoAllocation(t *testing.T, p Policy, ramp int) {
	members := newMembers(repeat(100, 3)...)
	for i := 0; i < len(members); i += 3 {
		members[i].Ramp = ramp
	}
	members[5].Down = true
	members[7].Limit = 1
	members[7].Backend.Acquire(0)
	picker := p.Build(members)
	k := 0
	// Outside of the function: a set given to an interface method is on the heap.
	var tried Tried
	allocs := testing.AllocsPerRun(500, func() {
		k++
		tried = Tried{}
		h := uint64(k)
		for range 3 {
			i := picker.Pick(h, &tried)
			tried.Add(i)
			members[i].Backend.Acquire(100)
			members[i].Backend.ObserveFirstByte(time.Millisecond)
			members[i].Backend.Release()
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for three picks, want 0", allocs)
	}
}

// TestConcurrentPicksAndRebuilds is for the race detector: picks with old and
// new pickers while the policy is rebuilt with other members.
func TestConcurrentPicksAndRebuilds(t *testing.T) {
	options := []Options{{Policy: "consistent_hash", Key: Key{Source: "uri"}, LoadFactor: 1.25}}
	for _, name := range Names() {
		o := Options{Policy: name}
		if o.Hashes() {
			o.Key = Key{Source: "uri"}
		}
		options = append(options, o)
	}
	type generation struct {
		picker  Picker
		members []Member
	}
	for _, o := range options {
		name := o.Policy
		if o.LoadFactor > 0 {
			name += " bounded"
		}
		t.Run(name, func(t *testing.T) {
			p, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			all := newMembers(repeat(30, 2)...)
			var current atomic.Pointer[generation]
			build := func(round int) {
				members := slices.Clone(all[round/10%20:]) // health changes more often.
				for i := range members {
					members[i].Down = (i+round)%5 == 0
					members[i].Limit = 50
					members[i].Ramp = max(0, (i+round)%6-2) * 30
				}
				current.Store(&generation{p.Build(members), members})
			}
			build(0)
			var stop atomic.Bool
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() {
					old := current.Load()
					for k := g; !stop.Load(); k += 4 {
						pickOnce(t, old.picker, old.members, uint64(k))
						now := current.Load()
						pickOnce(t, now.picker, now.members, uint64(k))
						if k%64 == g {
							old = now
						}
					}
				})
			}
			for round := range 60 {
				build(round)
			}
			stop.Store(true)
			wg.Wait()
			for _, m := range all {
				if n := m.Backend.InFlight(); n != 0 {
					t.Errorf("%s has %d in flight after all were released", m.Backend.ID, n)
				}
			}
			if ring, ok := current.Load().picker.(*ringPicker); ok && ring.load != nil {
				if n := ring.load.n.Load(); n != 0 {
					t.Errorf("total in flight is %d after all were released", n)
				}
			}
		})
	}
}

// pickOnce runs one request with one retry. Limits are far away, so that there
// always is a usable member.
func pickOnce(t *testing.T, p Picker, members []Member, k uint64) {
	var tried Tried
	for range 2 {
		i := p.Pick(k, &tried)
		if i < 0 || members[i].Down || tried.Has(i) {
			t.Errorf("Pick = %d with %d tried, want a usable member", i, tried.Len())
			return
		}
		tried.Add(i)
		if b := members[i].Backend; b.Acquire(members[i].Limit) {
			b.ObserveFirstByte(time.Millisecond)
			b.Release()
		}
	}
}

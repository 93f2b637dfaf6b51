package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// rampOptions are all policies, and the variant with bounded loads.
func rampOptions() map[string]Options {
	options, names := benchPolicies()
	named := make(map[string]Options)
	for k, name := range names {
		named[name] = options[k]
	}
	return named
}

// sequence is what a new policy picks for n keys, with requests that take a while.
func sequence(t *testing.T, o Options, weights []int, ramps []int, n int) []int {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	members := newMembers(weights...)
	for i := range members {
		members[i].Ramp = ramps[i%len(ramps)]
	}
	s := newSimulationOf(seeded(p), members)
	s.serve = func(int, time.Duration) time.Duration { return 20 * time.Millisecond }
	picked := make([]int, n)
	for k := range picked {
		clear(s.got)
		s.run(t, 1, 5*time.Millisecond)
		picked[k] = slices.Index(s.got, 1)
	}
	return picked
}

// TestRampOutOfRange takes any other number for no ramp, pick by pick.
func TestRampOutOfRange(t *testing.T) {
	for name, o := range rampOptions() {
		t.Run(name, func(t *testing.T) {
			want := sequence(t, o, []int{3, 1, 2, 5}, []int{0}, 400)
			for _, ramps := range [][]int{{-5, 0}, {100, 0}, {math.MaxInt, math.MinInt}} {
				if got := sequence(t, o, []int{3, 1, 2, 5}, ramps, 400); !slices.Equal(got, want) {
					t.Errorf("ramps of %v change what is picked", ramps)
				}
			}
		})
	}
}

// TestAllRampingAlike must not change anything for policies that go by weight,
// nor shares for those that hash.
func TestAllRampingAlike(t *testing.T) {
	weights := []int{3, 1, 2, 5}
	for name, o := range rampOptions() {
		t.Run(name, func(t *testing.T) {
			n := 400
			if o.Hashes() {
				n = testKeys / 5
			}
			none, all := sequence(t, o, weights, []int{0}, n), sequence(t, o, weights, []int{37}, n)
			if !o.Hashes() {
				if !slices.Equal(none, all) {
					t.Error("another order than without ramps")
				}
				return
			}
			before, after := count(none, 4), count(all, 4)
			for i := range before {
				if math.Abs(float64(after[i]-before[i])) > 0.15*float64(before[i])+3*math.Sqrt(float64(before[i])) {
					t.Errorf("shares %v, without ramps %v", after, before)
					break
				}
			}
		})
	}
}

// TestNewcomersShare measures what a ramping member of a busy pool gets: its
// ramped share, though it has nothing in flight and is as fast as the others or
// faster; no more than that if it is slow, and less where the policy goes by load.
func TestNewcomersShare(t *testing.T) {
	ramps := []int{10, 30, 60, 90}
	if raceEnabled {
		ramps = ramps[2:3]
	}
	for name, o := range rampOptions() {
		if o.Hashes() {
			continue
		}
		tolerance := map[string]float64{
			"round_robin": 0.02, "least_connections": 0.05, "random": 0.10, "power_of_two": 0.10, "least_time": 0.05,
		}[name]
		for _, load := range []struct {
			name     string
			interval time.Duration
		}{{"busy", 500 * time.Microsecond}, {"light", 7 * time.Millisecond}} {
			for _, speed := range []struct {
				name string
				time time.Duration
			}{{"equal", 20 * time.Millisecond}, {"faster", 4 * time.Millisecond}, {"slow", 300 * time.Millisecond}} {
				for _, ramp := range ramps {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", name, load.name, speed.name, ramp), func(t *testing.T) {
						got := newcomersShare(t, o, ramp, load.interval, speed.time)
						want := 2 * float64(ramp) / (2*float64(ramp) + 600)
						if got > want*(1+tolerance) || got < want*(1-tolerance) && speed.name != "slow" || got == 0 {
							t.Errorf("share %.4f, want %.4f within %.0f %%", got, want, 100*tolerance)
						}
						if goesByLoad := name != "round_robin" && name != "random"; goesByLoad && speed.name == "slow" && ramp >= 60 && got > want/2 {
							t.Errorf("share %.4f of one that is slow, want at most half of %.4f", got, want)
						}
					})
				}
			}
		}
	}
}

// newcomersShare is the share of a newcomer of weight 2 beside weights of 1, 2
// and 3 that serve in 20 ms or so; it joins while requests are in flight.
func newcomersShare(t *testing.T, o Options, ramp int, interval, serve time.Duration) float64 {
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p = seeded(p)
	r := rand.New(rand.NewPCG(13, uint64(ramp)))
	members := newMembers(1, 2, 3, 2)
	s := newSimulationOf(p, members)
	s.serve = func(i int, _ time.Duration) time.Duration {
		mean := 20 * time.Millisecond
		if i == 3 {
			mean = serve
		}
		return mean/2 + time.Duration(r.Int64N(int64(mean)))
	}
	members[3].Down = true
	s.picker = p.Build(members)
	s.run(t, 200, interval)
	members[3].Down, members[3].Ramp = false, ramp
	s.picker = p.Build(members)
	clear(s.got)
	s.run(t, 20_000, interval)
	return s.share(3)
}

// TestRampMovesKeysOnlyOntoTheNewcomer raises a ramp in steps: each moves keys onto
// the newcomer alone, in proportion, and no key back.
func TestRampMovesKeysOnlyOntoTheNewcomer(t *testing.T) {
	for name, policy := range hashPolicies() {
		t.Run(name, func(t *testing.T) {
			const newcomer = 3
			members := newMembers(2, 1, 1, 3, 1, 1, 2)
			members[5].Ramp = 50 // another one, which stays as it is.
			p := policy()
			whole := count(owners(p.Build(members), testKeys), len(members))[newcomer]
			members[newcomer].Down = true
			before := owners(p.Build(members), testKeys)
			members[newcomer].Down = false
			for _, ramp := range []int{1, 10, 30, 99, 0} {
				members[newcomer].Ramp = ramp
				after := owners(p.Build(members), testKeys)
				for k := range before {
					if before[k] != after[k] && after[k] != newcomer {
						t.Fatalf("ramp %d: key %d moved from %d to %d", ramp, k, before[k], after[k])
					}
				}
				got, want := count(after, len(members))[newcomer], float64(whole*members[newcomer].percent())/100
				if math.Abs(float64(got)-want) > 0.05*want+4*math.Sqrt(want) {
					t.Errorf("ramp %d: %d keys, want %.0f of %d", ramp, got, want, whole)
				}
				before = after
			}
		})
	}
}

// TestMembersAcceptIndependently has members of one percentage take different
// keys: otherwise two newcomers would leave the same ones to the others.
func TestMembersAcceptIndependently(t *testing.T) {
	members := newMembers(repeat(8, 1)...)
	both, one := 0, 0
	for i := range members {
		members[i].Ramp = 50
		for j := range i {
			for k := range 1000 {
				a := members[i].accepts(mix64(key(k)), hashID(members[i].Backend.ID))
				b := members[j].accepts(mix64(key(k)), hashID(members[j].Backend.ID))
				if a {
					one++
				}
				if a && b {
					both++
				}
			}
		}
	}
	if pairs := 28_000.0; math.Abs(float64(one)/pairs-0.5) > 0.03 || math.Abs(float64(both)/pairs-0.25) > 0.03 {
		t.Errorf("of keys, %.3f are accepted by one and %.3f by both of two members, want 0.5 and 0.25", float64(one)/pairs, float64(both)/pairs)
	}
}

// TestRampInAMassFailure reaches the searches of all members by hash policies.
func TestRampInAMassFailure(t *testing.T) {
	for name, policy := range hashPolicies() {
		t.Run(name, func(t *testing.T) {
			p, members := policy(), newMembers(repeat(1000, 1)...)
			for i := range members {
				members[i].Down = i%400 != 0
			}
			const keys = testKeys / 5
			members[400].Down = true
			before := owners(p.Build(members), keys)
			members[400].Down = false
			for _, ramp := range []int{10, 60, 0} {
				members[400].Ramp = ramp
				after := owners(p.Build(members), keys)
				for k := range before {
					if before[k] != after[k] && after[k] != 400 {
						t.Fatalf("ramp %d: key %d moved from %d to %d", ramp, k, before[k], after[k])
					}
				}
				got, want := float64(count(after, len(members))[400]), float64(keys*members[400].percent())/300
				if math.Abs(got-want) > 0.1*want+4*math.Sqrt(want) {
					t.Errorf("ramp %d: %v of %d keys, want about %.0f", ramp, got, keys, want)
				}
				before = after
			}
		})
	}
}

// TestBoundedLoadWhileRamping holds everyone to the bound of the ramped weight.
func TestBoundedLoadWhileRamping(t *testing.T) {
	const factor = 1.25
	r := rand.New(rand.NewPCG(14, 15))
	members := newMembers(1, 2, 1, 3)
	members[1].Ramp, members[2].Ramp = 20, 65
	shares := []float64{100, 40, 65, 300}
	picker := newRingPolicy(factor).Build(members)
	var inFlight []*Backend
	for step := range 20_000 {
		if len(inFlight) > 0 && (r.IntN(5) < 2 || len(inFlight) > 60) {
			k := r.IntN(len(inFlight))
			inFlight[k].Release()
			inFlight = slices.Delete(inFlight, k, k+1)
			continue
		}
		i := mustPick(t, picker, members, key(int(math.Abs(r.NormFloat64())*3)), nil)
		b := members[i].Backend
		b.Acquire(0)
		inFlight = append(inFlight, b)
		if most := math.Ceil(factor*float64(len(inFlight))*shares[i]/505 - 1e-9); float64(b.InFlight()) > most {
			t.Fatalf("step %d: member %d has %d of %d in flight, want at most %v", step, i, b.InFlight(), len(inFlight), most)
		}
	}
}

// TestRampSchedules checks shares and length where weights leave little room.
func TestRampSchedules(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int
		ramp    int // of the first member.
		longest int
		share   float64 // tolerance, relative.
	}{
		{"exact", []int{1, 1, 1}, 37, 237, 1e-9},
		{"common divisor", []int{1, 1, 1}, 50, 5, 1e-9},
		{"heaviest", []int{MaxWeight, MaxWeight, MaxWeight}, 10, 21, 1e-9},
		{"heavy and prime", []int{65521, 65519, 65497}, 1, minScheduleLimit + 3, 0.01},
		{"ten thousand", repeat(10_000, 1), 37, 10_000*scheduleLimitPerMember + 10_000, 0.05},
		{"ten thousand of the heaviest", repeat(10_000, MaxWeight), 99, 10_000*scheduleLimitPerMember + 10_000, 0.05},
	} {
		t.Run(c.name, func(t *testing.T) {
			members := newMembers(c.weights...)
			members[0].Ramp = c.ramp
			s := newShares(members)
			slots := newSchedule(&s)
			if len(slots) > c.longest {
				t.Errorf("%d slots, want at most %d", len(slots), c.longest)
			}
			turns, sum := 0, 0.0
			for _, i := range slots {
				if i == 0 {
					turns++
				}
			}
			for i, w := range c.weights {
				if i > 0 {
					sum += 100 * float64(w)
				}
			}
			own := float64(c.ramp * c.weights[0])
			got, want := float64(turns)/float64(len(slots)), own/(own+sum)
			if math.Abs(got-want) > c.share*want {
				t.Errorf("share %v, want %v within %v", got, want, c.share)
			}
		})
	}
}

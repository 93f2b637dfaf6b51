package balancer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var benchSizes = []int{3, 100, 1_000, 10_000}

// benchPolicies are all policies, and the variant with bounded loads.
func benchPolicies() (options []Options, names []string) {
	for _, name := range Names() {
		o := Options{Policy: name}
		if o.Hashes() {
			o.Key = Key{Source: "client_ip"}
		}
		options, names = append(options, o), append(names, name)
	}
	bounded := Options{Policy: "consistent_hash", Key: Key{Source: "client_ip"}, LoadFactor: 1.25}
	return append(options, bounded), append(names, "consistent_hash_bounded")
}

func BenchmarkPick(b *testing.B) {
	options, names := benchPolicies()
	for k, o := range options {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", names[k], n), func(b *testing.B) {
				p, _ := New(o)
				benchPick(b, p.Build(newMembers(repeat(n, 1)...)))
			})
		}
	}
}

func benchPick(b *testing.B, picker Picker) {
	b.ReportAllocs()
	var k uint64
	for b.Loop() {
		k += golden
		picker.Pick(k, nil)
	}
}

// BenchmarkPickBusy has two requests in flight on every member, which is when
// least_connections has to read them all.
func BenchmarkPickBusy(b *testing.B) {
	for _, name := range []string{"least_connections", "power_of_two", "least_time"} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				members := newMembers(repeat(n, 1)...)
				for _, m := range members {
					m.Backend.Acquire(0)
					m.Backend.Acquire(0)
				}
				benchPick(b, newPolicy(b, name).Build(members))
			})
		}
	}
}

// BenchmarkPickParallel shows what the shared cursor and counters cost.
func BenchmarkPickParallel(b *testing.B) {
	options, names := benchPolicies()
	for k, o := range options {
		b.Run(names[k], func(b *testing.B) {
			members := newMembers(repeat(100, 1)...)
			p, _ := New(o)
			picker := p.Build(members)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				h := rand.Uint64()
				for pb.Next() {
					h += golden
					m := members[picker.Pick(h, nil)]
					m.Backend.Acquire(0)
					m.Backend.Release()
				}
			})
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	options, names := benchPolicies()
	for k, o := range options {
		for _, n := range benchSizes {
			for _, weights := range []string{"equal", "mixed", "ramping"} {
				b.Run(fmt.Sprintf("%s/%d/%s", names[k], n, weights), func(b *testing.B) {
					members := benchMembers(n, weights)
					b.ReportAllocs()
					for b.Loop() {
						p, _ := New(o)
						p.Build(members)
					}
				})
			}
		}
	}
}

// BenchmarkRebuild is a Build after a change of health alone.
func BenchmarkRebuild(b *testing.B) {
	for _, name := range []string{"consistent_hash", "maglev"} {
		b.Run(name+"/10000", func(b *testing.B) {
			members := benchMembers(10_000, "equal")
			p := newPolicy(b, name)
			p.Build(members)
			b.ReportAllocs()
			for b.Loop() {
				members[17].Down = !members[17].Down
				p.Build(members)
			}
		})
	}
}

// benchMembers has weights of 1, the same with one member that ramps, or weights
// without a common divisor from the whole range.
func benchMembers(n int, weights string) []Member {
	members := newMembers(repeat(n, 1)...)
	if weights == "ramping" {
		members[n/2].Ramp = 37
	}
	if weights == "mixed" {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range members {
			members[i].Weight = 1 + r.IntN(MaxWeight)
		}
	}
	return members
}

// TestPickBudget holds five times the budgets of docs/performance.md, so that a
// noisy machine does not fail it but a change of complexity does.
func TestPickBudget(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("the race detector slows picks down")
	}
	for _, c := range []struct {
		policy  string
		members int
		budget  time.Duration
	}{
		{"round_robin", 3, 50}, {"round_robin", 10_000, 50},
		{"maglev", 3, 50}, {"maglev", 10_000, 50},
		{"consistent_hash", 1_000, 200},
		{"random", 10_000, 50}, {"power_of_two", 10_000, 100},
	} {
		picker := newPolicy(t, c.policy).Build(newMembers(repeat(c.members, 1)...))
		const picks = 20_000
		best := time.Hour
		for round := range 5 {
			start := time.Now()
			for k := range picks {
				picker.Pick(uint64(round*picks+k), nil)
			}
			best = min(best, time.Since(start)/picks)
		}
		if best > 5*c.budget {
			t.Errorf("%s with %d members takes %v a pick, budget %v", c.policy, c.members, best, c.budget)
		}
	}
}

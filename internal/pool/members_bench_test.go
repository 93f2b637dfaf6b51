package pool

import (
	"fmt"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
)

// manyMembers are n members, beginning with number from.
func manyMembers(from, n int) []discovery.Member {
	all := make([]discovery.Member, n)
	for i := range all {
		k := from + i
		all[i] = discovery.Member{Address: fmt.Sprintf("10.%d.%d.%d:80", k>>16&255, k>>8&255, k&255), Weight: 1}
	}
	return all
}

// TestBudgetMembership: 10,000 members are applied in under 50 ms, those of ring
// and maglev in under 500 ms, and a change of one of them too.
func TestBudgetMembership(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector is no measure of time")
	}
	for _, name := range balancer.Names() {
		t.Run(name, func(t *testing.T) {
			limit := 50 * time.Millisecond
			o := options(0)
			o.Policy = balancer.Options{Policy: name}
			if o.Policy.Hashes() {
				limit = 500 * time.Millisecond
				o.Policy.Key = balancer.Key{Source: "client_ip"}
			}
			src := newFakeSource()
			o.Sources = []SourceOptions{{Key: "fake", Source: src, Guard: discovery.GuardOptions{MaxRemoval: 1}}}
			p := newPool(t, o)
			src.set(manyMembers(0, 10_000)) // the first time grows the heap
			written(t, p)
			best := map[string]time.Duration{}
			within := func() bool { return max(best["all new"], best["one moved"]) <= limit }
			for round := 0; round < 2 || round < 12 && !within(); round++ { // others may use the machine
				for _, what := range []string{"all new", "one moved"} {
					members := manyMembers(20_000*(round+1), 10_000)
					if what == "one moved" {
						members[9_999] = manyMembers(20_000*round, 1)[0]
					}
					began := time.Now()
					src.set(members)
					eventuallyBusy(t, "the snapshot has the members", func() bool {
						s := p.Snapshot()
						return len(s.Endpoints) == 10_000 && s.Endpoints[9_999].Address == members[9_999].Address && s.Endpoints[0].Address == members[0].Address
					})
					if took := time.Since(began); best[what] == 0 || took < best[what] {
						best[what] = took
					}
				}
			}
			for what, took := range best {
				t.Logf("%s: %v", what, took.Round(time.Microsecond))
				if took > limit {
					t.Errorf("%s: took %v, the budget is %v", what, took, limit)
				}
			}
		})
	}
}

// eventuallyBusy is eventually without rests, to measure.
func eventuallyBusy(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

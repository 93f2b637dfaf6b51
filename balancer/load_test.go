package balancer

import (
	"math"
	"slices"
	"testing"
	"time"
)

// simulation runs requests against members in virtual time. A backend serves
// any number of requests at once, each in the time that serve says.
type simulation struct {
	members []Member
	picker  Picker
	clock   *virtualClock
	serve   func(i int, now time.Duration) time.Duration
	running []running
	got     []int
}

type running struct {
	backend   *Backend
	start, at int64
}

func newSimulation(t *testing.T, policy string, members []Member) *simulation {
	t.Helper()
	return newSimulationOf(newPolicy(t, policy), members)
}

func newSimulationOf(p Policy, members []Member) *simulation {
	s := &simulation{members: members, clock: &virtualClock{now: 1}, got: make([]int, len(members))}
	s.clock.use(p, members)
	s.picker = p.Build(members)
	return s
}

// run sends n requests, one in every interval.
func (s *simulation) run(t *testing.T, n int, interval time.Duration) {
	t.Helper()
	for k := range n {
		s.advance(s.clock.now + int64(interval))
		i := mustPick(t, s.picker, s.members, key(k), nil)
		s.got[i]++
		s.members[i].Backend.Acquire(0)
		s.running = append(s.running, running{s.members[i].Backend, s.clock.now, s.clock.now + int64(s.serve(i, time.Duration(s.clock.now)))})
	}
}

// advance ends the requests that are due until the time, in their order.
func (s *simulation) advance(until int64) {
	slices.SortStableFunc(s.running, func(a, b running) int { return int(a.at - b.at) })
	done := 0
	for _, r := range s.running {
		if r.at > until {
			break
		}
		s.clock.now = r.at
		r.backend.ObserveFirstByte(time.Duration(r.at - r.start))
		r.backend.Release()
		done++
	}
	s.running = slices.Delete(s.running, 0, done)
	s.clock.now = until
}

func (s *simulation) share(i int) float64 {
	sum := 0
	for _, n := range s.got {
		sum += n
	}
	return float64(s.got[i]) / float64(sum)
}

// constant serves in the same time always.
func constant(times ...time.Duration) func(int, time.Duration) time.Duration {
	return func(i int, _ time.Duration) time.Duration { return times[i] }
}

func TestSlowBackendGetsLess(t *testing.T) {
	for _, c := range []struct {
		policy string
		most   float64
	}{{"least_connections", 0.15}, {"least_time", 0.15}, {"power_of_two", 0.25}} {
		t.Run(c.policy, func(t *testing.T) {
			s := newSimulation(t, c.policy, newMembers(1, 1, 1))
			s.serve = constant(20*time.Millisecond, 20*time.Millisecond, 200*time.Millisecond)
			s.run(t, 5000, 2*time.Millisecond)
			if got := s.share(2); got > c.most {
				t.Errorf("a backend ten times slower got %.1f %% of requests %v, want at most %.0f %%", 100*got, s.got, 100*c.most)
			}
			if s.got[2] == 0 {
				t.Error("a slower backend got nothing")
			}
		})
	}
}

func TestLeastConnectionsHoldsLoadByWeight(t *testing.T) {
	members := newMembers(1, 4, 2, 3)
	p := newPolicy(t, "least_connections").Build(members)
	for range 1000 {
		members[mustPick(t, p, members, 0, nil)].Backend.Acquire(0)
	}
	for i, m := range members {
		if got, want := m.Backend.InFlight(), int64(100*m.Weight); got < want-1 || got > want+1 {
			t.Errorf("member %d has %d in flight, want %d", i, got, want)
		}
	}
}

// TestLeastConnectionsTies rotates among equals by weight, idle and busy, whoever
// else is in the list.
func TestLeastConnectionsTies(t *testing.T) {
	for _, c := range []struct {
		name     string
		inFlight []int
		want     []float64
	}{
		{"idle", []int{0, 0, 0, 0}, []float64{0.1, 0.2, 0.3, 0.4}},
		{"some idle", []int{5, 0, 9, 0}, []float64{0, 1. / 3, 0, 2. / 3}},
		{"equally busy", []int{1, 2, 3, 4}, []float64{0.1, 0.2, 0.3, 0.4}},
		{"two equally busy", []int{9, 2, 3, 9}, []float64{0, 0.4, 0.6, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			members := newMembers(1, 2, 3, 4)
			for i, n := range c.inFlight {
				for range n {
					members[i].Backend.Acquire(0)
				}
			}
			const picks = 6000
			got := count(cycle(newPolicy(t, "least_connections").Build(members), picks), 4)
			for i, want := range c.want {
				if math.Abs(float64(got[i])/picks-want) > 0.01 {
					t.Fatalf("shares %v of %d, want %v", got, picks, c.want)
				}
			}
		})
	}
}

// TestLeastTimeRecoversOnceSlow is traefik#12306: of five equal backends one is
// slow at first, and must not be shunned for that.
func TestLeastTimeRecoversOnceSlow(t *testing.T) {
	for _, slow := range []time.Duration{200 * time.Millisecond, time.Second, 5 * time.Second} {
		t.Run(slow.String(), func(t *testing.T) {
			s := newSimulation(t, "least_time", newMembers(repeat(5, 1)...))
			s.serve = func(i int, now time.Duration) time.Duration {
				if i == 2 && now < slow {
					return slow
				}
				return 10 * time.Millisecond
			}
			const interval = 10 * time.Millisecond
			s.run(t, 1500, interval)
			// One that is slow for 5 s answers its last slow request after 10 s.
			if s.got[2] < 50 && slow <= time.Second {
				t.Errorf("it got %d of 1500 requests: %v", s.got[2], s.got)
			}
			clear(s.got)
			s.run(t, 1500, interval)
			if got := s.share(2); got < 0.15 {
				t.Errorf("it got %.1f %% of the next 1500 requests, want about 20 %%: %v", 100*got, s.got)
			}
		})
	}
}

func TestLeastTimePrefersFasterByWeight(t *testing.T) {
	s := newSimulation(t, "least_time", newMembers(1, 1, 2))
	s.serve = constant(10*time.Millisecond, 40*time.Millisecond, 10*time.Millisecond)
	s.run(t, 20_000, 500*time.Microsecond)
	if !(s.share(0) > 2*s.share(1) && s.share(2) > 1.5*s.share(0)) {
		t.Errorf("shares %v for times of 10, 40 and 10 ms and weights of 1, 1 and 2", s.got)
	}
}

// TestLeastTimeTriesNewBackendsGently adds a backend without a sample to busy ones.
func TestLeastTimeTriesNewBackendsGently(t *testing.T) {
	s := newSimulation(t, "least_time", newMembers(1, 1, 1))
	s.serve = constant(10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond)
	s.run(t, 1000, 2*time.Millisecond)

	s.members = append(s.members, Member{Backend: NewBackend("new", "new"), Weight: 1})
	p := newPolicy(t, "least_time")
	s.clock.use(p, s.members)
	s.picker = p.Build(s.members)
	s.got = make([]int, 4)
	s.serve = constant(10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, 400*time.Millisecond)
	s.run(t, 200, 2*time.Millisecond) // 400 ms: it has not answered yet.
	if n := s.got[3]; n < 1 || n > 3 {
		t.Errorf("a new backend that has not answered got %d of 200 requests, want 1 to 3", n)
	}
	s.serve = constant(10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond)
	s.run(t, 2000, 2*time.Millisecond)
	clear(s.got)
	s.run(t, 1000, 2*time.Millisecond)
	if got := s.share(3); got < 0.15 {
		t.Errorf("once it is as fast as the others it got %.1f %%: %v", 100*got, s.got)
	}
}

// TestLeastTimeDoesNotFloodOneThatHangs has a backend that stops answering.
func TestLeastTimeDoesNotFloodOneThatHangs(t *testing.T) {
	s := newSimulation(t, "least_time", newMembers(1, 1, 1))
	s.serve = constant(10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond)
	s.run(t, 1000, 2*time.Millisecond)
	clear(s.got)
	s.serve = constant(10*time.Millisecond, 10*time.Millisecond, time.Hour)
	s.run(t, 30_000, 2*time.Millisecond) // a minute.
	if s.got[2] > 300 {
		t.Errorf("a backend that hangs got %d of 30000 requests", s.got[2])
	}
}

func TestRandomFollowsWeights(t *testing.T) {
	members := newMembers(1, 10, 0, 100, 1000)
	got := make([]float64, len(members))
	const picks = 200_000
	picker := newPolicy(t, "random").Build(members)
	for range picks {
		got[picker.Pick(0, nil)]++
	}
	for i, m := range members {
		want := picks * float64(m.Weight) / 1111
		// Five standard deviations of a binomial distribution.
		if math.Abs(got[i]-want) > 5*math.Sqrt(want) {
			t.Errorf("member %d of weight %d was drawn %v times, want %.0f", i, m.Weight, got[i], want)
		}
	}
}

// TestSearchAfterDrawsKeepsWeights leaves few usable members, so that draws and
// turns run out and the search of all members decides.
func TestSearchAfterDrawsKeepsWeights(t *testing.T) {
	for _, policy := range []string{"round_robin", "random", "power_of_two"} {
		t.Run(policy, func(t *testing.T) {
			members := newMembers(append(repeat(150, 50), 1, 4, 3)...)
			for i := range 150 {
				members[i].Limit = 1
				members[i].Backend.Acquire(0)
			}
			const picks = 4000
			got := count(cycle(newPolicy(t, policy).Build(members), picks), len(members))[150:]
			for i, want := range []float64{500, 2000, 1500} {
				if math.Abs(float64(got[i])-want) > 150 {
					t.Fatalf("shares %v, want 500, 2000 and 1500", got)
				}
			}
		})
	}
}

func TestAliasTableIsExact(t *testing.T) {
	s := newSet(newMembers(3, 1, 0, 65535, 7, 65535, 12))
	table := newAliasTable(&s)
	got := make([]float64, len(s.members))
	for _, c := range table {
		own := float64(c.cut) / (1 << 64)
		got[c.own] += own / float64(len(table))
		got[c.other] += (1 - own) / float64(len(table))
	}
	for i, m := range s.members {
		if want := float64(m.Weight) / float64(s.weight); math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("member %d of weight %d has the share %v, want %v", i, m.Weight, got[i], want)
		}
	}
}

// TestPowerOfTwoTakesTheLighter follows from two distinct candidates: the most
// loaded of three is never taken, of two always the other.
func TestPowerOfTwoTakesTheLighter(t *testing.T) {
	members := newMembers(1, 1, 10)
	for range 5 {
		members[0].Backend.Acquire(0)
	}
	for range 20 {
		members[2].Backend.Acquire(0) // 2 per unit of weight.
	}
	picker := newPolicy(t, "power_of_two").Build(members)
	for k := range 5000 {
		if i := mustPick(t, picker, members, key(k), nil); i == 0 {
			t.Fatal("the most loaded of three was picked")
		}
	}
	skewed := newMembers(MaxWeight, 1)
	for range 2 * MaxWeight {
		skewed[0].Backend.Acquire(0)
	}
	picker = newPolicy(t, "power_of_two").Build(skewed)
	for k := range 100 {
		if i := mustPick(t, picker, skewed, key(k), nil); i != 1 {
			t.Fatal("the most loaded of two was picked")
		}
	}
}

// TestPowerOfTwoBalances compares the fullest of 100 members with what chance
// alone makes of it.
func TestPowerOfTwoBalances(t *testing.T) {
	fullest := func(policy string) int64 {
		members := newMembers(repeat(100, 1)...)
		picker := newPolicy(t, policy).Build(members)
		var most int64
		for range 10_000 {
			b := members[picker.Pick(0, nil)].Backend
			b.Acquire(0)
			most = max(most, b.InFlight())
		}
		return most
	}
	if two, one := fullest("power_of_two"), fullest("random"); two > 104 || one < 115 {
		t.Errorf("fullest of 100 members with 100 requests each: %d with two choices, want at most 104; %d at random", two, one)
	}
}

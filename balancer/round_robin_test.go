package balancer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// cycle picks n times.
func cycle(p Picker, n int) []int {
	picked := make([]int, n)
	for i := range picked {
		picked[i] = p.Pick(0, nil)
	}
	return picked
}

func count(picked []int, members int) []int {
	n := make([]int, members)
	for _, i := range picked {
		n[i]++
	}
	return n
}

// longestRun is the longest run of one member in picked, read as a circle.
func longestRun(picked []int) int {
	longest, run := 0, 0
	for k := range 2 * len(picked) {
		if k > 0 && picked[k%len(picked)] == picked[(k-1)%len(picked)] {
			run++
		} else {
			run = 1
		}
		longest = max(longest, run)
	}
	return longest
}

func TestRoundRobinOrderIsNginxs(t *testing.T) {
	for _, c := range []struct {
		weights, want []int
	}{
		{[]int{5, 1, 1}, []int{0, 0, 1, 0, 2, 0, 0}},
		{[]int{1, 1, 1}, []int{0, 1, 2}},
		{[]int{100, 100}, []int{0, 1}},
		{[]int{1, 0, 1}, []int{0, 2}},
	} {
		got := cycle((&roundRobin{}).Build(newMembers(c.weights...)), len(c.want))
		if !slices.Equal(got, c.want) {
			t.Errorf("weights %v: order %v, want %v", c.weights, got, c.want)
		}
	}
}

// TestRoundRobinSharesAreExactAtEveryStep is Tijdeman's bound: after any number
// of turns no member is a whole turn from its share, and over a cycle shares are
// equal to weights.
func TestRoundRobinSharesAreExactAtEveryStep(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		weights := make([]int, 1+r.IntN(12))
		total := 0
		for i := range weights {
			weights[i] = 1 + r.IntN(1+r.IntN(200))
			total += weights[i]
		}
		picked := cycle((&roundRobin{}).Build(newMembers(weights...)), total)
		got := make([]int, len(weights))
		for step, i := range picked {
			got[i]++
			for k, w := range weights {
				if off := math.Abs(float64(got[k]) - float64((step+1)*w)/float64(total)); off >= 1 {
					t.Fatalf("weights %v: member %d is %.2f turns off its share after %d turns", weights, k, off, step+1)
				}
			}
		}
		if !slices.Equal(got, weights) {
			t.Fatalf("shares %v over a cycle, want %v", got, weights)
		}
	}
}

// TestRoundRobinIsSmooth allows no longer run of one member than nginx has.
func TestRoundRobinIsSmooth(t *testing.T) {
	for _, weights := range [][]int{
		{5, 1, 1}, {1, 1, 5}, {10, 1, 1, 1}, {7, 7, 1}, {50, 30, 20}, {9, 8, 7, 6}, {100, 1}, {3, 2}, {40, 10, 5, 5, 2, 1},
	} {
		total := 0
		for _, w := range weights {
			total += w
		}
		got := longestRun(cycle((&roundRobin{}).Build(newMembers(weights...)), total))
		if nginx := longestRun(nginxOrder(weights)); got > nginx {
			t.Errorf("weights %v: a run of %d, nginx has %d", weights, got, nginx)
		}
	}
}

// nginxOrder is one cycle of nginx's smooth weighted round robin: everyone gains
// its weight, the one who has most goes next and pays the total.
func nginxOrder(weights []int) []int {
	total := 0
	for _, w := range weights {
		total += w
	}
	current := make([]int, len(weights))
	order := make([]int, total)
	for step := range order {
		best := 0
		for i, w := range weights {
			current[i] += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order[step] = best
	}
	return order
}

// TestRoundRobinScheduleIsBounded scales down what does not fit, and moves less
// than one request in a hundred by that.
func TestRoundRobinScheduleIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	many := make([]int, 10_000)
	for i := range many {
		many[i] = 1 + r.IntN(MaxWeight)
	}
	mixed := many[:3000]
	for _, c := range []struct {
		name    string
		weights []int
		longest int
	}{
		{"equal", repeat(10_000, MaxWeight), 10_000},
		{"common divisor", append(repeat(100, 60_000), repeat(100, 20_000)...), 400},
		{"two that fit", []int{MaxWeight, MaxWeight - 1}, 2*MaxWeight - 1},
		{"three that do not", []int{MaxWeight, MaxWeight - 1, 1}, minScheduleLimit + 3},
		{"mixed", mixed, minScheduleLimit + 3000},
		{"many mixed", many, 10_000*scheduleLimitPerMember + 10_000},
		{"many light ones", append(repeat(50, MaxWeight), repeat(1000, 1)...), minScheduleLimit + 1050},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSet(newMembers(c.weights...))
			slots := newSchedule(&s)
			if len(slots) > c.longest {
				t.Fatalf("%d slots, want at most %d", len(slots), c.longest)
			}
			turns := make([]float64, len(c.weights))
			for _, i := range slots {
				turns[i]++
			}
			moved := 0.0
			for i, w := range c.weights {
				if turns[i] == 0 {
					t.Fatalf("member %d of weight %d has no turn", i, w)
				}
				moved += math.Abs(turns[i]/float64(len(slots))-float64(w)/float64(s.weight)) / 2
			}
			if moved > 0.01 {
				t.Errorf("%.2f %% of requests go elsewhere than weights say, want at most 1 %%", 100*moved)
			}
		})
	}
}

func TestRoundRobinCursorSurvivesRebuild(t *testing.T) {
	p, members := &roundRobin{}, newMembers(1, 1, 1)
	var picked []int
	for range 30 {
		picked = append(picked, p.Build(members).Pick(0, nil))
	}
	if got := count(picked, 3); !slices.Equal(got, []int{10, 10, 10}) {
		t.Errorf("shares %v with a rebuild before each pick, want 10 each", got)
	}
}

// TestRoundRobinSpreadsOtherTurns gives the turns of a member that is down, full
// or failing to the others by their weights.
func TestRoundRobinSpreadsOtherTurns(t *testing.T) {
	want := []int{0, 3000, 1000, 2000}
	for _, how := range []string{"down", "full", "failing"} {
		t.Run(how, func(t *testing.T) {
			members := newMembers(4, 3, 1, 2)
			switch how {
			case "down":
				members[0].Down = true
			case "full":
				members[0].Limit = 1
				members[0].Backend.Acquire(1)
			}
			picker := (&roundRobin{}).Build(members)
			got, first := make([]int, 4), make([]int, 4)
			requests := 6000
			for range requests {
				i := picker.Pick(0, nil)
				first[i]++
				if how == "failing" && i == 0 {
					var tried Tried
					tried.Add(0)
					i = picker.Pick(0, &tried)
				}
				got[i]++
			}
			for i := range want {
				if math.Abs(float64(got[i]-want[i])) > 0.01*float64(requests) {
					t.Errorf("shares %v, want %v", got, want)
					break
				}
			}
			// Retries must not change who gets the first attempts.
			if how == "failing" && first[0] != requests*4/10 {
				t.Errorf("the failing member got %d first attempts, want %d", first[0], requests*4/10)
			}
		})
	}
}

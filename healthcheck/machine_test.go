package healthcheck

import (
	"fmt"
	"testing"
)

// naive is the definition of a machine: it looks at all results so far.
func naive(start State, rise, fall int, results []bool) State {
	state, from := start, 0
	for i, ok := range results {
		to, need := Unhealthy, fall
		if ok {
			to, need = Healthy, rise
		}
		if state == Checking {
			need = 1
		}
		if to == state {
			continue
		}
		same := 0 // results in a row like this one since the last change
		for j := i; j >= from && results[j] == ok; j-- {
			same++
		}
		if same >= need {
			state, from = to, i+1
		}
	}
	return state
}

// TestMachineAgainstDefinition tries every sequence of up to 12 results.
func TestMachineAgainstDefinition(t *testing.T) {
	const longest = 12
	for _, start := range []State{Checking, Healthy, Unhealthy} {
		for rise := 1; rise <= 4; rise++ {
			for fall := 1; fall <= 4; fall++ {
				for bits := range 1 << longest {
					m := NewMachine(start, rise, fall)
					results := make([]bool, 0, longest)
					for i := range longest {
						ok := bits>>i&1 == 1
						results = append(results, ok)
						before := m.State()
						changed := m.Observe(ok)
						if bits>>(i+1) != 0 {
							continue // Tried with other bits; only the end is compared.
						}
						want := naive(start, rise, fall, results)
						if m.State() != want || changed != (before != want) {
							t.Fatalf("%v rise %d fall %d %v: %v (changed %v), expected %v", start, rise, fall, results, m.State(), changed, want)
						}
						n, of := m.Progress()
						if n < 0 || n >= of || m.Changing() != (n > 0 || want == Checking) {
							t.Fatalf("%v rise %d fall %d %v: progress %d of %d, changing %v", start, rise, fall, results, n, of, m.Changing())
						}
					}
				}
			}
		}
	}
}

func TestMachineProgress(t *testing.T) {
	m := NewMachine(Healthy, 2, 3)
	var got []string
	for _, ok := range []bool{false, false, true, false, false, false, true, false, true, true} {
		m.Observe(ok)
		n, of := m.Progress()
		got = append(got, fmt.Sprintf("%v %d/%d", m.State(), n, of))
	}
	want := []string{
		"healthy 1/3", "healthy 2/3", "healthy 0/3", "healthy 1/3", "healthy 2/3", "unhealthy 0/2",
		"unhealthy 1/2", "unhealthy 0/2", "unhealthy 1/2", "healthy 0/3",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestMachineSetThresholds(t *testing.T) {
	m := NewMachine(Healthy, 2, 5)
	for range 4 {
		m.Observe(false)
	}
	m.SetThresholds(1, 2)
	if n, of := m.Progress(); m.State() != Healthy || n != 1 || of != 2 {
		t.Fatalf("%v, %d of %d", m.State(), n, of)
	}
	if !m.Observe(false) || m.State() != Unhealthy {
		t.Fatalf("%v after one more failure", m.State())
	}
}

func TestMachineAllocatesNothing(t *testing.T) {
	m := NewMachine(Checking, 2, 3)
	i := 0
	if n := testing.AllocsPerRun(1000, func() { i++; m.Observe(i%5 < 3); m.Progress() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package pool

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/outlier"
)

// quietly logs nowhere.
func quietly(o Options) Options {
	o.Log = slog.New(slog.DiscardHandler)
	return o
}

// TestBudgetTraffic: while 10,000 members are exchanged again and again, picks
// never wait for it.
func TestBudgetTraffic(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector is no measure of time")
	}
	const limit = 20 * time.Millisecond
	src := newFakeSource()
	o := quietly(options(1))
	o.Sources = []SourceOptions{{Key: "fake", Source: src, Guard: discovery.GuardOptions{MaxRemoval: 1}}}
	p := newPool(t, o)
	var best time.Duration
	for round := 0; round < 5 && (best == 0 || best > limit); round++ {
		worst, picks := stall(p, func() {
			for k := range 5 {
				src.set(manyMembers(20_000*(k+1), 10_000))
				written(t, p)
			}
		})
		t.Logf("%d picks, the longest took %v", picks, worst)
		if best == 0 || worst < best {
			best = worst
		}
	}
	if best > limit {
		t.Errorf("a pick took %v, the budget is %v", best, limit)
	}
}

// stall picks while change runs, and returns how long the longest pick took.
func stall(p *Pool, change func()) (worst time.Duration, picks int) {
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		tried := &Tried{}
		for !over.Load() {
			began := time.Now()
			s := p.Snapshot()
			tried.Reset()
			if i := s.Pick(0, tried); i >= 0 && s.Acquire(i) {
				p.Release(s, i)
			}
			worst = max(worst, time.Since(began))
			if picks++; picks%64 == 0 {
				time.Sleep(50 * time.Microsecond) // as requests do, and leaves the core to others
			}
		}
	}()
	change()
	over.Store(true)
	<-done
	return worst, picks
}

// BenchmarkTick is what a pool at rest costs four times a second.
func BenchmarkTick(b *testing.B) {
	checks := healthcheck.NewScheduler()
	checks.Close() // so that the checks themselves do not count
	for _, c := range []struct {
		name   string
		n      int
		change func(*Options)
	}{
		{"10000", 10_000, nil},
		{"10000 judged", 10_000, func(o *Options) { o.Outlier = outlier.DefaultOptions() }},
		{"10000 judged by share", 10_000, func(o *Options) { o.Outlier = outlier.DefaultOptions(); o.Outlier.FailureShare = 0.5 }},
		{"20 checked and judged", 20, func(o *Options) {
			o.Outlier = outlier.DefaultOptions()
			check := healthcheck.DefaultOptions()
			check.Start = "healthy"
			o.Check, o.Checks = &check, checks
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := quietly(options(c.n))
			if c.change != nil {
				c.change(&o)
			}
			p := newPool(b, o)
			before := p.Snapshot()
			b.ReportAllocs()
			b.ResetTimer()
			err := p.command(func(w *writer) error {
				for range b.N {
					w.tick(time.Now())
					if w.stale {
						b.Error("a pool at rest asks for a look")
					}
				}
				return nil
			})
			if err != nil || p.Snapshot() != before {
				b.Error("a pool at rest makes a snapshot")
			}
		})
	}
}

// BenchmarkLook is what a look at a pool costs, with and without a change.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{20, 10_000} {
		for _, change := range []bool{false, true} {
			name := map[bool]string{false: "same", true: "changed"}[change]
			b.Run(name+"/"+map[bool]string{false: "20", true: "10000"}[n > 20], func(b *testing.B) {
				o := quietly(options(n))
				p := newPool(b, o)
				b.ReportAllocs()
				b.ResetTimer()
				_ = p.command(func(w *writer) error {
					for i := range b.N {
						if change {
							w.endpoints["b0"].disabled = i%2 == 0
						}
						w.publish()
					}
					return nil
				})
			})
		}
	}
}

// TestTickIsCheap: a pool at rest is looked after, and nothing is made.
func TestTickIsCheap(t *testing.T) {
	o := quietly(options(1000))
	o.Outlier = outlier.DefaultOptions()
	p := newPool(t, o)
	var allocs float64
	_ = p.command(func(w *writer) error {
		allocs = testing.AllocsPerRun(10, func() { w.tick(time.Now()) })
		if w.stale {
			t.Error("a pool at rest asks for a look")
		}
		return nil
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

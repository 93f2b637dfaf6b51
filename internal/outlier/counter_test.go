package outlier

import (
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

func TestCounterReachesOncePerRun(t *testing.T) {
	for _, c := range []struct {
		name        string
		consecutive int
		results     string // s, f; F is a failure that must report reached.
	}{
		{"never", 0, "ffffffff"},
		{"one", 1, "FffsFfsssF"},
		{"three", 3, "ffFffffsffsffFffsffF"},
		{"broken runs", 5, "ffffsffffsffff"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var counter Counter
			var failures int64
			for k, r := range c.results {
				if r == 's' {
					counter.Success()
					continue
				}
				failures++
				if got := counter.Failure(c.consecutive); got != (r == 'F') {
					t.Fatalf("result %d of %s: reached %v", k, c.results, got)
				}
			}
			if counter.Requests() != int64(len(c.results)) || counter.Failures() != failures {
				t.Errorf("%d requests and %d failures, want %d and %d", counter.Requests(), counter.Failures(), len(c.results), failures)
			}
		})
	}
}

// TestCounterConcurrently is for the race detector, and for what must hold in
// any interleaving: nothing is lost, and a run that nothing ends is reported by
// one goroutine alone.
func TestCounterConcurrently(t *testing.T) {
	const goroutines, rounds = 8, 2000
	var failing, mixed Counter
	var reports atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for k := range rounds {
				if failing.Failure(goroutines * rounds / 2) {
					reports.Add(1)
				}
				if (k+g)%3 == 0 {
					mixed.Failure(2)
				} else {
					mixed.Success()
				}
				mixed.Requests()
			}
		})
	}
	o := DefaultOptions()
	var record Record
	done := make(chan struct{})
	go func() {
		defer close(done)
		for k := range 1000 {
			record.Step(at(k), &mixed, &o)
		}
	}()
	wg.Wait()
	<-done
	if n := reports.Load(); n != 1 {
		t.Errorf("one run was reported %d times", n)
	}
	if n := mixed.Requests(); n != goroutines*rounds {
		t.Errorf("%d requests, want %d", n, goroutines*rounds)
	}
	if n := failing.Failures(); n != goroutines*rounds {
		t.Errorf("%d failures, want %d", n, goroutines*rounds)
	}
}

// TestCounterLayout keeps what requests write on a line of its own, wherever a
// Counter begins in a larger struct.
func TestCounterLayout(t *testing.T) {
	var c Counter
	first := unsafe.Offsetof(c.successes)
	end := unsafe.Offsetof(c.reached) + unsafe.Sizeof(c.reached)
	if first < cacheLine-8 || unsafe.Sizeof(c)-end < cacheLine-8 || end-first > cacheLine {
		t.Errorf("hot fields at %d to %d of %d bytes", first, end, unsafe.Sizeof(c))
	}
	if size := unsafe.Sizeof(c); size > 160 {
		t.Errorf("a Counter is %d bytes", size)
	}
}

func TestCounterDoesNotAllocate(t *testing.T) {
	var c Counter
	var record Record
	o := DefaultOptions()
	o.FailureShare = 1
	k := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		c.Failure(5)
		c.Success()
		k++
		if reason := record.Step(at(k), &c, &o); reason != "" {
			t.Fatal(reason)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkCounter(b *testing.B) {
	b.Run("success", func(b *testing.B) {
		var c Counter
		b.ReportAllocs()
		for b.Loop() {
			c.Success()
		}
	})
	b.Run("failure", func(b *testing.B) {
		var c Counter
		b.ReportAllocs()
		for b.Loop() {
			c.Failure(5)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		var c Counter
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Success()
			}
		})
	})
}

func BenchmarkStep(b *testing.B) {
	var c Counter
	var record Record
	o := DefaultOptions()
	o.FailureShare = 0.2
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		c.Success()
		record.Step(at(k), &c, &o)
	}
}

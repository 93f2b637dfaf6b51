package metrics

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestBucketsCoverEverything: each duration lies below the bound of its bucket
// and not below that of the one before, and buckets are narrow.
func TestBucketsCoverEverything(t *testing.T) {
	for d := time.Duration(0); d < time.Hour; d += d/50 + 1 {
		i := bucketOf(d)
		if i < Buckets-1 && d >= Bound(i) {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, i, Bound(i))
		}
		if i > 0 && d < Bound(i-1) {
			t.Fatalf("%v is in bucket %d, which begins at %v", d, i, Bound(i-1))
		}
		if i > 4 && i < Buckets-1 && float64(Bound(i))/float64(Bound(i-1)) > 1.26 {
			t.Fatalf("bucket %d is from %v to %v", i, Bound(i-1), Bound(i))
		}
	}
	if got := bucketOf(-time.Second); got != 0 {
		t.Errorf("a negative duration is in bucket %d", got)
	}
	if last := Bound(Buckets - 2); last < 2*time.Minute || last > time.Hour {
		t.Errorf("the last bucket begins at %v", last)
	}
}

// TestQuantiles are near the true ones, also of what came between two readings.
func TestQuantiles(t *testing.T) {
	var h Histogram
	var before, after Distribution
	for range 1000 {
		h.Observe(time.Hour) // not to be in the difference
	}
	h.Read(&before)
	var all []time.Duration
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * float64(20*time.Millisecond))
		h.Observe(d)
		all = append(all, d)
	}
	h.Read(&after)
	d := after.Since(&before)
	slices.Sort(all)
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		want, got := all[int(q*float64(len(all)))], d.Quantile(q)
		if ratio := float64(got) / float64(want); ratio < 0.85 || ratio > 1.2 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if d.Count != 10_000 || d.Mean() < 18*time.Millisecond || d.Mean() > 22*time.Millisecond {
		t.Errorf("count %d, mean %v", d.Count, d.Mean())
	}
	if (&Distribution{}).Quantile(0.5) != 0 || (&Distribution{}).Mean() != 0 {
		t.Error("nothing observed is not 0")
	}
}

// TestSinceBeginsAnew: where a count went back, all that there is counts.
func TestSinceBeginsAnew(t *testing.T) {
	var old, young Histogram
	var before, after Distribution
	old.Observe(time.Second)
	young.Observe(time.Millisecond)
	young.Observe(time.Millisecond)
	old.Read(&before)
	young.Read(&after)
	if d := after.Since(&before); d != after {
		t.Errorf("%d observations, quantile %v", d.Count, d.Quantile(0.5))
	}
}

// TestClasses: by the first digit; what has none is kept apart.
func TestClasses(t *testing.T) {
	var c Classes
	for _, status := range []int{200, 204, 301, 404, 503, 0, 999, -1, 101} {
		c.Count(status)
	}
	if got, want := c.Read(), [6]int64{3, 1, 2, 1, 1, 1}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAllocations: counting allocates nothing.
func TestAllocations(t *testing.T) {
	var h Histogram
	var c Classes
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond); c.Count(200) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	for i := range b.N {
		h.Observe(time.Duration(i) * time.Microsecond)
	}
}

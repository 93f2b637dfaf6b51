// Package metrics holds the counters that the request path writes and everyone
// else reads: histograms of durations and counts by status class. Writing costs
// atomic additions and nothing else; what is made of them (quantiles,
// Prometheus) is paid by who asks.
package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// subBits is how many bits below the highest tell buckets apart: four
	// buckets for each doubling, so a quantile is at most 19 % too high.
	subBits = 2
	// unit is the resolution of the smallest buckets.
	unit = 8 * time.Microsecond
	// Buckets is the number of buckets; the last one holds all from 15 minutes on.
	Buckets = 104
)

// Histogram counts durations. The zero value is ready; it is safe for concurrent
// use and takes no lock.
type Histogram struct {
	counts [Buckets]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	h.counts[bucketOf(d)].Add(1)
	h.sum.Add(int64(d))
}

// bucketOf is the index of the bucket that d falls into.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0) / unit)
	if n < 1<<subBits {
		return int(n)
	}
	shift := bits.Len64(n) - 1 - subBits
	return min((shift+1)<<subBits+int(n>>shift)-1<<subBits, Buckets-1)
}

// Bound is the smallest duration that is above bucket i; for the last one it
// has no meaning, as there is none.
func Bound(i int) time.Duration {
	i++
	if i < 1<<subBits {
		return time.Duration(i) * unit
	}
	shift := i>>subBits - 1
	return time.Duration(uint64(i&(1<<subBits-1)|1<<subBits)<<shift) * unit
}

// Distribution is what a Histogram had counted at one moment.
type Distribution struct {
	Counts [Buckets]uint64
	Count  uint64
	Sum    time.Duration
}

// Read fills d with what has been counted so far. Observations that happen
// meanwhile may be in the counts and not in the sum.
func (h *Histogram) Read(d *Distribution) {
	d.Count = 0
	for i := range h.counts {
		d.Counts[i] = h.counts[i].Load()
		d.Count += d.Counts[i]
	}
	d.Sum = time.Duration(h.sum.Load())
}

// Since is what has been counted between earlier and d. Where a count went back,
// the counting has begun anew in between, and all of d is since then.
func (d *Distribution) Since(earlier *Distribution) Distribution {
	out := Distribution{Count: d.Count - earlier.Count, Sum: d.Sum - earlier.Sum}
	for i := range d.Counts {
		if d.Counts[i] < earlier.Counts[i] {
			return *d
		}
		out.Counts[i] = d.Counts[i] - earlier.Counts[i]
	}
	return out
}

// Add adds the counts of other.
func (d *Distribution) Add(other *Distribution) {
	d.Count += other.Count
	d.Sum += other.Sum
	for i := range d.Counts {
		d.Counts[i] += other.Counts[i]
	}
}

// Quantile is the duration below which the share q (0 to 1) of the observations
// lies, interpolated within its bucket; 0 without observations.
func (d *Distribution) Quantile(q float64) time.Duration {
	if d.Count == 0 {
		return 0
	}
	rank := q * float64(d.Count)
	seen := 0.0
	for i, n := range d.Counts {
		if n == 0 {
			continue
		}
		if seen+float64(n) >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = Bound(i - 1)
			}
			if i == Buckets-1 {
				return low
			}
			return low + time.Duration(float64(Bound(i)-low)*max(rank-seen, 0)/float64(n))
		}
		seen += float64(n)
	}
	return Bound(Buckets - 2)
}

// Mean is the average; 0 without observations.
func (d *Distribution) Mean() time.Duration {
	if d.Count == 0 {
		return 0
	}
	return d.Sum / time.Duration(d.Count)
}

// Classes counts responses by the first digit of their status; index 0 has those
// without one (the client left, the response was cut). It is safe for
// concurrent use.
type Classes [6]atomic.Int64

// Count counts a response.
func (c *Classes) Count(status int) {
	class := status / 100
	if class < 0 || class >= len(c) {
		class = 0
	}
	c[class].Add(1)
}

// MaxCauses bounds how many causes of errors there can be. Who numbers them holds
// himself to it; this package does not know what they are.
const MaxCauses = 64

// Causes counts errors by cause. The zero value is ready; it is safe for
// concurrent use and takes no lock.
type Causes [MaxCauses]atomic.Int64

// Read returns the counts so far.
func (c *Classes) Read() (counts [6]int64) {
	for i := range c {
		counts[i] = c[i].Load()
	}
	return counts
}

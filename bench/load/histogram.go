//go:build linux

package load

import (
	"math/bits"
	"time"
)

// The histogram counts in buckets whose width is a 64th of their value or
// less, as HdrHistogram does, so a quantile is exact to 1.6 %.
const (
	subBits = 6
	subs    = 1 << subBits
	buckets = (64 - subBits) * subs
)

// Histogram counts durations of any length in a fixed amount of memory. The
// zero value is empty and ready. One goroutine at a time.
type Histogram struct {
	counts [buckets]int64
	total  int64
	max    time.Duration
}

// Record counts one duration; negative ones count as none.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// Count is how many durations were recorded.
func (h *Histogram) Count() int64 { return h.total }

// Max is the longest recorded duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that the share q of all recorded ones (0 to 1) do
// not exceed: the upper end of its bucket, and never more than Max.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(max(int64(q*float64(h.total)+0.5), 1), h.total)
	for i, n := range h.counts {
		if rank -= n; rank <= 0 {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// bucket is the place of a value: exact below subs, then subs places for each
// doubling.
func bucket(v uint64) int {
	if v < subs {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)*subs + int(v>>shift) - subs
}

// upper is the largest value of a bucket.
func upper(i int) time.Duration {
	if i < subs {
		return time.Duration(i)
	}
	shift := i/subs - 1
	return time.Duration((uint64(i%subs+subs)+1)<<shift - 1)
}

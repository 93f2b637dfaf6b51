package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// classicBounds are the upper bounds of the classic buckets, in seconds. The
// fine buckets, at most a quarter wide, do not end just there: a classic one has
// those whose middle lies below its bound.
var classicBounds = []float64{
	0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
}

// nativeSchema has four buckets for each doubling, as ours.
const nativeSchema = 2

var (
	// classicOf is the index in classicBounds of each fine bucket;
	// len(classicBounds) is what lies above all.
	classicOf [Buckets]int
	// nativeOf is the index of the native bucket of each fine one.
	nativeOf [Buckets]int
)

func init() {
	for i := range Buckets {
		low, high := 0.0, math.Inf(1)
		if i > 0 {
			low = Bound(i - 1).Seconds()
		}
		if i < Buckets-1 {
			high = Bound(i).Seconds()
		}
		// By the middle of the bucket, so that what is moved over a bound is as
		// little as can be.
		middle := (low + high) / 2
		if math.IsInf(high, 1) {
			middle = low * 1.1
		}
		at := 0
		for at < len(classicBounds) && middle > classicBounds[at] {
			at++
		}
		classicOf[i] = at
		nativeOf[i] = int(math.Ceil(math.Log2(middle) * (1 << nativeSchema)))
	}
}

// exported is a histogram with classic and native buckets; who scrapes takes
// those he understands.
type exported struct {
	desc    *prometheus.Desc
	classic prometheus.Metric
	native  prometheus.Metric
}

// newExported makes the metric of d, whose counting began at since.
func newExported(desc *prometheus.Desc, d *Distribution, since time.Time, labels ...string) prometheus.Metric {
	below := make(map[float64]uint64, len(classicBounds))
	native := map[int]int64{}
	i, sum := 0, uint64(0)
	for c, bound := range classicBounds {
		for ; i < Buckets && classicOf[i] <= c; i++ {
			sum += d.Counts[i]
		}
		below[bound] = sum
	}
	for i, n := range d.Counts {
		if n > 0 {
			native[nativeOf[i]] += int64(n)
		}
	}
	total := d.Sum.Seconds()
	e := exported{desc: desc}
	e.classic = prometheus.MustNewConstHistogram(desc, d.Count, total, below, labels...)
	e.native = prometheus.MustNewConstNativeHistogram(desc, d.Count, total, native, nil, 0, nativeSchema, 0, since, labels...)
	return e
}

// Desc implements prometheus.Metric.
func (e exported) Desc() *prometheus.Desc { return e.desc }

// Write implements prometheus.Metric.
func (e exported) Write(out *dto.Metric) error {
	if err := e.native.Write(out); err != nil {
		return err
	}
	var classic dto.Metric
	if err := e.classic.Write(&classic); err != nil {
		return err
	}
	out.Histogram.Bucket = classic.Histogram.Bucket
	return nil
}

// Package adaptive finds out how many requests a pool can work on at once, and
// keeps the rest away from it. More than it can work on only wait there: latency
// grows, throughput does not, and in the end every answer comes too late.
//
// The signal is the latency of the answers. What the app itself takes, the base,
// is seen while there is room. When answers take more than Tolerance times that,
// the limit goes down by the ratio of the two; while they do not and requests
// are kept away, it goes up. Apps change, so a base that no longer shows by
// itself is measured anew from time to time, with the queue let run empty for a
// moment. The idea is that of TCP Vegas, and of the gradient limits that grew
// from it.
//
// The package must not know what a request is.
package adaptive

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// Options tunes a Limit.
type Options struct {
	// Min and Max bound the limit; 1 to 1,000,000. Defaults 4 and 10,000.
	Min, Max int
	// Tolerance is how many times longer than without a queue answers may take;
	// 1.2 to 20, default 2.
	Tolerance float64
}

// DefaultOptions are the defaults.
func DefaultOptions() Options { return Options{Min: 4, Max: 10_000, Tolerance: 2} }

// Validate reports what is wrong with o.
func (o Options) Validate() error {
	switch {
	case o.Min < 1 || o.Min > 1_000_000:
		return fmt.Errorf("min: %d is not within 1 and 1000000", o.Min)
	case o.Max < 1 || o.Max > 1_000_000:
		return fmt.Errorf("max: %d is not within 1 and 1000000", o.Max)
	case o.Max < o.Min:
		return fmt.Errorf("max: %d is less than min, %d", o.Max, o.Min)
	case !(o.Tolerance >= 1.2 && o.Tolerance <= 20):
		return fmt.Errorf("tolerance: %v is not within 1.2 and 20", o.Tolerance)
	}
	return nil
}

// first is the limit before anything has been measured.
const first = 100

const (
	// minSamples is how many answers it takes to judge by.
	minSamples = 8
	// maxWindow is how long they are waited for; then fewer have to do.
	maxWindow = 2 * time.Second
	// remeasure is how long the base is believed while it cannot show, or
	// remeasureTimes as long as an answer may take, which is what measuring costs.
	remeasure      = 10 * time.Second
	remeasureTimes = 20
	// drift is how fast the base follows answers that take longer while there is room.
	drift = 0.1
	// steepest is by how much the limit may fall at once.
	steepest = 0.5
	// probeShare of what the app can work on at once is let in while the base is
	// measured anew, so that nothing waits.
	probeShare = 0.75
	// maxProbe bounds a measurement.
	maxProbe = 3 * time.Second
	// maxRise is by how much one measurement may raise the base.
	maxRise = 1.5
)

// Limit is a number of requests that may be worked on. Acquire and its
// counterparts are safe for concurrent use; Adjust belongs to one goroutine.
type Limit struct {
	limit   atomic.Int64 // what holds now
	pending atomic.Int64
	pressed atomic.Bool // requests were kept away, or nearly
	sum     atomic.Int64
	count   atomic.Int64

	// Of Adjust alone.
	options  Options
	want     float64       // the limit but for a measurement under way
	base     time.Duration // 0: unknown
	seen     time.Duration // the base has shown itself at
	opened   time.Duration // the window has begun at
	latency  time.Duration // of the window before
	probe    probe
	probedAt time.Duration // since when the probe is in its stage
}

// probe is the stage of a measurement.
type probe uint8

const (
	probeNone  probe = iota
	probeDrain       // until no more than the lower limit are pending
	probeTurn        // until those that had waited behind others have gone
	probeTake        // answers are measured
)

// Configure sets the options; Validate must have passed. The state is kept.
func (l *Limit) Configure(o Options) {
	l.options = o
	if l.want == 0 {
		l.want = first
	}
	l.set(l.want)
}

// set makes want, within its bounds, the limit.
func (l *Limit) set(want float64) {
	l.want = min(max(want, float64(l.options.Min)), float64(l.options.Max))
	l.limit.Store(int64(l.want))
}

// Value is the limit that holds now.
func (l *Limit) Value() int64 { return l.limit.Load() }

// Base is how long an answer takes without a queue, as far as it is known; 0: it
// is not.
func (l *Limit) Base() time.Duration { return l.base }

// Pending is how many requests are being worked on.
func (l *Limit) Pending() int64 { return l.pending.Load() }

// Room reports whether Acquire would succeed.
func (l *Limit) Room() bool { return l.pending.Load() < l.limit.Load() }

// Acquire counts a request in; it reports false if there is no room for it.
func (l *Limit) Acquire() bool {
	n, limit := l.pending.Add(1), l.limit.Load()
	if n*10 >= limit*9 && !l.pressed.Load() {
		l.pressed.Store(true)
	}
	if n > limit {
		l.pending.Add(-1)
		return false
	}
	return true
}

// Answered counts a request out that was answered after that time.
func (l *Limit) Answered(took time.Duration) {
	l.sum.Add(int64(took))
	l.count.Add(1)
	l.pending.Add(-1)
}

// Failed counts a request out that says nothing about latency.
func (l *Limit) Failed() { l.pending.Add(-1) }

// Adjust looks at what was measured; it is to be called about four times a
// second. at is the time on any steady clock. It reports whether there may be
// more room than before.
func (l *Limit) Adjust(at time.Duration) (more bool) {
	before := l.limit.Load()
	if l.probe == probeNone || l.probe == probeTake {
		if latency, ok := l.window(at); ok {
			l.judge(at, latency)
		}
	}
	l.step(at)
	return l.limit.Load() > before
}

// window is the mean latency of a window that has enough answers, or is over. A
// window is no shorter than an answer takes: what is measured earlier is what
// the limit before has made.
func (l *Limit) window(at time.Duration) (latency time.Duration, ok bool) {
	n := l.count.Load()
	if n == 0 || at-l.opened < l.latency || n < minSamples && at-l.opened < maxWindow {
		return 0, false
	}
	n, sum := l.count.Swap(0), l.sum.Swap(0)
	l.opened, l.latency = at, time.Duration(sum/n)
	return l.latency, true
}

// judge moves the limit by the latency of a window.
func (l *Limit) judge(at, latency time.Duration) {
	pressed := l.pressed.Swap(l.pending.Load()*10 >= l.limit.Load()*9)
	slow := l.base > 0 && float64(latency) > l.options.Tolerance*float64(l.base)
	if l.probe == probeTake {
		before := l.base
		l.base = max(min(latency, time.Duration(maxRise*float64(before))), 1)
		l.endProbe(at)
		if latency < before*4/5 || latency > before*5/4 { // it was far off, and may be still
			l.seen -= remeasure * 3 / 4
		}
		return
	}
	switch {
	case l.base == 0 || latency < l.base:
		l.base, l.seen = max(latency, 1), at
	case slow || pressed && float64(latency) > 1.1*float64(l.base):
		// The base does not show now.
	default:
		l.base += time.Duration(drift * float64(latency-l.base))
		l.seen = at
	}
	if slow || pressed {
		l.move(latency, pressed)
	}
}

// move follows the ratio of base and latency.
func (l *Limit) move(latency time.Duration, pressed bool) {
	ratio := l.options.Tolerance * float64(l.base) / float64(latency)
	from := l.want
	if !pressed { // the limit is far above what is there
		from = min(from, 2*float64(l.pending.Load()+1))
	}
	switch {
	case ratio < 1:
		l.set(from*max(ratio, steepest) + math.Sqrt(from)/2)
	case ratio > 0.8*l.options.Tolerance:
		l.set(1.5*from + 1) // nothing waits: find the bound quickly
	default:
		l.set(from + math.Sqrt(from))
	}
}

// endProbe ends a measurement of the base.
func (l *Limit) endProbe(at time.Duration) {
	l.probe, l.seen = probeNone, at
	l.set(l.want)
}

// step begins a measurement of the base when it has not shown for too long, and
// leads it to its end.
func (l *Limit) step(at time.Duration) {
	switch l.probe {
	case probeNone:
		longest := time.Duration(l.options.Tolerance * float64(l.base))
		if l.base == 0 || at-l.seen < max(remeasure, remeasureTimes*longest) {
			return
		}
		// By Little's law: what is worked on is the share of the time an answer
		// takes that is not waiting.
		cut := probeShare * l.want / l.options.Tolerance
		l.limit.Store(max(int64(cut), 1))
		l.probe, l.probedAt = probeDrain, at
	case probeDrain:
		if l.Pending() <= l.limit.Load() {
			l.probe, l.probedAt = probeTurn, at
		}
	case probeTurn:
		if at-l.probedAt >= time.Duration(l.options.Tolerance*float64(l.base)) {
			l.sum.Store(0)
			l.count.Store(0)
			l.opened = at
			l.probe, l.probedAt = probeTake, at
		}
	}
	if l.probe != probeNone && at-l.probedAt > maxProbe {
		l.endProbe(at)
	}
}

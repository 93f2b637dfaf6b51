package outlier

import (
	"fmt"
	"math"
	"time"
)

// windowSlots is how many parts Options.Window is kept in. The window moves by
// one of them at a time, and so covers between nine and ten tenths of itself.
const windowSlots = 10

// Record is what the pool's writer knows of one backend: whether it is ejected,
// until when, for how long the next time, and the window of its requests. The
// zero value is ready. It is not safe for concurrent use.
//
// A Record belongs to one Counter, from the first request on.
type Record struct {
	counter *Counter // of the last Step.
	seen    totals   // of counter at the last Step.
	window  window

	until     time.Time // zero unless ejected.
	last      time.Duration
	calmSince time.Time // end of the last ejection.
	ejections int
}

// totals are the numbers of a Counter at one moment.
type totals struct{ requests, failures, reached int64 }

func totalsOf(c *Counter) totals {
	// Failures first: a request that ends in between cannot make them more than
	// the requests.
	failures := c.Failures()
	return totals{requests: c.Requests(), failures: failures, reached: c.reached.Load()}
}

// Step takes in what c has counted since the last Step and returns why the
// backend is to be ejected, as a text for people, or "". It is called every 250
// ms or so, and when Counter.Failure reported that a run reached its threshold.
// While the backend is ejected the answer is "", and what still arrives (requests
// that were in flight) is forgotten; so it is while o is Off.
//
// The answer remains while its cause does: a backend that could not be ejected,
// because too many were, is named again by the next Step.
func (r *Record) Step(now time.Time, c *Counter, o *Options) (reason string) {
	r.counter = c
	if o.Off || !r.until.IsZero() {
		r.forget()
		return ""
	}
	current := totalsOf(c)
	r.window.add(now, o.Window, current.requests-r.seen.requests, current.failures-r.seen.failures)
	reached := current.reached != r.seen.reached
	r.seen = current

	if run := c.run.Load(); o.Consecutive > 0 && (reached || run >= int64(o.Consecutive)) {
		kind := "gateway failures"
		if o.On == On5xx {
			kind = "failures"
		}
		return fmt.Sprintf("%d %s in a row", max(run, int64(o.Consecutive)), kind)
	}
	requests, failures := r.window.sum()
	if o.FailureShare > 0 && failures > 0 && requests >= int64(o.MinRequests) && float64(failures)/float64(requests) >= o.FailureShare {
		return fmt.Sprintf("%.0f %% of %d requests failed in %s", 100*float64(failures)/float64(requests), requests, brief(o.Window))
	}
	return ""
}

// Eject takes the backend out and returns until when. The first time lasts
// o.Ejection; each that follows lasts twice as long as the one before, up to
// o.MaxEjection, but half of that for each stretch, as long as the one before,
// that the backend has been back. If it is ejected already nothing changes.
func (r *Record) Eject(now time.Time, o *Options) (until time.Time) {
	if !r.until.IsZero() {
		return r.until
	}
	r.last = r.next(now, o)
	r.until = now.Add(r.last)
	r.ejections++
	r.forget()
	return r.until
}

// next is how long an ejection that begins now lasts.
func (r *Record) next(now time.Time, o *Options) time.Duration {
	if r.last == 0 {
		return o.Ejection
	}
	next := r.last
	if next > o.MaxEjection/2 {
		next = o.MaxEjection
	} else {
		next *= 2
	}
	calm := now.Sub(r.calmSince)
	for stretch := max(r.last, o.Ejection); calm >= stretch && next > o.Ejection; calm -= stretch {
		next /= 2
	}
	return max(next, o.Ejection)
}

// Until is when the ejection ends, or zero if the backend is not ejected. It
// is ejected until End is called, even if that is later.
func (r *Record) Until() time.Time { return r.until }

// End brings the backend back, with a clean slate: what it did before or while
// it was ejected does not count. It does nothing if the backend is not ejected.
func (r *Record) End(now time.Time) {
	if r.until.IsZero() {
		return
	}
	r.until = time.Time{}
	r.calmSince = now
	r.forget()
}

// Ejections is how often the backend has been ejected.
func (r *Record) Ejections() int { return r.ejections }

// forget ends the run and empties the window.
func (r *Record) forget() {
	r.window = window{}
	if r.counter != nil {
		r.counter.endRun()
		r.seen = totalsOf(r.counter)
	}
}

// window is the number of requests and failures in each of the last slots.
type window struct {
	length time.Duration
	start  time.Time // of slot number 0.
	last   time.Time // of the last add.
	slot   int64     // number of the current slot; it is at slot%windowSlots.
	slots  [windowSlots]struct{ requests, failures int64 }
}

// add counts what happened since the last add. If that is longer ago than the
// window is long, nobody knows how much of it was within the window, and it is
// left out. A change of length begins a new window.
func (w *window) add(now time.Time, length time.Duration, requests, failures int64) {
	if w.length != length {
		*w = window{length: length, start: now, last: now}
	}
	known := now.Sub(w.last) <= length
	w.last = now
	slot := max(w.slot, int64(now.Sub(w.start)/(length/windowSlots)))
	for k := range min(slot-w.slot, windowSlots) {
		w.slots[(slot-k)%windowSlots].requests, w.slots[(slot-k)%windowSlots].failures = 0, 0
	}
	w.slot = slot
	if known {
		w.slots[slot%windowSlots].requests += requests
		w.slots[slot%windowSlots].failures += failures
	}
}

func (w *window) sum() (requests, failures int64) {
	for i := range w.slots {
		requests += w.slots[i].requests
		failures += w.slots[i].failures
	}
	return requests, failures
}

// Room reports whether one more of a pool's backends may be ejected, when
// ejected of them are: as many as o.MaxEjected says, rounded down but at least
// one unless it is 0, and never the last.
func Room(o *Options, backends, ejected int) bool {
	if o.Off || o.MaxEjected <= 0 || backends-ejected <= 1 {
		return false
	}
	// The summand keeps 0.29 of 100 from being 28.
	most := int(math.Floor(float64(backends)*o.MaxEjected + 1e-9))
	return ejected < max(most, 1)
}

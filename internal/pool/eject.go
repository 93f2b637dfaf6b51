package pool

import (
	"log/slog"
	"time"

	"steelyard/internal/outlier"
)

// How long a backend that cannot be connected to is left alone: the first time
// and at most.
const (
	holdFirst = 250 * time.Millisecond
	holdMost  = 8 * time.Second
)

// holdOff leaves a backend alone after a failed dial, each time for longer, and
// takes it back when the time is over or something shows that it is there.
func (w *writer) holdOff(e *Endpoint, now time.Time) {
	refusals := e.refusals.Load()
	failed := refusals != e.seenRefusals
	e.seenRefusals = refusals
	switch {
	case !e.failing.Load():
		if e.hold > 0 && !e.quiet && w.mayTell(slog.LevelInfo, reconnected) {
			w.log.Info(reconnected, "backend", e.Address, "after", now.Sub(e.heldSince).Round(time.Millisecond))
		}
		e.hold = 0
		e.letIn()
	case e.held:
		// What failed meanwhile are late failures of requests that were on
		// their way.
		if !now.Before(e.heldUntil) {
			e.letIn()
		}
	case failed:
		e.holdFor(now)
	case e.calm(now):
		e.hold = 0
	}
}

// reconnected is logged at the end of a hold-off.
const reconnected = "backend can be connected to again"

// letIn ends a hold-off. A dial that fails from now on pokes the writer again;
// one that failed before it could know is forgotten.
func (e *Endpoint) letIn() {
	e.held = false
	if e.heldOff.Swap(false) {
		e.seenRefusals = e.refusals.Load()
	}
}

func (e *Endpoint) holdFor(now time.Time) {
	if e.hold == 0 {
		e.heldSince = now
		if e.quiet = now.Sub(e.toldHeld) < tellEvery; !e.quiet {
			e.toldHeld = now
		}
	}
	e.hold = min(max(2*e.hold, holdFirst), holdMost)
	e.heldUntil = now.Add(e.hold)
	e.held = true
	e.heldOff.Store(true)
}

// calm reports that a backend was let in again so long ago that a failure to
// connect would be a new one. It may be in use over connections it had before.
func (e *Endpoint) calm(now time.Time) bool {
	return e.hold > 0 && !e.held && now.Sub(e.heldUntil) >= holdMost
}

// eject takes out the backends that real traffic speaks against, as far as the
// pool can spare them, and takes back those whose time is over.
func (w *writer) eject(now time.Time) {
	o := &w.opts.Outlier
	var pleas []*Endpoint
	backends, ejected, usable := 0, 0, 0
	for _, e := range w.endpoints {
		if until := e.record.Until(); !until.IsZero() && (o.Off || !now.Before(until)) {
			e.record.End(now)
			w.stale = true
		}
		if o.Off || !e.here {
			e.rejected = ""
			continue
		}
		if e.currentWeight() > 0 && !e.verdict.ordered() {
			backends++
			switch {
			case !e.record.Until().IsZero():
				ejected++
			case e.verdict.usable():
				usable++
			}
		}
		if e.weigh(now, o); e.rejected != "" {
			pleas = append(pleas, e)
		}
	}
	for _, e := range pleas {
		spare := usable > 1 || !e.verdict.usable()
		if !spare || !outlier.Room(o, backends, ejected) {
			continue // it stays in e.rejected, for all to see
		}
		until := e.record.Eject(now, o)
		if w.mayTell(slog.LevelWarn, "backend ejected by what requests saw") {
			w.log.Warn("backend ejected by what requests saw", "backend", e.Address, "reason", e.rejected, "for", until.Sub(now).Round(time.Millisecond))
		}
		w.pool.Stats.Ejections.Add(1)
		e.ejectedFor, e.rejected = e.rejected, ""
		if e.verdict.usable() {
			usable--
		}
		ejected++
		w.stale = true
	}
}

// weigh takes in what requests saw of a backend since the last time. Where only
// failures in a row count, one without new failures needs no look.
func (e *Endpoint) weigh(now time.Time, o *outlier.Options) {
	failures := e.outcomes.Failures()
	if o.FailureShare == 0 && e.rejected == "" && failures == e.judged {
		return
	}
	e.judged = failures
	e.rejected = e.record.Step(now, &e.outcomes, o)
}

// acquit forgets what requests saw of a backend until now, because it was
// counted under other options; an ejection goes on.
func (e *Endpoint) acquit() {
	e.record.Step(time.Time{}, &e.outcomes, &outlier.Options{Off: true})
	e.judged, e.rejected = e.outcomes.Failures(), ""
}

package pool

import (
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
	if !e.failing.Load() {
		if e.hold > 0 {
			w.log.Info("backend can be connected to again", "backend", e.Address, "after", now.Sub(e.heldSince).Round(time.Millisecond))
		}
		e.held, e.hold = false, 0
		return
	}
	if e.held && !now.Before(e.heldUntil) {
		e.held = false
	}
	if !failed || e.held {
		return // late failures of requests that were on their way
	}
	if e.hold == 0 {
		e.heldSince = now
	}
	e.hold = min(max(2*e.hold, holdFirst), holdMost)
	e.heldUntil = now.Add(e.hold)
	e.held = true
}

// ejectsBySteps reports whether ejection depends on what happens over time.
func (w *writer) ejectsBySteps() bool { return !w.opts.Outlier.Off }

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
			continue
		}
		if e.currentWeight() > 0 && !e.verdict.ordered() {
			backends++
		}
		switch {
		case !e.record.Until().IsZero():
			ejected++
		case e.verdict.usable() && e.currentWeight() > 0:
			usable++
		}
		if e.rejected = e.record.Step(now, &e.outcomes, o); e.rejected != "" {
			pleas = append(pleas, e)
		}
	}
	for _, e := range pleas {
		spare := usable > 1 || !e.verdict.usable()
		if !spare || !outlier.Room(o, backends, ejected) {
			continue // it stays in e.rejected, for all to see
		}
		until := e.record.Eject(now, o)
		w.log.Warn("backend ejected by what requests saw", "backend", e.Address, "reason", e.rejected, "for", until.Sub(now).Round(time.Millisecond))
		w.pool.Stats.Ejections.Add(1)
		e.ejectedFor, e.rejected = e.rejected, ""
		if e.verdict.usable() {
			usable--
		}
		ejected++
		w.stale = true
	}
}

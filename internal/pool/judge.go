package pool

import (
	"slices"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/healthcheck"
)

// verdict is what the writer makes of all it knows of a backend, from best to
// worst. Up to verdictSlow it gets new requests.
type verdict uint8

const (
	verdictNone verdict = iota // not judged yet
	verdictHealthy
	verdictSlow        // on its way to its whole weight
	verdictUnreachable // a dial failed a moment ago
	verdictEjected     // by what traffic saw
	verdictChecking    // its first check has not ended
	verdictUnhealthy   // by its checks
	verdictFailing     // by its source
	verdictDraining    // by the operator, its source, or because it has left
	verdictDisabled    // by the operator
)

// String is the verdict's name in logs and in the API.
func (v verdict) String() string {
	return [...]string{"new", "healthy", "slow_start", "unreachable", "ejected", "checking",
		"unhealthy", "unhealthy", "draining", "disabled"}[v]
}

func (v verdict) usable() bool { return v == verdictHealthy || v == verdictSlow }

// ordered reports that the operator or the source wants the backend to have
// nothing new, which nothing overrides.
func (v verdict) ordered() bool { return v >= verdictDraining }

// startLimit bounds how long a new pool waits for its sources and first checks,
// and a backend for its first check while there is no other.
const startLimit = 5 * time.Second

// startGrace is how long a new pool waits for the rest once it has a backend.
const startGrace = 500 * time.Millisecond

// health is what checks, source and traffic say of a backend, whatever the
// operator wants.
func (e *Endpoint) health() verdict {
	switch {
	case e.state == discovery.Failing:
		return verdictFailing
	case e.checked.Check != nil && e.checked.State() == healthcheck.Unhealthy:
		return verdictUnhealthy
	case e.checked.Check != nil && e.checked.State() == healthcheck.Checking && !e.proven:
		return verdictChecking
	case !e.record.Until().IsZero():
		return verdictEjected
	case e.held:
		return verdictUnreachable
	}
	return verdictHealthy
}

// sound reports that nothing speaks against the backend.
func (e *Endpoint) sound() bool { return e.health() == verdictHealthy }

// passes reports that our own checks, if there are any, do not fail.
func (e *Endpoint) passes() bool {
	return e.checked.Check == nil || e.checked.State() != healthcheck.Unhealthy
}

// judge is the verdict of this moment, but for slow starts.
func (e *Endpoint) judge() verdict {
	switch {
	case e.disabled:
		return verdictDisabled
	case e.drain != nil || e.state == discovery.Draining:
		return verdictDraining
	}
	return e.health()
}

// due reports that time alone may have changed something about the backend. Ends
// of ejections are seen by eject.
func (e *Endpoint) due(now time.Time) bool {
	switch {
	case e.verdict == verdictSlow, e.verdict == verdictChecking, !e.leftAt.IsZero():
		return true
	case e.held:
		return !now.Before(e.heldUntil)
	}
	return e.overdue(now) || e.calm(now)
}

// overdue reports that the time to drain has passed and that this is news.
func (e *Endpoint) overdue(now time.Time) bool {
	d := e.drain
	return d != nil && !d.over && !d.until.IsZero() && !now.Before(d.until)
}

// judgeAll brings every verdict up to date.
func (w *writer) judgeAll(now time.Time) {
	for _, e := range w.endpoints {
		w.holdOff(e, now)
		if e.overdue(now) {
			w.endDrain(e)
		}
		v := e.judge()
		if v == verdictHealthy {
			v = w.start(e, now)
		}
		from := e.verdict
		if v == from {
			continue
		}
		e.verdict, e.since = v, now
		w.tellVerdict(e, from)
		e.early = e.early && v == verdictChecking
		e.lost = !v.usable() && (e.lost || v != verdictUnreachable)
	}
}

// start is the verdict of a backend that is sound: healthy, or on the way there
// if it was out before. A start that was interrupted begins anew, but for a blip.
func (w *writer) start(e *Endpoint, now time.Time) verdict {
	if !e.verdict.usable() && w.startsSlowly(e, now) {
		e.upSince = now
	}
	if !e.upSince.IsZero() && now.Sub(e.upSince) < w.opts.SlowStart {
		return verdictSlow
	}
	e.upSince = time.Time{} // a longer SlowStart does not take weight back
	return verdictHealthy
}

// startsSlowly reports whether a backend that has just become sound starts
// slowly: not if it was away for a moment only, nor if the whole pool starts.
func (w *writer) startsSlowly(e *Endpoint, now time.Time) bool {
	if w.opts.SlowStart == 0 || e.early {
		return false
	}
	return e.lost || e.verdict == verdictNone || now.Sub(e.heldSince) >= blip
}

// blip is how long a backend may be unreachable without starting slowly after it.
const blip = time.Second

// rampStep is the granularity of a slow start in per cent of the weight: each
// step costs a new snapshot.
const rampStep = 5

// ramp is the share of its weight, in per cent, that a backend has reached.
func (e *Endpoint) ramp(now time.Time, slow time.Duration) int {
	if e.verdict != verdictSlow {
		return 100
	}
	percent := int(100 * now.Sub(e.upSince) / slow)
	return min(max(percent-percent%rampStep, rampStep), 100-rampStep)
}

// publish looks at everything, and stores a snapshot if that makes a difference.
func (w *writer) publish() {
	began := time.Now()
	w.eject(began)
	if w.succeeded(began); w.moved {
		w.move(began)
	}
	w.judgeAll(began)
	w.dropHeld(began)
	if w.forget(began); w.moved {
		w.move(began)
		w.judgeAll(began)
	}
	w.stale = false
	w.tellMembers()
	w.store(w.build(began))
	for _, e := range w.endpoints { // after the snapshot, so that who leaves does not come back
		e.hush()
	}
	w.getReady(began) // last, so that whoever waited for it finds the backends
	w.nextLook = time.Now().Add(time.Since(began))
}

// store gives a snapshot its pickers and makes it the one in force, unless that
// makes no difference.
func (w *writer) store(s *Snapshot) {
	before := w.pool.snap.Load()
	switch {
	case before == nil || !before.picksLike(s):
		s.primary = w.policy.Build(s.members[:s.primaries:s.primaries])
		if s.primaries < s.pickable {
			s.backup = w.backup.Build(s.members[s.primaries:s.pickable])
		}
	case before.same(s):
		return
	default:
		s.primary, s.backup = before.primary, before.backup
	}
	w.pool.snap.Store(s)
	w.pool.queue.wakeAll()
}

// build makes a snapshot without its pickers.
func (w *writer) build(now time.Time) *Snapshot {
	s := &Snapshot{roster: w.roster, members: slices.Clone(w.members), madeBy: w.policies}
	usable := 0
	for i, e := range s.Endpoints[:s.pickable] {
		m := &s.members[i]
		m.Down = !e.verdict.usable()
		if !m.Down {
			m.Ramp = e.ramp(now, w.opts.SlowStart)
			if m.Weight > 0 {
				usable++
			}
		}
	}
	s.FailOpen = usable == 0 && w.opened(s, now)
	if s.FailOpen {
		usable++
	}
	if usable == 0 {
		s.why = w.why()
	}
	w.tellFailOpen(s, now)
	w.tellNobody(s)
	level(s.members[:s.primaries])
	level(s.members[s.primaries:s.pickable])
	s.keeps = make([]bool, len(s.Endpoints))
	for i, e := range s.Endpoints {
		draining := e.verdict == verdictDraining && (e.drain == nil || !e.drain.over)
		s.keeps[i] = !s.members[i].Down || draining && e.sound()
	}
	return s
}

// opened lets the backends in that are worth a try although none is healthy,
// and reports whether there are any. Those that could not be connected to a
// moment ago are tried in any case, the rest unless the pool rejects.
func (w *writer) opened(s *Snapshot, now time.Time) bool {
	open := false
	for i, e := range s.Endpoints[:s.pickable] {
		m := &s.members[i]
		waits := e.verdict == verdictChecking && now.Sub(e.since) < startLimit
		if e.verdict.ordered() || m.Weight == 0 || waits || w.opts.Reject && e.verdict != verdictUnreachable {
			continue
		}
		m.Down = false
		open = true
	}
	return open
}

// level turns the percentages of slow starts into Ramp: who has the most gets
// all of his weight, because shares are relative.
func level(members []balancer.Member) {
	most := 0
	for i := range members {
		if !members[i].Down && members[i].Weight > 0 {
			most = max(most, members[i].Ramp)
		}
	}
	for i := range members {
		m := &members[i]
		if m.Ramp >= most || most == 0 {
			m.Ramp = 0
		} else {
			m.Ramp = m.Ramp * 100 / most
		}
	}
}

// getReady opens the pool for requests when there is no reason left to wait.
func (w *writer) getReady(now time.Time) {
	if w.isReady {
		return
	}
	open := 0
	for _, f := range w.feeds {
		if !f.answered && f.err == nil {
			open++
		}
	}
	for _, e := range w.endpoints {
		switch {
		case e.verdict == verdictChecking:
			open++
		case e.verdict.usable() && w.usableAt.IsZero():
			w.usableAt = now
		}
	}
	late := now.Sub(w.began) >= startLimit || !w.usableAt.IsZero() && now.Sub(w.usableAt) >= startGrace
	if open == 0 || late {
		w.isReady = true
		w.tellFailOpen(w.pool.Snapshot(), now)
		close(w.pool.ready)
	}
}

package pool

import (
	"slices"
	"strings"
	"time"

	"steelyard/internal/metrics"
)

// Sample fills into with what is counted of the pool, and with the state of its
// backends and sources; it uses the slices of into anew. It is lighter than
// Status, because it is asked for every second; what it leaves alone are Errors,
// whose causes the request path knows, and what SampleBound counts. The error says that the pool is
// closed.
func (p *Pool) Sample(into *metrics.PoolSample) error {
	s := &p.Stats
	into.Name = p.name
	into.Classes = s.Classes.Read()
	s.Latency.Read(&into.Latency)
	s.Queued.Read(&into.Queued)
	into.Waiting = p.Waiting()
	into.Requests, into.Attempts, into.RetriesDenied = s.Requests.Load(), s.Attempts.Load(), s.RetriesDenied.Load()
	into.PassedOn = s.PassedOn.Load()
	into.Ejections, into.FailOpens, into.FailOpenRequests = s.Ejections.Load(), s.FailOpens.Load(), s.FailOpenRequests.Load()
	return p.command(func(w *writer) error {
		w.sample(into, time.Now())
		return nil
	})
}

// sample fills in what only the writer knows.
func (w *writer) sample(into *metrics.PoolSample, now time.Time) {
	snap := w.pool.Snapshot()
	into.Policy, into.FailOpen, into.Why = w.opts.Policy.Policy, snap.FailOpen, ""
	if snap.FailOpen || snap.why != "" {
		into.Why = w.why()
	}
	limits := w.admission()
	into.InFlightLimit, into.Admitted = limits.MaxInFlight, limits.InFlight
	into.AdaptiveLimit, into.Pending, into.BaseLatency = limits.AdaptiveLimit, limits.Pending, limits.Base
	into.Backends = slices.Grow(into.Backends[:0], len(w.endpoints))
	for i, e := range snap.Endpoints {
		if w.endpoints[e.Address] != e {
			continue // forgotten meanwhile
		}
		m := &snap.members[i]
		w.sampleBackend(add(&into.Backends), e, i < snap.pickable && !m.Down && m.Weight > 0, now)
	}
	if first := len(into.Backends); first < len(w.endpoints) { // those that have left and finish what they have
		listed := make(map[*Endpoint]bool, first)
		for _, e := range snap.Endpoints {
			listed[e] = true
		}
		for _, e := range w.endpoints {
			if !listed[e] {
				w.sampleBackend(add(&into.Backends), e, false, now)
			}
		}
		slices.SortFunc(into.Backends[first:], func(a, b metrics.BackendSample) int { return strings.Compare(a.Address, b.Address) })
	}
	into.Sources = into.Sources[:0]
	for _, f := range w.feeds {
		*add(&into.Sources) = metrics.SourceSample{Name: f.name, Members: len(f.members), Failing: f.err != nil, Held: len(f.held)}
	}
}

func (w *writer) sampleBackend(b *metrics.BackendSample, e *Endpoint, usable bool, now time.Time) {
	b.Address, b.State, b.Usable, b.Left = e.Address, e.verdict.String(), usable, !e.leftAt.IsZero()
	b.Reason, b.Weight, b.Percent, b.Backup = "", e.currentWeight(), 0, e.backup
	if e.verdict != verdictHealthy {
		b.Reason = e.explain()
	}
	if e.verdict.usable() {
		b.Percent = e.ramp(now, w.opts.SlowStart)
	}
	b.InFlight, b.Upgraded = e.Backend.InFlight(), e.Tunnels()
	b.Classes, b.Requests, b.Failures = e.Classes(), e.outcomes.Requests(), e.outcomes.Failures()
	e.FirstByte(&b.FirstByte)
	b.Open, b.Idle, b.Dials = e.Conns.Open(), e.Conns.Idle(), e.Conns.Dials()
	b.Checked, b.ChecksPassed, b.ChecksFailed, b.CheckLatency = e.checked.Check != nil, 0, 0, 0
	if b.Checked {
		b.ChecksPassed, b.ChecksFailed = e.checked.Counts()
		if last, ok := e.checked.Last(); ok {
			b.CheckLatency = last.Latency
		}
	}
}

// add makes room for one more in a slice and returns it, with whatever was there.
func add[T any](to *[]T) *T {
	if n := len(*to); n < cap(*to) {
		*to = (*to)[:n+1]
	} else {
		var zero T
		*to = append(*to, zero)
	}
	return &(*to)[len(*to)-1]
}

package admin

import (
	"math"

	"steelyard/internal/metrics"
)

// second makes of two samples what happened between them: a Live, and the rows
// of the history.
type second struct {
	h       *History
	step    int64
	elapsed float64 // seconds between the samples
	known   bool    // there was a sample before
	keep    bool    // the rows go into the history
}

var (
	nan       = Number(math.NaN())
	noPool    = &metrics.PoolSample{}
	noBackend = &metrics.BackendSample{}
)

func (s *second) run(now, before *metrics.Sample) *Live {
	l := &Live{At: now.At, Pools: make([]LivePool, len(now.Pools))}
	var latency, firstByte metrics.Distribution
	all := row{}
	for i := range now.Pools {
		p := &now.Pools[i]
		r := s.pool(&l.Pools[i], p, findPool(before.Pools, i, p.Name), &latency, &firstByte)
		all[colInFlight] += r[colInFlight]
		all[colWaiting] += r[colWaiting]
	}
	t := &l.Total
	for i := range now.Listeners {
		t.Connections += now.Listeners[i].Connections
	}
	requests, errors := s.routes(now, before)
	t.Causes = []LiveCause{}
	for i, c := range now.Errors {
		n := c.Count
		if i < len(before.Errors) && before.Errors[i].Cause == c.Cause {
			n -= before.Errors[i].Count
		}
		if c.Cause == "no_route" {
			requests += n // nobody else has counted those
		}
		s.cause(t, c.Cause, n)
	}
	t.Rate, t.ErrorShare = s.rate(requests), s.share(errors, requests)
	t.P50, t.P95, t.P99 = s.quantiles(&latency)
	all[colRate], all[colErrors] = float32(t.Rate), float32(s.rate(errors))
	all[colP50], all[colP95], all[colP99] = float32(t.P50), float32(t.P95), float32(t.P99)
	all[colConnections] = float32(t.Connections)
	all[colFirstByte] = float32(s.median(&firstByte))
	s.put(trackKey{}, &all)
	return l
}

// routes counts the responses of all routes, and the errors among them.
func (s *second) routes(now, before *metrics.Sample) (requests, errors int64) {
	for i := range now.Routes {
		r := &now.Routes[i]
		var old [6]int64
		if i < len(before.Routes) && before.Routes[i].Name == r.Name {
			old = before.Routes[i].Classes
		} else {
			for j := range before.Routes {
				if before.Routes[j].Name == r.Name {
					old = before.Routes[j].Classes
				}
			}
		}
		n, e := grown(&r.Classes, &old)
		requests, errors = requests+n, errors+e
	}
	return requests, errors
}

func (s *second) cause(t *LiveTotal, cause string, n int64) {
	if !s.known {
		return
	}
	if n > 0 {
		t.Causes = append(t.Causes, LiveCause{cause, s.rate(n)})
	}
	s.putCause(causeKey{cause: cause}, n)
}

// causes keeps what went wrong for the clients of a pool.
func (s *second) causes(p, old *metrics.PoolSample) {
	if !s.known {
		return
	}
	for i, c := range p.Errors {
		s.putCause(causeKey{p.Name, c.Cause}, since(c.Count, countOf(old.Errors, i, c.Cause)))
	}
	s.putCause(causeKey{p.Name, PassedOn}, since(p.PassedOn, old.PassedOn))
}

// countOf looks where it was likely; a cause that is new has counted nothing.
func countOf(counts []metrics.CauseCount, likely int, cause string) int64 {
	if likely < len(counts) && counts[likely].Cause == cause {
		return counts[likely].Count
	}
	for _, c := range counts {
		if c.Cause == cause {
			return c.Count
		}
	}
	return 0
}

// pool makes the view of a pool and adds what it took to the distributions.
func (s *second) pool(v *LivePool, p, old *metrics.PoolSample, latency, firstByte *metrics.Distribution) row {
	*v = LivePool{
		Name: p.Name, Policy: p.Policy, Waiting: p.Waiting, FailOpen: p.FailOpen, Why: p.Why, Backends: make([]LiveBackend, len(p.Backends)),
	}
	for i := range p.Sources {
		v.Held += p.Sources[i].Held
		if p.Sources[i].Failing {
			v.SourcesFailing++
		}
	}
	responses, errors := grown(&p.Classes, &old.Classes)
	v.Rate, v.ErrorShare = s.rate(since(p.Requests, old.Requests)), s.share(errors, responses)
	var took, first metrics.Distribution
	if p.Latency.Count != old.Latency.Count && s.known {
		took = p.Latency.Since(&old.Latency)
		latency.Add(&took)
	}
	v.P50, v.P95, v.P99 = s.quantiles(&took)
	r := row{
		colRate: float32(v.Rate), colErrors: float32(s.rate(errors)), colP50: float32(v.P50), colP95: float32(v.P95), colP99: float32(v.P99),
		colWaiting: float32(p.Waiting),
	}
	s.backends(v, p, old, &first, &r)
	if first.Count > 0 {
		firstByte.Add(&first)
	}
	r[colFirstByte] = float32(s.median(&first))
	s.put(trackKey{pool: p.Name}, &r)
	s.causes(p, old)
	return r
}

// backends makes the views of a pool's backends and adds them up in r.
func (s *second) backends(v *LivePool, p, old *metrics.PoolSample, first *metrics.Distribution, r *row) {
	attempts := int64(0)
	before := roll{all: old.Backends}
	for i := range p.Backends {
		b := &p.Backends[i]
		w := &v.Backends[i]
		was := before.find(i, b.Address)
		*w = LiveBackend{
			Address: b.Address, State: b.State, Reason: b.Reason, Usable: b.Usable, Left: b.Left, Weight: b.Weight, Percent: b.Percent,
			Backup: b.Backup, InFlight: b.InFlight, Open: b.Open, Idle: b.Idle, Upgraded: b.Upgraded,
		}
		if !b.Left {
			v.Total++
			if b.State == "healthy" || b.State == "slow_start" {
				v.Healthy++
			}
		}
		n := since(b.Requests, was.Requests)
		attempts += n
		answered, errors := grown(&b.Classes, &was.Classes)
		errors += max(n-answered, 0) // those that got no response
		w.Rate, w.Share, w.ErrorShare = s.rate(n), Number(n), s.share(min(errors, n), n)
		var took metrics.Distribution
		if b.FirstByte.Count != was.FirstByte.Count && s.known {
			took = b.FirstByte.Since(&was.FirstByte)
			first.Add(&took)
		}
		p50, p95, p99 := s.quantiles(&took)
		w.FirstByte = p50
		r[colInFlight] += float32(b.InFlight)
		r[colConnections] += float32(b.Open)
		s.put(trackKey{pool: p.Name, backend: b.Address}, &row{
			colRate: float32(w.Rate), colErrors: float32(s.rate(errors)), colP50: float32(p50), colP95: float32(p95), colP99: float32(p99),
			colInFlight: float32(b.InFlight), colConnections: float32(b.Open), colFirstByte: nan32,
		})
	}
	for i := range v.Backends {
		v.Backends[i].Share = s.share(int64(v.Backends[i].Share), attempts)
	}
	intend(v.Backends, p.FailOpen)
}

// intend fills in the shares that weights ask for: of the primaries, or of the
// backups while no primary can be used.
func intend(all []LiveBackend, failOpen bool) {
	var sums [2]float64 // of primaries, of backups
	weight := func(b *LiveBackend) float64 {
		switch {
		case !b.Usable:
			return 0
		case failOpen || b.Percent == 0: // used for want of others, with all its weight
			return float64(b.Weight)
		}
		return float64(b.Weight) * float64(b.Percent) / 100
	}
	kind := func(b *LiveBackend) int {
		if b.Backup {
			return 1
		}
		return 0
	}
	for i := range all {
		sums[kind(&all[i])] += weight(&all[i])
	}
	for i := range all {
		b := &all[i]
		if sum := sums[kind(b)]; sum > 0 && (!b.Backup || sums[0] == 0) {
			b.Intended = Number(weight(b) / sum)
		}
	}
}

func (s *second) put(key trackKey, v *row) {
	if s.keep {
		s.h.put(key, s.step, v)
	}
}

func (s *second) putCause(key causeKey, n int64) {
	if s.keep {
		s.h.putCause(key, s.step, float32(s.rate(n)))
	}
}

func (s *second) rate(n int64) Number {
	if !s.known || s.elapsed <= 0 {
		return nan
	}
	return Number(float64(n) / s.elapsed)
}

// share is n of all; not known without any.
func (s *second) share(n, all int64) Number {
	if !s.known || all <= 0 {
		return nan
	}
	return Number(float64(n) / float64(all))
}

// quantiles are those of d in milliseconds.
func (s *second) quantiles(d *metrics.Distribution) (p50, p95, p99 Number) {
	if !s.known || d.Count == 0 {
		return nan, nan, nan
	}
	at := func(q float64) Number { return Number(milliseconds(d.Quantile(q))) }
	return at(0.5), at(0.95), at(0.99)
}

func (s *second) median(d *metrics.Distribution) Number {
	p50, _, _ := s.quantiles(d)
	return p50
}

// since is what a counter has grown by; one that went back has begun anew.
func since(now, before int64) int64 {
	if now < before {
		return now
	}
	return now - before
}

// grown is how many responses there were more, and how many of them of class 5xx.
func grown(now, before *[6]int64) (all, errors int64) {
	for i := range now {
		all += since(now[i], before[i])
	}
	return all, since(now[5], before[5])
}

// findPool looks where it was likely; a pool that is new has counted nothing.
func findPool(pools []metrics.PoolSample, likely int, name string) *metrics.PoolSample {
	if likely < len(pools) && pools[likely].Name == name {
		return &pools[likely]
	}
	for i := range pools {
		if pools[i].Name == name {
			return &pools[i]
		}
	}
	return noPool
}

// roll finds backends of a sample by their address.
type roll struct {
	all   []metrics.BackendSample
	index map[string]int // made when a membership has changed
}

// find looks where it was likely; a backend that is new has counted nothing.
func (r *roll) find(likely int, address string) *metrics.BackendSample {
	if likely < len(r.all) && r.all[likely].Address == address {
		return &r.all[likely]
	}
	if r.index == nil {
		r.index = make(map[string]int, len(r.all))
		for i := range r.all {
			r.index[r.all[i].Address] = i
		}
	}
	if i, ok := r.index[address]; ok {
		return &r.all[i]
	}
	return noBackend
}

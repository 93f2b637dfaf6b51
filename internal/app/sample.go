package app

import (
	"slices"
	"time"

	"steelyard/internal/metrics"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
)

// Sample fills into with everything that is counted; its slices are used anew.
// It is safe for concurrent use, each with its own into.
func (a *App) Sample(into *metrics.Sample) {
	into.At = time.Now()
	into.Generation = a.GenerationSample()
	f := a.now()
	samplePools(into, f.pools)
	sampleListeners(into, f.listeners)
	a.sampleAccessLog(into)
	sampleProxy(into, a.proxy, f.generation)
	into.RateLimits = metrics.RateLimitSample{Memory: a.rates.Memory(), Forgotten: a.rates.Forgotten()}
}

// samplePools leaves out the pools that a reload has just closed.
func samplePools(into *metrics.Sample, pools []*pool.Pool) {
	into.Pools = slices.Grow(into.Pools[:0], len(pools))
	for _, p := range pools {
		n := len(into.Pools)
		into.Pools = into.Pools[:n+1] // with the slices of an earlier sample
		s := &into.Pools[n]
		s.Errors = proxy.AppendErrorCounts(s.Errors[:0], &p.Stats.Errors)
		if p.Sample(s) != nil {
			into.Pools = into.Pools[:n]
		} else if into.WithBound {
			p.SampleBound(s)
		}
	}
}

func sampleListeners(into *metrics.Sample, listeners []*proxy.Listener) {
	into.Listeners = into.Listeners[:0]
	for _, l := range listeners {
		into.Listeners = append(into.Listeners, metrics.ListenerSample{
			Name: l.Name(), Address: l.Addr().String(), Connections: int64(l.Connections()), Accepted: l.Accepted(),
			TLS:   sampleTLS(l),
			Limit: int64(l.ConnectionLimit()), Rejected: l.Rejections(),
		})
	}
}

// sampleProxy takes the routes of g and not of the proxy, which has none before
// the pools of a start are ready.
func sampleProxy(into *metrics.Sample, p *proxy.Proxy, g *proxy.Generation) {
	into.Errors, into.Unpooled, into.Retries = p.ErrorCounts(), p.UnpooledErrorCounts(), p.RetryCounts()
	into.Routes, into.Refused = into.Routes[:0], into.Refused[:0]
	for i, r := range g.Routes {
		s := metrics.RouteSample{Name: r.Name}
		if r.Stats != nil {
			s.Classes = r.Stats.Classes.Read()
			for _, c := range r.Stats.Refused() {
				into.Refused = append(into.Refused, metrics.RefusedCount{Route: i, Cause: c.Cause, Count: c.Count})
			}
		}
		into.Routes = append(into.Routes, s)
	}
}

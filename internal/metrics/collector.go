package metrics

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxBackends bounds how many backends have metrics of their own: each has about
// 45 series, and a registry with 50,000 members must not become a scrape of
// millions. Those beyond are part of their pool's figures alone.
const MaxBackends = 2500

// Build says what runs.
type Build struct{ Version, Go string }

// States lists the states of backends, from best to worst.
var States = []string{"new", "healthy", "slow_start", "unreachable", "ejected", "checking", "unhealthy", "draining", "disabled"}

// classNames are the labels of Classes, in its order.
var classNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// collector turns a Sample into metrics, each time it is asked.
type collector struct {
	read  func(*Sample)
	build Build
	began time.Time

	mu     sync.Mutex // guards sample
	sample Sample
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { // the registry collects in goroutines of its own, where a panic would end the process
		if r := recover(); r != nil {
			slog.Error("the metrics could not be collected", "panic", r, "stack", string(debug.Stack()))
			ch <- prometheus.NewInvalidMetric(buildInfo.desc, fmt.Errorf("collecting panicked: %v", r))
		}
	}()
	c.sample.WithBound = true
	c.read(&c.sample)
	e := emitter{ch: ch, began: c.began, left: MaxBackends}
	e.value(buildInfo, 1, c.build.Version, c.build.Go)
	e.process(&c.sample)
	for i := range c.sample.Pools {
		e.pool(&c.sample.Pools[i])
	}
	e.value(backendsNotListed, float64(e.unlisted))
}

// emitter sends the metrics of one collection.
type emitter struct {
	ch       chan<- prometheus.Metric
	began    time.Time
	left     int // how many backends may still have metrics
	unlisted int
}

func (e *emitter) value(f *family, v float64, labels ...string) {
	m, err := prometheus.NewConstMetric(f.desc, f.value, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	e.ch <- m
}

func (e *emitter) distribution(f *family, d *Distribution, labels ...string) {
	e.ch <- newExported(f.desc, d, e.began, labels...)
}

func (e *emitter) classes(f *family, counts *[6]int64, labels ...string) {
	labels = append(labels, "")
	for i, n := range counts {
		labels[len(labels)-1] = classNames[i]
		e.value(f, float64(n), labels...)
	}
}

func (e *emitter) process(s *Sample) {
	g := &s.Generation
	e.value(generationID, float64(g.ID))
	e.value(generationTime, seconds(g.Since))
	e.value(reloadOK, flag(g.LastReloadOK))
	e.value(reloadTime, seconds(g.LastReload))
	e.value(reloads, float64(g.Reloads), "success")
	e.value(reloads, float64(g.FailedReloads), "failure")
	e.value(rollbacks, float64(g.Rollbacks))
	names := unique{}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		name := names.of(l.Name)
		e.value(listenerConnections, float64(l.Connections), name, l.Address)
		e.value(listenerAccepted, float64(l.Accepted), name, l.Address)
		e.tls(l.TLS, name, l.Address)
		if l.Limit > 0 {
			e.value(listenerLimit, float64(l.Limit), name, l.Address)
		}
		for _, r := range l.Rejected {
			e.value(listenerRejected, float64(r.Count), name, l.Address, r.Cause)
		}
	}
	e.routes(s)
	for _, c := range s.Unpooled { // a pool has those alone that there were
		e.value(errorsMade, float64(c.Count), "", c.Cause)
	}
	for _, r := range s.Retries {
		e.value(retriesMade, float64(r.Count), r.Class, r.Reason)
	}
	e.value(accessLines, float64(s.AccessLog.Lines), "written")
	e.value(accessLines, float64(s.AccessLog.Dropped), "dropped")
	e.value(accessLines, float64(s.AccessLog.Failed), "failed")
}

func (e *emitter) routes(s *Sample) {
	names, labels := unique{}, make([]string, len(s.Routes))
	for i := range s.Routes {
		labels[i] = names.of(s.Routes[i].Name)
		e.classes(routeResponses, &s.Routes[i].Classes, labels[i])
	}
	for _, r := range s.Refused {
		e.value(routeRefused, float64(r.Count), labels[r.Route], r.Cause)
	}
	e.value(rateMemory, float64(s.RateLimits.Memory))
	e.value(rateForgotten, float64(s.RateLimits.Forgotten))
}

// tls sends the metrics of a listener's TLS, if it speaks it.
func (e *emitter) tls(s *TLSSample, listener, address string) {
	if s == nil {
		return
	}
	for v, version := range [2]string{"1.2", "1.3"} {
		e.value(tlsHandshakes, float64(s.Handshakes[v][0]), listener, address, version, "false")
		e.value(tlsHandshakes, float64(s.Handshakes[v][1]), listener, address, version, "true")
	}
	for _, f := range s.Failed {
		e.value(tlsFailures, float64(f.Count), listener, address, f.Cause)
	}
	files := unique{}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		file := files.of(c.File)
		e.value(tlsExpiry, seconds(c.Until), listener, file)
		e.value(tlsProblem, flag(c.Problem != ""), listener, file)
		if !c.Stapled.IsZero() {
			e.value(tlsStaple, seconds(c.Stapled), listener, file)
		}
	}
}

func (e *emitter) pool(p *PoolSample) {
	name := valid(p.Name)
	e.value(poolRequests, float64(p.Requests), name)
	e.classes(poolResponses, &p.Classes, name)
	for _, c := range p.Errors {
		e.value(errorsMade, float64(c.Count), name, c.Cause)
	}
	e.distribution(poolLatency, &p.Latency, name)
	e.value(poolAttempts, float64(p.Attempts), name)
	e.value(poolDenied, float64(p.RetriesDenied), name)
	e.value(poolWaiting, float64(p.Waiting), name)
	if p.InFlightLimit > 0 {
		e.value(poolLimit, float64(p.InFlightLimit), name, "max_in_flight")
		e.value(poolInFlight, float64(p.Admitted), name, "max_in_flight")
	}
	if p.AdaptiveLimit > 0 {
		e.value(poolLimit, float64(p.AdaptiveLimit), name, "adaptive")
		e.value(poolInFlight, float64(p.Pending), name, "adaptive")
		e.value(poolBase, p.BaseLatency.Seconds(), name)
	}
	e.distribution(poolQueueWait, &p.Queued, name)
	e.value(poolEjections, float64(p.Ejections), name)
	e.value(poolFailOpen, flag(p.FailOpen), name)
	e.value(poolFailOpens, float64(p.FailOpens), name)
	e.value(poolFailOpened, float64(p.FailOpenRequests), name)
	e.backends(name, p)
	names := unique{}
	for i := range p.Sources {
		s := &p.Sources[i]
		source := names.of(s.Name)
		e.value(sourceMembers, float64(s.Members), name, source)
		e.value(sourceFailing, flag(s.Failing), name, source)
		e.value(sourceHeld, float64(s.Held), name, source)
	}
}

// backends sends the metrics of each backend, as far as there may be, and what
// they add up to.
func (e *emitter) backends(name string, p *PoolSample) {
	states := make(map[string]int, len(States))
	usable := 0
	for i := range p.Backends {
		b := &p.Backends[i]
		states[b.State]++
		if b.Usable {
			usable++
		}
		if e.left--; e.left < 0 {
			e.unlisted++
			continue
		}
		e.backend(name, b)
		if p.Bindings {
			e.value(backendBound, float64(b.Bound), name, valid(b.Address))
		}
	}
	for _, state := range States {
		e.value(poolBackends, float64(states[state]), name, state)
	}
	e.value(poolUsable, float64(usable), name)
}

func (e *emitter) backend(pool string, b *BackendSample) {
	address := valid(b.Address)
	e.value(backendUp, flag(b.Usable), pool, address)
	e.value(backendState, 1, pool, address, b.State)
	e.value(backendWeight, float64(b.Weight), pool, address)
	e.value(backendRatio, float64(b.Percent)/100, pool, address)
	e.value(backendInFlight, float64(b.InFlight), pool, address)
	e.value(backendConns, float64(max(b.Open-int64(b.Idle), 0)), pool, address, "busy")
	e.value(backendConns, float64(b.Idle), pool, address, "idle")
	e.value(backendUpgraded, float64(b.Upgraded), pool, address)
	e.value(backendDials, float64(b.Dials), pool, address)
	e.value(backendAttempts, float64(b.Requests), pool, address)
	e.value(backendFailures, float64(b.Failures), pool, address)
	e.classes(backendResponses, &b.Classes, pool, address)
	e.distribution(backendFirstByte, &b.FirstByte, pool, address)
	if b.Checked {
		e.value(backendChecks, float64(b.ChecksPassed), pool, address, "passed")
		e.value(backendChecks, float64(b.ChecksFailed), pool, address, "failed")
		e.value(backendCheckTime, b.CheckLatency.Seconds(), pool, address)
	}
}

// unique tells names apart that are the same, because one duplicate would fail a
// whole scrape.
type unique map[string]int

func (u unique) of(name string) string {
	name = valid(name)
	for {
		u[name]++
		if u[name] == 1 {
			return name
		}
		name = fmt.Sprintf("%s #%d", name, u[name])
	}
}

// valid makes a name a label, which has to be UTF-8.
func valid(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

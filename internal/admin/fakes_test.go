package admin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"steelyard/discovery"
	"steelyard/internal/errorlog"
	"steelyard/internal/explain"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
)

// silentSource never says anything.
type silentSource struct{}

func (silentSource) String() string { return "silent" }

// Run implements discovery.Source.
func (silentSource) Run(ctx context.Context, _ discovery.Sink) { <-ctx.Done() }

// fakeControl is a process with pools, and something of everything else.
type fakeControl struct {
	mu     sync.Mutex
	pools  []*pool.Pool
	broken error // that a reload finds
	level  string

	stopping atomic.Bool
	panics   atomic.Bool // whoever asks for errors
}

func (c *fakeControl) Sample(into *metrics.Sample) {
	into.At = time.Now()
	into.Pools = into.Pools[:0]
	for _, p := range c.Pools() {
		into.Pools = append(into.Pools, metrics.PoolSample{Name: p.Name()})
	}
}

func (c *fakeControl) Pools() []*pool.Pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.pools)
}

// add is a reload that brings another pool.
func (c *fakeControl) add(p *pool.Pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pools = append(c.pools, p)
}

func (c *fakeControl) Stopping() bool { return c.stopping.Load() }

func (c *fakeControl) Consul() *discovery.Consul { return nil }

func (c *fakeControl) ListenerSamples() []metrics.ListenerSample {
	now := time.Now()
	return []metrics.ListenerSample{
		{Name: "web", Address: "127.0.0.1:80", Connections: 3, Accepted: 9},
		{Name: "secure", Address: "127.0.0.1:443", TLS: &metrics.TLSSample{
			Handshakes: [2][2]int64{{1, 2}, {3, 4}}, Failed: []metrics.CauseCount{{Cause: "timeout", Count: 5}, {Cause: "alpn"}}, ClientProblem: "gone",
			Certificates: []metrics.CertificateSample{{File: "a.pem", Hosts: []string{"a.test"}, KeyType: "rsa", Issuer: "CN=x", Serial: "1f", From: now, Until: now, Expiring: true, Problem: "is empty", OCSP: "good"}},
		}},
	}
}

func (c *fakeControl) Routes() []RouteView {
	return []RouteView{
		{Name: "api", Line: 5, Match: map[string]any{"host": "api.example.com", "method": []string{"GET"}}, Action: "pool", To: []string{"web"}, Requests: 7},
		{Name: "/*", Line: 6, Action: "respond"},
	}
}

func (c *fakeControl) Explain(q explain.Question) (explain.Answer, error) {
	if q.Path != "" && q.Path[0] != '/' {
		return explain.Answer{}, errors.New("the path does not begin with /")
	}
	return explain.Answer{
		Route: "api", RouteLine: 5, Action: "pool", Pool: "web", Backend: "127.0.0.1:1",
		Tried:      []explain.RouteStep{{Route: "api", Line: 5, Why: "takes it"}},
		Candidates: []explain.Candidate{{Address: "127.0.0.1:1", Chosen: true, State: "healthy", Share: 0.5, Why: "its turn"}},
	}, nil
}

func (c *fakeControl) Errors() ([]errorlog.Record, int64) {
	if c.panics.Load() {
		panic("the error log is broken")
	}
	return []errorlog.Record{{
		At: time.Now(), Cause: "connect_refused", Status: 502, Hint: "start it", RequestID: "r1", Method: "GET", Path: "/<b>",
		Pool: "web", Backend: "127.0.0.1:1", Total: 1500 * time.Microsecond,
		Attempts: []errorlog.Attempt{{Backend: "127.0.0.1:1", Cause: "connect_refused", Class: "unsent", Took: time.Millisecond}},
	}}, 3
}

func (c *fakeControl) Generation() GenerationView {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := GenerationView{ID: 1, Since: time.Now(), File: "steelyard.yaml", LastOK: true}
	if c.broken != nil {
		g.Failed, g.LastOK, g.LastAt, g.Errors = 1, false, time.Now(), []string{"steelyard.yaml:1:1: bad", "steelyard.yaml:2:1: worse"}
	}
	return g
}

func (c *fakeControl) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

func (c *fakeControl) SetLogLevel(level string) error {
	if level != "debug" && level != "info" {
		return errors.New("there is no such level")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.level = level
	return nil
}

func (c *fakeControl) LogLevel() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.level
}

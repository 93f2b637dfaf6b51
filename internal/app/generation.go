package app

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
	"steelyard/internal/rewrite"
	"steelyard/internal/router"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// builder turns a configuration into a generation and the pools it needs.
type builder struct {
	cfg      *config.Config
	checks   *healthcheck.Scheduler
	consul   *discovery.Consul // nil when nothing asks for it
	consulID int
	targets  map[string]*proxy.Target
	stats    func(route string) *proxy.RouteStats
	gates    *gateBuilder

	secured  map[string]*transport.ClientTLS // by pool, in force
	securing map[string]*transport.ClientTLS // by pool, what is made; nil: that is not asked
}

// build makes the pools and the generation of a takeover. Pools whose name is in
// force stay, to be changed when nothing can fail any more.
func (a *App) build(t *takeover) error {
	b := &builder{cfg: t.cfg, checks: a.checks, consul: t.next.consul, consulID: t.next.consulID,
		targets: map[string]*proxy.Target{}, stats: a.tally.stats(), gates: newGateBuilder(a.rates, a.guard, &t.before.gates)}
	b.secured, b.securing = t.before.secured, t.next.secured
	t.next.gates = b.gates.next
	was := &builder{cfg: t.before.cfg, checks: a.checks, consul: t.before.consul, consulID: t.before.consulID, secured: t.before.secured}
	kept := map[string]int{}
	for i, p := range t.before.pools {
		kept[p.Name()] = i
	}
	for i := range t.cfg.Pools {
		c := &t.cfg.Pools[i]
		o, err := b.options(c)
		if err != nil {
			return err
		}
		var p *pool.Pool
		if at, stays := kept[c.Name]; !stays {
			if p, err = pool.New(c.Name, o); err != nil {
				return err
			}
			t.fresh = append(t.fresh, p)
		} else {
			p = t.before.pools[at]
			if err := t.change(p, o, &t.before.cfg.Pools[at], c, was); err != nil {
				return err
			}
		}
		t.next.pools = append(t.next.pools, p)
		b.targets[c.Name] = &proxy.Target{Pool: p, Key: c.Policy.Key, Sticky: c.Sticky, Retry: retryOptions(&c.Retry), ProxyProtocol: proxyVersion(c)}
	}
	var err error
	t.next.generation, err = b.generation()
	return err
}

// change notes what a pool that stays is to be given, unless that is nothing new.
func (t *takeover) change(p *pool.Pool, o pool.Options, before, c *config.Pool, was *builder) error {
	if reflect.DeepEqual(unplaced(before), unplaced(c)) && (t.before.consulID == t.next.consulID || !asksConsul(c)) {
		return nil
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("pool %s: %w", c.Name, err)
	}
	undo, err := was.options(before)
	if err != nil {
		return err
	}
	t.changes = append(t.changes, change{pool: p, options: o, undo: undo})
	return nil
}

// unplaced is c without where it stands in its file.
func unplaced(c *config.Pool) config.Pool {
	p := *c
	p.Line = 0
	p.Backends = slices.Clone(p.Backends)
	for i := range p.Backends {
		p.Backends[i].Line = 0
	}
	p.Sources = slices.Clone(p.Sources)
	for i := range p.Sources {
		p.Sources[i].Line = 0
	}
	return p
}

func asksConsul(c *config.Pool) bool {
	return slices.ContainsFunc(c.Sources, func(s config.Source) bool { return s.Consul != nil })
}

// options is everything a pool is made of, its sources included.
func (b *builder) options(c *config.Pool) (pool.Options, error) {
	o := b.poolOptions(c)
	var err error
	if o.Sources, err = b.sources(c); err != nil {
		return o, fmt.Errorf("pool %s: %w", c.Name, err)
	}
	prefaceChecks(c, &o)
	return o, b.secure(c, &o)
}

// poolOptions is what the pool has to know of its configuration.
func (b *builder) poolOptions(c *config.Pool) pool.Options {
	o := pool.Options{
		Policy:       c.Policy,
		Transport:    c.Transport,
		Sticky:       c.Sticky,
		Queue:        c.Queue.Size,
		QueueTimeout: c.Queue.Timeout,
		RetryBudget:  c.Retry.Budget,

		MaxInFlight:    c.MaxInFlight,
		Adaptive:       c.AdaptiveLimit,
		MaxConnections: c.MaxConnections,
		Check:          c.Check,
		Outlier:        c.Outlier,
		SlowStart:      c.SlowStart,
		DrainTimeout:   c.DrainTimeout,
		Reject:         c.WhenAllUnhealthy == "reject",
		Checks:         b.checks,
	}
	for _, be := range c.Backends {
		limit := be.MaxConnections
		if limit == 0 {
			limit = c.MaxConnections
		}
		o.Backends = append(o.Backends, pool.BackendOptions{
			Address: be.Address, Weight: be.Weight, Backup: be.Backup, MaxConnections: limit,
		})
	}
	return o
}

func retryOptions(c *config.Retry) proxy.Retry {
	r := proxy.Retry{
		Attempts:    c.Attempts,
		BodyLimit:   int(c.BodyLimit),
		Methods:     c.Methods,
		Connect:     slices.Contains(c.On, "connect"),
		Reset:       slices.Contains(c.On, "reset"),
		Timeout:     slices.Contains(c.On, "timeout"),
		BadResponse: slices.Contains(c.On, "bad_response"),
	}
	for _, on := range c.On {
		if status, err := strconv.Atoi(on); err == nil {
			r.Statuses = append(r.Statuses, status)
		}
	}
	return r
}

func (b *builder) generation() (*proxy.Generation, error) {
	g := &proxy.Generation{
		Trusted: b.cfg.TrustedProxies,
		Forward: proxy.ForwardOptions(b.cfg.Forwarded),
	}
	g.Paths, _ = router.ParsePaths(b.cfg.Paths)
	matches := make([]router.Match, len(b.cfg.Routes))
	for i := range b.cfg.Routes {
		c := &b.cfg.Routes[i]
		r, err := b.route(c)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", c.Name, err)
		}
		g.Routes = append(g.Routes, r)
		matches[i] = c.Match
	}
	var err error
	g.Table, err = router.New(matches)
	return g, err
}

func (b *builder) route(c *config.Route) (r *proxy.Route, err error) {
	r = &proxy.Route{Name: c.Name, Line: c.Line, Stats: b.stats(c.Name), Unlogged: !c.AccessLog, ACME: namesACME(c.Match.Path)}
	if c.Host != "preserve" {
		r.Host = c.Host
	}
	if r.Path, err = rewrite.CompilePath(c.Rewrite); err != nil {
		return nil, err
	}
	if r.RequestHeaders, err = rewrite.CompileHeaders(c.RequestHeaders); err != nil {
		return nil, err
	}
	if r.ResponseHeaders, err = rewrite.CompileHeaders(c.ResponseHeaders); err != nil {
		return nil, err
	}
	if r.Gate, err = b.gates.gate(c, b.targets); err != nil {
		return nil, err
	}
	switch {
	case c.Redirect != nil:
		to, err := rewrite.Parse(c.Redirect.To)
		if err != nil {
			return nil, err
		}
		r.Redirect = &proxy.Redirect{Status: c.Redirect.Status, To: to}
	case c.Respond != nil:
		r.Respond = fixedResponse(c.Respond)
	case c.Split != nil:
		r.Split = b.split(c.Split)
	default:
		r.Pool = b.targets[c.Pool]
	}
	return r, nil
}

func (b *builder) split(c *config.Split) *proxy.Split {
	var to []*proxy.Target
	var weights []int
	secret := ""
	if c.Sticky != nil && c.Sticky.Cookie != nil {
		secret = c.Sticky.Cookie.Secret
	}
	for _, w := range c.To {
		t := *b.targets[w.Pool]
		t.ID = sticky.ID(secret, "", w.Pool)
		to = append(to, &t)
		weights = append(weights, w.Weight)
	}
	return proxy.NewSplit(to, weights, c.Sticky)
}

func fixedResponse(c *config.Respond) *proxy.Respond {
	r := &proxy.Respond{Status: c.Status, Body: []byte(c.Body)}
	for name, value := range c.Headers {
		r.Headers = append(r.Headers, rewrite.Header{Name: name, Value: value})
	}
	slices.SortFunc(r.Headers, func(a, b rewrite.Header) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return r
}

package app

import (
	"fmt"
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
)

// builder turns a configuration into a generation and the pools it needs.
type builder struct {
	cfg     *config.Config
	checks  *healthcheck.Scheduler
	consul  *discovery.Consul // nil when nothing asks for it
	pools   map[string]*pool.Pool
	targets map[string]*proxy.Target
}

// build makes everything of cfg, or nothing: on error the pools that were
// started have been closed.
func build(cfg *config.Config, checks *healthcheck.Scheduler, consul *discovery.Consul) (g *proxy.Generation, pools []*pool.Pool, err error) {
	b := &builder{cfg: cfg, checks: checks, consul: consul, pools: map[string]*pool.Pool{}, targets: map[string]*proxy.Target{}}
	defer func() {
		if err != nil {
			for _, p := range pools {
				p.Close()
			}
		}
	}()
	for i := range cfg.Pools {
		p, err := b.pool(&cfg.Pools[i])
		if err != nil {
			return nil, pools, err
		}
		pools = append(pools, p)
	}
	g, err = b.generation()
	return g, pools, err
}

func (b *builder) pool(c *config.Pool) (*pool.Pool, error) {
	o := b.poolOptions(c)
	var err error
	if o.Sources, err = b.sources(c); err != nil {
		return nil, fmt.Errorf("pool %s: %w", c.Name, err)
	}
	p, err := pool.New(c.Name, o)
	if err != nil {
		return nil, err
	}
	b.pools[c.Name] = p
	b.targets[c.Name] = &proxy.Target{
		Pool:   p,
		Key:    c.Policy.Key,
		Sticky: c.Sticky,
		Retry:  retryOptions(&c.Retry),
	}
	return p, nil
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
	r = &proxy.Route{Name: c.Name, Stats: new(proxy.RouteStats)}
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

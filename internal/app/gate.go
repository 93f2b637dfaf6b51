package app

import (
	"fmt"

	"steelyard/config"
	"steelyard/internal/access"
	"steelyard/internal/auth"
	"steelyard/internal/browser"
	"steelyard/internal/proxy"
	"steelyard/internal/ratelimit"
)

// kept is what gates have that outlives a reload which leaves it alone, by the
// name of the item of routes that it belongs to.
type kept struct {
	rates  map[string]*proxy.RateLimit
	basics map[string]*auth.Basic
}

// closeBut ends what k has and other does not have.
func (k *kept) closeBut(other *kept) {
	for name, r := range k.rates {
		if o := other.rates[name]; o == nil || o.Limiter != r.Limiter {
			r.Limiter.Close()
		}
	}
}

// gateBuilder makes the gates of a generation.
type gateBuilder struct {
	store  *ratelimit.Store
	guard  *auth.Guard
	before *kept
	next   kept
	// Routes that one item of the file makes share what is counted and known.
	rates  map[*config.RateLimit]*proxy.RateLimit
	basics map[*auth.Options]*auth.Basic
}

func newGateBuilder(s *ratelimit.Store, g *auth.Guard, before *kept) *gateBuilder {
	return &gateBuilder{
		store: s, guard: g, before: before, next: kept{rates: map[string]*proxy.RateLimit{}, basics: map[string]*auth.Basic{}},
		rates: map[*config.RateLimit]*proxy.RateLimit{}, basics: map[*auth.Options]*auth.Basic{},
	}
}

// gate is what requests have to pass on a route, nil if there is nothing.
func (b *gateBuilder) gate(c *config.Route, targets map[string]*proxy.Target) (*proxy.Gate, error) {
	g := proxy.Gate{Access: access.NewList(c.Allow, c.Deny), Rate: b.rate(c)}
	if c.CORS != nil {
		g.CORS = browser.CompileCORS(*c.CORS)
	}
	if c.SecurityHeaders != nil {
		g.Security = browser.CompileSecurity(*c.SecurityHeaders)
	}
	var err error
	if g.Basic, err = b.basic(c); err != nil {
		return nil, fmt.Errorf("basic_auth: %w", err)
	}
	if f := c.ForwardAuth; f != nil {
		g.Forward = &proxy.ForwardAuth{
			Pool: targets[f.Pool].Pool, Path: f.Path, Host: f.Host, Timeout: f.Timeout,
			RequestHeaders: f.RequestHeaders, ResponseHeaders: f.ResponseHeaders,
		}
	}
	if g == (proxy.Gate{}) {
		return nil, nil
	}
	return &g, nil
}

// basic is who may come in on a route, with those who are known already if
// nothing has changed.
func (b *gateBuilder) basic(c *config.Route) (*auth.Basic, error) {
	o := c.BasicAuth
	if o == nil || b.basics[o] != nil {
		return b.basics[o], nil
	}
	name := firstFree(b.next.basics, c.Name)
	a, err := auth.NewBasic(*o, b.guard) // which reads the file, and says if it is wrong
	if err != nil {
		return nil, err
	}
	if known := b.before.basics[name]; known != nil && known.Options().Equal(*o) {
		a = known
	}
	b.next.basics[name], b.basics[o] = a, a
	return a, nil
}

// rate is the rate limit of a route, with what the one before has counted if it
// is the same.
func (b *gateBuilder) rate(c *config.Route) *proxy.RateLimit {
	o := c.RateLimit
	if o == nil || b.rates[o] != nil {
		return b.rates[o]
	}
	name := firstFree(b.next.rates, c.Name)
	r := b.before.rates[name]
	if r == nil || r.Limiter.Options() != o.Options || r.Key != o.Key {
		r = proxy.NewRateLimit(b.store.New(o.Options), b.store, o.Key)
	}
	b.next.rates[name], b.rates[o] = r, r
	return r
}

// firstFree tells items of one name apart by their order.
func firstFree[T any](taken map[string]T, name string) string {
	key := name
	for n := 2; ; n++ {
		if _, is := taken[key]; !is {
			return key
		}
		key = fmt.Sprint(name, "\x00", n)
	}
}

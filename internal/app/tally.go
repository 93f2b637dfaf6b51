package app

import (
	"sync"

	"steelyard/internal/proxy"
)

// counts are the responses that clients got, and those of them with a 5xx.
type counts struct{ requests, errors int64 }

func (c counts) minus(o counts) counts { return counts{c.requests - o.requests, c.errors - o.errors} }

// tally keeps what is counted of routes over generations, by name.
type tally struct {
	mu sync.Mutex
	// routes are those of the newest generation, former those that only older
	// ones have, whose requests may still be under way.
	routes, former map[string]*proxy.RouteStats
	gone           counts // of those that no generation has
}

// stats begins a new generation: what it returns gives the counters of a route
// of that name. They are in use when adopt is called.
func (t *tally) stats() func(route string) *proxy.RouteStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.routes
	used := map[string]*proxy.RouteStats{}
	return func(route string) *proxy.RouteStats {
		s := used[route]
		if s == nil {
			if s = before[route]; s == nil {
				s = new(proxy.RouteStats)
			}
			used[route] = s
		}
		return s
	}
}

// adopt takes the counters of a generation that comes into force.
func (t *tally) adopt(g *proxy.Generation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.former {
		c := countsOf(s)
		t.gone.requests += c.requests
		t.gone.errors += c.errors
	}
	t.former = t.routes
	t.routes = map[string]*proxy.RouteStats{}
	for _, r := range g.Routes {
		t.routes[r.Name] = r.Stats
		delete(t.former, r.Name)
	}
}

// total counts all responses there ever were. It only grows.
func (t *tally) total() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.gone
	for _, m := range []map[string]*proxy.RouteStats{t.routes, t.former} {
		for _, s := range m {
			c := countsOf(s)
			sum.requests += c.requests
			sum.errors += c.errors
		}
	}
	return sum
}

// countsOf counts responses; those whose client left before are none.
func countsOf(s *proxy.RouteStats) (c counts) {
	classes := s.Classes.Read()
	for _, n := range classes[1:] {
		c.requests += n
	}
	c.errors = classes[5]
	return c
}

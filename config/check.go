package config

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"steelyard/internal/router"
)

// maxRoutes bounds what lists of hosts and paths may expand to.
const maxRoutes = 100_000

// build checks what spans several parts of the file and makes the Config of it.
// It runs even when reading found errors, so that all are shown at once; each check looks
// only at what was read without one.
func (d *draft) build(w *walker, root section) *Config {
	c := &Config{TrustedProxies: d.trusted, Forwarded: d.forwarded, Paths: d.paths, ShutdownTimeout: d.shutdownTimeout, ShutdownDelay: d.shutdownDelay, Reload: d.reload, Log: d.log}
	for _, l := range d.listeners {
		l.ErrorPages = l.errors.Pages
		c.Listeners = append(c.Listeners, l.Listener)
	}
	for _, p := range d.pools {
		for _, b := range p.backends {
			p.Backends = append(p.Backends, b.Backend)
		}
		for _, s := range p.sources {
			p.Sources = append(p.Sources, s.Source)
		}
		c.Pools = append(c.Pools, p.Pool)
	}
	c.Pools = append(c.Pools, d.authPools()...)
	c.Errors = d.errors
	if a := d.accessLog; a != nil && !a.Off {
		c.AccessLog = a
	}
	c.Consul = d.buildConsul(w, root)
	if d.admin != nil {
		c.Admin = &d.admin.Admin
	}
	d.checkPresence(w, root)
	d.checkListeners(w)
	d.checkPoolNames(w)
	d.checkLoops(w)
	routes, at := d.expandRoutes(w)
	d.checkShadows(w, routes, at)
	d.checkPaths(w, routes, at)
	d.checkCookies(w, routes)
	d.checkUncovered(w, routes, at)
	c.Routes = routes
	return c
}

// checkPresence notes parts that are there and empty, without which nothing
// would work.
func (d *draft) checkPresence(w *walker, root section) {
	for name, msg := range map[string]string{"listeners": noListener, "routes": noRoute} {
		if v, ok := root.at[name]; ok && v.node.Kind != yamlScalar && len(v.node.Content) == 0 {
			w.failf(v, "%s", msg)
		}
	}
}

// checkListeners finds listeners of which only one could be opened.
func (d *draft) checkListeners(w *walker) {
	byPort := map[string][]listenerDraft{}
	all := d.listeners
	if d.admin != nil {
		all = append(slices.Clip(all), listenerDraft{Listener: Listener{Address: d.admin.Address}, at: d.admin.at})
	}
	for _, l := range all {
		if l.Address == "" {
			continue
		}
		group := l.Address
		if !strings.HasPrefix(group, "unix:") {
			_, group, _ = net.SplitHostPort(l.Address)
		}
		for _, other := range byPort[group] {
			if overlap(l.Address, other.Address) {
				w.failf(l.at, "%s and %s of listener %s (line %d) cannot both be listened on", l.Address, other.Address, other.Name, other.at.line)
				break
			}
		}
		byPort[group] = append(byPort[group], l)
	}
}

// poolRef is a place that names a pool.
type poolRef = placed[string]

func (d *draft) poolRefs() []poolRef {
	var refs []poolRef
	for _, r := range d.routes {
		if r.pool.val != "" {
			refs = append(refs, r.pool)
		}
		if r.forward != nil && r.forward.pool.val != "" {
			refs = append(refs, r.forward.pool)
		}
		if r.split == nil {
			continue
		}
		for _, b := range r.split.to {
			if b.pool.val != "" {
				refs = append(refs, b.pool)
			}
		}
	}
	return refs
}

// checkPoolNames finds references to pools that do not exist, and pools that
// nothing refers to.
func (d *draft) checkPoolNames(w *walker) {
	var names []string
	used := map[string]bool{}
	for _, p := range d.pools {
		names = append(names, p.Name)
		used[p.Name] = false
	}
	for _, ref := range d.poolRefs() {
		if _, exists := used[ref.val]; exists {
			used[ref.val] = true
			continue
		}
		e := Error{Msg: fmt.Sprintf("there is no pool %q", clip(ref.val)), Allowed: someOf(names), Suggest: w.near(ref.val, names)}
		if len(names) == 0 {
			e.Allowed = "none, the file has no pools"
		}
		w.fail(ref.at, e)
	}
	for _, p := range d.pools {
		if !used[p.Name] {
			w.warnf(p.at, "no route uses this pool")
		}
	}
}

// checkLoops warns of backends that are Steelyard's own listeners.
func (d *draft) checkLoops(w *walker) {
	byPort := map[string][]listenerDraft{}
	for _, l := range d.listeners {
		_, port, _ := net.SplitHostPort(l.Address)
		byPort[port] = append(byPort[port], l)
	}
	for _, p := range d.pools {
		for _, b := range p.backends {
			host, port, _ := net.SplitHostPort(b.Address)
			for _, l := range byPort[port] {
				if b.Address == l.Address || isLoopback(host) && overlap(b.Address, l.Address) {
					w.warnf(b.at, "this is listener %s (line %d) itself; requests would go in a circle", l.Name, l.at.line)
				}
			}
		}
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || covers("localhost", host)
}

// expandRoutes makes one route for each host and path of an item, and returns the place of the
// host or path each came from.
func (d *draft) expandRoutes(w *walker) (routes []Route, at []value) {
	anything := []placed[string]{{}}
	for _, r := range d.routes {
		if !r.whole {
			continue
		}
		hosts, paths := r.match.hosts, r.match.paths
		if len(hosts) == 0 {
			hosts = anything
		}
		if len(paths) == 0 {
			paths = anything
		}
		if len(routes)+len(hosts)*len(paths) > maxRoutes {
			w.failf(r.at, "with the hosts and paths of this route there are more than %d routes", maxRoutes)
			return routes, at
		}
		for _, h := range hosts {
			for _, p := range paths {
				routes = append(routes, r.expanded(h.val, p.val))
				at = append(at, r.place(h, p))
			}
		}
	}
	return routes, at
}

// expanded is the route for one of its hosts and one of its paths.
func (r *routeDraft) expanded(host, path string) Route {
	out := r.Route
	out.Match = router.Match{Host: host, Path: path, Methods: r.match.methods, Headers: r.match.headers, Query: r.match.query}
	out.Pool = r.pool.val
	if r.split != nil {
		out.Split = &Split{Sticky: r.split.sticky}
		for _, b := range r.split.to {
			out.Split.To = append(out.Split.To, WeightedPool{Pool: b.pool.val, Weight: b.weight})
		}
	}
	if r.forward != nil {
		out.ForwardAuth = &r.forward.ForwardAuth
	}
	if out.Name == "" {
		out.Name = host + path
		if path == "" {
			out.Name += "/*"
		}
		out.Name = oneLine(out.Name) // a regular expression may hold anything
	}
	return out
}

// place is where an error about one host and path of a route belongs: the one
// that makes it different from the rest of the list, else the route.
func (r *routeDraft) place(host, path placed[string]) value {
	switch {
	case len(r.match.paths) > 1:
		return path.at
	case len(r.match.hosts) > 1:
		return host.at
	}
	return r.at
}

// checkShadows finds routes that can never match because of another.
func (d *draft) checkShadows(w *walker, routes []Route, at []value) {
	matches := make([]router.Match, len(routes))
	for i, r := range routes {
		matches[i] = r.Match
	}
	table, err := router.New(matches)
	if err != nil {
		for _, f := range faults(err) {
			w.fail(value{line: 1, col: 1, path: "routes"}, Error{Msg: f.msg})
		}
		return
	}
	for _, s := range table.Shadowed() {
		w.failf(at[s.Index], "can never match: route %q in line %d comes first and takes all its requests", clip(routes[s.By].Name), at[s.By].line)
	}
}

// checkPaths finds patterns that no path can equal, because it would be refused
// or brought into another form before it is compared.
func (d *draft) checkPaths(w *walker, routes []Route, at []value) {
	paths, _ := router.ParsePaths(d.paths)
	for i := range routes {
		why, write := paths.Unreachable(routes[i].Match.Path)
		switch {
		case why == "":
		case write != "":
			w.warnf(at[i], "path %q can never match, because %s; write %q", clip(routes[i].Match.Path), why, clip(write))
		default:
			w.warnf(at[i], "path %q can never match with paths: %s, because %s", clip(routes[i].Match.Path), d.paths, why)
		}
	}
}

// checkCookies finds affinity cookies that would overwrite each other: those of
// a split and its pools, and those of two pools on one host.
func (d *draft) checkCookies(w *walker, routes []Route) {
	pools := map[string]*poolDraft{}
	for i := range d.pools {
		pools[d.pools[i].Name] = &d.pools[i]
	}
	type slot struct{ host, name, path, domain string }
	first := map[slot]*poolDraft{}
	warned := map[*poolDraft]bool{}
	for _, r := range routes {
		names := []string{r.Pool}
		if r.Split != nil {
			names = nil
			for _, b := range r.Split.To {
				names = append(names, b.Pool)
			}
		}
		for _, name := range names {
			p := pools[name]
			if p == nil || p.Sticky == nil || p.Sticky.Cookie == nil || p.stickyAt.node == nil {
				continue
			}
			c := p.Sticky.Cookie
			s := slot{r.Match.Host, c.Name, c.Path, c.Domain}
			if first[s] == nil {
				first[s] = p
			}
			if q := first[s]; q != p && !warned[p] {
				warned[p] = true
				w.warnf(p.stickyAt, "pool %s (line %d) is on the same host and uses the same cookie %q; a client would lose one binding to the other, so give one of them another name", q.Name, q.at.line, c.Name)
			}
		}
	}
	for _, r := range d.routes {
		if r.split == nil || r.split.sticky == nil || r.split.sticky.Cookie == nil {
			continue
		}
		clash := func(b branchDraft) bool {
			p := pools[b.pool.val]
			return p != nil && p.Sticky != nil && p.Sticky.Cookie != nil && p.Sticky.Cookie.Name == r.split.sticky.Cookie.Name
		}
		if i := slices.IndexFunc(r.split.to, clash); i >= 0 {
			w.failf(r.split.at, "the split and pool %s both set the cookie %q; give one of them another name", r.split.to[i].pool.val, r.split.sticky.Cookie.Name)
		}
	}
}

package proxy

import (
	"math/rand/v2"

	"steelyard/balancer"
	"steelyard/internal/pool"
	"steelyard/internal/sticky"
	"steelyard/internal/wire"
)

// affinity is what is known of the client's binding to a backend.
type affinity struct {
	looked bool
	bound  int    // index in the snapshot, -1 if none
	key    uint64 // of the client in the table of bindings
	keyed  bool   // the client can be known by the table
	keep   bool   // another backend serves this once; the binding stays
	full   bool   // the bound backend is at its limit, and worth waiting for
	peeks  bool   // nothing is sent: no turn is taken, no binding kept alive
}

// chooseTarget is the pool of the route, or the branch of its split.
func (x *exchange) chooseTarget() *Target {
	sp := x.route.Split
	if sp == nil {
		return x.route.Pool
	}
	s := sp.Sticky
	switch {
	case s == nil:
		return sp.at(rand.Uint64())
	case s.Header != nil:
		if v := x.req.Peek(s.Header.Name); len(v) > 0 {
			return sp.at(balancer.Hash(v))
		}
		return sp.at(rand.Uint64())
	case s.ClientIP != nil:
		return sp.at(balancer.Hash(x.clientIP()))
	}
	id := x.cookie(s.Cookie.Name)
	for _, t := range sp.To {
		if string(id) == t.ID {
			if s.Cookie.Renews() {
				x.splitTo = t
			}
			return t
		}
	}
	x.splitTo = sp.at(rand.Uint64())
	return x.splitTo
}

// choose picks the backend for the next attempt: the one the client is bound
// to, else what the policy says; -1 if there is none.
func (x *exchange) choose() int {
	if x.target.Sticky != nil {
		a := &x.affine
		if !a.looked {
			x.lookUpBinding()
		}
		a.full = false
		switch x.snap.Bound(a.bound, &x.tried) {
		case pool.BoundOK:
			return a.bound
		case pool.BoundFull:
			if a.full = x.target.Pool.Queues(); a.full {
				return -1
			}
			a.keep = true
		default:
			a.keep = false
		}
	}
	if x.affine.peeks {
		return x.snap.Peek(x.key, &x.tried)
	}
	return x.snap.Pick(x.key, &x.tried)
}

// lookUpBinding finds the backend the client is bound to.
func (x *exchange) lookUpBinding() {
	a := &x.affine
	a.looked, a.bound = true, -1
	s := x.target.Sticky
	if s.Cookie != nil {
		if id := x.cookie(s.Cookie.Name); id != nil {
			a.bound = x.snap.ByID(id)
		}
		return
	}
	table := x.target.Pool.Bindings()
	var client []byte
	if s.Header != nil {
		client = x.req.Peek(s.Header.Name)
	} else {
		client = x.clientIP()
	}
	if len(client) == 0 || table == nil {
		return
	}
	a.key, a.keyed = table.Hash(client), true
	get := (*sticky.Table).Get
	if a.peeks {
		get = (*sticky.Table).Peek
	}
	if b, ok := get(table, a.key); ok {
		a.bound = x.snap.ByBinding(b)
	}
}

// bind remembers the backend that answered for the client. Cookies are set by
// appendAffinity.
func (x *exchange) bind() {
	a := &x.affine
	if !a.keyed || a.keep || a.bound == x.index {
		return
	}
	if table := x.target.Pool.Bindings(); table != nil {
		if b, ok := x.snap.Binding(x.index); ok {
			table.Put(a.key, b)
		}
	}
}

// appendAffinity writes the Set-Cookie lines that bind the client.
func (x *exchange) appendAffinity(dst []byte) []byte {
	if s := x.target.Sticky; s != nil && s.Cookie != nil && !x.affine.keep &&
		(x.affine.bound != x.index || s.Cookie.Renews()) {
		if id := x.snap.ID(x.index); id != "" {
			dst = x.appendSetCookie(dst, s.Cookie, id)
		}
	}
	if x.splitTo != nil {
		dst = x.appendSetCookie(dst, x.route.Split.Sticky.Cookie, x.splitTo.ID)
	}
	return dst
}

func (x *exchange) appendSetCookie(dst []byte, c *sticky.Cookie, value string) []byte {
	dst = append(dst, "Set-Cookie: "...)
	dst = c.AppendSetCookie(dst, value, x.scheme() == "https")
	return append(dst, '\r', '\n')
}

// cookie is the value of the client's cookie of that name, nil if it has none.
func (x *exchange) cookie(name string) []byte {
	list := x.req.Fields()
	for i := range list {
		if list[i].Kind == wire.KindCookie {
			if v := sticky.FindCookie(x.req.Value(i), name); v != nil {
				return v
			}
		}
	}
	return nil
}

// hashKey hashes what the pool's policy asks for. A request that does not have
// it is spread at random, so that such requests do not all meet on one backend.
func (x *exchange) hashKey() uint64 {
	if x.target.Key.Source == "" {
		return 0
	}
	v := x.keyValue()
	if len(v) == 0 {
		return rand.Uint64()
	}
	return balancer.Hash(v)
}

// keyValue is what the pool's policy hashes; empty if the request does not have
// it.
func (x *exchange) keyValue() []byte {
	k := &x.target.Key
	switch k.Source {
	case "client_ip":
		return x.clientIP()
	case "header":
		return x.req.Peek(k.Name)
	case "cookie":
		return x.cookie(k.Name)
	case "query":
		return x.query.Peek(k.Name)
	case "path":
		return x.req.Path
	case "uri":
		return x.uri()
	}
	return nil
}

package proxy

import (
	"fmt"
	"strings"

	"steelyard/internal/browser"
	"steelyard/internal/transport"
)

// passes reports whether the gate would let the request in, and says of each part
// what the request would meet. Nothing is counted.
func (e *explanation) passes(g *Gate) bool {
	x := &e.exchange
	x.c.at = transport.Now()
	cause, detail := x.refusal(g, true)
	e.gates(g, cause)
	if cause == CauseNone {
		if g.CORS != nil && x.isPreflight() {
			e.answer.Status = 204
			return false
		}
		return true
	}
	if n := len(e.answer.Gates); detail == "" && n > 0 {
		_, detail, _ = strings.Cut(e.answer.Gates[n-1], ": ")
	}
	e.fail(cause, 0, detail)
	return false
}

// gates says what the parts of the gate do, up to the one that refuses.
func (e *explanation) gates(g *Gate, refused Cause) {
	x := &e.exchange
	say := func(format string, args ...any) {
		e.answer.Gates = append(e.answer.Gates, fmt.Sprintf(format, args...))
	}
	if g.Access != nil {
		say("access: %s", g.Access.Why(x.clientAddr()))
		if refused == CauseDenied {
			return
		}
	}
	if g.Rate != nil {
		say("rate_limit: %s", x.rateWords(g.Rate))
		if refused == CauseRateLimited {
			return
		}
	}
	if g.CORS != nil {
		say("cors: %s", x.corsWords(g.CORS))
		if x.isPreflight() {
			return
		}
	}
	if g.Basic != nil {
		realm := g.Basic.Options().Realm
		if shown, _ := x.authorization(); refused == CauseUnauthorized && len(shown) == 0 {
			say("basic_auth: a name and a password are asked for (%s), and the request has no Authorization", realm)
		} else if refused == CauseUnauthorized {
			say("basic_auth: there is more than one Authorization")
		} else {
			say("basic_auth: the Authorization would be verified; asking does not (%s)", realm)
		}
	}
	if g.Forward != nil && refused == CauseNone {
		say("forward_auth: %s", g.Forward.words())
	}
}

// rateWords says how much is left of a rate limit.
func (x *exchange) rateWords(r *RateLimit) string {
	if !x.gate.limited {
		return "the client has no address to be counted by, and is not limited"
	}
	by, o, d := x.rateBy(r), r.Limiter.Options(), x.gate.rate
	if !d.OK {
		return fmt.Sprintf("%s has none left of %d in %v, the next in %v", by, o.Requests, o.Per, d.Wait)
	}
	return fmt.Sprintf("%s has %d left, at %d in %v", by, d.Remaining, o.Requests, o.Per)
}

// rateBy says by what the request is counted.
func (x *exchange) rateBy(r *RateLimit) string {
	switch r.Key.Source {
	case "header":
		if v := x.req.Peek(r.Key.Name); len(v) > 0 {
			return fmt.Sprintf("header %s %q", r.Key.Name, clipped(v, 64))
		}
	case "cookie":
		if v := x.cookie(r.Key.Name); len(v) > 0 {
			return "this cookie " + r.Key.Name
		}
	}
	a := x.clientAddr()
	if a.Is4() {
		return "client " + a.String()
	}
	p, _ := a.Prefix(64)
	return "client " + p.String()
}

// corsWords says what a browser is told.
func (x *exchange) corsWords(c *browser.CORSPolicy) string {
	origin := x.req.Peek("origin")
	switch {
	case x.isPreflight():
		if why := c.Preflight(x.preflight()); why != "" {
			return why
		}
		return "a preflight, answered here: the request may follow"
	case len(origin) == 0:
		return "the request has no Origin, so no script of another one has made it"
	case c.Allows(origin):
		return fmt.Sprintf("scripts of %s may read the response", origin)
	}
	return fmt.Sprintf("scripts of %q may not read the response, which is sent all the same", clipped(origin, 100))
}

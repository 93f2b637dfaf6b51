package proxy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"steelyard/balancer"
	"steelyard/internal/access"
	"steelyard/internal/auth"
	"steelyard/internal/browser"
	"steelyard/internal/metrics"
	"steelyard/internal/ratelimit"
	"steelyard/internal/rewrite"
)

// Gate is what a request has to pass before a route does anything with it, in
// the order of its fields. Each may be nil. It is immutable.
type Gate struct {
	Access *access.List
	Rate   *RateLimit
	CORS   *browser.CORSPolicy
	Basic  *auth.Basic
	// Forward comes last, because it costs most.
	Forward *ForwardAuth

	// Security says what browsers are to be careful with; it refuses nobody.
	Security *browser.SecurityPolicy
}

// RateLimit bounds how many requests a key may make.
type RateLimit struct {
	Limiter *ratelimit.Limiter
	Store   *ratelimit.Store // that the limiter is from
	// Key is client_ip, header or cookie. A request that does not have the
	// header or cookie is counted by the address of its client.
	Key    balancer.Key
	policy string // lines that tell clients of it, as far as they are the same for all
}

// NewRateLimit makes a rate limit that uses a limiter.
func NewRateLimit(l *ratelimit.Limiter, s *ratelimit.Store, key balancer.Key) *RateLimit {
	r := &RateLimit{Limiter: l, Store: s, Key: key}
	o := l.Options()
	name := `"` + key.Source + `"`
	r.policy = "RateLimit-Policy: " + name + ";q=" + strconv.Itoa(o.Requests) + ";w=" + strconv.Itoa(int(o.Per/time.Second))
	if o.Burst != o.Requests {
		r.policy += ";steelyard-burst=" + strconv.Itoa(o.Burst)
	}
	r.policy += "\r\nRateLimit: " + name + ";r="
	return r
}

// gated is what is known of a request that has come to a gate.
type gated struct {
	rate    ratelimit.Decision
	limited bool // rate is there
	own     bool // the response is Steelyard's
	user    string
	copied  []byte // lines for the backend that forward_auth has given
}

// cleared keeps nothing but the buffer, unless it has grown.
func (g *gated) cleared() gated {
	if cap(g.copied) > maxKeptOut {
		return gated{}
	}
	return gated{copied: g.copied[:0]}
}

// pass reports whether the request may go on. If not, it has been answered.
func (x *exchange) pass(g *Gate) bool {
	cause, detail := x.refusal(g, false)
	switch {
	case cause == CauseClientGone:
		x.giveUp(&failure{cause: cause})
		return false
	case cause != CauseNone:
		if s := x.route.Stats; s != nil {
			s.refused[cause].Add(1)
		}
		x.answerCause(cause, 0, detail)
		return false
	case g.CORS != nil && x.isPreflight():
		x.answerPreflight(g.CORS)
		return false
	case g.Forward != nil:
		return x.passForward(g.Forward)
	}
	return true
}

// passForward is pass for what another server decides.
func (x *exchange) passForward(f *ForwardAuth) bool {
	cause, detail, answered := x.askAuth(f)
	switch {
	case cause == CauseClientGone:
		x.giveUp(&failure{cause: cause})
		return false
	case cause == CauseNone && !answered:
		return true
	case answered:
		cause = CauseUnauthorized // for those who count
	default:
		x.answerCause(cause, 0, detail)
	}
	if s := x.route.Stats; s != nil {
		s.refused[cause].Add(1)
	}
	return false
}

// refusal is why the gate does not let the request in, CauseNone if it does. To
// peek is to count nothing and to verify nobody.
func (x *exchange) refusal(g *Gate, peek bool) (Cause, string) {
	if g.Access != nil && !g.Access.Allows(x.clientAddr()) {
		return CauseDenied, ""
	}
	if g.Rate != nil && !x.withinRate(g.Rate, peek) {
		return CauseRateLimited, ""
	}
	if g.CORS != nil && x.isPreflight() {
		if why := g.CORS.Preflight(x.preflight()); why != "" {
			return CauseCORS, why
		}
		return CauseNone, "" // the request that follows is asked the rest
	}
	if g.Basic != nil {
		return x.authenticate(g.Basic, peek)
	}
	return CauseNone, ""
}

// withinRate reports whether the request is within the limit, and counts it.
func (x *exchange) withinRate(r *RateLimit, peek bool) bool {
	key, ok := x.rateKey(r)
	if !ok {
		return true
	}
	x.gate.limited = true
	if peek {
		x.gate.rate = r.Limiter.Peek(key, x.c.at)
	} else {
		x.gate.rate = r.Limiter.Take(key, x.c.at)
	}
	return x.gate.rate.OK
}

// clientAddr is the address of the client as clientIP finds it; the zero one for
// a client on a unix socket.
func (x *exchange) clientAddr() netip.Addr {
	if !x.trusted() {
		return x.c.peer
	}
	a, err := netip.ParseAddr(alias(x.clientIP()))
	if err != nil {
		return x.c.peer
	}
	return a.Unmap().WithZone("")
}

// The kinds of keys are told apart by a first byte, so that nobody can send what
// stands for another's address.
const (
	rateByAddress = 'a'
	rateByValue   = 'v'
)

// maxRateKey is how much of a header or cookie tells keys apart, in bytes.
const maxRateKey = 256

// rateKey is the hash by which a request is counted. ok is false for clients
// without an address, who would all be one.
func (x *exchange) rateKey(r *RateLimit) (key uint64, ok bool) {
	var v []byte
	switch r.Key.Source {
	case "header":
		v = x.req.Peek(r.Key.Name)
	case "cookie":
		v = x.cookie(r.Key.Name)
	}
	var b [1 + maxRateKey]byte
	if len(v) > 0 {
		b[0] = rateByValue
		n := copy(b[1:], v)
		return r.Store.Hash(b[:1+n]), true
	}
	a := x.clientAddr()
	if !a.IsValid() {
		return 0, false
	}
	b[0] = rateByAddress
	if a.Is4() {
		a4 := a.As4()
		return r.Store.Hash(append(b[:1], a4[:]...)), true
	}
	// Who has one address of IPv6 has at least its /64.
	a16 := a.As16()
	return r.Store.Hash(append(b[:1], a16[:8]...)), true
}

// appendGateFields appends what the gate tells clients, with whatever response.
// What the route sets or removes is left to it.
func (x *exchange) appendGateFields(dst []byte) []byte {
	g := x.route.Gate
	if x.gate.limited && !x.sets("ratelimit") {
		dst = x.appendRateLimit(dst)
	}
	if x.cause == CauseUnauthorized {
		dst = append(dst, "WWW-Authenticate: "...)
		dst = append(dst, g.Basic.Challenge()...)
		dst = append(dst, '\r', '\n')
	}
	if g.CORS != nil {
		dst = g.CORS.AppendResponse(dst, x.req.Peek("origin"))
	}
	if g.Security != nil {
		dst = g.Security.Append(dst, (*gatedResponse)(x))
	}
	return dst
}

// appendOwnGateFields is appendGateFields for a response that no backend made.
func (x *exchange) appendOwnGateFields(dst []byte) []byte {
	x.gate.own = true
	return x.appendGateFields(dst)
}

// drops reports whether a field of a backend's response is left to the gate.
func (g *Gate) drops(name []byte) bool { return g.CORS.Drops(name) || g.Security.Drops(name) }

// gatedResponse is the response of an exchange as package browser sees it.
type gatedResponse exchange

// Sets reports whether the route itself has a word on a field, which is in lower case.
func (r *gatedResponse) Sets(name string) bool { return (*exchange)(r).sets(name) }

// Peek is the value of a field of the backend's response.
func (r *gatedResponse) Peek(name string) []byte {
	if r.gate.own {
		return nil
	}
	return r.resp.Peek(name)
}

// sets reports whether the route sets or removes a response field.
func (x *exchange) sets(name string) bool {
	if x.route.ResponseHeaders.Drops([]byte(name)) {
		return true
	}
	return x.route.Respond != nil && x.gate.own && slices.ContainsFunc(x.route.Respond.Headers, func(h rewrite.Header) bool { return strings.EqualFold(h.Name, name) })
}

// isPreflight reports whether a browser asks what it may ask.
func (x *exchange) isPreflight() bool {
	return string(x.req.Method) == "OPTIONS" && len(x.req.Peek("origin")) > 0 && len(x.req.Peek("access-control-request-method")) > 0
}

// preflight is what the browser announces.
func (x *exchange) preflight() (origin, method, headers []byte) {
	return x.req.Peek("origin"), x.req.Peek("access-control-request-method"), x.req.Peek("access-control-request-headers")
}

// answerPreflight says what is allowed.
func (x *exchange) answerPreflight(c *browser.CORSPolicy) {
	x.settleBody()
	x.beginAnswer(204)
	origin, method, headers := x.preflight()
	x.out = c.AppendPreflight(x.out, origin, method, headers)
	if x.gate.limited {
		x.out = x.appendRateLimit(x.out)
	}
	x.endAnswer(nil)
}

// appendRateLimit writes the fields of draft-ietf-httpapi-ratelimit-headers-11.
func (x *exchange) appendRateLimit(dst []byte) []byte {
	d := &x.gate.rate
	dst = append(dst, x.route.Gate.Rate.policy...)
	dst = strconv.AppendInt(dst, int64(d.Remaining), 10)
	if d.Wait > 0 {
		dst = append(dst, ";t="...)
		dst = strconv.AppendInt(dst, wholeSeconds(d.Wait), 10)
	}
	dst = append(dst, '\r', '\n')
	if !d.OK {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, wholeSeconds(d.Wait), 10)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// wholeSeconds is a time in seconds, rounded up.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Refused counts the requests that a gate of the route did not let in, by cause;
// causes that never were are left out.
func (s *RouteStats) Refused() []metrics.CauseCount {
	var counts []metrics.CauseCount
	for c := range s.refused {
		if n := s.refused[c].Load(); n > 0 {
			counts = append(counts, metrics.CauseCount{Cause: Cause(c).String(), Count: n})
		}
	}
	return counts
}

// refusal reports whether a cause says that a gate did what it is for, and
// nothing has failed.
func (c Cause) refusal() bool {
	switch c {
	case CauseDenied, CauseRateLimited, CauseCORS, CauseUnauthorized:
		return true
	}
	return false
}

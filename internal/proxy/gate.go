package proxy

import (
	"net/netip"
	"strconv"
	"time"

	"steelyard/balancer"
	"steelyard/internal/access"
	"steelyard/internal/metrics"
	"steelyard/internal/ratelimit"
)

// Gate is what a request has to pass before a route does anything with it, in
// the order of its fields. Each may be nil. It is immutable.
type Gate struct {
	Access *access.List
	Rate   *RateLimit
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
}

// pass reports whether the request may go on. If not, it has been answered.
func (x *exchange) pass(g *Gate) bool {
	cause, detail := x.refusal(g, (*ratelimit.Limiter).Take)
	if cause == CauseNone {
		return true
	}
	if s := x.route.Stats; s != nil {
		s.refused[cause].Add(1)
	}
	x.answerCause(cause, 0, detail)
	return false
}

// refusal is why the gate does not let the request in, CauseNone if it does.
// take counts the request, or only looks.
func (x *exchange) refusal(g *Gate, take func(*ratelimit.Limiter, uint64, time.Duration) ratelimit.Decision) (Cause, string) {
	if g.Access != nil && !g.Access.Allows(x.clientAddr()) {
		return CauseDenied, ""
	}
	if r := g.Rate; r != nil {
		if key, ok := x.rateKey(r); ok {
			x.gate.rate, x.gate.limited = take(r.Limiter, key, x.c.at), true
			if !x.gate.rate.OK {
				return CauseRateLimited, ""
			}
		}
	}
	return CauseNone, ""
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
	if x.gate.limited && !x.route.ResponseHeaders.Drops(rateLimitName) {
		dst = x.appendRateLimit(dst)
	}
	return dst
}

var rateLimitName = []byte("RateLimit")

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
	case CauseDenied, CauseRateLimited:
		return true
	}
	return false
}

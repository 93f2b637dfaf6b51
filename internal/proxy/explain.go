package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"steelyard/internal/explain"
	"steelyard/internal/pool"
	"steelyard/internal/wire"
)

// explanation is an exchange that is never sent. It goes the way of serve and
// forward, by the same functions, up to where a backend would be acquired; it
// counts nothing, takes no turn and keeps no binding alive.
type explanation struct {
	exchange
	answer explain.Answer
}

// Explain says what would become of a request under the generation in force. The
// error says what about the question makes no sense, or that the generation has
// just been replaced.
func (p *Proxy) Explain(q explain.Question) (explain.Answer, error) {
	return p.generation.Load().Explain(q)
}

// Explain says what would become of a request. Nobody is trusted to speak for the
// client: its address is the question's. The error says what about the question
// makes no sense, or that a pool of the generation is closed.
func (g *Generation) Explain(q explain.Question) (explain.Answer, error) {
	head, ip, err := q.Head()
	if err != nil {
		return explain.Answer{}, err
	}
	e := &explanation{}
	x := &e.exchange
	x.gen, x.index, x.scratch = g, -1, newScratch()
	x.c = explainedClient(g, ip)
	x.req = &x.c.req
	x.affine.peeks = true
	if err := x.req.Parse(head); err != nil {
		e.refuse(err)
		return e.answer, nil
	}
	if len(g.Trusted) > 0 {
		e.answer.Notes = append(e.answer.Notes, "trusted_proxies are not applied: the client is client_ip, whatever the headers say")
	}
	if len(x.req.Host) == 0 {
		e.answer.Notes = append(e.answer.Notes, "the question names no host, so no route that wants one takes it")
	}
	if !e.routed() {
		return e.answer, nil
	}
	if g := x.route.Gate; g != nil && !e.passes(g) {
		return e.answer, nil
	}
	err = e.decide()
	return e.answer, err
}

// explainedClient is the connection of a client that nobody trusts.
func explainedClient(g *Generation, ip netip.Addr) *clientConn {
	name, l := "{listener}", &Listener{}
	l.name.Store(&name)
	return &clientConn{listener: l, peer: ip, peerText: ip.AppendTo(nil), trustedBy: g}
}

// fail gives the answer the error that the client would get.
func (e *explanation) fail(c Cause, status int, why string) {
	if status == 0 {
		status = causes[c].status
	}
	e.answer.Cause, e.answer.Status, e.answer.Why = c.String(), status, why
}

// refuse is for a head that no listener accepts.
func (e *explanation) refuse(err error) {
	var we *wire.Error
	if !errors.As(err, &we) {
		e.fail(CauseBadRequest, 0, err.Error())
		return
	}
	e.fail(headCause(we.Status), we.Status, we.Reason)
}

// routed finds the route, and reports whether there is one.
func (e *explanation) routed() bool {
	x := &e.exchange
	sent := x.req.Path
	i, why := x.findRoute()
	if len(x.read) > 0 && !bytes.Equal(sent, x.req.Path) {
		e.answer.Notes = append(e.answer.Notes, fmt.Sprintf("the path is routed and forwarded in its normal form, %s", x.req.Path))
	}
	if why != "" {
		e.fail(CauseBadRequest, 0, why)
		return false
	}
	steps := x.gen.Table.Explain(&x.match)
	e.answer.TriedLeft = steps.Left
	for _, s := range steps.Steps {
		r := x.gen.Routes[s.Index]
		e.answer.Tried = append(e.answer.Tried, explain.RouteStep{Route: r.Name, Line: r.Line, Why: s.Why})
	}
	if i < 0 {
		e.fail(CauseNoRoute, 0, causes[CauseNoRoute].hint)
		return false
	}
	x.route = x.gen.Routes[i]
	e.answer.Route, e.answer.RouteLine = x.route.Name, x.route.Line
	return true
}

// decide says what the route does with the request.
func (e *explanation) decide() error {
	x, a := &e.exchange, &e.answer
	switch r := x.route; {
	case r.Redirect != nil:
		a.Action, a.Status = "redirect", r.Redirect.Status
		a.Redirect = string(r.Redirect.To.AppendHeader(nil, x))
		return nil
	case r.Respond != nil:
		a.Action, a.Status = "respond", r.Respond.Status
		return nil
	case r.Split != nil:
		a.Action = "split"
	default:
		a.Action = "pool"
	}
	x.target = x.chooseTarget()
	if x.route.Split != nil {
		a.Split = e.branch()
	}
	a.Pool = x.target.Pool.Name()
	x.key = x.hashKey()
	a.Key = e.key()
	x.snap = x.target.Pool.Snapshot()
	e.findBackend()
	a.Affinity = e.binding()
	return e.candidates()
}

// findBackend finds the backend as tryAcquire does, or says why there is none.
func (e *explanation) findBackend() {
	x, a := &e.exchange, &e.answer
	p := x.target.Pool
	x.index = x.choose()
	switch size := p.QueueSize(); {
	case !p.Admits() && size == 0:
		e.fail(CauseOverloaded, 0, causes[CauseOverloaded].hint)
	case !p.Admits() && p.Waiting() >= size:
		e.fail(CauseQueueFull, 0, causes[CauseQueueFull].hint)
	case !p.Admits():
		a.Why = fmt.Sprintf("the pool is at its limit of requests; it would wait in the queue for at most %v, behind %d others", p.QueueTimeout(), p.Waiting())
	case x.index >= 0:
		if n := p.Waiting(); n > 0 {
			a.Notes = append(a.Notes, fmt.Sprintf("%d requests wait in the queue and come first", n))
		}
	case !x.mayWait():
		e.fail(CauseNoBackend, 0, x.snap.Why())
	case p.Waiting() >= size:
		e.fail(CauseQueueFull, 0, causes[CauseQueueFull].hint)
	default:
		a.Why = fmt.Sprintf("every backend that could take it is at its limit; it would wait in the queue for at most %v, behind %d others", p.QueueTimeout(), p.Waiting())
	}
	if x.index >= 0 {
		a.Backend = x.endpoint().Address
	}
	a.Sends = e.sends()
}

// sends is the request line as the backend would get it.
func (e *explanation) sends() string {
	x := &e.exchange
	ep := &pool.Endpoint{Address: "{backend}"}
	if x.index >= 0 {
		ep = x.endpoint()
	}
	line, _, _ := bytes.Cut(x.appendRequestHead(nil, ep), []byte("\r\n"))
	return string(line)
}

// key says what the policy hashes.
func (e *explanation) key() string {
	x := &e.exchange
	if x.target.Key.Source == "" {
		return ""
	}
	v := x.keyValue()
	if len(v) == 0 {
		return x.target.Key.String() + ": the request has none and is spread at random"
	}
	return x.target.Key.String() + ": " + strconv.Quote(string(v))
}

// candidates asks the pool about each of its backends.
func (e *explanation) candidates() error {
	x := &e.exchange
	bound := -1
	if x.affine.looked {
		bound = x.affine.bound
	}
	asked := pool.Asked{Key: x.key, Keyed: x.target.Key.Source != "" && len(x.keyValue()) > 0, BoundTo: bound, Chosen: x.index}
	in, err := x.target.Pool.Explain(x.snap, asked)
	e.answer.Policy = in.Policy
	for _, c := range in.Candidates {
		e.answer.Candidates = append(e.answer.Candidates, explain.Candidate(c))
	}
	if x.snap.FailOpen && x.index >= 0 {
		e.answer.Why = "no backend is healthy, so those that may be worth a try are all used: " + in.WhyNone
	}
	return err
}

// branch says how the branch of a split was chosen.
func (e *explanation) branch() string {
	x := &e.exchange
	sp := x.route.Split
	weight := sp.weight(x.target)
	drawn := fmt.Sprintf("drawn by weight, %d of %d", weight, sp.bounds[len(sp.bounds)-1])
	switch s := sp.Sticky; {
	case s == nil:
		return drawn + "; another request may be drawn for another pool"
	case s.Header != nil:
		if v := x.req.Peek(s.Header.Name); len(v) > 0 {
			return fmt.Sprintf("by the header %s, which is %q", s.Header.Name, v)
		}
		return fmt.Sprintf("%s; the request has no header %s to be known by", drawn, s.Header.Name)
	case s.ClientIP != nil:
		return fmt.Sprintf("by the client's address %s", x.clientIP())
	default:
		if id := x.cookie(s.Cookie.Name); string(id) == x.target.ID {
			return "by the cookie " + s.Cookie.Name
		}
		return fmt.Sprintf("%s; the cookie %s would be set to keep it", drawn, s.Cookie.Name)
	}
}

// weight is the weight of a branch.
func (s *Split) weight(t *Target) uint32 {
	before := uint32(0)
	for i, to := range s.To {
		if to == t {
			return s.bounds[i] - before
		}
		before = s.bounds[i]
	}
	return 0
}

// binding says whether and how the client is bound.
func (e *explanation) binding() string {
	x, a := &e.exchange, &e.exchange.affine
	s := x.target.Sticky
	if s == nil {
		return ""
	}
	how, known := "", true
	switch {
	case s.Cookie != nil:
		how = "the cookie " + s.Cookie.Name
		known = x.cookie(s.Cookie.Name) != nil
	case s.Header != nil:
		how = "the header " + s.Header.Name
		known = len(x.req.Peek(s.Header.Name)) > 0
	default:
		how = fmt.Sprintf("the client's address %s", x.clientIP())
	}
	switch {
	case !known && s.Header != nil:
		return "not bound: the request has no header " + s.Header.Name
	case !known:
		return "not bound yet: the request has no cookie " + s.Cookie.Name + "; the response would set it"
	case a.bound < 0 && s.Cookie != nil:
		return "not bound: " + how + " names no backend that is there; the response would set it anew"
	case a.bound < 0:
		return "not bound yet: " + how + " would be bound to the backend that answers"
	}
	to := x.snap.Endpoints[a.bound].Address
	switch {
	case a.bound == x.index:
		return "bound to " + to + " by " + how
	case a.full:
		return "bound to " + to + " by " + how + ", and waits for it: it is at its limit"
	case a.keep:
		return "bound to " + to + " by " + how + ", which is at its limit: another serves this request, the binding stays"
	}
	return "was bound to " + to + " by " + how + ", which does not keep its clients now: it would be bound anew"
}

package pool

import (
	"fmt"
	"strings"
	"time"

	"steelyard/balancer"
)

// Candidate is one backend for a request that is not sent, and why it would get
// it or not.
type Candidate struct {
	Address string
	Chosen  bool
	State   string // as in BackendStatus
	// Share is the part of new requests, 0 to 1, that the backend is meant to
	// get at this moment: by its weight, its slow start and who else is usable.
	// With hash policies it is a share of the keys.
	Share float64
	Why   string
}

// Asked is the request that Pool.Explain looks at.
type Asked struct {
	Key     uint64 // the hash of its key
	Keyed   bool   // it has what the policy hashes
	BoundTo int    // the index of the backend its client is bound to, -1 if none
	Chosen  int    // the index of the backend it would get, -1 if none
}

// Peek is Pick without taking a turn; see balancer.Peek.
func (s *Snapshot) Peek(key uint64, t *Tried) int {
	if i := balancer.Peek(s.primary, key, &t.primary); i >= 0 {
		return i
	}
	if s.backup != nil {
		if i := balancer.Peek(s.backup, key, &t.backup); i >= 0 {
			return i + s.primaries
		}
	}
	return -1
}

// Explanation is what a pool does with a request that is not sent.
type Explanation struct {
	Policy     string
	Candidates []Candidate // in the order of the snapshot
	// WhyNone says why no backend is healthy; "" while one is.
	WhyNone string
}

// Explain says of every backend of s why it would get a request or not. It asks
// the writer and looks at every backend, so it is for people; it leaves no trace
// in the pool.
func (p *Pool) Explain(s *Snapshot, a Asked) (e Explanation, err error) {
	err = p.command(func(w *writer) error {
		e.Policy, e.Candidates = w.opts.Policy.Policy, w.explain(s, a, time.Now())
		if s.FailOpen || s.why != "" {
			e.WhyNone = w.why()
		}
		return nil
	})
	return e, err
}

// QueueSize is how many requests may wait in the queue.
func (p *Pool) QueueSize() int {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	return p.queue.size
}

func (w *writer) explain(s *Snapshot, a Asked, now time.Time) []Candidate {
	c := w.contest(s, a)
	all := make([]Candidate, len(s.Endpoints))
	for i, e := range s.Endpoints {
		all[i] = Candidate{Address: e.Address, State: e.verdict.String(), Chosen: i == a.Chosen, Why: c.why(i, e, now), Share: c.part(i)}
	}
	return all
}

// A contest is the choice among the backends of one snapshot.
type contest struct {
	*Snapshot
	Asked
	policy  string
	owner   int       // of the key, -1 if there is none
	serving int       // the group that new requests go to: 0 primaries, 1 backups
	sums    [2]int64  // of the shares of each group
	mixed   [2]bool   // the weights of the group differ
	arcs    []float64 // on the ring of the group that serves, by place in the group; nil: it goes by weight
}

func (w *writer) contest(s *Snapshot, a Asked) *contest {
	c := &contest{Snapshot: s, Asked: a, policy: w.opts.Policy.Policy, owner: -1}
	if a.Keyed {
		c.owner = balancer.Owner(s.primary, a.Key)
	}
	serves, primaries := s.primary, false
	var weights [2]int
	for i := range s.members {
		if m, g := &s.members[i], c.group(i); c.takes(i) {
			c.sums[g] += share(m)
			c.mixed[g] = c.mixed[g] || weights[g] > 0 && weights[g] != m.Weight
			weights[g] = m.Weight
			primaries = primaries || g == 0 && !c.atLimit(i)
		}
	}
	if !primaries && c.sums[1] > 0 {
		c.serving, serves = 1, s.backup
		if a.Keyed {
			c.owner = balancer.Owner(s.backup, a.Key)
			if c.owner >= 0 {
				c.owner += s.primaries
			}
		}
	}
	c.arcs = balancer.Shares(serves)
	return c
}

// part is the share of new requests that backend i is meant to get.
func (c *contest) part(i int) float64 {
	switch {
	case c.group(i) != c.serving || !c.takes(i):
		return 0
	case c.arcs != nil:
		return c.arcs[i-c.serving*c.primaries]
	}
	return float64(share(&c.members[i])) / float64(c.sums[c.serving])
}

// share is what a backend weighs among the others, in hundredths.
func share(m *balancer.Member) int64 {
	if m.Ramp > 0 {
		return int64(m.Weight) * int64(m.Ramp)
	}
	return int64(m.Weight) * 100
}

// takes reports whether a backend gets new requests, but for its limit.
func (c *contest) takes(i int) bool {
	m := &c.members[i]
	return i < c.pickable && !m.Down && m.Weight > 0
}

func (c *contest) group(i int) int {
	if i < c.primaries {
		return 0
	}
	return 1
}

// why is the word on backend i.
func (c *contest) why(i int, e *Endpoint, now time.Time) string {
	out := c.out(i, e, now)
	switch {
	case i == c.BoundTo && i == c.Chosen && out != "":
		return "the client is bound to it; otherwise: " + out
	case i == c.BoundTo && i == c.Chosen:
		return "the client is bound to it"
	case i == c.owner && out != "" && i != c.Chosen:
		return "owner of the key, but " + out
	case out != "":
		return out
	case c.Chosen >= 0 && c.Chosen == c.BoundTo:
		return c.sharing(i) + "; but the client is bound to another"
	}
	why := c.byPolicy(i, e)
	if c.group(i) == 1 {
		why = "backup, as no primary can take it: " + why
	}
	if c.FailOpen {
		why = "no backend is healthy, so all are used; this one is " + stateOf(e) + "; " + why
	}
	return why
}

// stateOf is a backend's state, and the reason of it.
func stateOf(e *Endpoint) string {
	if because := e.explain(); because != "" {
		return e.verdict.String() + " (" + because + ")"
	}
	return e.verdict.String()
}

// out says why backend i gets no new request at all, whatever the policy; "" if
// it could.
func (c *contest) out(i int, e *Endpoint, now time.Time) string {
	m := &c.members[i]
	switch {
	case i >= c.pickable:
		return "has left: it keeps only bound clients"
	case m.Down:
		return whyDown(e, now)
	case m.Weight == 0:
		return "weight 0: it keeps only bound clients"
	case c.atLimit(i):
		return fmt.Sprintf("at its limit of %d requests in flight", m.Limit)
	case c.group(i) == 1 && c.serving == 0 && i != c.Chosen:
		return "backup: a primary is usable"
	}
	return ""
}

func whyDown(e *Endpoint, now time.Time) string {
	because := e.explain()
	if because != "" {
		because = ": " + because
	}
	switch v := e.verdict; {
	case v.usable():
		return "has just become " + v.String()
	case v == verdictDraining && e.drain != nil && e.drain.over:
		return "drained" + because + "; the time for bound clients is over"
	case v == verdictDraining:
		return "draining" + because + "; it keeps only bound clients"
	case v == verdictDisabled:
		return strings.TrimPrefix(because, ": ")
	case v == verdictEjected:
		return "ejected" + because + until(e.record.Until(), now)
	case v == verdictUnreachable:
		return "unreachable" + because + until(e.heldUntil, now)
	default:
		return v.String() + because
	}
}

// until says how long something still lasts; "" when that is over.
func until(end, now time.Time) string {
	if left := end.Sub(now).Round(100 * time.Millisecond); left > 0 {
		return fmt.Sprintf("; for %v more", left)
	}
	return ""
}

// sharing is what a backend that can be chosen gets of new requests.
func (c *contest) sharing(i int) string {
	return fmt.Sprintf("%s, gets %.3g %% of new requests", c.health(i), 100*c.part(i))
}

func (c *contest) health(i int) string {
	if r := c.members[i].Ramp; r > 0 {
		return fmt.Sprintf("starts slowly (%d %% of its weight)", r)
	}
	return c.Endpoints[i].verdict.String()
}

// byPolicy says why the policy chooses backend i, which could be chosen, or not.
func (c *contest) byPolicy(i int, e *Endpoint) string {
	chosen := i == c.Chosen
	switch c.policy {
	case "consistent_hash", "maglev":
		return c.byKey(i, chosen)
	case "least_connections":
		return c.byLoad(i, chosen)
	case "least_time":
		return c.byTime(i, chosen, e)
	case "power_of_two":
		return fmt.Sprintf("%s; %s: of two that are drawn, the one with fewer in flight gets it; %d in flight",
			c.sharing(i), either(chosen, "one that could get it", "could be drawn"), e.Backend.InFlight())
	case "random":
		return c.sharing(i) + either(chosen, "; one that could be drawn", "; could be drawn")
	}
	turns, of := c.turns(i)
	return fmt.Sprintf("%s; %s: %d of %d", c.health(i), either(chosen, "its turn is next", "its turn will come"), turns, of)
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// turns is the share of backend i as a fraction in lowest terms.
func (c *contest) turns(i int) (turns, of int64) {
	turns, of = share(&c.members[i]), max(1, c.sums[c.group(i)])
	a, b := turns, of
	for b != 0 {
		a, b = b, a%b
	}
	return turns / a, of / a
}

func (c *contest) byKey(i int, chosen bool) string {
	switch {
	case !c.Keyed:
		return c.sharing(i) + either(chosen, "; the request has no key and goes to one at random", "; the request has no key")
	case chosen && i == c.owner:
		return "healthy, owner of the key"
	case chosen && c.owner >= 0:
		return fmt.Sprintf("%s, next for the key; its owner %s does not take it", c.health(i), c.Endpoints[c.owner].Address)
	case i != c.owner:
		return c.health(i) + ", does not own the key"
	case c.members[i].Ramp > 0:
		return "owner of the key, which it does not take yet while it " + c.health(i)
	}
	return fmt.Sprintf("owner of the key, but above its share of the load (load_factor); %d in flight", c.Endpoints[i].Backend.InFlight())
}

func (c *contest) byLoad(i int, chosen bool) string {
	n := c.Endpoints[i].Backend.InFlight()
	per := ""
	if c.mixed[c.group(i)] {
		per = fmt.Sprintf(" for its weight of %d", c.members[i].Weight)
	}
	how := "has the least requests in flight" + per
	switch {
	case c.members[i].Ramp > 0:
		how = either(chosen, "its turn is next", "its turn will come")
	case chosen || c.Chosen < 0:
	case n*int64(c.members[c.Chosen].Weight) > c.Endpoints[c.Chosen].Backend.InFlight()*int64(c.members[i].Weight):
		how = "has more requests in flight" + per
	default:
		how = "has as few requests in flight" + per + ", its turn will come"
	}
	return fmt.Sprintf("%s, %s (%d)", c.health(i), how, n)
}

func (c *contest) byTime(i int, chosen bool, e *Endpoint) string {
	how := either(chosen, "expected to answer first", "another is expected to answer sooner")
	took := "has not answered yet"
	if first := e.Backend.FirstByte(); first > 0 {
		took = fmt.Sprintf("takes %v to the first byte", first.Round(10*time.Microsecond))
	}
	return fmt.Sprintf("%s, %s: %s, %d in flight", c.health(i), how, took, e.Backend.InFlight())
}

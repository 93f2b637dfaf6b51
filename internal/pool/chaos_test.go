package pool

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/internal/outlier"
)

// chaos does to a pool, in any order, whatever can be done to one.
type chaos struct {
	*lab
	r       *rand.Rand
	flights []flight
	known   map[string]*Endpoint // all that the writer kept after the last event
	what    string               // the last event
}

// flight is a request on a backend.
type flight struct {
	s *Snapshot
	i int
	e *Endpoint
}

const chaosBackends = 8

func (c *chaos) address() string { return fmt.Sprintf("a%d", c.r.IntN(chaosBackends)) }

func (c *chaos) coin() bool { return c.r.IntN(2) == 0 }

// options are any that are valid.
func (c *chaos) options() Options {
	names := balancer.Names()
	o := c.o
	o.Policy = balancer.Options{Policy: names[c.r.IntN(len(names))]}
	if o.Policy.Hashes() {
		o.Policy.Key = balancer.Key{Source: "client_ip"}
	}
	o.Backends = nil
	for k := range c.r.IntN(4) {
		o.Backends = append(o.Backends, BackendOptions{Address: fmt.Sprintf("a%d", k), Weight: c.r.IntN(3), Backup: c.r.IntN(4) == 0, MaxConnections: c.r.IntN(3)})
	}
	o.Reject, o.SlowStart = c.coin(), time.Duration(c.r.IntN(2))*5*time.Second
	o.DrainTimeout = time.Duration(c.r.IntN(2)) * 10 * time.Second
	o.MaxConnections = c.r.IntN(3)
	o.Outlier = outlier.DefaultOptions()
	o.Outlier.Off, o.Outlier.FailureShare = c.coin(), float64(c.r.IntN(2))/2
	if o.Sticky = nil; c.coin() {
		l := &lab{}
		cookies(l)
		o.Sticky = l.o.Sticky
	}
	if o.Check = nil; c.r.IntN(4) > 0 {
		l := &lab{}
		checked(l)
		l.o.Check.Rise = 1 + c.r.IntN(2)
		o.Check = l.o.Check
	}
	return o
}

func (c *chaos) members() []discovery.Member {
	var all []discovery.Member
	for k := range chaosBackends {
		if c.coin() {
			all = append(all, discovery.Member{
				Address: fmt.Sprintf("a%d", k), Weight: c.r.IntN(4), Backup: c.r.IntN(4) == 0,
				MaxConnections: c.r.IntN(3), State: discovery.State(max(0, c.r.IntN(7)-4)),
			})
		}
	}
	return all
}

// traffic is one event of requests.
func (c *chaos) traffic() {
	s := c.Snapshot()
	if len(s.Endpoints) == 0 {
		return
	}
	e := s.Endpoints[c.r.IntN(len(s.Endpoints))]
	switch c.r.IntN(5) {
	case 0:
		c.what = "failures of " + e.Address
		for range 6 {
			c.Answered(e, 502)
		}
	case 1:
		c.what = "success of " + e.Address
		c.Answered(e, 200)
	case 2:
		c.what = "failed dial of " + e.Address
		c.ConnectFailed(e)
	case 3:
		c.what = "dial of " + e.Address
		c.Connected(e)
	default:
		c.what = "request"
		if i := s.Pick(c.r.Uint64(), &Tried{}); i >= 0 && s.Acquire(i) {
			c.flights = append(c.flights, flight{s, i, s.Endpoints[i]})
		}
	}
}

// event does one thing.
func (c *chaos) event() {
	a := c.address()
	ordered := func(what string, err error) {
		if c.what = what + " " + a; err != nil && !errors.Is(err, ErrNoBackend) {
			c.Fatal(err)
		}
	}
	switch c.r.IntN(14) {
	case 0, 1:
		c.what = "members"
		c.src.set(c.members())
	case 2:
		c.what = "source fails"
		c.src.fail(errors.New("no answer"))
	case 3:
		c.what = "options"
		apply(c.T, c.Pool, c.options())
	case 4:
		is := []string{"up", "down", "hangs", "slow"}[c.r.IntN(4)]
		c.what = "check " + is + " " + a
		c.probe.put(a, is)
	case 5:
		ordered("drain", c.Drain(a, time.Duration(c.r.IntN(2))*3*time.Second))
	case 6:
		ordered("disable", c.Disable(a))
	case 7, 8:
		ordered("enable", c.Enable(a))
	case 9:
		ordered("weight", c.SetWeight(a, c.r.IntN(4)-1))
	case 10:
		c.what = "release of the held"
		if _, err := c.ReleaseHeld(); err != nil {
			c.Fatal(err)
		}
	case 11:
		c.what = "end of a request"
		if n := len(c.flights); n > 0 {
			k := c.r.IntN(n)
			f := c.flights[k]
			c.flights = append(c.flights[:k], c.flights[k+1:]...)
			c.Release(f.s, f.i)
		}
	default:
		c.traffic()
	}
	settle()
	if c.coin() {
		c.after(time.Duration(c.r.IntN(4000)) * time.Millisecond)
	}
}

// inspect holds the pool to what must always be so. It runs in the writer's
// goroutine, so that nothing changes meanwhile.
func (c *chaos) inspect(w *writer) error {
	s, now := c.Snapshot(), time.Now()
	room, candidates, out := false, 0, 0
	for i, e := range s.Endpoints[:s.pickable] {
		m := s.members[i]
		if m.Weight == 0 || s.atLimit(i) {
			continue
		}
		room = room || e.verdict.usable()
		waits := e.verdict == verdictChecking && now.Sub(e.since) <= startLimit+sweepEvery
		if !e.verdict.ordered() && !waits && (!w.opts.Reject || e.verdict == verdictUnreachable) {
			candidates++
		}
		if m.Ramp < 0 || m.Ramp > 99 {
			return fmt.Errorf("%s has the ramp %d", e.Address, m.Ramp)
		}
	}
	for i := range s.pickable {
		if s.members[i].Weight > 0 && s.Endpoints[i].verdict.usable() {
			out++ // not all are out, though those that are not may be full
		}
	}
	for range 30 {
		i := s.Pick(c.r.Uint64(), &Tried{})
		if i < 0 {
			if room || candidates > 0 && out == 0 {
				return fmt.Errorf("nobody is picked; room %v, %d candidates, why: %s", room, candidates, s.why)
			}
			continue
		}
		e := s.Endpoints[i]
		switch {
		case s.members[i].Weight == 0, e.verdict.ordered(), !e.here:
			return fmt.Errorf("%s is picked, which is %v with weight %d", e.Address, e.verdict, s.members[i].Weight)
		case !e.verdict.usable() && room:
			return fmt.Errorf("%s is picked, which is %v, and others are usable", e.Address, e.verdict)
		case !e.verdict.usable() && (!s.FailOpen || w.opts.Reject && e.verdict != verdictUnreachable):
			return fmt.Errorf("%s is picked, which is %v, and the pool is not open", e.Address, e.verdict)
		}
	}
	return errors.Join(c.inspectFlights(w), c.inspectEndpoints(w))
}

func (c *chaos) inspectFlights(w *writer) error {
	load := map[*Endpoint]int64{}
	for _, f := range c.flights {
		load[f.e]++
	}
	for e, n := range load {
		if e.Backend.InFlight() != n {
			return fmt.Errorf("%s has %d in flight, want %d", e.Address, e.Backend.InFlight(), n)
		}
		if w.endpoints[e.Address] != e {
			return fmt.Errorf("%s is forgotten with %d in flight", e.Address, n)
		}
	}
	return nil
}

func (c *chaos) inspectEndpoints(w *writer) error {
	for address, e := range c.known {
		switch now := w.endpoints[address]; {
		case now == e:
		case now != nil:
			return fmt.Errorf("%s is another endpoint than before", address)
		case e.checked.Check != nil && !e.checked.Next().IsZero():
			return fmt.Errorf("%s is forgotten, and checked", address)
		case e.Conns.Open() != 0:
			return fmt.Errorf("%s is forgotten, and has connections", address)
		}
	}
	for address, e := range w.endpoints {
		if checked := e.checked.Check != nil; checked != (w.opts.Check != nil) {
			return fmt.Errorf("%s: checked %v", address, checked)
		}
	}
	c.known = maps.Clone(w.endpoints)
	return nil
}

// TestChaos: whatever happens, in whatever order, what must always be so is so.
// A failure names its seed.
func TestChaos(t *testing.T) {
	rounds := 25
	if testing.Short() || raceEnabled {
		rounds = 6
	}
	for range rounds {
		seed := rand.Uint64()
		inLab(t, 3, all(checked, sourced, judged, slowly), func(l *lab) {
			c := &chaos{lab: l, r: rand.New(rand.NewPCG(seed, 0))}
			for k := range 300 {
				c.event()
				if err := l.command(c.inspect); err != nil {
					t.Fatalf("seed %d, event %d (%s): %v", seed, k, c.what, err)
				}
			}
			for _, f := range c.flights {
				l.Release(f.s, f.i)
			}
		})
	}
}

package pool

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/internal/sticky"
)

// explained asks of whom a request without key and binding would come to.
func (l *lab) explained(a Asked) map[string]Candidate {
	l.Helper()
	e, err := l.Explain(l.Snapshot(), a)
	if err != nil {
		l.Fatal(err)
	}
	by := map[string]Candidate{}
	for _, c := range e.Candidates {
		by[c.Address] = c
	}
	return by
}

// next is a request of a client that is not bound.
func (l *lab) next(key uint64) Asked {
	return Asked{Key: key, Keyed: key != 0, BoundTo: -1, Chosen: l.Snapshot().Peek(key, &Tried{})}
}

func (l *lab) wantWhy(c Candidate, state, why string) {
	l.Helper()
	if c.State != state || !strings.Contains(c.Why, why) {
		l.Errorf("%s is %s: %q; want %s: %q", c.Address, c.State, c.Why, state, why)
	}
}

func TestExplainSaysWhoIsOut(t *testing.T) {
	inLab(t, 7, all(checked, func(l *lab) {
		l.probe.put("b1", "down")
		l.o.Backends[2].Weight = 0
		l.o.Backends[3].MaxConnections = 2
		l.o.Backends[6].Backup = true
	}), func(l *lab) {
		l.after(3 * time.Second)
		l.do(l.Drain("b4", time.Minute))
		l.do(l.Disable("b5"))
		for range 2 {
			l.e("b3").Backend.Acquire(0)
			defer l.e("b3").Backend.Release()
		}
		c := l.explained(l.next(0))
		l.wantWhy(c["b0"], "healthy", "its turn is next: 1 of 2")
		l.wantWhy(c["b1"], "unhealthy", "unhealthy: status 500, expected 200 to 399")
		l.wantWhy(c["b2"], "healthy", "weight 0: it keeps only bound clients")
		l.wantWhy(c["b3"], "healthy", "at its limit of 2")
		l.wantWhy(c["b4"], "draining", "draining: drained by the operator; it keeps only bound clients")
		l.wantWhy(c["b5"], "disabled", "disabled by the operator")
		l.wantWhy(c["b6"], "healthy", "backup: a primary is usable")
		if !c["b0"].Chosen || c["b0"].Share != 0.5 || c["b3"].Share != 0.5 || c["b6"].Share != 0 || c["b1"].Share != 0 {
			t.Errorf("shares: %v", c)
		}
		l.do(l.Disable("b0"))
		c = l.explained(l.next(0))
		l.wantWhy(c["b6"], "healthy", "backup, as no primary can take it: healthy; its turn is next: 1 of 1")
		if !c["b6"].Chosen || c["b6"].Share != 1 {
			t.Errorf("the backup: %+v", c["b6"])
		}
	})
}

func TestExplainFailOpenAndUnreachable(t *testing.T) {
	inLab(t, 2, nil, func(l *lab) {
		l.ConnectFailed(l.e("b0"))
		settle()
		l.wantWhy(l.explained(l.next(0))["b0"], "unreachable", "unreachable: connections to it fail; for ")
		l.ConnectFailed(l.e("b1"))
		settle()
		c := l.explained(l.next(0))
		l.wantWhy(c["b1"], "unreachable", "no backend is healthy, so all are used; this one is unreachable (connections to it fail); unreachable; its turn")
	})
}

// For every policy: the explanation chooses somebody who is usable, the shares
// add up to 1, every backend has a reason, and nothing has been disturbed.
func TestExplainEveryPolicy(t *testing.T) {
	for _, name := range balancer.Names() {
		t.Run(name, func(t *testing.T) {
			inLab(t, 5, func(l *lab) {
				l.o.Policy = balancer.Options{Policy: name}
				if l.o.Policy.Hashes() {
					l.o.Policy.Key = balancer.Key{Source: "client_ip"}
				}
				for i := range l.o.Backends {
					l.o.Backends[i].Weight = i // b0 has none
				}
			}, func(l *lab) {
				l.do(l.Disable("b4"))
				for k := range uint64(100) {
					l.explainOne(name, balancer.Hash(fmt.Append(nil, "k", k)))
				}
			})
		})
	}
}

func (l *lab) explainOne(policy string, key uint64) {
	l.Helper()
	a := l.next(key)
	sum, chosen := 0.0, ""
	for address, c := range l.explained(a) {
		sum += c.Share
		if c.Chosen {
			chosen = address
		}
		if c.Why == "" || c.Chosen && (address == "b0" || address == "b4") {
			l.Fatalf("%+v", c)
		}
	}
	if math.Abs(sum-1) > 1e-9 || chosen == "" {
		l.Fatalf("chose %q; the shares are %v in all", chosen, sum)
	}
	s := l.Snapshot()
	i := s.Pick(key, &Tried{})
	if policy != "random" && policy != "power_of_two" && s.Endpoints[i].Address != chosen {
		l.Fatalf("Explain chose %s, then Pick %s", chosen, s.Endpoints[i].Address)
	}
}

func TestExplainOwners(t *testing.T) {
	inLab(t, 3, func(l *lab) {
		l.o.Policy = balancer.Options{Policy: "consistent_hash", Key: balancer.Key{Source: "client_ip"}}
	}, func(l *lab) {
		a := l.next(42)
		owner := l.Snapshot().Endpoints[a.Chosen].Address
		c := l.explained(a)
		l.wantWhy(c[owner], "healthy", "owner of the key")
		for address, other := range c {
			if address != owner {
				l.wantWhy(other, "healthy", "does not own the key")
			}
		}
		l.do(l.Disable(owner))
		a = l.next(42)
		heir := l.Snapshot().Endpoints[a.Chosen].Address
		c = l.explained(a)
		l.wantWhy(c[owner], "disabled", "owner of the key, but disabled by the operator")
		l.wantWhy(c[heir], "healthy", "next for the key; its owner "+owner+" does not take it")
		a.Keyed = false
		l.wantWhy(l.explained(a)[heir], "healthy", "the request has no key and goes to one at random")
	})
}

// With all primaries at their limit a backup takes over, if there is one to.
func TestExplainFullPrimaries(t *testing.T) {
	inLab(t, 3, func(l *lab) {
		l.o.Policy = balancer.Options{Policy: "consistent_hash", Key: balancer.Key{Source: "client_ip"}}
		l.o.Backends[0].MaxConnections, l.o.Backends[1].MaxConnections, l.o.Backends[2].Backup = 1, 1, true
	}, func(l *lab) {
		owner := l.Snapshot().Endpoints[l.next(42).Chosen].Address
		for _, address := range []string{"b0", "b1"} {
			b := l.e(address).Backend
			b.Acquire(0)
			defer b.Release()
		}
		c := l.explained(l.next(42))
		l.wantWhy(c["b0"], "healthy", "at its limit of 1")
		l.wantWhy(c["b2"], "healthy", "backup, as no primary can take it: healthy, owner of the key")
		if c["b2"].Share != 1 || c["b0"].Share != 0 {
			t.Errorf("shares: %v", c)
		}
		l.do(l.Disable("b2"))
		a := l.next(42)
		c = l.explained(a)
		l.wantWhy(c[owner], "healthy", "owner of the key, but at its limit of 1")
		if a.Chosen != -1 || c["b0"].Share+c["b1"].Share < 0.999 {
			t.Errorf("chosen %d, shares: %v", a.Chosen, c)
		}
	})
}

func TestExplainLeastConnections(t *testing.T) {
	inLab(t, 3, func(l *lab) { l.o.Policy.Policy = "least_connections" }, func(l *lab) {
		for i, n := range []int{2, 1, 1} {
			for range n {
				b := l.e(fmt.Sprint("b", i)).Backend
				b.Acquire(0)
				defer b.Release()
			}
		}
		a := l.next(0)
		chosen, other := "b1", "b2"
		if l.Snapshot().Endpoints[a.Chosen].Address == "b2" {
			chosen, other = other, chosen
		}
		c := l.explained(a)
		l.wantWhy(c[chosen], "healthy", "has the least requests in flight (1)")
		l.wantWhy(c[other], "healthy", "has as few requests in flight, its turn will come (1)")
		l.wantWhy(c["b0"], "healthy", "has more requests in flight (2)")
		l.do(l.SetWeight("b0", 4))
		c = l.explained(l.next(0))
		l.wantWhy(c["b0"], "healthy", "has the least requests in flight for its weight of 4 (2)")
		l.wantWhy(c["b1"], "healthy", "has more requests in flight for its weight of 1 (1)")
	})
}

func TestExplainBoundClients(t *testing.T) {
	inLab(t, 2, all(sourced, func(l *lab) {
		l.o.Sticky = &sticky.Options{Cookie: &sticky.Cookie{Name: "sy"}}
		l.o.DrainTimeout = time.Minute
	}), func(l *lab) {
		l.tell("s0", "s1", "s2")
		l.do(l.Drain("b1", time.Minute))
		l.tell("s1", "s2")
		l.after(time.Second)
		s := l.Snapshot()
		for _, tc := range []struct{ bound, state, why string }{
			{"b0", "healthy", "the client is bound to it"},
			{"b1", "draining", "the client is bound to it; otherwise: draining: drained by the operator; it keeps only bound clients"},
		} {
			i := index(s, tc.bound)
			c := l.explained(Asked{BoundTo: i, Chosen: i})
			l.wantWhy(c[tc.bound], tc.state, tc.why)
		}
		i := index(s, "b1")
		l.wantWhy(l.explained(Asked{BoundTo: i, Chosen: i})["b0"], "healthy", "but the client is bound to another")
		l.wantWhy(l.explained(l.next(0))["s0"], "draining", "has left: it keeps only bound clients")
	})
}

func TestExplainSlowStart(t *testing.T) {
	inLab(t, 1, all(sourced, func(l *lab) { l.o.SlowStart = 10 * time.Second }), func(l *lab) {
		l.tell()
		l.after(6 * time.Second)
		l.src.set([]discovery.Member{{Address: "s0", Weight: 1}})
		l.after(4100 * time.Millisecond)
		c := l.explained(l.next(0))
		l.wantWhy(c["s0"], "slow_start", "starts slowly (40 % of its weight); its turn will come: 2 of 7")
		if got := c["s0"].Share; math.Abs(got-2.0/7) > 1e-9 {
			t.Errorf("its share is %v, want 2/7", got)
		}
	})
}

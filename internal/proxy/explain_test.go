package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/internal/explain"
	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
	"steelyard/internal/router"
	"steelyard/internal/sticky"
)

// explained asks and fails on an error.
func (f *fixture) explained(t testing.TB, q explain.Question) explain.Answer {
	t.Helper()
	a, err := f.Explain(q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// chosenOf is the candidate that an answer says is chosen.
func chosenOf(t testing.TB, a explain.Answer) explain.Candidate {
	t.Helper()
	var found explain.Candidate
	for _, c := range a.Candidates {
		if c.Chosen {
			if found.Chosen {
				t.Fatalf("two are chosen: %+v", a.Candidates)
			}
			found = c
		}
	}
	if found.Address != a.Backend {
		t.Fatalf("chosen is %q, but the backend %q", found.Address, a.Backend)
	}
	return found
}

// Whatever the policy: the backend that is named is the one that gets the request
// which follows, and asking moves nothing.
func TestExplainNamesTheBackendThatIsNext(t *testing.T) {
	t.Parallel()
	for _, name := range balancer.Names() {
		t.Run(name, func(t *testing.T) {
			addrs, _ := stations(t, 3)
			f := newFixture(t, addrs, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				po.Policy = balancer.Options{Policy: name}
				if po.Policy.Hashes() {
					po.Policy.Key = balancer.Key{Source: "header", Name: "X-User"}
					f.target.Key = po.Policy.Key
				}
			})
			draws := name == "random" || name == "power_of_two" || name == "least_time" // which goes by the clock
			for i := range 12 {
				waitFor(t, "nothing is in flight", func() bool { return f.inFlight(0)+f.inFlight(1)+f.inFlight(2) == 0 })
				user := fmt.Sprint("u", i)
				q := explain.Question{Host: "h", Headers: map[string]string{"x-user": user}}
				a := f.explained(t, q)
				if again := f.explained(t, q); again.Backend != a.Backend && !draws {
					t.Fatalf("asked twice, it is %s and then %s", a.Backend, again.Backend)
				}
				if a.Policy != name || a.Pool != "web" || a.Action != "pool" || chosenOf(t, a).Share == 0 {
					t.Fatalf("%+v", a)
				}
				_, body := f.do(t, request("GET", "X-User: "+user+"\r\n", ""))
				if got := addrs[body[0]-'0']; got != a.Backend && !draws {
					t.Fatalf("request %d was explained to go to %s, but went to %s", i, a.Backend, got)
				}
			}
		})
	}
}

// Nothing of a question is counted, and nothing is left in flight.
func TestExplainLeavesNoTrace(t *testing.T) {
	t.Parallel()
	addrs, all := stations(t, 2)
	f := newFixture(t, addrs, nil)
	for range 10 {
		f.explained(t, explain.Question{Host: "h"})
		f.explained(t, explain.Question{Host: "h", Method: "CONNECT"})
	}
	if s := &f.pool.Stats; s.Requests.Load() != 0 || s.Attempts.Load() != 0 || len(f.Errors()) != 0 {
		t.Errorf("%d requests, %d attempts, errors %v were counted", s.Requests.Load(), s.Attempts.Load(), f.Errors())
	}
	for i := range all {
		if open := f.pool.Snapshot().Endpoints[i].Conns.Open(); open != 0 {
			t.Errorf("%d connections were made", open)
		}
	}
}

// A client that is bound is explained to go where it goes, in every way of
// binding; and being asked about does not keep its binding alive.
func TestExplainBindings(t *testing.T) {
	t.Parallel()
	for name, b := range bindings() {
		t.Run(name, func(t *testing.T) {
			addrs, _ := stations(t, 3)
			f, apply := stickyFixture(t, addrs, &b.options, nil)
			q := explain.Question{Host: "h", Headers: map[string]string{}}
			if b.fields != "" {
				q.Headers["x-session"] = "7"
			}
			if a := f.explained(t, q); !strings.HasPrefix(a.Affinity, "not bound yet: ") {
				t.Errorf("before: %q", a.Affinity)
			}
			c := &client{f: f, fields: b.fields}
			_, body := c.get(t)
			bound := addrs[body[0]-'0']
			if c.jar != "" {
				q.Headers["Cookie"] = c.jar
			}
			for range 4 {
				a := f.explained(t, q)
				if a.Backend != bound || !strings.HasPrefix(a.Affinity, "bound to "+bound+" by the ") || chosenOf(t, a).Why != "the client is bound to it" {
					t.Fatalf("bound to %s, but: %+v", bound, a)
				}
			}
			if err := f.pool.Disable(bound); err != nil {
				t.Fatal(err)
			}
			a := f.explained(t, q)
			if a.Backend == bound || !strings.Contains(a.Affinity, "bound anew") {
				t.Errorf("disabled, yet: %+v", a)
			}
			if err := f.pool.Enable(bound); err != nil {
				t.Fatal(err)
			}
			apply(func(o *pool.Options) {
				for i := range o.Backends {
					o.Backends[i].Weight = 0
				}
			})
			if a = f.explained(t, q); a.Backend != bound || chosenOf(t, a).Why != "the client is bound to it; otherwise: weight 0: it keeps only bound clients" {
				t.Errorf("at weight 0: %+v", a)
			}
			delete(q.Headers, "Cookie")
			delete(q.Headers, "x-session")
			if q.ClientIP = "10.1.1.1"; f.explained(t, q).Cause != "no_backend" {
				t.Error("another client is not refused")
			}
		})
	}
}

// A pool whose backends are full is explained as it would be met.
func TestExplainLimitsAndQueue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		queue      int
		cause, why string
	}{
		{"no queue", 0, "queue_full", "every backend is at its limit and the queue is full"},
		{"queue", 3, "", "it would wait in the queue for at most 5s, behind 0 others"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addrs, _ := stations(t, 1)
			f := newFixture(t, addrs, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				po.Backends[0].MaxConnections, po.Queue, po.QueueTimeout = 1, tc.queue, 5*time.Second
			})
			b := f.pool.Snapshot().Endpoints[0].Backend
			b.Acquire(0)
			a := f.explained(t, explain.Question{Host: "h"})
			b.Release()
			if a.Backend != "" || a.Cause != tc.cause || !strings.Contains(a.Why, tc.why) || a.Candidates[0].Why != "at its limit of 1 requests in flight" {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestExplainWhatRoutesDo(t *testing.T) {
	t.Parallel()
	addrs, _ := stations(t, 1)
	f := newFixture(t, addrs, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
		g.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		explainedRoutes(t, f, g)
	})
	header := map[string]string{"X-User": "7"}
	for _, tc := range []struct {
		name string
		q    explain.Question
		want explain.Answer // the fields that are set
	}{
		{"no route", explain.Question{Host: "other", Method: "PUT", Path: "/no"}, explain.Answer{Cause: "no_route", Status: 404}},
		{"redirect", explain.Question{Host: "a.test", Path: "/old/x?y=1", ClientIP: "10.0.0.9"}, explain.Answer{Route: "old", RouteLine: 3, Action: "redirect", Status: 308, Redirect: "https://a.test/old/x?y=1&from=10.0.0.9"}},
		{"respond", explain.Question{Path: "/fixed"}, explain.Answer{Route: "fixed", Action: "respond", Status: 410}},
		{"rewrite", explain.Question{Method: "POST", Path: "/strip/a?b"}, explain.Answer{Route: "strip", Action: "pool", Pool: "web", Backend: addrs[0], Sends: "POST /a?b HTTP/1.1"}},
		{"split by header", explain.Question{Path: "/split", Headers: header}, explain.Answer{Route: "split", Action: "split", Pool: "web", Split: `by the header X-User, which is "7"`}},
		{"split drawn", explain.Question{Path: "/split"}, explain.Answer{Route: "split", Split: "drawn by weight, 3 of 3; the request has no header X-User to be known by"}},
		{"not a request", explain.Question{Path: "nothing"}, explain.Answer{Cause: "bad_request", Status: 400}},
		{"not supported", explain.Question{Method: "CONNECT"}, explain.Answer{Cause: "not_supported", Status: 501}},
		{"a forged address", explain.Question{Path: "/old", Headers: map[string]string{"X-Forwarded-For": "9.9.9.9"}}, explain.Answer{Redirect: "https:///old&from=127.0.0.1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, w := f.explained(t, tc.q), tc.want
			for _, field := range []struct{ what, got, want string }{
				{"route", a.Route, w.Route}, {"action", a.Action, w.Action}, {"pool", a.Pool, w.Pool}, {"backend", a.Backend, w.Backend},
				{"redirect", a.Redirect, w.Redirect}, {"sends", a.Sends, w.Sends}, {"split", a.Split, w.Split}, {"cause", a.Cause, w.Cause},
			} {
				if field.got != field.want && field.want != "" {
					t.Errorf("%s is %q, want %q", field.what, field.got, field.want)
				}
			}
			if w.Status != 0 && a.Status != w.Status || w.RouteLine != 0 && a.RouteLine != w.RouteLine || w.Cause != a.Cause || w.Cause != "" && a.Why == "" {
				t.Errorf("%+v", a)
			}
		})
	}
	if a := f.explained(t, explain.Question{Path: "/fixed"}); len(a.Notes) != 2 || !strings.Contains(a.Notes[1], "names no host") {
		t.Errorf("notes: %q", a.Notes)
	}
	if a := f.explained(t, explain.Question{Host: "a.test", Path: "/fixed"}); len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "trusted_proxies are not applied") {
		t.Errorf("notes: %q", a.Notes)
	}
	if _, err := f.Explain(explain.Question{ClientIP: "x"}); err == nil {
		t.Error("a client without address is explained")
	}
}

// explainedRoutes are routes of every kind.
func explainedRoutes(t testing.TB, f *fixture, g *Generation) {
	t.Helper()
	to, err := rewrite.Parse("https://{host}{uri}&from={client_ip}")
	if err != nil {
		t.Fatal(err)
	}
	strip, err := rewrite.CompilePath(rewrite.Path{StripPrefix: "/strip"})
	if err != nil {
		t.Fatal(err)
	}
	g.Routes = []*Route{
		{Name: "old", Line: 3, Redirect: &Redirect{Status: 308, To: to}},
		{Name: "fixed", Respond: &Respond{Status: 410}},
		{Name: "strip", Pool: f.target, Path: strip},
		{Name: "split", Split: NewSplit([]*Target{f.target}, []int{3}, &sticky.Options{Header: &sticky.Header{Name: "X-User"}})},
	}
	if g.Table, err = router.New([]router.Match{{Path: "/old/*"}, {Path: "/fixed"}, {Path: "/strip/*"}, {Path: "/split"}}); err != nil {
		t.Fatal(err)
	}
}

// A closed pool is not explained: its generation has been replaced.
func TestExplainOfAClosedPool(t *testing.T) {
	f := newFixture(t, []string{"127.0.0.1:1"}, nil)
	p, err := pool.New("old", pool.Options{Policy: balancer.Options{Policy: "round_robin"}, Transport: testTransport()})
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	g := *f.generation.Load()
	g.Routes = []*Route{{Name: "all", Pool: &Target{Pool: p}}}
	if _, err := g.Explain(explain.Question{}); err == nil {
		t.Error("no error")
	}
}

// Explanations go on beside traffic and changes of the membership.
func TestExplainBesideTraffic(t *testing.T) {
	t.Parallel()
	addrs, _ := stations(t, 3)
	o := bindings()["header"].options
	f, apply := stickyFixture(t, addrs, &o, func(po *pool.Options) { po.Policy.Policy = "least_time" })
	var work sync.WaitGroup
	end := make(chan struct{})
	for i := range 3 {
		work.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				q := explain.Question{Host: "h", Headers: map[string]string{"X-Session": fmt.Sprint(i, n%5)}}
				if a, err := f.Explain(q); err != nil || a.Cause != "" || len(a.Candidates) < 2 {
					t.Errorf("%+v, %v", a, err)
					return
				}
			}
		})
	}
	for i := range 40 {
		f.do(t, request("GET", fmt.Sprintf("X-Session: 0%d\r\n", i%5), ""))
		apply(func(o *pool.Options) {
			o.Backends = restored(addrs)
			if i%2 == 0 {
				o.Backends = o.Backends[:2]
			}
		})
	}
	close(end)
	work.Wait()
}

// FuzzExplain asks whatever comes: there is an error, a cause, or a decision.
func FuzzExplain(f *testing.F) {
	fix := newFixture(f, []string{"127.0.0.1:1", "127.0.0.1:2"}, func(fx *fixture, po *pool.Options, g *Generation, _ *Limits) {
		explainedRoutes(f, fx, g)
		po.Policy = balancer.Options{Policy: "consistent_hash", Key: balancer.Key{Source: "uri"}}
		fx.target.Key = po.Policy.Key
		o := bindings()["cookie"].options
		fx.target.Sticky, po.Sticky = &o, &o
	})
	f.Add("GET", "h", "/strip/a?b", "Cookie", "sy=1; sy=2", "10.0.0.1")
	f.Add("OPTIONS", "h", "*", "X-User", "1", "::1")
	f.Add("GET", "", "http://a.test?q", "Connection", "close, x-user", "fe80::1%eth0")
	f.Add("GET", "h", "/split", "X-User", "", "")
	f.Add("PUT", "h:1", "/old/%zz?%", "Transfer-Encoding", "chunked", "::ffff:1.2.3.4")
	f.Add("GET", "h", "/", "Upgrade", "websocket", "1.1.1.1")
	f.Fuzz(func(t *testing.T, method, host, path, name, value, ip string) {
		q := explain.Question{Method: method, Host: host, Path: path, Headers: map[string]string{name: value}, ClientIP: ip}
		a, err := fix.Explain(q)
		if err != nil {
			return
		}
		switch {
		case a.Cause != "" && (a.Status < 400 || a.Why == "" || a.Backend != ""):
		case a.Cause == "" && a.Route == "", a.Action == "redirect" && a.Redirect == "":
		case (a.Action == "pool" || a.Action == "split") && (a.Backend == "" || a.Sends == "" || len(a.Candidates) != 2):
		default:
			return
		}
		t.Fatalf("%+v: %+v", q, a)
	})
}

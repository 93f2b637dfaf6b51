package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/internal/pool"
	"steelyard/internal/sticky"
)

// bindings are the ways in which a client can be known. fields are what the
// client sends with each request, besides the cookies it has got.
func bindings() map[string]struct {
	options sticky.Options
	fields  string
} {
	c, h, ip := sticky.DefaultCookie(), sticky.DefaultHeader(), sticky.DefaultClientIP()
	h.Name = "X-Session"
	return map[string]struct {
		options sticky.Options
		fields  string
	}{
		"cookie":    {sticky.Options{Cookie: &c}, ""},
		"header":    {sticky.Options{Header: &h}, "x-session: 7\r\n"},
		"client_ip": {sticky.Options{ClientIP: &ip}, ""},
	}
}

// client is a client that keeps cookies.
type client struct {
	f      *fixture
	fields string
	jar    string
}

func (c *client) get(t testing.TB) (status int, body string) {
	t.Helper()
	fields := c.fields
	if c.jar != "" {
		fields += "Cookie: other=1; " + c.jar + "\r\n"
	}
	resp, body := c.f.do(t, request("GET", fields, ""))
	if set := resp.Header.Get("Set-Cookie"); set != "" {
		c.jar, _, _ = strings.Cut(set, ";")
	}
	return resp.StatusCode, body
}

// stations makes n backends that answer with their number.
func stations(t testing.TB, n int) (addrs []string, all []*station) {
	for i := range n {
		s := newStation(t, ok(fmt.Sprint(i)))
		addrs, all = append(addrs, s.addr), append(all, s)
	}
	return addrs, all
}

// stickyFixture is a fixture whose pool can be changed later by apply.
func stickyFixture(t testing.TB, addrs []string, o *sticky.Options, change func(*pool.Options)) (f *fixture, apply func(func(*pool.Options))) {
	var opts pool.Options
	f = newFixture(t, addrs, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
		f.target.Sticky, po.Sticky = o, o
		if change != nil {
			change(po)
		}
		opts = *po
	})
	return f, func(change func(*pool.Options)) {
		t.Helper()
		opts.Backends = append([]pool.BackendOptions(nil), opts.Backends...)
		change(&opts)
		if err := f.pool.Apply(opts); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSticky keeps clients on their backends, whatever the policy would say.
func TestSticky(t *testing.T) {
	t.Parallel()
	for name, b := range bindings() {
		t.Run(name, func(t *testing.T) {
			addrs, _ := stations(t, 3)
			f, apply := stickyFixture(t, addrs, &b.options, nil)
			c := &client{f: f, fields: b.fields}
			_, first := c.get(t)
			bound := int(first[0] - '0')
			stays := func(what string) {
				t.Helper()
				for range 5 {
					if status, body := c.get(t); status != 200 || body != first {
						t.Fatalf("%s: got %d from %q, want %q", what, status, body, first)
					}
				}
			}
			stays("bound")
			apply(func(o *pool.Options) { o.Backends[bound].Weight = 0 })
			stays("draining")
			for range 6 {
				if name != "client_ip" {
					if _, body := (&client{f: f, fields: strings.Replace(b.fields, "7", "8", 1)}).get(t); body == first {
						t.Fatal("a new client was sent to a backend that drains")
					}
				}
			}
			apply(func(o *pool.Options) { o.Backends = append(o.Backends[:bound], o.Backends[bound+1:]...) })
			stays("gone and draining")
			apply(func(o *pool.Options) { o.DrainTimeout = time.Nanosecond; o.Backends = restored(addrs) })
			apply(func(o *pool.Options) { o.Backends = append(o.Backends[:bound], o.Backends[bound+1:]...) })
			waitFor(t, "the drain is over", func() bool { return len(f.pool.Snapshot().Endpoints) == 2 })
			_, second := c.get(t)
			if second == first {
				t.Fatal("the backend is gone")
			}
			first = second
			stays("bound again")
		})
	}
}

// restored are the backends at addrs with weight 1.
func restored(addrs []string) (all []pool.BackendOptions) {
	for _, a := range addrs {
		all = append(all, pool.BackendOptions{Address: a, Weight: 1})
	}
	return all
}

// TestStickyClientsAreApart: each client is bound by itself.
func TestStickyClientsAreApart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cookie", "header"} {
		t.Run(name, func(t *testing.T) {
			b := bindings()[name]
			addrs, _ := stations(t, 2)
			f, _ := stickyFixture(t, addrs, &b.options, nil)
			seen := map[string]bool{}
			for i := range 4 {
				c := &client{f: f, fields: strings.Replace(b.fields, "7", fmt.Sprint(i), 1)}
				_, first := c.get(t)
				seen[first] = true
				if _, again := c.get(t); again != first {
					t.Errorf("client %d moved from %q to %q", i, first, again)
				}
			}
			if len(seen) != 2 {
				t.Errorf("all clients are on one backend")
			}
		})
	}
}

// TestStickyCookie says when the cookie is sent and what is in it.
func TestStickyCookie(t *testing.T) {
	t.Parallel()
	addrs, _ := stations(t, 2)
	get := func(f *fixture, cookie string) string {
		resp, _ := f.do(t, request("GET", cookie, ""))
		return strings.Join(resp.Header.Values("Set-Cookie"), "|")
	}
	c := sticky.DefaultCookie()
	f, _ := stickyFixture(t, addrs, &sticky.Options{Cookie: &c}, nil)
	id := f.pool.Snapshot().ID(0)
	first := "sy=" + id + "; Path=/; HttpOnly; SameSite=Lax"
	for _, tc := range []struct{ name, cookie, want string }{
		{"none", "", first},
		{"unknown value", "Cookie: sy=x\r\n", first},
		{"empty value", "Cookie: sy=\r\n", first},
		{"bound", "Cookie: a=b; sy=" + id + "\r\n", ""},
		{"bound on another line", "Cookie: a=b\r\nCookie: sy=" + id + "\r\n", ""},
		{"name with other case", "Cookie: SY=" + id + "\r\n", first},
	} {
		got := get(f, tc.cookie)
		if tc.want != "" && got == "" || tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want[:min(len(tc.want), 3)]) {
			t.Errorf("%s: got %q, want %q or its like", tc.name, got, tc.want)
		}
		for _, a := range addrs {
			if strings.Contains(got, a) {
				t.Errorf("%q names a backend", got)
			}
		}
	}
	if got := get(f, ""); got != strings.Replace(first, id, f.pool.Snapshot().ID(0), 1) && got != strings.Replace(first, id, f.pool.Snapshot().ID(1), 1) {
		t.Errorf("got %q", got)
	}

	t.Run("renewed", func(t *testing.T) {
		c := c
		c.TTL = time.Hour
		f, _ := stickyFixture(t, addrs, &sticky.Options{Cookie: &c}, nil)
		if got, want := get(f, "Cookie: sy="+id+"\r\n"), "sy="+id+"; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("secure", func(t *testing.T) {
		f := newFixture(t, addrs, func(f *fixture, po *pool.Options, g *Generation, _ *Limits) {
			f.target.Sticky = &sticky.Options{Cookie: &c}
			po.Sticky = f.target.Sticky
			trusting(g)
		})
		if got := get(f, "X-Forwarded-Proto: https, http\r\n"); !strings.Contains(got, "; Secure") {
			t.Errorf("got %q over TLS", got)
		}
		if got := get(f, ""); strings.Contains(got, "; Secure") {
			t.Errorf("got %q without TLS", got)
		}
	})
}

// TestStickyAfterStaleConnection: a connection that was closed is no reason to
// leave the backend; a backend that is gone is.
func TestStickyAfterStaleConnection(t *testing.T) {
	t.Parallel()
	for name, b := range bindings() {
		for _, gone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, gone: %v", name, gone), func(t *testing.T) {
				one := newFakeServer(t)
				two := newStation(t, ok("two"))
				f, apply := stickyFixture(t, []string{one.addr}, &b.options, nil)
				c := &client{f: f, fields: b.fields}
				if _, body := c.get(t); body != "one" {
					t.Fatalf("got %q", body)
				}
				f.waitIdle(t, 1)
				apply(func(o *pool.Options) {
					o.Backends = append(o.Backends, pool.BackendOptions{Address: two.addr, Weight: 5})
				})
				one.closeNext(gone)
				want := "one"
				if gone {
					want = "two"
				}
				if status, body := c.get(t); status != 200 || body != want {
					t.Errorf("got %d %q, want %q", status, body, want)
				}
				if _, body := c.get(t); body != want {
					t.Errorf("then got %q, want %q", body, want)
				}
			})
		}
	}
}

// TestStickyFull: a bound backend at its limit is waited for where there is a
// queue; without one another serves the request, and the binding stays.
func TestStickyFull(t *testing.T) {
	t.Parallel()
	for name, b := range bindings() {
		for _, tc := range []struct {
			name   string
			queue  int
			weight int
		}{{"queue", 5, 1}, {"queue, draining", 5, 0}, {"no queue", 0, 1}} {
			t.Run(name+", "+tc.name, func(t *testing.T) {
				free := make(chan struct{})
				one := newStation(t, ok("one"), func(p *peer, head string) bool { <-free; return ok("slow")(p, head) }, ok("one"))
				two := newStation(t, ok("two"))
				f, apply := stickyFixture(t, []string{one.addr}, &b.options, func(o *pool.Options) {
					o.Backends[0].MaxConnections, o.Queue, o.QueueTimeout = 1, tc.queue, patience
				})
				c := &client{f: f, fields: b.fields}
				c.get(t)
				f.waitIdle(t, 1)
				apply(func(o *pool.Options) {
					o.Backends[0].Weight = tc.weight
					o.Backends = append(o.Backends, pool.BackendOptions{Address: two.addr, Weight: 1})
				})
				slow := *c
				done := make(chan string)
				go func() { _, body := slow.get(t); done <- body }()
				waitFor(t, "the backend is full", func() bool { return one.count() == 2 })
				var body string
				if tc.queue > 0 {
					go func() { _, body := c.get(t); done <- body }()
					waitFor(t, "the request waits", f.pool.Crowded)
					close(free)
					body = <-done + <-done
					if body != "slowone" && body != "oneslow" {
						t.Errorf("got %q", body)
					}
					return
				}
				if _, body = c.get(t); body != "two" {
					t.Errorf("got %q", body)
				}
				close(free)
				<-done
				f.waitIdle(t, 1)
				if _, body = c.get(t); body != "one" {
					t.Errorf("the binding is lost: got %q", body)
				}
			})
		}
	}
}

// TestBindingAfterQueue: who waits may find another membership afterwards.
func TestBindingAfterQueue(t *testing.T) {
	t.Parallel()
	for name, b := range bindings() {
		t.Run(name, func(t *testing.T) {
			free := make(chan struct{})
			waits := func(p *peer, head string) bool { <-free; return ok("zero")(p, head) }
			zero, one, two := newStation(t, ok("zero"), waits, ok("zero")), newStation(t, ok("one"), waits, ok("one")), newStation(t, ok("two"))
			f, apply := stickyFixture(t, []string{zero.addr, one.addr}, &b.options, func(o *pool.Options) {
				o.Backends[0].MaxConnections, o.Backends[1].MaxConnections, o.Queue, o.QueueTimeout = 1, 1, 9, patience
				o.DrainTimeout = time.Nanosecond
				o.Backends[0].Weight = 0
			})
			c := &client{f: f, fields: b.fields}
			if _, body := c.get(t); body != "one" {
				t.Fatalf("got %q", body)
			}
			waitFor(t, "the request is over", func() bool { return f.inFlight(1) == 0 })
			done := make(chan string)
			for i := range 2 {
				again := *c
				go func() { _, body := again.get(t); done <- body }()
				waitFor(t, "one after the other", func() bool { return one.count() == 2 && (i == 0 || f.pool.Crowded()) })
			}
			// The index of the bound backend is not one of the new membership.
			apply(func(o *pool.Options) {
				o.Backends = []pool.BackendOptions{{Address: two.addr, Weight: 1}}
			})
			if body := <-done; body != "two" {
				t.Errorf("got %q", body)
			}
			close(free)
			<-done
		})
	}
}

// TestSplit spreads by weight, and keeps those who are bound to a branch.
func TestSplit(t *testing.T) {
	t.Parallel()
	h := sticky.DefaultHeader()
	h.Name = "X-User"
	c := sticky.Cookie{Name: "sy_pool", Path: "/", Secure: "auto"}
	ip := sticky.DefaultClientIP()
	for name, s := range map[string]*sticky.Options{"none": nil, "cookie": {Cookie: &c}, "header": {Header: &h}, "client_ip": {ClientIP: &ip}} {
		t.Run(name, func(t *testing.T) {
			pools := make([]*pool.Pool, 2)
			var targets []*Target
			for i := range pools {
				var err error
				pools[i], err = pool.New(fmt.Sprint(i), pool.Options{Policy: balancer.Options{Policy: "round_robin"}, Transport: testTransport(),
					Backends: []pool.BackendOptions{{Address: newStation(t, ok(fmt.Sprint(i))).addr, Weight: 1}}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(pools[i].Close)
				targets = append(targets, &Target{Pool: pools[i], ID: fmt.Sprintf("id%d", i), Retry: Retry{Attempts: 2}})
			}
			f := newFixture(t, []string{newStation(t, ok("x")).addr}, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
				f.route.Pool, f.route.Split = nil, NewSplit(targets, []int{3, 1}, s)
			})
			count := map[string]int{}
			const n = 400
			nc, r := f.dial(t)
			ask := func(fields string) (string, string) {
				send(t, nc, request("GET", fields, ""))
				resp, body := readResponse(t, r, "GET")
				return body, resp.Header.Get("Set-Cookie")
			}
			for i := range n {
				fields := fmt.Sprintf("X-User: %d\r\n", i)
				body, set := ask(fields)
				count[body]++
				if name == "cookie" {
					if want := "sy_pool=id" + body + "; Path=/"; set != want {
						t.Fatalf("got the cookie %q, want %q", set, want)
					}
					if again, set := ask("Cookie: sy_pool=id" + body + "\r\n"); again != body || set != "" {
						t.Fatalf("a bound client moved from %q to %q, cookie %q", body, again, set)
					}
				}
				if again, _ := ask(fields); name == "header" && again != body {
					t.Fatalf("client %d moved", i)
				}
			}
			// Five standard deviations of a draw of n.
			if share := float64(count["1"]) / n; name != "client_ip" && (share < 0.14 || share > 0.36) {
				t.Errorf("the branch of a quarter got %v", share)
			}
			if name == "client_ip" && len(count) != 1 {
				t.Errorf("one address was spread: %v", count)
			}
		})
	}
}

// TestHashKeys: requests with the same key meet on one backend.
func TestHashKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		key          balancer.Key
		target, same string
		fields       string
		others       func(int) string
	}{
		{balancer.Key{Source: "client_ip"}, "/", "/other", "", nil},
		{balancer.Key{Source: "header", Name: "x-user"}, "/", "/other", "X-User: 7\r\n", func(i int) string { return get("/", fmt.Sprintf("X-User: %d\r\n", i)) }},
		{balancer.Key{Source: "cookie", Name: "u"}, "/", "/other", "Cookie: a=b; u=7\r\n", func(i int) string { return get("/", fmt.Sprintf("Cookie: u=%d\r\n", i)) }},
		{balancer.Key{Source: "query", Name: "u"}, "/?u=7", "/other?a=b&%75=7", "", func(i int) string { return get(fmt.Sprintf("/?u=%d", i), "") }},
		{balancer.Key{Source: "path"}, "/a", "/a?b", "", func(i int) string { return get(fmt.Sprintf("/%d", i), "") }},
		{balancer.Key{Source: "uri"}, "/a?b", "http://other/a?b", "", func(i int) string { return get(fmt.Sprintf("/a?%d", i), "") }},
		{balancer.Key{Source: "header", Name: "x-none"}, "", "", "", func(i int) string { return get("/", "") }},
	} {
		t.Run(tc.key.String(), func(t *testing.T) {
			addrs, _ := stations(t, 4)
			f := newFixture(t, addrs, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				f.target.Key = tc.key
				po.Policy = balancer.Options{Policy: "consistent_hash", Key: tc.key}
			})
			nc, r := f.dial(t)
			ask := func(req string) string {
				send(t, nc, req)
				_, body := readResponse(t, r, "GET")
				return body
			}
			if tc.target != "" {
				first := ask(get(tc.target, tc.fields))
				for range 5 {
					if a, b := ask(get(tc.target, tc.fields)), ask(get(tc.same, tc.fields)); a != first || b != first {
						t.Fatalf("one key went to %q, %q and %q", first, a, b)
					}
				}
			}
			if tc.others != nil {
				seen := map[string]bool{}
				for i := range 100 {
					seen[ask(tc.others(i))] = true
				}
				if len(seen) != 4 {
					t.Errorf("100 keys met on %d of 4 backends", len(seen))
				}
			}
		})
	}
}

func get(target, fields string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"
}

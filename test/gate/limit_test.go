// Package gate_test tells who may come in, and what the others get.
package gate_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// behind is a file with a proxy in front that tells who the client is.
const behind = `
listeners: {web: {address: "LISTEN"}}
admin: {address: "ADMIN"}
trusted_proxies: 127.0.0.1
routes:
ROUTES
pools: {web: {backends: [%s]}}
`

// start runs steelyard with routes to a real app.
func start(t *testing.T, routes string) (*harness.Steelyard, *harness.Node) {
	t.Helper()
	app := harness.App(t, "A")
	return harness.Start(t, fmt.Sprintf(strings.Replace(behind, "ROUTES", routes, 1), app.Address)), app
}

// ask sends a GET as a client of an address, with more header lines.
func ask(t *testing.T, c *harness.Conn, path, client string, fields ...string) *harness.Message {
	t.Helper()
	if client != "" {
		fields = append(fields, "X-Forwarded-For: "+client)
	}
	return c.Exchange(t, "GET "+path+" HTTP/1.1\r\nHost: app.test\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n")
}

// said is status and cause of an answer.
func said(m *harness.Message) string {
	return strings.TrimSpace(strconv.Itoa(m.Status()) + " " + m.Value("X-Steelyard-Cause"))
}

func TestAllowAndDeny(t *testing.T) {
	t.Parallel()
	s, app := start(t, `
  - {match: {path: /inside}, pool: web, allow: [10.0.0.0/8, "2001:db8::/32"], deny: 10.6.0.0/16}
  - {match: {path: /outside}, pool: web, deny: [192.0.2.7, "2001:db8::/32"]}
  - {match: {path: /fixed}, respond: 200, allow: 10.0.0.0/8}
  - {match: {path: /moved}, redirect: /new, allow: 10.0.0.0/8}
  - {pool: web}`)
	c := harness.Dial(t, s.Address)
	for _, e := range []struct{ path, client, want string }{
		{"/inside", "10.1.2.3", "200"},
		{"/inside", "10.6.7.8", "403 denied"},
		{"/inside", "192.0.2.1", "403 denied"},
		{"/inside", "2001:db8::1", "200"},
		{"/inside", "2001:db9::1", "403 denied"},
		{"/inside", "10.1.2.3, 192.0.2.1", "403 denied"}, // what a client claims counts for nothing
		{"/inside", "::ffff:10.1.2.3", "200"},
		{"/inside", "", "403 denied"},
		{"/outside", "192.0.2.7", "403 denied"},
		{"/outside", "192.0.2.8", "200"},
		{"/outside", "2001:db8:1::", "403 denied"},
		{"/fixed", "10.1.2.3", "200"},
		{"/fixed", "11.1.2.3", "403 denied"},
		{"/moved", "10.1.2.3", "308"},
		{"/moved", "11.1.2.3", "403 denied"},
		{"/other", "192.0.2.7", "200"},
	} {
		if got := said(ask(t, c, e.path, e.client)); got != e.want {
			t.Errorf("%s from %q: %s, want %s", e.path, e.client, got, e.want)
		}
	}
	if strings.Contains(s.Output(), "denied") {
		t.Error("a refusal is in the log")
	}
	// A body that nobody reads is no request.
	m := c.Exchange(t, "POST /fixed HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET /inside HTTP/1.1\r\nHost: a\r\n")
	if said(m) != "403 denied" || app.Stats(t).Begun != 0 {
		t.Errorf("a refused POST: %s", said(m))
	}
}

func TestRateLimitByAddress(t *testing.T) {
	t.Parallel()
	s, _ := start(t, `
  - {match: {host: [app.test, b.test], path: [/a, /b]}, pool: web, rate_limit: {requests: 3, per: 1h, burst: 5}}
  - {match: {path: /own}, respond: 200, rate_limit: 1/h}
  - {match: {path: /silent}, pool: web, rate_limit: 1/h, response_headers: {remove: RateLimit}}`)
	c := harness.Dial(t, s.Address)
	for i := range 7 { // hosts and paths of one route share it
		m := ask(t, c, []string{"/a", "/b"}[i%2], "192.0.2.1")
		want, left := "200", 4-i
		if i >= 5 {
			want, left = "429 rate_limited", 0
		}
		if got := said(m); got != want || m.Value("RateLimit-Policy") != `"client_ip";q=3;w=3600;steelyard-burst=5` {
			t.Errorf("request %d: %s %q", i, got, m.Fields)
		}
		r, tail, _ := strings.Cut(strings.TrimPrefix(m.Value("RateLimit"), `"client_ip";r=`), ";t=")
		if wait, err := strconv.Atoi(tail); r != strconv.Itoa(left) || err != nil || wait < 1 || wait > 1200 {
			t.Errorf("request %d: RateLimit %q, want %d left", i, m.Value("RateLimit"), left)
		} else if after := m.Value("Retry-After"); (i >= 5) != (after == tail) {
			t.Errorf("request %d: Retry-After %q with %q", i, after, m.Value("RateLimit"))
		}
	}
	for _, e := range []struct{ path, client, want string }{
		{"/a", "192.0.2.2", "200"},
		{"/own", "192.0.2.1", "200"},
		{"/own", "192.0.2.1", "429 rate_limited"},
		{"/own", "2001:db8:0:1::1", "200"},
		{"/own", "2001:db8:0:1:ffff::2", "429 rate_limited"}, // of the same /64
		{"/own", "2001:db8:0:2::1", "200"},
		{"/own", "::ffff:192.0.2.1", "429 rate_limited"},
		{"/own", "192.0.2.9, 192.0.2.1", "429 rate_limited"},
	} {
		if got := said(ask(t, c, e.path, e.client)); got != e.want {
			t.Errorf("%s from %s: %s, want %s", e.path, e.client, got, e.want)
		}
	}
	if m := ask(t, c, "/silent", "192.0.2.1"); len(m.Values("RateLimit"))+len(m.Values("RateLimit-Policy")) != 0 {
		t.Errorf("told although it is removed: %q", m.Fields)
	}
}

func TestRateLimitByHeaderAndCookie(t *testing.T) {
	t.Parallel()
	s, _ := start(t, `
  - {match: {path: /header}, respond: 200, rate_limit: {requests: 1, per: 1h, key: header:X-Api-Key}}
  - {match: {path: /cookie}, respond: 200, rate_limit: {requests: 1, per: 1h, key: cookie:session}}`)
	c := harness.Dial(t, s.Address)
	for i, e := range []struct{ path, client, field, want string }{
		{"/header", "192.0.2.1", "X-Api-Key: one", "200"},
		{"/header", "192.0.2.2", "X-Api-Key: one", "429 rate_limited"},
		{"/header", "192.0.2.2", "X-Api-Key: two", "200"},
		{"/header", "192.0.2.1", "X-Other: 1", "200"}, // by the address
		{"/header", "192.0.2.1", "X-Api-Key:", "429 rate_limited"},
		{"/header", "192.0.2.1", "X-Api-Key: 192.0.2.2", "200"},
		{"/header", "192.0.2.2", "X-Other: 1", "200"},
		{"/header", "192.0.2.3", "X-Api-Key: " + strings.Repeat("k", 256) + "1", "200"},
		{"/header", "192.0.2.3", "X-Api-Key: " + strings.Repeat("k", 256) + "2", "429 rate_limited"},
		{"/cookie", "192.0.2.1", "Cookie: a=b; session=one", "200"},
		{"/cookie", "192.0.2.1", "Cookie: session=one", "429 rate_limited"},
		{"/cookie", "192.0.2.1", "Cookie: a=b", "200"},
		{"/cookie", "192.0.2.1", "Cookie: a=c", "429 rate_limited"},
	} {
		if got := said(ask(t, c, e.path, e.client, e.field)); got != e.want {
			t.Errorf("%d: %s from %s with %.40q: %s, want %s", i, e.path, e.client, e.field, got, e.want)
		}
	}
}

// TestTheRateHolds: who asks all the time gets the rate, and who waits as long as
// he is told gets in.
func TestTheRateHolds(t *testing.T) {
	t.Parallel()
	s, _ := start(t, `
  - {match: {path: /fast}, pool: web, rate_limit: {requests: 200, burst: 20}}
  - {match: {path: /slow}, pool: web, rate_limit: 1/3s}`)
	c := harness.Dial(t, s.Address)
	began, served := time.Now(), 0
	for time.Since(began) < 2*time.Second {
		if ask(t, c, "/fast", "192.0.2.1").Status() == 200 {
			served++
		}
	}
	want := 20 + 200*time.Since(began).Seconds()
	if float64(served) > want+1 || float64(served) < want*0.8 {
		t.Errorf("%d were served in %v, want %.0f", served, time.Since(began), want)
	}
	ask(t, c, "/slow", "192.0.2.1")
	m := ask(t, c, "/slow", "192.0.2.1")
	wait, err := strconv.Atoi(m.Value("Retry-After"))
	if err != nil || said(m) != "429 rate_limited" {
		t.Fatalf("%s %q", said(m), m.Fields)
	}
	time.Sleep(time.Duration(wait) * time.Second) // what a client does that is told to
	if m := ask(t, c, "/slow", "192.0.2.1"); m.Status() != 200 {
		t.Errorf("after the wait: %s", said(m))
	}
}

func TestALimitOutlivesAReload(t *testing.T) {
	t.Parallel()
	const routes = `
  - {name: same, match: {path: /same}, respond: 200, rate_limit: 1/h}
  - {name: other, match: {path: /other}, respond: 200, rate_limit: {requests: 1, per: 1h}}`
	s, app := start(t, routes)
	c := harness.Dial(t, s.Address)
	both := func() string {
		return said(ask(t, c, "/same", "192.0.2.1")) + ", " + said(ask(t, c, "/other", "192.0.2.1"))
	}
	both()
	if got := both(); got != "429 rate_limited, 429 rate_limited" {
		t.Fatalf("before: %s", got)
	}
	g := s.Reload(t, fmt.Sprintf(strings.Replace(behind, "ROUTES", strings.Replace(routes, "requests: 1,", "requests: 2,", 1), 1), app.Address))
	if want := "route other: rate_limit.requests 1 -> 2, rate_limit.burst 1 -> 2"; !g.LastOK || len(g.Changes) != 1 || g.Changes[0] != want {
		t.Errorf("told as %q", g.Changes)
	}
	if got := both(); got != "429 rate_limited, 200" {
		t.Errorf("after: %s", got)
	}
}

func TestRefusalsAreExplainedAndCounted(t *testing.T) {
	t.Parallel()
	s, _ := start(t, `
  - {name: guarded, match: {path: /g}, pool: web, allow: 192.0.2.0/24, deny: 192.0.2.66, rate_limit: 2/h}`)
	c := harness.Dial(t, s.Address)
	explained := func(client string) string {
		_, answer, err := harness.Do(harness.Client(t), "POST", "http://"+s.Admin+"/api/v1/explain", `{"path": "/g", "client_ip": "`+client+`"}`, "Content-Type: application/json")
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(answer, `": `, `":`)
	}
	contains := func(client string, parts ...string) {
		t.Helper()
		answer := explained(client)
		for _, p := range parts {
			if !strings.Contains(answer, p) {
				t.Errorf("of %s nothing is said of %q: %s", client, p, answer)
			}
		}
	}
	contains("192.0.2.66", `"cause":"denied"`, `"status":403`, "192.0.2.66 is in deny (192.0.2.66/32)")
	contains("10.0.0.1", `"cause":"denied"`, "10.0.0.1 is not in allow")
	for range 5 { // asking takes nothing
		contains("192.0.2.1", "access: 192.0.2.1 is in allow (192.0.2.0/24)", "rate_limit: client 192.0.2.1 has 2 left, at 2 in 1h0m0s", `"backend":"127.0.0.1`)
	}
	for range 3 {
		ask(t, c, "/g", "192.0.2.1")
	}
	ask(t, c, "/g", "192.0.2.66")
	contains("192.0.2.1", `"cause":"rate_limited"`, `"status":429`, "client 192.0.2.1 has none left of 2 in 1h0m0s, the next in ")
	metrics := harness.Get(t, harness.Client(t), "http://"+s.Admin+"/metrics")
	for _, want := range []string{
		`steelyard_route_refused_total{reason="denied",route="guarded"} 1`, `steelyard_route_refused_total{reason="rate_limited",route="guarded"} 1`,
		`steelyard_errors_total{cause="rate_limited",pool=""} 1`, "steelyard_rate_limit_memory_bytes 4096", "steelyard_rate_limit_forgotten_total 0",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// TestAFloodOfKeys: as many values of a header as there can be leave memory
// bounded and others served.
func TestAFloodOfKeys(t *testing.T) { // not in parallel: it measures
	s, _ := start(t, `
  - {match: {path: /k}, respond: 200, rate_limit: {requests: 5, per: 1h, key: header:K}}`)
	c := harness.Dial(t, s.Address)
	for range 6 {
		ask(t, c, "/k", "192.0.2.1", "K: bad")
	}
	before, _ := s.Memory(t)
	const floods, each, batch = 4, 250_000, 100
	var wg sync.WaitGroup
	for f := range floods {
		c := harness.Dial(t, s.Address)
		wg.Go(func() {
			for i := 0; i < each; i += batch {
				var b strings.Builder
				for j := range batch {
					fmt.Fprintf(&b, "GET /k HTTP/1.1\r\nHost: a\r\nK: %d-%d\r\n\r\n", f, i+j)
				}
				if _, err := c.Write([]byte(b.String())); err != nil {
					t.Error(err)
					return
				}
				for range batch {
					if m, err := c.Receive("GET"); err != nil || m.Status() != 200 {
						t.Errorf("%+v %v", m, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	after, peak := s.Memory(t)
	t.Logf("%d keys: %d KiB before, %d KiB after, at most %d KiB", floods*each, before>>10, after>>10, peak>>10)
	if after-before > 64<<20 {
		t.Errorf("%d MiB more than before", (after-before)>>20)
	}
	if got := said(ask(t, c, "/k", "192.0.2.1", "K: bad")); got != "429 rate_limited" {
		t.Errorf("the one who is limited: %s", got)
	}
	if got := said(ask(t, c, "/k", "192.0.2.1", "K: good")); got != "200" {
		t.Errorf("one who has not asked yet: %s", got)
	}
}

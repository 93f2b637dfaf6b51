package proxy

import (
	"net/netip"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/internal/access"
	"steelyard/internal/browser"
	"steelyard/internal/ratelimit"
)

// atGate is an exchange of a client, with a head, that comes to a gate.
func atGate(t testing.TB, g *Gate, client, head string) *exchange {
	t.Helper()
	ip := netip.MustParseAddr(client)
	gen := &Generation{}
	c := explainedClient(gen, ip)
	c.started, c.at = time.Hour, time.Hour
	if err := c.req.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
	return &exchange{p: New(gen), gen: gen, c: c, req: &c.req, scratch: newScratch(), index: -1, route: &Route{Name: "r", Gate: g}}
}

// testRate is a rate limit of its own.
func testRate(key balancer.Key, o ratelimit.Options) *RateLimit {
	s := ratelimit.NewStore()
	return NewRateLimit(s.New(o), s, key)
}

// guarded asks all of a request that every request is asked.
func guarded() *Gate {
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	return &Gate{
		Access:   access.NewList(networks, []netip.Prefix{netip.MustParsePrefix("192.0.2.66/32")}),
		Rate:     testRate(balancer.Key{Source: "header", Name: "X-Key"}, ratelimit.Options{Requests: ratelimit.MaxRequests, Per: time.Second, Burst: ratelimit.MaxRequests}),
		CORS:     browser.CompileCORS(browser.CORS{Origins: []string{"https://*.app.test"}, Expose: []string{"X-A"}}),
		Security: browser.CompileSecurity(browser.DefaultSecurity()),
	}
}

func TestGateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, head := range map[string]string{
		"by value":   "GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.app.test\r\nX-Key: 4711\r\n\r\n",
		"by address": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for _, client := range []string{"192.0.2.1", "2001:db8::1"} {
			x := atGate(t, guarded(), client, head)
			out := make([]byte, 0, 4096)
			if n := testing.AllocsPerRun(1000, func() {
				if !x.pass(x.route.Gate) {
					t.Error("refused")
				}
				out = x.appendGateFields(out[:0])
			}); n != 0 {
				t.Errorf("%s of %s: %v allocations", name, client, n)
			}
		}
	}
}

func BenchmarkGate(b *testing.B) {
	x := atGate(b, guarded(), "192.0.2.1", smallGet)
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		x.c.at += time.Microsecond
		x.pass(x.route.Gate)
		out = x.appendGateFields(out[:0])
	}
}

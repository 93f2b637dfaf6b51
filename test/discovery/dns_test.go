package discovery_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"steelyard/test/harness"
)

// srv is a line of a zone: an app under the name _http._tcp.web.test.
func srv(t *testing.T, app *harness.Node, priority, weight int) string {
	t.Helper()
	return fmt.Sprintf("_http._tcp.web.test. 1 IN SRV %d %d %d host.test.", priority, weight, port(t, app.Address))
}

const host = "host.test. 1 IN A 127.0.0.1"

// The TTL is 1 s in all of these; a little more is for asking and answering.
const ttlAndABit = 1500 * time.Millisecond

func TestTrafficFollowsSRVRecordsWithinTheirTTL(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c", "spare")
	a, b, c, spare := apps[0], apps[1], apps[2], apps[3]
	ns := harness.ServeDNS(t, host, srv(t, a, 10, 3), srv(t, b, 10, 1), srv(t, spare, 20, 5))
	s := harness.Start(t, onePool("", fmt.Sprintf("source: {dns: {name: _http._tcp.web.test, type: srv, servers: [\"%s\"]}}", ns.Address)))
	l := begin(t, s.URL, 8)
	l.soon = ttlAndABit
	l.flows(50)
	for app, want := range map[*harness.Node]int{a: 3, b: 1, spare: 5} {
		if v := s.Backend(t, "web", app.Address); v.Weight != want || v.Name != "host.test" || v.Source != "dns srv _http._tcp.web.test" {
			t.Errorf("the admin API shows %+v; want weight %d", v, want)
		}
	}
	if got := shareOf(l, "a", 400); got < 0.72 || got > 0.78 {
		t.Errorf("a got %.3f of the requests; want 0.75", got)
	}

	l.comes("c", "c has a record", func() { ns.Holds(host, srv(t, a, 10, 3), srv(t, b, 10, 1), srv(t, c, 10, 4), srv(t, spare, 20, 5)) })
	if n, _ := l.sightings("spare"); n.count != 0 {
		t.Errorf("the backup got %d requests while others were there", n.count)
	}
	l.leaves("b", "b has none", func() { ns.Holds(host, srv(t, a, 10, 3), srv(t, c, 10, 4), srv(t, spare, 20, 5)) })
	l.comes("spare", "spare has the lowest priority value", func() { ns.Holds(host, srv(t, a, 10, 3), srv(t, c, 10, 4), srv(t, spare, 5, 5)) })
	if got := shareOf(l, "spare", 200); got != 1 {
		t.Errorf("the one with the lowest priority value got %.3f of the requests; want all", got)
	}
	l.end(apps...)
}

func TestTrafficFollowsAddressRecordsWithinTheirTTL(t *testing.T) {
	t.Parallel()
	_, p, _ := net.SplitHostPort(harness.FreeAddress(t))
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		listenOn(t, ip, ip+":"+p)
	}
	ns := harness.ServeDNS(t, "web.test. 1 IN A 127.0.0.1", "web.test. 1 IN A 127.0.0.2")
	s := harness.Start(t, onePool("", fmt.Sprintf("source: {dns: {name: web.test, port: %s, servers: \"%s\"}}", p, ns.Address)))
	l := begin(t, s.URL, 6)
	l.soon = ttlAndABit
	l.flows(50)
	l.comes("127.0.0.3", "one record more", func() {
		ns.Holds("web.test. 1 IN A 127.0.0.1", "web.test. 1 IN A 127.0.0.2", "web.test. 1 IN A 127.0.0.3")
	})
	l.leaves("127.0.0.1", "one record less", func() { ns.Holds("web.test. 1 IN A 127.0.0.2", "web.test. 1 IN A 127.0.0.3") })
	members(t, s, "web", "127.0.0.2:"+p, "127.0.0.3:"+p)
	l.end()
}

func TestWhatIsWrongWithDNSIsExplainedAndTakesNobodyAway(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	good := []string{host, srv(t, apps[0], 10, 1), srv(t, apps[1], 10, 1)}
	ns := harness.ServeDNS(t, good...)
	s := harness.Start(t, onePool("", fmt.Sprintf(
		"source: {dns: {name: _http._tcp.web.test, type: srv, servers: [\"%s\"], min_ttl: 200ms, timeout: 300ms, nxdomain_repeats: 20}}", ns.Address)))
	l := begin(t, s.URL, 6)
	l.flows(50)
	stop := watchOver(t, s, 2)
	for _, c := range []struct {
		name  string
		wrong func()
		says  []string
	}{
		{"SERVFAIL", func() { ns.Behaves(harness.ServFail) }, []string{"server " + ns.Address, "SERVFAIL: it could not find out"}},
		{"silence", func() { ns.Behaves(harness.Silence) }, []string{"server " + ns.Address, "300ms"}},
		{"a torn record", func() { ns.Behaves(torn) },
			[]string{"server " + ns.Address, "record 1 of 1 in its answer (SRV of _http._tcp.web.test.) is malformed", "correct it in the zone"}},
		{"port 0", func() { ns.Holds(host, "_http._tcp.web.test. 1 IN SRV 10 1 0 host.test.") },
			[]string{"server " + ns.Address, `record "SRV 10 1 0 host.test." is malformed: the port is 0; correct it in the zone`}},
		{"an address as target", func() { ns.Holds(host, "_http._tcp.web.test. 1 IN SRV 10 1 80 10.0.0.1.") },
			[]string{"server " + ns.Address, "10.0.0.1", "correct it in the zone"}},
		{"a target without addresses", func() { ns.Holds(good[1:]...) },
			[]string{"target host.test", "NXDOMAIN", "correct it in the zone"}},
		{"the name is gone", func() { ns.Holds(host) },
			[]string{"does not exist (NXDOMAIN)", "its members stay until that was said 20 times in a row", "check the name"}},
	} {
		c.wrong()
		sourceSays(t, s, "web", append(c.says, "dns srv _http._tcp.web.test")...)
		t.Logf("%-30s %s", c.name, s.Pool(t, "web").Sources[0].Error)
		members(t, s, "web", addresses(apps)...)
		ns.Holds(good...)
		sourceSays(t, s, "web")
	}
	stop()
	l.end(apps...)
}

// The first pool has no guard, so that what DNS says is carried out; the second
// has one.
func TestANameThatDoesNotExistIsBelievedAfterSomeRepetitions(t *testing.T) {
	t.Parallel()
	const repeats = 4
	apps := harness.Apps(t, "a", "b", "spare")
	good := []string{host, srv(t, apps[0], 10, 1), srv(t, apps[1], 10, 1)}
	first, second := harness.ServeDNS(t, good...), harness.ServeDNS(t, good...)
	source := func(ns *harness.Nameserver, more string) string {
		return fmt.Sprintf("source: {dns: {name: _http._tcp.web.test, type: srv, servers: \"%s\", nxdomain_repeats: %d, min_ttl: 200ms%s}}",
			ns.Address, repeats, more)
	}
	s := harness.Start(t, onePool("", source(first, ", max_removal: 100%")+
		fmt.Sprintf(", backends: [{address: \"%s\", backup: true}]}\n  guarded: {%s", apps[2].Address, source(second, ""))))
	l := begin(t, s.URL, 6)
	l.flows(50)

	first.Holds(host)
	second.Holds(host)
	harness.Eventually(t, patience, "the members have left", func() bool {
		denied := first.Denials() // Before the members are looked at.
		n := len(current(s.Pool(t, "web"))) - 1
		if n == 0 && first.Denials() < repeats {
			t.Fatalf("%d members after %d denials; want 2 before %d", n, denied, repeats)
		}
		if n == 2 && denied > repeats+1 {
			t.Fatalf("%d members after %d denials", n, denied)
		}
		return n == 0
	})
	t.Logf("left after %d denials", first.Denials())
	sourceSays(t, s, "web", "does not exist (NXDOMAIN)", "check the name")
	if got := shareOf(l, "spare", 100); got != 1 {
		t.Errorf("the backup gets %.3f of the requests; want all", got)
	}
	harness.Eventually(t, patience, "the guard holds the members of the other", func() bool {
		src := s.Pool(t, "guarded").Sources[0]
		return len(src.Held) == 2 && strings.Contains(src.Alarm, "dns srv _http._tcp.web.test would remove 2 of 2 members")
	})
	members(t, s, "guarded", addresses(apps[:2])...)

	l.soon = ttlAndABit
	l.comes("a", "the name is there again", func() { first.Holds(good...) })
	sourceSays(t, s, "web")
	l.end(apps...)
}

// torn answers with an SRV record that ends in the middle.
func torn(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{&dns.RFC3597{
		Hdr:   dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 1},
		Rdata: "000a00",
	}}
	_ = w.WriteMsg(m)
}

package fault_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"steelyard/test/harness"
)

// Members outlive the registry they came from: clients notice nothing.
func TestDNSIsGone(t *testing.T) {
	for _, c := range []struct {
		name string
		mood func(*harness.Nameserver)
	}{
		{"silent", func(n *harness.Nameserver) { n.Behaves(harness.Silence) }},
		{"SERVFAIL", func(n *harness.Nameserver) { n.Behaves(harness.ServFail) }},
		{"NXDOMAIN", func(n *harness.Nameserver) { n.Holds("other.test. 1 IN A 127.0.0.1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			apps := apps(t)
			zone := []string{"host.test. 1 IN A 127.0.0.1"}
			for _, a := range apps {
				zone = append(zone, fmt.Sprintf("_http._tcp.web.test. 1 IN SRV 1 1 %d host.test.", port(t, a.Address)))
			}
			ns := harness.ServeDNS(t, zone...)
			s := harness.Start(t, fromSource(fmt.Sprintf("{dns: {name: _http._tcp.web.test, type: srv, servers: %q}}", ns.Address), ""))
			w := play(t, "DNS "+c.name, s.URL, apps, func() { c.mood(ns) }, 4*time.Second, func() { ns.Holds(zone...) })
			w.allow(t, nil)
			within(t, "slowest GET", w.slowestGet, 3*time.Second)
		})
	}
}

func TestConsulIsKilledAndComesBack(t *testing.T) {
	apps := apps(t)
	agent := harness.Consul(t, harness.ConsulPersistent())
	for _, a := range apps {
		agent.Register("web", a.Name, port(t, a.Address))
	}
	s := harness.Start(t, fromSource("{consul: web}", "consul: "+agent.Address()))
	w := play(t, "Consul killed", s.URL, apps, agent.Kill, 4*time.Second, agent.Start)
	w.allow(t, nil)
	within(t, "slowest GET", w.slowestGet, 3*time.Second)
}

// fromSource is usual with members from a registry.
func fromSource(source, top string) string {
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{pool: web}]
admin: ADMIN
%s
pools:
  web: {source: %s, check: /healthz}
`, top, source)
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

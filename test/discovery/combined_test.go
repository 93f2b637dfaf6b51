package discovery_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// Each backend but the static one is named by two sources; it stays for as long
// as one of them names it, and has one share of the traffic.
func TestABackendNamedTwiceCountsOnceAndStaysUntilNobodyNamesIt(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	apps := harness.Apps(t, "a", "b", "c", "d")
	a, b, c, d := apps[0], apps[1], apps[2], apps[3]
	agent.Register("web", "b", port(t, b.Address))
	file := filepath.Join(t.TempDir(), "web.yaml")
	list := func(all ...*harness.Node) {
		write(t, file, "["+strings.Join(addresses(all), ", ")+"]")
	}
	list(b, c)
	ns := harness.ServeDNS(t, host, srv(t, c, 1, 1), srv(t, d, 1, 1))
	s := harness.Start(t, onePool(agent.Address(), fmt.Sprintf(
		`backends: [%s], source: [{consul: {service: web, max_removal: 100%%}}, {file: %s}, {dns: {name: _http._tcp.web.test, type: srv, servers: "%s", max_removal: 100%%}}]`,
		a.Address, file, ns.Address)))
	members(t, s, "web", addresses(apps)...)
	l := begin(t, s.URL, 6)
	l.soon = ttlAndABit
	for _, app := range []string{"a", "b", "c", "d"} {
		if got := shareOf(l, app, 200); got < 0.22 || got > 0.28 {
			t.Errorf("%s got %.3f of the requests; want 0.25", app, got)
		}
	}
	named := func(app *harness.Node, by string) {
		t.Helper()
		harness.Eventually(t, patience, app.Address+" is named by "+by, func() bool {
			return strings.HasPrefix(s.Backend(t, "web", app.Address).Source, by)
		})
		if v := s.Backend(t, "web", app.Address); v.Left || v.State != "healthy" {
			t.Errorf("%+v", v)
		}
	}
	named(b, "consul service web")
	named(c, "file ")
	named(d, "dns srv ")

	agent.Deregister("b")
	named(b, "file ")
	list(b)
	named(c, "dns srv ")
	members(t, s, "web", addresses(apps)...)
	agent.Register("web", "b", port(t, b.Address))
	named(b, "consul service web")
	agent.Deregister("b")
	named(b, "file ")

	l.leaves("c", "nobody names c any more", func() { ns.Holds(host, srv(t, d, 1, 1)) })
	l.leaves("b", "nobody names b any more", func() { list() })
	members(t, s, "web", a.Address, d.Address)

	// One source that cannot answer is no matter of the others.
	ns.Behaves(harness.ServFail)
	agent.Kill()
	harness.Eventually(t, patience, "two sources cannot answer", func() bool {
		bad := 0
		for _, src := range s.Pool(t, "web").Sources {
			if src.Error != "" {
				bad++
			}
		}
		return bad == 2
	})
	l.comes("c", "only the file still speaks", func() { list(c) })
	members(t, s, "web", a.Address, c.Address, d.Address)
	l.end(apps...)
}

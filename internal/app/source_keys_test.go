package app

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"steelyard/config"
)

// TestSourceKeys shows each key of sources in DNS and in files in who the
// members are, or in what a DNS server is asked.
func TestSourceKeys(t *testing.T) { runKeyCases(t, sourceKeyCases()) }

func sourceKeyCases() []keyCase {
	var all []keyCase
	for _, c := range dnsCases() {
		if c.world == nil {
			c.world = resolver(zone{ttl: 3600, a: []string{"127.0.0.1"}})
		}
		if c.pool == "" {
			c.pool = `source: {dns: {name: cart.internal, port: 3001, servers: ["${DNS}"], KEY}}`
		}
		all = append(all, c)
	}
	return append(all, fileCases()...)
}

// zone is what a DNS server knows, under any name but nowhere.internal.
type zone struct {
	ttl uint32
	a   []string // addresses
	srv []string // what stands behind SRV, without the target
}

// resolver runs a DNS server as ${DNS}, which notes what it is asked for.
// Once "gone" is set it knows no name, once "less" is set the first address alone.
func resolver(z zone) func(*side) {
	return func(s *side) { s.resolve("DNS", z) }
}

func (s *side) resolve(name string, z zone) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.names(name, pc.LocalAddr().String())
	started := make(chan struct{})
	server := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(s.resolved(q, z))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ActivateAndServe() }()
	<-started
	s.t.Cleanup(func() { _ = server.Shutdown(); <-done })
}

func (s *side) resolved(q *dns.Msg, z zone) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	asked := q.Question[0]
	kind := dns.TypeToString[asked.Qtype]
	s.note(kind, asked.Name)
	if asked.Name == "nowhere.internal." || s.is("gone") {
		s.note("denied "+kind, asked.Name)
		m.Rcode = dns.RcodeNameError
		return m
	}
	record := func(text string) {
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s", asked.Name, z.ttl, text))
		if err != nil {
			s.t.Error(err)
			return
		}
		m.Answer = append(m.Answer, rr)
	}
	switch asked.Qtype {
	case dns.TypeA:
		for i, a := range z.a {
			if i == 0 || !s.is("less") {
				record("A " + a)
			}
		}
	case dns.TypeSRV:
		for _, text := range z.srv {
			record("SRV " + text + " app.internal.")
		}
	}
	return m
}

// ofDNS are keys of a source in DNS.
func ofDNS(names ...string) []string { return ofPool(prefixed("source[].dns.", names)...) }

func dnsCases() []keyCase {
	// often looks whether DNS was asked more than once in what takes the other
	// side, which asks once a second at most, a single question.
	often := func(s *side) string {
		if n := len(s.notes("A")); n != 1 {
			return map[bool]string{true: "often", false: "seldom"}[n > 3]
		}
		return "once"
	}
	lose := func(s *side) { s.set("less") }
	four := resolver(zone{ttl: 0, a: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}})
	const (
		small = `source: {dns: {name: cart.internal, port: 3001, servers: ["${DNS}"], min_ttl: 100ms, KEY}}`
		all   = "127.0.0.1:3001, 127.0.0.2:3001, 127.0.0.3:3001, 127.0.0.4:3001 (3 held)"
	)
	return []keyCase{
		{name: "source.dns", keys: ofPool("source[].dns"), look: membersOf, pool: `backends: "127.0.0.1:3009", KEY`,
			with: `source: {dns: {name: cart.internal, port: 3001, servers: "${DNS}"}}`, want: "127.0.0.1:3001, 127.0.0.1:3009", other: "127.0.0.1:3009"},
		{name: "source.dns.name", keys: ofDNS("name"), look: lastOf("A"), pool: `source: {dns: {port: 3001, servers: "${DNS}", KEY}}`,
			with: "name: cart.internal", without: "name: web.internal.", want: "cart.internal.", other: "web.internal."},
		{name: "source.dns.type", keys: ofDNS("type"), look: membersOf, pool: `source: {dns: {name: _http._tcp.cart.internal, servers: "${DNS}", KEY}}`,
			world: resolver(zone{ttl: 3600, a: []string{"127.0.0.1"}, srv: []string{"10 5 8001", "20 1 8002"}}),
			with:  "type: srv", without: "type: a, port: 3001", want: "127.0.0.1:8001 weight 5, 127.0.0.1:8002 backup", other: "127.0.0.1:3001"},
		{name: "source.dns.port", keys: ofDNS("port"), look: membersOf, pool: `source: {dns: {name: cart.internal, servers: "${DNS}", KEY}}`,
			with: "port: 3001", without: "port: 3002", want: "127.0.0.1:3001", other: "127.0.0.1:3002"},
		{name: "source.dns.servers", keys: ofDNS("servers"), look: membersOf, pool: `source: {dns: {name: cart.internal, port: 3001, KEY}}`,
			world: func(s *side) { resolver(zone{ttl: 3600, a: []string{"127.0.0.1"}})(s); s.deaf("DEAF") },
			with:  `servers: ["${DEAF}", "${DNS}"]`, without: `servers: "${DEAF}"`, want: "127.0.0.1:3001", other: ""},
		{name: "source.dns.timeout", atStart: true, keys: ofDNS("timeout"), look: membersOf, pool: `source: {dns: {name: cart.internal, port: 3001, servers: ["${SILENT}", "${DNS}"], KEY}}`,
			world: func(s *side) {
				resolver(zone{ttl: 3600, a: []string{"127.0.0.1"}})(s)
				pc, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { pc.Close() })
				s.names("SILENT", pc.LocalAddr().String())
			},
			with: "timeout: 50ms", want: "127.0.0.1:3001", other: ""},
		{name: "source.dns.min_ttl", keys: ofDNS("min_ttl"), look: often, world: resolver(zone{ttl: 0, a: []string{"127.0.0.1"}}),
			with: "min_ttl: 100ms", want: "often", other: "once"},
		{name: "source.dns.max_ttl", keys: ofDNS("max_ttl"), look: often, with: "max_ttl: 100ms", want: "often", other: "once"},
		{name: "source.dns.nxdomain_repeats", keys: ofDNS("nxdomain_repeats"), pool: small, act: func(s *side) { s.set("gone") },
			world: resolver(zone{a: []string{"127.0.0.1"}}),
			with:  "nxdomain_repeats: 100, max_removal: 100%", without: "max_removal: 100%", want: "127.0.0.1:3001", other: "",
			look: func(s *side) string {
				if len(s.notes("denied A")) < 5 {
					return "not denied often enough"
				}
				return membersOf(s)
			}},
		{name: "source.dns.max_removal", keys: ofDNS("max_removal"), world: four, act: lose, look: membersOf, pool: small,
			with: "max_removal: 75%", want: "127.0.0.1:3001", other: all},
		{name: "source.dns.guard_timeout", keys: ofDNS("guard_timeout"), world: four, act: lose, look: membersOf, pool: small,
			with: "guard_timeout: 1s", want: "127.0.0.1:3001", other: all},
	}
}

// ofFile are keys of a source in a file.
func ofFile(names ...string) []string { return ofPool(prefixed("source[].file.", names)...) }

func fileCases() []keyCase {
	const list = `["127.0.0.1:3001", {"address": "127.0.0.1:3002", "weight": 2}, "127.0.0.1:3003", "127.0.0.1:3004"]`
	const all = "127.0.0.1:3001, 127.0.0.1:3002 weight 2, 127.0.0.1:3003, 127.0.0.1:3004"
	there := func(s *side) {
		s.write("list.yaml", list)
		s.write("other.yaml", "- 127.0.0.1:4001\n")
	}
	lose := func(s *side) { s.write("list.yaml", `["127.0.0.1:3001"]`) }
	return []keyCase{
		{name: "source.file", keys: ofPool("source[].file"), world: there, look: membersOf, pool: `backends: "127.0.0.1:3009", KEY`,
			with: "source: {file: other.yaml}", want: "127.0.0.1:3009, 127.0.0.1:4001", other: "127.0.0.1:3009"},
		// Files are named relative to the folder of the configuration, or whole.
		{name: "source.file.path", keys: ofFile("path"), world: there, look: membersOf, pool: `source: {file: {KEY}}`,
			with: "path: list.yaml", without: `path: "${DIR}/other.yaml"`, want: all, other: "127.0.0.1:4001"},
		{name: "source.file.max_removal", keys: ofFile("max_removal"), world: there, act: lose, look: membersOf, pool: `source: {file: {path: list.yaml, KEY}}`,
			with: "max_removal: 50%", want: all + " (3 held)", other: "127.0.0.1:3001"},
		{name: "source.file.guard_timeout", keys: ofFile("guard_timeout"), world: there, act: lose, look: membersOf,
			pool: `source: {file: {path: list.yaml, max_removal: 50%, KEY}}`, with: "guard_timeout: 1s", want: "127.0.0.1:3001", other: all + " (3 held)"},
		{name: "a file that is missing at the start", keys: ofFile("path"), look: membersOf, pool: `backends: "127.0.0.1:3009", KEY`,
			act:  func(s *side) { s.write("late.yaml", "- 127.0.0.1:4001\n") },
			with: "source: {file: late.yaml}", want: "127.0.0.1:3009, 127.0.0.1:4001", other: "127.0.0.1:3009"},
	}
}

// TestMissingFilesAreWarnings holds the check of a configuration to telling of
// files that are not there: it may be made on another machine, or they may come
// later.
func TestMissingFilesAreWarnings(t *testing.T) {
	for _, tt := range []struct {
		key, keys string
		warning   string // %s is the folder
	}{
		{"source.file", "pools: {web: {source: {file: late}}}",
			"there is no file %s/late yet; until there is one it names no backends"},
		{"consul.token_file", "consul: {token_file: late}\npools: {web: {source: {consul: web}}}",
			"there is no file %s/late yet; until there is one Consul is asked without a token"},
		{"consul.tls.ca", "consul: {address: \"https://127.0.0.1:8501\", tls: {ca: late}}\npools: {web: {source: {consul: web}}}",
			"there is no file %s/late; Steelyard does not start without it"},
	} {
		t.Run(tt.key, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			warnings := func() (all []string) {
				cfg, err := config.Load(filepath.Join(dir, "test.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range cfg.Warnings {
					all = append(all, w.Msg)
				}
				return all
			}
			write("test.yaml", "listeners: {web: \":8080\"}\nroutes: [{pool: web}]\n"+tt.keys+"\n")
			if got, want := warnings(), []string{fmt.Sprintf(tt.warning, dir)}; !slices.Equal(got, want) {
				t.Errorf("without the file the warnings are %q, want %q", got, want)
			}
			write("late", "[]")
			if got := warnings(); len(got) > 0 {
				t.Errorf("with the file the warnings are %q", got)
			}
		})
	}
}

package app

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// TestConsulKeys shows each key about Consul in what an agent is asked, or in
// what is made of its answer. test/consul has real agents.
func TestConsulKeys(t *testing.T) {
	for _, name := range []string{"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_ADDR"} {
		t.Setenv(name, "") // of whoever runs the tests
	}
	runKeyCases(t, consulKeyCases())
}

// ofConsul are keys of a source in Consul.
func ofConsul(names ...string) []string { return ofPool(prefixed("source[].consul.", names)...) }

func consulKeyCases() []keyCase {
	var all []keyCase
	for _, cases := range [][]keyCase{queryCases(), answerCases(), connectionCases(), registerCases()} {
		for _, c := range cases {
			if c.world == nil {
				c.world = agent(3001)
			}
			if c.pool == "" {
				c.pool = "source: {consul: {service: web, KEY}}"
				if c.top != "" {
					c.pool = "source: {consul: web}"
				}
			}
			if c.top == "" {
				c.top = `consul: {address: "${AGENT}"}`
			}
			all = append(all, c)
		}
	}
	return all
}

// asked looks at parameters of the last query for a service.
func asked(parameter string) func(*side) string {
	return func(s *side) string {
		values, err := url.ParseQuery(s.last("query"))
		if err != nil || len(s.notes("query")) == 0 {
			return "not asked"
		}
		return strings.Join(values[parameter], " and ")
	}
}

// queryCases are about what the agent is asked for.
func queryCases() []keyCase {
	const service = `source: {consul: {service: web}}`
	cases := []keyCase{
		{name: "source", keys: ofPool("source", "source[].consul"), look: membersOf,
			pool: `backends: "127.0.0.1:3009", KEY`, with: "source: {consul: web}", want: "127.0.0.1:3001, 127.0.0.1:3009", other: "127.0.0.1:3009"},
		{name: "source.consul.service", keys: ofConsul("service"), look: lastOf("service"),
			pool: "source: {consul: {KEY}}", with: "service: cart", without: "service: web", want: "cart", other: "web"},
		{name: "source.consul.tag", keys: ofConsul("tag"), look: asked("tag"), with: "tag: [v1, public]", want: "v1 and public"},
		{name: "source.consul.filter", keys: ofConsul("filter"), look: asked("filter"),
			with: `filter: Service.Meta.stage != "canary"`, want: `Service.Meta.stage != "canary"`},
		{name: "source.consul.near", keys: ofConsul("near"), look: asked("near"), with: "near: _agent", want: "_agent"},
		{name: "source.consul.max_stale", keys: ofConsul("max_stale"), look: lastOf("waiting mode"),
			with: "max_stale: 0", want: "consistent", other: "stale"},
		{name: "source.consul.max_stale that is exceeded", atStart: true, keys: ofConsul("max_stale"),
			with: "max_stale: 100ms", want: "127.0.0.1:3001, 127.0.0.1:3002 by another question", other: "127.0.0.1:3001, 127.0.0.1:3002",
			world: func(s *side) { agent(3001)(s); s.consul.lastContact = "5000" },
			act: func(s *side) {
				s.consul.become(instance(3001, api.HealthPassing, nil), instance(3002, api.HealthPassing, nil))
			},
			look: func(s *side) string {
				if slices.Contains(s.notes("first mode"), "default") {
					return membersOf(s) + " by another question"
				}
				return membersOf(s)
			},
		},
	}
	// What is said of Consul as a whole holds for a source that says nothing.
	for name, parameter := range map[string]string{"datacenter": "dc", "namespace": "ns", "partition": "partition"} {
		cases = append(cases, keyCase{name: "source.consul." + name, keys: ofConsul(name), look: asked(parameter),
			with: name + ": mine", want: "mine"},
			keyCase{name: "consul." + name, keys: []string{"consul." + name}, look: asked(parameter), pool: service,
				top: `consul: {address: "${AGENT}", KEY}`, with: name + ": all", want: "all"},
			keyCase{name: "source.consul." + name + " wins", keys: ofConsul(name), look: asked(parameter), pool: "source: {consul: {service: web, KEY}}",
				top: `consul: {address: "${AGENT}", ` + name + `: all}`, with: name + ": mine", want: "mine", other: "all"})
	}
	return cases
}

// answerCases are about what is made of the agent's answer.
func answerCases() []keyCase {
	one := func(state string, meta map[string]string) func(*side) {
		return func(s *side) {
			agent()(s)
			s.env["A"] = "127.0.0.1:3001"
			s.consul.become(instance(3001, state, meta))
		}
	}
	lose := func(s *side) {
		s.until("all are there", func() bool { return len(s.view().Backends) == 4 })
		s.consul.become(instance(3001, api.HealthPassing, nil))
	}
	return []keyCase{
		{name: "source.consul.health: warning", keys: ofConsul("health"), world: one(api.HealthWarning, nil), look: stateOf("A"),
			with: "health: warning", want: "healthy", other: "unhealthy"},
		{name: "source.consul.health: ignore", keys: ofConsul("health"), world: one(api.HealthCritical, nil), look: stateOf("A"),
			with: "health: ignore", want: "healthy", other: "unhealthy"},
		{name: "source.consul.weight_meta", keys: ofConsul("weight_meta"), look: membersOf,
			world: one(api.HealthPassing, map[string]string{"weight": "3", "share": "7"}),
			with:  "weight_meta: share", want: "127.0.0.1:3001 weight 7", other: "127.0.0.1:3001 weight 3"},
		{name: "source.consul.max_removal", keys: ofConsul("max_removal"), world: agent(3001, 3002, 3003, 3004), act: lose, look: membersOf,
			with: "max_removal: 75%", want: "127.0.0.1:3001", other: "127.0.0.1:3001, 127.0.0.1:3002, 127.0.0.1:3003, 127.0.0.1:3004 (3 held)"},
		{name: "source.consul.guard_timeout", keys: ofConsul("guard_timeout"), world: agent(3001, 3002, 3003, 3004), act: lose, look: membersOf,
			with: "guard_timeout: 1s", want: "127.0.0.1:3001", other: "127.0.0.1:3001, 127.0.0.1:3002, 127.0.0.1:3003, 127.0.0.1:3004 (3 held)"},
	}
}

// connectionCases are about how the agent is reached.
func connectionCases() []keyCase {
	const secured = `consul: {address: "https://${AGENT}", tls: {KEY}}`
	trouble := func(part string) func(*side) string {
		return func(s *side) string {
			v := s.view()
			if len(v.Sources) == 1 && strings.Contains(v.Sources[0].Error, part) {
				return part
			}
			return membersOf(s)
		}
	}
	const (
		unknown  = "unknown authority"
		notValid = "not shop.internal"
		there    = "127.0.0.1:3001"
	)
	return []keyCase{
		{name: "consul.address", keys: []string{"consul.address"}, look: trouble("refused"),
			world: func(s *side) { agent(3001)(s); s.deaf("DEAF") },
			top:   `consul: {address: [KEY]}`, with: `"${DEAF}", "http://${AGENT}"`, without: `"${DEAF}"`, want: there, other: "refused"},
		{name: "consul", keys: []string{"consul"}, look: trouble("refused"),
			world: func(s *side) { agent(3001)(s); s.deaf("DEAF") },
			top:   `consul: KEY`, with: `"${AGENT}"`, without: `"${DEAF}"`, want: there, other: "refused"},
		{name: "consul.token", keys: []string{"consul.token"}, look: lastOf("token"),
			top: `consul: {address: "${AGENT}", KEY}`, with: "token: let-me-in", want: "let-me-in"},
		// The file is named relative to the folder of the configuration.
		{name: "consul.token_file", keys: []string{"consul.token_file"}, look: lastOf("token"),
			world: func(s *side) { agent(3001)(s); s.write("consul.token", "let-me-in\n") },
			top:   `consul: {address: "${AGENT}", KEY}`, with: "token_file: consul.token", want: "let-me-in"},
		{name: "consul.tls", keys: []string{"consul.tls", "consul.tls.ca"}, world: secureAgent, look: trouble(unknown),
			top: `consul: {address: "https://${AGENT}", KEY}`, with: "tls: {ca: ca.pem}", want: there, other: unknown},
		{name: "consul.tls.insecure", keys: []string{"consul.tls.insecure"}, world: secureAgent, look: trouble(unknown),
			top: secured, with: "insecure: true", without: "insecure: false", want: there, other: unknown},
		{name: "consul.tls.server_name", keys: []string{"consul.tls.server_name"}, world: secureAgent, look: lastOf("server name"),
			top: secured, with: "ca: ca.pem, server_name: example.com", without: "ca: ca.pem", want: `"example.com"`, other: `""`},
		{name: "consul.tls.server_name that is another's", keys: []string{"consul.tls.server_name"}, world: secureAgent, look: trouble(notValid),
			top: secured, with: "ca: ca.pem, server_name: shop.internal", without: "ca: ca.pem", want: notValid, other: there},
		{name: "consul.tls.cert", keys: []string{"consul.tls.cert", "consul.tls.key"}, world: secureAgent, look: lastOf("client certificates"),
			top: secured, with: "ca: ca.pem, cert: ca.pem, key: key.pem", without: "ca: ca.pem", want: "1", other: "0"},
		{name: "consul.max_connections", atStart: true, keys: []string{"consul.max_connections"},
			pool: "source: [{consul: a}, {consul: b}, {consul: c}]", top: `consul: {address: "${AGENT}", KEY}`,
			with: "max_connections: 2", want: "3 services, at most 1 at a time", other: "3 services, at most 3 at a time",
			look: func(s *side) string {
				services := s.notes("service")
				slices.Sort(services)
				s.consul.mu.Lock()
				defer s.consul.mu.Unlock()
				return fmt.Sprintf("%d services, at most %d at a time", len(slices.Compact(services)), s.consul.peak)
			}},
	}
}

// registered looks at a part of what Steelyard registered as.
func registered(part func(*api.AgentServiceRegistration) any) func(*side) string {
	return func(s *side) string {
		if len(s.notes("registered")) == 0 {
			return "not registered"
		}
		var r api.AgentServiceRegistration
		if err := json.Unmarshal([]byte(s.last("registered")), &r); err != nil {
			return err.Error()
		}
		return strings.ReplaceAll(fmt.Sprint(part(&r)), s.env["FRONT_PORT"], "PORT")
	}
}

// registerCases are about what Steelyard says of itself.
func registerCases() []keyCase {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	cases := []keyCase{
		{name: "consul.register", keys: []string{"consul.register"},
			top: `consul: {address: "${AGENT}", KEY}`, with: "register: true", want: "steelyard", other: "not registered",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Name })},
		{name: "consul.register.name", with: "name: edge", want: "edge", other: "steelyard",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Name })},
		{name: "consul.register.id", with: "id: edge-7", want: "edge-7", other: "steelyard-" + host + "-PORT",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.ID })},
		{name: "consul.register.address", with: "address: edge.example.com", want: "edge.example.com", other: "127.0.0.1",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Address })},
		{name: "consul.register.port", with: "port: 443", want: "443", other: "PORT",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Port })},
		{name: "consul.register.tags", with: "tags: [edge, east]", want: "[edge east]", other: "[]",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Tags })},
		{name: "consul.register.meta", with: `meta: {version: "2"}`, want: "map[version:2]", other: "map[]",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Meta })},
		{name: "consul.register.ttl", with: "ttl: 1s", want: "1s, refreshed", other: "15s, not refreshed",
			look: func(s *side) string {
				ttl := registered(func(r *api.AgentServiceRegistration) any { return r.Check.TTL })(s)
				if len(s.notes("updated")) == 0 {
					return ttl + ", not refreshed"
				}
				return ttl + ", refreshed"
			}},
		{name: "consul.register.deregister_after", with: "deregister_after: 2m", want: "2m0s", other: "10m0s",
			look: registered(func(r *api.AgentServiceRegistration) any { return r.Check.DeregisterCriticalServiceAfter })},
	}
	for i := range cases {
		cases[i].tcp = true
		if cases[i].keys == nil {
			cases[i].keys = []string{cases[i].name}
			cases[i].top = `consul: {address: "${AGENT}", register: {name: steelyard, KEY}}`
		}
	}
	cases[1].top = `consul: {address: "${AGENT}", register: {tags: [], KEY}}`
	return cases
}

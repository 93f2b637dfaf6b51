package discovery_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/test/harness"
)

// refuses asks and wants to hear that there is no backend.
func refuses(t *testing.T, s *harness.Steelyard, headers ...string) {
	t.Helper()
	status, _, err := harness.Do(harness.Client(t), "GET", s.URL, "", headers...)
	var cause *harness.CauseError
	if !errors.As(err, &cause) || status != 503 || cause.Cause != "no_backend" {
		t.Errorf("%v: %d %v; want 503 no_backend", headers, status, err)
	}
}

func TestSteelyardStartsBeforeItsAgentAndFindsItLater(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	agent.Kill()
	app := harness.App(t, "a")
	began := time.Now()
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}"))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it started after %v", took)
	}
	says := []string{"consul service web", "agent " + agent.Address(), "connection refused", "consul.address"}
	sourceSays(t, s, "web", says...)
	refuses(t, s)
	if p := s.Pool(t, "web"); len(p.Backends) != 0 || !containsAll(p.Why, append(says, "the pool has no backends")) {
		t.Errorf("the pool is empty because %q", p.Why)
	}
	logged(t, s, "pool starts without a healthy backend", "pool=web", agent.Address(), "connection refused")
	logged(t, s, "cause=no_backend", agent.Address(), "connection refused")

	agent.Start()
	agent.Register("web", "w", port(t, app.Address))
	from := time.Now()
	c := harness.Client(t)
	harness.Eventually(t, 2*time.Second, "it serves", func() bool {
		status, body, _ := harness.Do(c, "GET", s.URL, "")
		return status == 200 && body == "a"
	})
	t.Logf("serves %v after the agent was there", time.Since(from).Round(time.Millisecond))
	sourceSays(t, s, "web")
}

// Each mistake in a pool of its own: what it says names what is wrong and what
// there is instead, in the admin API and in the log.
func TestMistakesAboutAServiceAreExplained(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	app := harness.App(t, "a")
	agent.Register("checkout", "c1", port(t, app.Address), tags("blue", "v2"))
	agent.Register("billing", "b1", port(t, app.Address))
	agent.Register("portless", "p1", 0)
	mistakes := []struct {
		name, source string
		failed       bool // else Consul answered: nobody
		says         []string
	}{
		{"unknown service", "consul: chekout", false, []string{`Consul knows no service "chekout"; it knows: checkout`, "billing"}},
		{"unknown tag", "consul: {service: checkout, tag: green}", false,
			[]string{"service checkout has 1 instance, none with tag green; their tags are blue, v2"}},
		{"no tags at all", "consul: {service: billing, tag: green}", false,
			[]string{"service billing has 1 instance, none with tag green; they have no tags"}},
		{"filter fits nobody", `consul: {service: checkout, filter: 'Service.Meta.version == "9"'}`, false,
			[]string{"service checkout has 1 instance, none of which fits the filter Service.Meta.version"}},
		{"bad filter", `consul: {service: checkout, filter: "Service.Meta.version =="}`, true,
			[]string{"Consul does not understand the filter", "Service.Meta.version ==", "mend filter"}},
		{"unknown selector in the filter", `consul: {service: checkout, filter: 'Service.Mata == "x"'}`, true,
			[]string{"Consul does not understand the filter", "Service.Mata", "mend filter"}},
		{"wrong datacenter", "consul: {service: checkout, datacenter: mars}", true,
			[]string{`Consul knows no way to the datacenter "mars": mend datacenter`}},
		{"instance without a port", "consul: portless", false,
			[]string{"service portless has 1 instance, none of which can be used", "port 0", "register it with the port it listens on"}},
	}
	routes, pools := "", ""
	for i, m := range mistakes {
		routes += fmt.Sprintf("  - {match: {host: p%d.test}, pool: p%d}\n", i, i)
		pools += fmt.Sprintf("  p%d: {source: {%s}}\n", i, m.source)
	}
	s := harness.Start(t, fmt.Sprintf("listeners: {web: {address: \"LISTEN\"}}\nadmin: ADMIN\nconsul: %s\nroutes:\n%s  - {pool: web}\npools:\n%s  web: {source: {consul: checkout}}\n",
		agent.Address(), routes, pools))
	for i, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			name := fmt.Sprintf("p%d", i)
			var p harness.PoolView
			t.Cleanup(func() { t.Logf("%s", p.Why) })
			harness.Eventually(t, patience, fmt.Sprintf("%s is empty because of %q", name, m.says), func() bool {
				p = s.Pool(t, name)
				return containsAll(p.Why, m.says)
			})
			if src := p.Sources[0]; (src.Error != "") != m.failed || m.failed && !containsAll(src.Error, m.says) {
				t.Errorf("the source has the error %q", src.Error)
			}
			refuses(t, s, "Host: "+name+".test")
			// In the log quotes are escaped.
			logged(t, s, "cause=no_backend", "pool="+name)
		})
	}
	logged(t, s, "instance p1 on node agent has port 0, and is left out; register it with the port it listens on")
	if got := harness.Get(t, harness.Client(t), s.URL); got != "a" {
		t.Errorf("the pool without a mistake answers %q", got)
	}
}

func TestWhatTheTokenMayNotReadIsExplainedAndTheRightTokenTakenWithoutARestart(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t, harness.ConsulACL())
	app := harness.App(t, "a")
	agent.Register("web", "w", port(t, app.Address))
	file := filepath.Join(t.TempDir(), "consul.token")
	s := harness.Start(t, onePool(fmt.Sprintf("{address: \"%s\", token_file: %s}", agent.Address(), file), "source: {consul: web}"))

	sourceSays(t, s, "web", "without a token", "service web needs service:read and node:read", "consul.token", file, "no such file")
	refuses(t, s)
	logged(t, s, "cause=no_backend", "service:read and node:read")

	write(t, file, "5b2bd6ac-7a11-4ba4-a1c1-ffffffffffff")
	sourceSays(t, s, "web", "Consul refused the token (403", "service web needs service:read and node:read")

	write(t, file, readToken(t, agent))
	from := time.Now()
	sourceSays(t, s, "web")
	t.Logf("the right token is used after %v", time.Since(from).Round(time.Millisecond))
	members(t, s, "web", app.Address)
	l := begin(t, s.URL, 4)
	l.flows(50)

	// From here on somebody is there to be lost.
	write(t, file, "5b2bd6ac-7a11-4ba4-a1c1-eeeeeeeeeeee")
	sourceSays(t, s, "web", "Consul refused the token (403", "service:read and node:read")
	members(t, s, "web", app.Address)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	logged(t, s, "the token for Consul cannot be read; the last one is used", "consul.token")
	l.flows(200)
	members(t, s, "web", app.Address)
	write(t, file, readToken(t, agent))
	sourceSays(t, s, "web")
	l.end(app)
}

// readToken makes a token that may read everything.
func readToken(t *testing.T, agent *harness.ConsulAgent) string {
	t.Helper()
	client := agent.Client().ACL()
	rules := `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`
	var token *api.ACLToken
	harness.Eventually(t, patience, "a token can be made", func() bool {
		policy, _, err := client.PolicyCreate(&api.ACLPolicy{Name: fmt.Sprintf("read-%d", time.Now().UnixNano()), Rules: rules}, nil)
		if err != nil {
			return false
		}
		token, _, err = client.TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
		return err == nil
	})
	return token.SecretID
}

// write replaces a file, as deployment tools do.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

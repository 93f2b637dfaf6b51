package consul_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/discovery"
	"steelyard/test/harness"
)

const api1 = "127.0.0.1:1001*1 serving"

// TestAccessRules turns access rules on. What a token may not read is never
// taken for a service without instances.
func TestAccessRules(t *testing.T) {
	agent := harness.Consul(t, harness.ConsulACL())
	agent.Register("api", "a", 1001)
	reader := newToken(t, agent, `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)

	t.Run("without a token", func(t *testing.T) {
		c := connect(t, nil, agent)
		s, _ := run(t, c.Source(query("api")))
		s.waitsFailure(t, 3*time.Second, "consul service api", "without a token", "service:read and node:read", "consul.token")
		s.waits(t, 0, "unknown")
	})
	t.Run("with a token that there is not", func(t *testing.T) {
		c := connect(t, func(o *discovery.ConsulOptions) { o.Token = "5b2bd6ac-7a11-4ba4-a1c1-ffffffffffff" }, agent)
		s, _ := run(t, c.Source(query("api")))
		s.waitsFailure(t, 3*time.Second, "refused the token", "403", "service:read and node:read")
		if fails := s.failures(); len(fails) != 1 {
			t.Errorf("%d failures for one reason: %q", len(fails), fails)
		}
	})
	t.Run("from the environment", func(t *testing.T) {
		t.Setenv("CONSUL_HTTP_TOKEN", reader)
		t.Setenv("CONSUL_HTTP_ADDR", agent.Address())
		c := connect(t, nil)
		s, _ := run(t, c.Source(query("api")))
		s.waits(t, 3*time.Second, api1)
	})
	t.Run("file mended", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		c := connect(t, func(o *discovery.ConsulOptions) { o.TokenFile = file }, agent)
		s, _ := run(t, c.Source(query("api")))
		s.waitsFailure(t, 3*time.Second, "without a token", "token_file", "no such file")
		write(t, file, "5b2bd6ac-7a11-4ba4-a1c1-ffffffffffff")
		s.waitsFailure(t, 3*time.Second, "refused the token", "403")
		write(t, file, reader)
		s.waits(t, 3*time.Second, api1)
	})
}

// TestTokenIsRevoked takes the rights of a token away while it is used.
func TestTokenIsRevoked(t *testing.T) {
	agent := harness.Consul(t, harness.ConsulACL())
	agent.Register("api", "a", 1001)
	token := newToken(t, agent, `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)
	// Two watches for one connection, so that none waits for long.
	c := connect(t, func(o *discovery.ConsulOptions) { o.Token, o.MaxConnections = token, 2 }, agent)
	s, _ := run(t, c.Source(query("api")))
	run(t, c.Source(query("consul")))
	s.waits(t, 3*time.Second, api1)

	client := agent.Client()
	policies, _, err := client.ACL().PolicyList(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range policies {
		if p.Name == policyName(t) {
			if _, _, err := client.ACL().PolicyUpdate(&api.ACLPolicy{ID: p.ID, Name: p.Name, Rules: `service "other" { policy = "read" }`}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	agent.Register("api", "b", 1002)
	s.waitsFailure(t, 10*time.Second, "hides all instances", "service:read")
	s.waits(t, 0, api1)
}

func policyName(t *testing.T) string { return "for-" + t.Name() }

// newToken makes a token with rules of its own.
func newToken(t *testing.T, agent *harness.ConsulAgent, rules string) string {
	t.Helper()
	client := agent.Client()
	var token *api.ACLToken
	var err error
	harness.Eventually(t, 10*time.Second, "a policy can be made", func() bool {
		var policy *api.ACLPolicy
		policy, _, err = client.ACL().PolicyCreate(&api.ACLPolicy{Name: policyName(t), Rules: rules}, nil)
		if err != nil {
			return false
		}
		token, _, err = client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
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

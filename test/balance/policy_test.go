// Package balance_test tells how requests are spread over backends.
package balance_test

import (
	"fmt"
	"net/http"
	"testing"

	"steelyard/test/harness"
)

// threeBackends is a configuration of one pool of three with a policy.
func threeBackends(policy string, apps []*harness.Node) string {
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    policy: %s
    backends: [%s, %s, %s]
`, policy, apps[0].Address, apps[1].Address, apps[2].Address)
}

func TestRoundRobinSharesFollowWeights(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends:
      - {address: %s, weight: 5}
      - {address: %s, weight: 3}
      - {address: %s, weight: 2}
`, apps[0].Address, apps[1].Address, apps[2].Address))
	got := harness.Shares(t, harness.Client(t), s.URL, 200)
	if got["a"] != 100 || got["b"] != 60 || got["c"] != 40 {
		t.Errorf("200 requests over weights 5, 3, 2: %v; want 100, 60, 40", got)
	}
}

func TestCanaryGetsItsShare(t *testing.T) {
	apps := harness.Apps(t, "stable", "canary")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, split: [{pool: stable, weight: 90}, {pool: canary, weight: 10}]}
pools:
  stable: {backends: [%s]}
  canary: {backends: [%s]}
`, apps[0].Address, apps[1].Address))
	got := harness.Shares(t, harness.Client(t), s.URL, 1000)
	// Drawn at random, a tenth of 1000 has a standard deviation of 9.5.
	if got["canary"] < 55 || got["canary"] > 145 || got["stable"] != 1000-got["canary"] {
		t.Errorf("1000 requests over a split of 90 to 10: %v", got)
	}
}

func TestAStickySplitKeepsAClientInItsPool(t *testing.T) {
	apps := harness.Apps(t, "stable", "canary")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, split: {to: [{pool: stable, weight: 50}, {pool: canary, weight: 50}], sticky: {cookie: {name: side}}}}
pools:
  stable: {backends: [%s]}
  canary: {backends: [%s]}
`, apps[0].Address, apps[1].Address))
	met := map[string]int{}
	for range 24 {
		got := harness.Shares(t, harness.Browser(t), s.URL, 8)
		if len(got) != 1 {
			t.Errorf("one client met both sides: %v", got)
		}
		for side := range got {
			met[side]++
		}
	}
	if len(met) != 2 {
		t.Errorf("24 clients were all sent to one side: %v", met)
	}
}

func TestEachPolicyIsChosenFromYAML(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	begin := func(t *testing.T, policy string) (*http.Client, string) {
		t.Helper()
		s := harness.Start(t, threeBackends(policy, apps))
		return harness.Client(t), s.URL
	}

	t.Run("round_robin takes turns", func(t *testing.T) {
		c, url := begin(t, "round_robin")
		if got := harness.Shares(t, c, url, 30); got["a"] != 10 || got["b"] != 10 || got["c"] != 10 {
			t.Errorf("30 requests: %v; want 10 each", got)
		}
	})

	for _, policy := range []string{"least_connections", "power_of_two"} {
		t.Run(policy+" avoids the busy backend", func(t *testing.T) {
			c, url := begin(t, policy)
			busy, release := occupy(t, url, apps)
			got := harness.Shares(t, c, url, 60)
			if got[busy] > 10 {
				t.Errorf("%s is busy with 6 requests and the others with none, yet of 60 more: %v", busy, got)
			}
			release()
		})
	}

	t.Run("random spreads evenly", func(t *testing.T) {
		c, url := begin(t, "random")
		got := harness.Shares(t, c, url, 600)
		for _, name := range []string{"a", "b", "c"} {
			if got[name] < 140 || got[name] > 260 { // Standard deviation 11.5.
				t.Errorf("600 requests: %v; want about 200 each", got)
			}
		}
	})

	for _, hash := range []struct{ policy, path, header string }{
		{`{consistent_hash: {key: "header:x-user-id"}}`, "/", "X-User-Id: user-%d"},
		{`{consistent_hash: {key: "cookie:user"}}`, "/", "Cookie: other=1; user=user-%d"},
		{`{consistent_hash: {key: "query:user"}}`, "/?other=1&user=user-%d", "X-Nothing: %d"},
		{`{consistent_hash: {key: path}}`, "/user-%d", "X-Nothing: %d"},
		{`{maglev: {key: uri}}`, "/?user=user-%d", "X-Nothing: %d"},
		{`{maglev: {key: "header:x-user-id"}}`, "/", "X-User-Id: user-%d"},
	} {
		t.Run(hash.policy+" keeps a key on its backend", func(t *testing.T) {
			c, url := begin(t, hash.policy)
			all := map[string]int{}
			for user := range 60 {
				path := hash.path
				if path != "/" {
					path = fmt.Sprintf(path, user)
				}
				got := harness.Shares(t, c, url+path, 3, fmt.Sprintf(hash.header, user))
				if len(got) != 1 {
					t.Fatalf("user-%d met several backends: %v", user, got)
				}
				for name := range got {
					all[name]++
				}
			}
			if all["a"] < 5 || all["b"] < 5 || all["c"] < 5 {
				t.Errorf("60 keys are spread badly: %v", all)
			}
		})
	}

	t.Run("consistent_hash by client_ip keeps a client on its backend", func(t *testing.T) {
		c, url := begin(t, "{consistent_hash: {key: client_ip}}")
		if got := harness.Shares(t, c, url, 20); len(got) != 1 {
			t.Errorf("one client met several backends: %v", got)
		}
	})

	t.Run("least_time prefers the fast", func(t *testing.T) {
		slow := harness.App(t, "slow", "DELAY_MS=40")
		s := harness.Start(t, threeBackends("least_time", []*harness.Node{apps[0], slow, apps[1]}))
		got := harness.Shares(t, harness.Client(t), s.URL, 300)
		if got["slow"] == 0 || got["slow"] > 60 {
			t.Errorf("300 requests: %v; want few, but some, on the backend that takes 40 ms", got)
		}
	})
}

// occupy keeps one backend busy with six requests until release is called, and
// says which: it begins eighteen, which any fair policy spreads evenly, and
// lets those of the other two go.
func occupy(t *testing.T, url string, apps []*harness.Node) (busy string, release func()) {
	t.Helper()
	before := apps[0].Stats(t).Begun + apps[1].Stats(t).Begun + apps[2].Stats(t).Begun
	address := url[len("http://"):]
	var conns []*harness.Conn
	for range 18 {
		c := harness.Dial(t, address)
		c.Send(t, "GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n")
		conns = append(conns, c)
	}
	harness.Eventually(t, patience, "18 requests are held", func() bool {
		return apps[0].Stats(t).Begun+apps[1].Stats(t).Begun+apps[2].Stats(t).Begun == before+18
	})
	for _, app := range apps[1:] {
		app.Ask(t, "/_release", new(int))
	}
	harness.Eventually(t, patience, "the other two are idle", func() bool {
		return apps[1].Stats(t).Busy == 0 && apps[2].Stats(t).Busy == 0
	})
	if n := apps[0].Stats(t).Busy; n < 3 {
		t.Fatalf("the first backend got %d of 18 simultaneous requests", n)
	}
	return "a", func() {
		apps[0].Ask(t, "/_release", new(int))
		for _, c := range conns {
			c.Response(t, "GET")
		}
	}
}

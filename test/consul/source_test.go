package consul_test

import (
	"strings"
	"testing"
	"time"

	"steelyard/discovery"
	"steelyard/test/harness"
)

// TestChangesArrive goes through all that can happen to an instance; each
// change must arrive within a second.
func TestChangesArrive(t *testing.T) {
	agent := harness.Consul(t)
	c := connect(t, nil, agent)
	all, _ := run(t, c.Source(query("api")))
	v1, _ := run(t, c.Source(query("api", func(q *discovery.ConsulQuery) { q.Tags = []string{"v1"} })))
	all.waits(t, 3*time.Second, "")
	v1.waits(t, 3*time.Second, "")

	client := agent.Client()
	for _, step := range []struct {
		name string
		do   func() error
		all  string
		v1   string
	}{
		{name: "register", do: func() error {
			agent.Register("api", "a", 1001, tags("v1"), ttl("passing"))
			return nil
		}, all: "127.0.0.1:1001*1 serving", v1: "127.0.0.1:1001*1 serving"},
		{name: "another", do: func() error {
			agent.Register("api", "b", 1002, tags("v2"), weights(7, 1))
			return nil
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*7 serving", v1: "127.0.0.1:1001*1 serving"},
		{name: "re-tag", do: func() error {
			agent.Register("api", "b", 1002, tags("v2", "v1"), weights(7, 1))
			return nil
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*7 serving", v1: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*7 serving"},
		{name: "re-weight", do: func() error {
			agent.Register("api", "b", 1002, tags("v2", "v1"), weights(3, 1))
			return nil
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*3 serving", v1: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*3 serving"},
		{name: "weight of meta", do: func() error {
			agent.Register("api", "b", 1002, tags("v2"), weights(3, 1), meta(map[string]string{"weight": "42"}))
			return nil
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*42 serving", v1: "127.0.0.1:1001*1 serving"},
		{name: "critical", do: func() error {
			return client.Agent().UpdateTTL("check:a", "disk full\nand more", "critical")
		}, all: "127.0.0.1:1001*1 failing, 127.0.0.1:1002*42 serving", v1: "127.0.0.1:1001*1 failing"},
		{name: "warning", do: func() error {
			return client.Agent().UpdateTTL("check:a", "slow", "warning")
		}, all: "127.0.0.1:1001*1 failing, 127.0.0.1:1002*42 serving", v1: "127.0.0.1:1001*1 failing"},
		{name: "passing", do: func() error {
			return client.Agent().UpdateTTL("check:a", "", "passing")
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*42 serving", v1: "127.0.0.1:1001*1 serving"},
		{name: "service in maintenance", do: func() error {
			return client.Agent().EnableServiceMaintenance("b", "deploy")
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*42 draining", v1: "127.0.0.1:1001*1 serving"},
		{name: "service out of maintenance", do: func() error {
			return client.Agent().DisableServiceMaintenance("b")
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*42 serving", v1: "127.0.0.1:1001*1 serving"},
		{name: "node in maintenance", do: func() error {
			return client.Agent().EnableNodeMaintenance("kernel")
		}, all: "127.0.0.1:1001*1 draining, 127.0.0.1:1002*42 draining", v1: "127.0.0.1:1001*1 draining"},
		{name: "node out of maintenance", do: func() error {
			return client.Agent().DisableNodeMaintenance()
		}, all: "127.0.0.1:1001*1 serving, 127.0.0.1:1002*42 serving", v1: "127.0.0.1:1001*1 serving"},
		{name: "deregister", do: func() error {
			agent.Deregister("a")
			return nil
		}, all: "127.0.0.1:1002*42 serving", v1: ""},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		took := all.waits(t, time.Second, step.all)
		v1.waits(t, time.Second, step.v1)
		t.Logf("%s arrived after %v", step.name, took.Round(time.Millisecond))
	}
	if fails := append(all.failures(), v1.failures()...); len(fails) > 0 {
		t.Errorf("failures: %q", fails)
	}
}

// TestHealthOption shows what warning means with each value of health.
func TestHealthOption(t *testing.T) {
	agent := harness.Consul(t)
	c := connect(t, nil, agent)
	agent.Register("api", "a", 1001, ttl("warning"), weights(10, 2))
	agent.Register("api", "b", 1002, ttl("critical"), weights(10, 2))
	for health, want := range map[string]string{
		"passing": "127.0.0.1:1001*2 failing, 127.0.0.1:1002*10 failing",
		"warning": "127.0.0.1:1001*2 serving, 127.0.0.1:1002*10 failing",
		"ignore":  "127.0.0.1:1001*2 serving, 127.0.0.1:1002*10 serving",
	} {
		s, _ := run(t, c.Source(query("api", func(q *discovery.ConsulQuery) { q.Health = health })))
		s.waits(t, 3*time.Second, want)
	}
	// All three are one question.
	if st := c.Stats(); st.Watches != 1 {
		t.Errorf("there are %d watches, want 1", st.Watches)
	}
}

// TestExplanations asks for what there is not.
func TestExplanations(t *testing.T) {
	agent := harness.Consul(t)
	c := connect(t, nil, agent)
	agent.Register("api-v2", "a", 1001, tags("v1"))
	agent.Register("web", "b", 1002)
	for _, tc := range []struct {
		name   string
		query  discovery.ConsulQuery
		wanted []string
	}{
		{"unknown service", query("api"), []string{`knows no service "api"; it knows: api-v2, `, "web"}},
		{"unknown tag", query("api-v2", func(q *discovery.ConsulQuery) { q.Tags = []string{"v9"} }),
			[]string{"service api-v2 has 1 instance, none with tag v9; their tags are v1"}},
		{"filter", query("api-v2", func(q *discovery.ConsulQuery) { q.Filter = `Service.Meta.zone == "b"` }),
			[]string{"service api-v2 has 1 instance, none of which fits the filter"}},
	} {
		source := c.Source(tc.query)
		s, _ := run(t, source)
		s.waits(t, 3*time.Second, "")
		text := source.(discovery.Explainer).Explain()
		for _, want := range tc.wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s: explained by %q, which has no %q", tc.name, text, want)
			}
		}
	}
	bad, _ := run(t, c.Source(query("web", func(q *discovery.ConsulQuery) { q.Filter = "Service.Colour == red and" })))
	bad.waitsFailure(t, 3*time.Second, "consul service web", "filter")
	dc, _ := run(t, c.Source(query("web", func(q *discovery.ConsulQuery) { q.Datacenter = "mars" })))
	dc.waitsFailure(t, 3*time.Second, "mars", "datacenter")
	// None of these was the agent's fault.
	if st := c.Stats(); st.Agent != agent.Address() || st.Moves != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// TestAgentRestarts kills the agent and starts it again, with its data and
// without: nothing is lost while it is away, and it is found again in 2 s.
func TestAgentRestarts(t *testing.T) {
	agent := harness.Consul(t, harness.ConsulPersistent())
	c := connect(t, nil, agent)
	agent.Register("api", "a", 1001)
	agent.Register("api", "b", 1002)
	s, _ := run(t, c.Source(query("api")))
	const both = "127.0.0.1:1001*1 serving, 127.0.0.1:1002*1 serving"
	s.waits(t, 3*time.Second, both)

	for _, forget := range []bool{false, true} {
		before := len(s.failures())
		agent.Kill()
		harness.Eventually(t, 3*time.Second, "the source fails", func() bool { return len(s.failures()) > before })
		s.waits(t, time.Millisecond, both)
		if forget {
			agent.Forget()
		}
		sets, _ := s.count()
		agent.Start()
		harness.Eventually(t, 4*time.Second, "the source answers again", func() bool { now, _ := s.count(); return now > sets })
		if forget {
			s.waits(t, time.Second, "") // It is what Consul says; the guard is another matter.
			agent.Register("api", "c", 1003)
			s.waits(t, time.Second, "127.0.0.1:1003*1 serving")
		} else if _, emptied := s.count(); emptied > 0 {
			t.Error("the membership was empty for a while")
		} else {
			s.waits(t, time.Second, both)
			agent.Deregister("b")
			s.waits(t, time.Second, "127.0.0.1:1001*1 serving")
			agent.Register("api", "b", 1002)
			s.waits(t, time.Second, both)
		}
	}
	for _, f := range s.failures() {
		if !strings.Contains(f, "agent "+agent.Address()) || !strings.Contains(f, "consul.address") {
			t.Errorf("failure %q does not say which agent, or what to do", f)
		}
	}
}

// TestAgentUnreachableAtStart starts without an agent and finds it later.
func TestAgentUnreachableAtStart(t *testing.T) {
	agent := harness.Consul(t)
	agent.Kill()
	c := connect(t, nil, agent)
	s, _ := run(t, c.Source(query("consul")))
	s.waitsFailure(t, 3*time.Second, "consul service consul", agent.Address(), "connection refused", "is running")
	agent.Start()
	harness.Eventually(t, 3*time.Second, "the source answers", func() bool { sets, _ := s.count(); return sets == 1 })
	if st := c.Stats(); st.Agent != agent.Address() || st.LastContact.IsZero() {
		t.Errorf("stats: %+v", st)
	}
}

// TestAgentHangs stops the agent's process for a while.
func TestAgentHangs(t *testing.T) {
	agent := harness.Consul(t)
	c := connect(t, nil, agent)
	agent.Register("api", "a", 1001)
	s, _ := run(t, c.Source(query("api")))
	s.waits(t, 3*time.Second, "127.0.0.1:1001*1 serving")
	agent.Pause()
	s.waitsFailure(t, 15*time.Second, "did not answer in time")
	s.waits(t, time.Millisecond, "127.0.0.1:1001*1 serving")
	agent.Resume()
	sets, _ := s.count()
	harness.Eventually(t, 5*time.Second, "the source answers again", func() bool { now, _ := s.count(); return now > sets })
	agent.Register("api", "b", 1002)
	s.waits(t, time.Second, "127.0.0.1:1001*1 serving, 127.0.0.1:1002*1 serving")
}

// TestFailover has two agents, of which the first ends and comes back.
func TestFailover(t *testing.T) {
	first, second := harness.Consul(t, harness.ConsulNode("first")), harness.Consul(t, harness.ConsulNode("second"))
	c := connect(t, nil, first, second)
	first.Register("api", "a", 1001)
	second.Register("api", "b", 1002)
	one, _ := run(t, c.Source(query("api")))
	two, _ := run(t, c.Source(query("api", func(q *discovery.ConsulQuery) { q.Tags = nil; q.Near = "_agent" })))
	one.waits(t, 3*time.Second, "127.0.0.1:1001*1 serving")
	two.waits(t, 3*time.Second, "127.0.0.1:1001*1 serving")
	first.Kill()
	took := one.waits(t, 2*time.Second, "127.0.0.1:1002*1 serving")
	two.waits(t, 2*time.Second, "127.0.0.1:1002*1 serving")
	t.Logf("moved after %v", took)
	if st := c.Stats(); st.Agent != second.Address() || st.Moves != 1 {
		t.Errorf("stats: %+v", st)
	}
	if fails := one.failures(); len(fails) > 0 {
		t.Errorf("another agent was there, and still: %q", fails)
	}
	first.Start()
	first.Register("api", "c", 1003)
	one.waits(t, 25*time.Second, "127.0.0.1:1003*1 serving")
	if st := c.Stats(); st.Agent != first.Address() {
		t.Errorf("stats: %+v", st)
	}
}

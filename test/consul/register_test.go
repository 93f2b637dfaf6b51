package consul_test

import (
	"net"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/discovery"
	"steelyard/test/harness"
)

// registered is the one instance of steelyard that an agent knows, or nil.
func registered(agent *harness.ConsulAgent) *api.ServiceEntry {
	entries, _, err := agent.Client().Health().Service("steelyard", "", false, nil)
	if err != nil || len(entries) != 1 {
		return nil
	}
	return entries[0]
}

// TestRegistration follows Steelyard's own registration from announcement to
// removal, with an agent that loses it in between.
func TestRegistration(t *testing.T) {
	agent := harness.Consul(t)
	o := discovery.DefaultRegistration()
	o.Tags, o.Meta, o.TTL = []string{"edge"}, map[string]string{"zone": "a"}, 3*time.Second
	c := connect(t, func(options *discovery.ConsulOptions) { options.Register = &o }, agent)
	if registered(agent) != nil {
		t.Fatal("registered without a port")
	}
	c.Announce("0.0.0.0", 8080)
	harness.Eventually(t, 3*time.Second, "Steelyard is registered", func() bool { return registered(agent) != nil })
	e := registered(agent)
	if e.Service.Port != 8080 || e.Service.Address != "" || e.Service.Tags[0] != "edge" || e.Service.Meta["zone"] != "a" ||
		e.Checks.AggregatedStatus() != "passing" {
		t.Errorf("registered as %+v", e.Service)
	}
	if st := c.Stats(); !st.Registered || st.RegisterError != "" {
		t.Errorf("stats: %+v", st)
	}

	// It is refreshed: still there and passing after more than the TTL.
	for end := time.Now().Add(o.TTL + time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if e := registered(agent); e == nil || e.Checks.AggregatedStatus() != "passing" {
			t.Fatal("the registration was not refreshed")
		}
	}
	agent.Deregister(e.Service.ID)
	harness.Eventually(t, 3*time.Second, "registered again", func() bool { return registered(agent) != nil })
	agent.Kill()
	agent.Start() // It has no data.
	harness.Eventually(t, 4*time.Second, "registered at the new agent", func() bool { return registered(agent) != nil })

	c.Close()
	if registered(agent) != nil {
		t.Error("still registered after Close")
	}
}

// TestRegistrationMoves shows that there is one registration, at the agent in use.
func TestRegistrationMoves(t *testing.T) {
	first, second := harness.Consul(t, harness.ConsulNode("first")), harness.Consul(t, harness.ConsulNode("second"))
	o := discovery.DefaultRegistration()
	o.Address, o.Port = "192.0.2.1", 80
	c := connect(t, func(options *discovery.ConsulOptions) { options.Register = &o }, first, second)
	c.Announce("", 0)
	harness.Eventually(t, 3*time.Second, "registered", func() bool { return registered(first) != nil })
	first.Kill()
	harness.Eventually(t, 10*time.Second, "registered at the second", func() bool { return registered(second) != nil })
	first.Start()
	harness.Eventually(t, 25*time.Second, "back at the first alone", func() bool {
		return registered(first) != nil && registered(second) == nil
	})
}

// TestRegistrationRefused has a token that may not register.
func TestRegistrationRefused(t *testing.T) {
	agent := harness.Consul(t, harness.ConsulACL())
	o := discovery.DefaultRegistration()
	o.Port = 80
	c := connect(t, func(options *discovery.ConsulOptions) { options.Register = &o }, agent)
	c.Announce("", 0)
	harness.Eventually(t, 3*time.Second, "the refusal is shown", func() bool {
		st := c.Stats()
		return !st.Registered && st.RegisterError != ""
	})
	t.Log(c.Stats().RegisterError)
}

// TestCloseDoesNotHang closes while the agent answers nothing.
func TestCloseDoesNotHang(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // It never accepts, so connections succeed and nothing answers.
	agent := harness.Consul(t)
	o := discovery.DefaultRegistration()
	o.Port = 80
	c := connect(t, func(options *discovery.ConsulOptions) {
		options.Register = &o
		options.Addresses = append(options.Addresses, ln.Addr().String())
	}, agent)
	if registered(agent) != nil {
		t.Error("registered before anybody is served")
	}
	c.Announce("", 0)
	harness.Eventually(t, 3*time.Second, "registered", func() bool { return registered(agent) != nil })
	agent.Pause()
	defer agent.Resume()
	began := time.Now()
	c.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
}

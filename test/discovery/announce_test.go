package discovery_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/test/harness"
)

// announced is Steelyard itself as Consul knows it; nil if it does not.
func announced(t *testing.T, agent *harness.ConsulAgent) *api.ServiceEntry {
	t.Helper()
	entries, _, err := agent.Client().Health().Service("edge", "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		return nil
	}
	return entries[0]
}

// healthOf is the status of the check that Steelyard keeps passing.
func healthOf(e *api.ServiceEntry) string {
	for _, c := range e.Checks {
		if c.ServiceID == e.Service.ID {
			return c.Status
		}
	}
	return ""
}

func announcing(t *testing.T, agent *harness.ConsulAgent, app *harness.Node) *harness.Steelyard {
	t.Helper()
	return harness.Start(t, onePool(fmt.Sprintf(
		`{address: "%s", register: {name: edge, id: edge-1, ttl: 1s, tags: [lb, public], meta: {zone: north}}}`, agent.Address()),
		"backends: ["+app.Address+"]"))
}

func TestSteelyardIsRegisteredWhileItRuns(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	app := harness.App(t, "a")
	s := announcing(t, agent, app)
	var e *api.ServiceEntry
	harness.Eventually(t, patience, "it is registered", func() bool {
		e = announced(t, agent)
		return e != nil
	})
	if e.Service.ID != "edge-1" || e.Service.Address != "127.0.0.1" || e.Service.Port != port(t, s.Address) ||
		fmt.Sprint(e.Service.Tags) != "[lb public]" || e.Service.Meta["zone"] != "north" {
		t.Errorf("Consul knows %+v", e.Service)
	}
	if v := consul(t, s); !v.Registered || v.RegisterError != "" {
		t.Errorf("the admin API shows %+v", v)
	}
	began := time.Now()
	harness.Eventually(t, patience, "four times its TTL has passed", func() bool {
		if e := announced(t, agent); e == nil || healthOf(e) != api.HealthPassing {
			t.Fatalf("after %v: %+v", time.Since(began), e)
		}
		return time.Since(began) > 4*time.Second
	})

	// An agent that has lost everything gets it again.
	agent.Kill()
	harness.Eventually(t, patience, "the agent's absence is seen", func() bool { return consul(t, s).Error != "" })
	agent.Start()
	harness.Eventually(t, patience, "it is registered again", func() bool {
		e := announced(t, agent)
		return e != nil && healthOf(e) == api.HealthPassing
	})

	s.Signal(t, syscall.SIGTERM)
	if code := s.ExitCode(t, patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if e := announced(t, agent); e != nil {
		t.Errorf("after its end Consul still knows %+v", e.Service)
	}
}

func TestSteelyardThatIsKilledBecomesCritical(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	app := harness.App(t, "a")
	s := announcing(t, agent, app)
	harness.Eventually(t, patience, "it is registered", func() bool {
		e := announced(t, agent)
		return e != nil && healthOf(e) == api.HealthPassing
	})
	s.Kill(t)
	from := time.Now()
	harness.Eventually(t, patience, "it is critical", func() bool { return healthOf(announced(t, agent)) == api.HealthCritical })
	t.Logf("critical %v after it was killed, with a TTL of 1s", time.Since(from).Round(time.Millisecond))

	// One that starts in its place is well again.
	announcing(t, agent, app)
	harness.Eventually(t, patience, "it passes again", func() bool { return healthOf(announced(t, agent)) == api.HealthPassing })
}

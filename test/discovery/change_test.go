package discovery_test

import (
	"fmt"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/test/harness"
)

// A registration is changed before it is made.
type change = func(*api.AgentServiceRegistration)

func tags(all ...string) change {
	return func(r *api.AgentServiceRegistration) { r.Tags = all }
}

func meta(pairs map[string]string) change {
	return func(r *api.AgentServiceRegistration) { r.Meta = pairs }
}

func weight(passing int) change {
	return func(r *api.AgentServiceRegistration) {
		r.Weights = &api.AgentWeights{Passing: passing, Warning: 1}
	}
}

// ttl gives an instance a check that the test itself passes or fails.
func ttl(r *api.AgentServiceRegistration) {
	r.Check = &api.AgentServiceCheck{CheckID: "check-" + r.ID, Name: "the app's own", TTL: "1h", Status: api.HealthPassing}
}

func register(t *testing.T, agent *harness.ConsulAgent, service string, apps []*harness.Node, changes ...change) {
	t.Helper()
	for i, app := range apps {
		agent.Register(service, fmt.Sprintf("%s-%d", service, i), port(t, app.Address), changes...)
	}
}

func TestTrafficFollowsTheRegistryWithinASecond(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	apps := harness.Apps(t, "a", "b", "c")
	c := apps[2]
	register(t, agent, "web", apps[:2], tags("live"))
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: {service: web, tag: live}}"))
	l := begin(t, s.URL, 8)
	l.flows(50)

	again := func(changes ...change) { agent.Register("web", "c1", port(t, c.Address), changes...) }
	status := func(status, output string) {
		if err := agent.Client().Agent().UpdateTTL("check-c1", output, status); err != nil {
			t.Fatal(err)
		}
	}
	maintenance := func(on bool) {
		client, err := agent.Client().Agent(), error(nil)
		if on {
			err = client.EnableServiceMaintenance("c1", "new disk")
		} else {
			err = client.DisableServiceMaintenance("c1")
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	l.comes("c", "registered", func() { again(tags("live", "v7"), meta(map[string]string{"zone": "north"}), ttl) })
	b := s.Backend(t, "web", c.Address)
	if fmt.Sprint(b.Tags) != "[live v7]" || b.Meta["zone"] != "north" || b.Meta["node"] != "agent" || b.Meta["dc"] != "dc1" ||
		b.Name != "c1" || b.Source != "consul service web tag live" || b.State != "healthy" || b.Weight != 1 {
		t.Errorf("the admin API shows %+v", b)
	}

	l.leaves("c", "its tag is taken away", func() { again(tags("v7"), ttl) })
	l.comes("c", "its tag is given back", func() { again(tags("live"), ttl) })

	l.leaves("c", "its check is critical", func() { status(api.HealthCritical, "disk full") })
	shows(t, s, c, "unhealthy", `check "the app's own" is critical: disk full`)
	l.comes("c", "its check passes", func() { status(api.HealthPassing, "") })
	l.leaves("c", "its check is in warning", func() { status(api.HealthWarning, "disk filling") })
	shows(t, s, c, "unhealthy", `check "the app's own" is warning: disk filling`)
	l.comes("c", "its check passes again", func() { status(api.HealthPassing, "") })

	l.leaves("c", "in maintenance", func() { maintenance(true) })
	shows(t, s, c, "draining", "service in maintenance: new disk")
	l.comes("c", "out of maintenance", func() { maintenance(false) })

	l.leaves("c", "deregistered", func() { agent.Deregister("c1") })
	harness.Eventually(t, patience, "c is gone", func() bool { return s.Backend(t, "web", c.Address).Address == "" })
	l.end(apps...)
}

// shows wants the admin API to say this of a backend of the pool "web".
func shows(t *testing.T, s *harness.Steelyard, app *harness.Node, state, reason string) {
	t.Helper()
	if b := s.Backend(t, "web", app.Address); b.State != state || b.Reason != reason {
		t.Errorf("%s is %s because %q; want %s because %q", app.Address, b.State, b.Reason, state, reason)
	}
}

func TestTrafficFollowsTheWeightsInTheRegistry(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	apps := harness.Apps(t, "a", "b")
	register(t, agent, "web", apps)
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}"))
	l := begin(t, s.URL, 6)
	l.flows(50)
	weightMeta := func(text string) change {
		return func(r *api.AgentServiceRegistration) {
			weight(3)(r)
			r.Meta = map[string]string{"weight": text}
		}
	}
	for _, step := range []struct {
		name   string
		change change
		weight int
		share  float64 // beside b with weight 1
	}{
		{"Service.Weights", weight(3), 3, 0.75},
		{"the meta goes before Service.Weights", weightMeta("0"), 0, 0},
		{"a meta that is no number does not count", weightMeta("heavy"), 3, 0.75},
		{"none", func(*api.AgentServiceRegistration) {}, 1, 0.5},
	} {
		agent.Register("web", "web-0", port(t, apps[0].Address), step.change)
		from := time.Now()
		harness.Eventually(t, follow, step.name+": the weight is there", func() bool {
			return s.Backend(t, "web", apps[0].Address).Weight == step.weight
		})
		t.Logf("%-50s followed after %v", step.name, time.Since(from).Round(time.Millisecond))
		if got := shareOf(l, "a", 400); got < step.share-0.03 || got > step.share+0.03 {
			t.Errorf("%s: a got %.3f of the requests; want %.2f", step.name, got, step.share)
		}
	}
	logged(t, s, "web-0", `weight: "heavy"`, "Consul's weight is used")
	l.end(apps...)
}

// shareOf counts n answers that follow, and returns the share of one backend.
func shareOf(l *load, name string, n int) float64 {
	l.t.Helper()
	l.settles()
	from, all := l.sightings(name)
	total := all
	harness.Eventually(l.t, patience, "answers to count", func() bool {
		_, total = l.sightings(name)
		return total-all >= n
	})
	to, total := l.sightings(name)
	return float64(to.count-from.count) / float64(total-all)
}

// All instances of the agent's node go out at once, which is meant and not held.
func TestANodeInMaintenanceGetsNothing(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	apps := harness.Apps(t, "a", "b", "elsewhere")
	register(t, agent, "web", apps[:2])
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}, backends: ["+apps[2].Address+"]"))
	l := begin(t, s.URL, 6)
	l.flows(50)
	client := agent.Client().Agent()
	l.leaves("a", "node in maintenance", func() {
		if err := client.EnableNodeMaintenance("kernel"); err != nil {
			t.Fatal(err)
		}
	})
	for _, app := range apps[:2] {
		shows(t, s, app, "draining", "node in maintenance: kernel")
	}
	if p := s.Pool(t, "web"); p.Sources[0].Alarm != "" || p.Healthy != 1 {
		t.Errorf("the pool is %+v", p)
	}
	l.comes("b", "node out of maintenance", func() {
		if err := client.DisableNodeMaintenance(); err != nil {
			t.Fatal(err)
		}
	})
	l.end(apps...)
}

// What a deployment does: deregister, and end the app when nothing new comes.
func TestAnAppThatIsDeregisteredAndThenEndedLosesNothing(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	stays := graceful(t, "stays")
	leaves := graceful(t, "leaves")
	register(t, agent, "web", []*harness.Node{stays, leaves})
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}"))
	l := begin(t, s.URL, 8)
	l.flows(50)

	// Requests that are still under way when the app is told to end.
	c := harness.Client(t)
	answers := make(chan string, 20)
	for range cap(answers) {
		go func() {
			status, body, err := harness.Do(c, "POST", s.URL+"/?ms=2500", "")
			answers <- fmt.Sprintf("%s %d %v", body, status, err)
		}()
	}
	begun := 0
	harness.Eventually(t, patience, "all slow requests are in the apps", func() bool {
		begun = leaves.Stats(t).Begun
		return stays.Stats(t).Begun+begun == cap(answers)
	})
	agent.Deregister("web-1")
	harness.Eventually(t, patience, "it drains", func() bool { return s.Backend(t, "web", leaves.Address).Left })
	l.settles() // Node.js closes connections with requests that it has not read.
	harness.Eventually(t, patience, "only the slow requests are in flight", func() bool {
		return begun > 0 && s.Backend(t, "web", leaves.Address).InFlight == int64(begun)
	})
	leaves.Signal(t, syscall.SIGTERM)
	got := map[string]int{}
	for range cap(answers) {
		got[<-answers]++
	}
	if want := map[string]int{"stays 200 <nil>": cap(answers) - begun, "leaves 200 <nil>": begun}; !maps.Equal(got, want) {
		t.Errorf("the slow requests: %v; want %v", got, want)
	}
	if code := leaves.ExitCode(t, patience); code != 0 {
		t.Errorf("the app ended with %d", code)
	}
	harness.Eventually(t, patience, "it is forgotten", func() bool { return s.Backend(t, "web", leaves.Address).Address == "" })
	l.flows(50)
	l.end()
}

// graceful starts an app that ends in good order.
func graceful(t *testing.T, name string) *harness.Node {
	t.Helper()
	return harness.StartNode(t, "test/discovery/testdata/graceful.mjs", "NAME="+name)
}

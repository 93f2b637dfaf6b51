package discovery_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// outage is how long an agent is away.
const outage = 10 * time.Second

// watchOver looks at a pool all the time until it is stopped: it must always
// have so many healthy backends and never fail open.
func watchOver(t *testing.T, s *harness.Steelyard, least int) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	c := harness.Client(t)
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			status, text, err := harness.Do(c, "GET", "http://"+s.Admin+"/api/v1/pools/web", "")
			var p harness.PoolView
			if err == nil {
				err = json.Unmarshal([]byte(text), &p)
			}
			if err != nil || status != 200 || p.Healthy < least || p.FailOpen != nil {
				t.Errorf("%d of at least %d backends are healthy (%d %v): %s", p.Healthy, least, status, err, text)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// away lets 10 s pass in which nobody answers and the pool stays as it is.
func away(t *testing.T, s *harness.Steelyard, l *load, agent *harness.ConsulAgent, apps []*harness.Node) {
	t.Helper()
	began := time.Now()
	sourceSays(t, s, "web", "consul service web", "agent "+agent.Address(), "connection refused", "see that Consul is running")
	t.Logf("said after %v", time.Since(began).Round(time.Millisecond))
	if v := consul(t, s); v.Agent != "" || !strings.Contains(v.Error, agent.Address()) {
		t.Errorf("the admin API shows %+v", v)
	}
	logged(t, s, "source cannot answer; its members stay", "pool=web", "connection refused")
	harness.Eventually(t, 2*outage, "the outage has lasted", func() bool { return time.Since(began) > outage })
	members(t, s, "web", addresses(apps)...)
	l.flows(50)
}

func addresses(apps []*harness.Node) (all []string) {
	for _, app := range apps {
		all = append(all, app.Address)
	}
	slices.Sort(all)
	return all
}

// followed makes a change right after an agent is back, which must be followed
// within 2 s.
func followed(t *testing.T, l *load, name string, change func()) {
	t.Helper()
	change()
	from := time.Now()
	harness.Eventually(t, 2*time.Second, "requests to "+name, func() bool {
		s, _ := l.sightings(name)
		return s.count > 0
	})
	t.Logf("followed %v after the agent was back and changed", time.Since(from).Round(time.Millisecond))
}

func TestAnAgentThatIsKilledAndComesBackWithItsDataIsNotNoticed(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t, harness.ConsulPersistent())
	apps := harness.Apps(t, "a", "b", "c")
	register(t, agent, "web", apps[:2])
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}"))
	l := begin(t, s.URL, 6)
	l.flows(50)
	stop := watchOver(t, s, 2)

	agent.Kill()
	away(t, s, l, agent, apps[:2])
	agent.Start()
	followed(t, l, "c", func() { agent.Register("web", "c", port(t, apps[2].Address)) })
	sourceSays(t, s, "web")
	if v := consul(t, s); v.Agent != agent.Address() || v.Error != "" || v.Failing != 0 {
		t.Errorf("the admin API shows %+v", v)
	}
	stop()
	l.leaves("c", "deregistered afterwards", func() { agent.Deregister("c") })
	l.end(apps...)
}

func TestAnAgentThatComesBackWithoutItsDataEmptiesNothing(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	apps := harness.Apps(t, "a", "b", "c")
	register(t, agent, "web", apps[:2])
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}"))
	l := begin(t, s.URL, 6)
	l.flows(50)
	stop := watchOver(t, s, 2)

	agent.Kill()
	away(t, s, l, agent, apps[:2])
	agent.Start()
	var p harness.PoolView
	harness.Eventually(t, 2*time.Second, "the guard holds all members", func() bool {
		p = s.Pool(t, "web")
		return p.Sources[0].Alarm != ""
	})
	held := slices.Sorted(slices.Values(p.Sources[0].Held))
	if !slices.Equal(held, addresses(apps[:2])) || p.Sources[0].Error != "" || p.Sources[0].AlarmUntil == nil {
		t.Errorf("the source shows %+v", p.Sources[0])
	}
	l.flows(200)

	// Someone new, while the old are held; then the old come back too.
	followed(t, l, "c", func() { agent.Register("web", "c", port(t, apps[2].Address)) })
	register(t, agent, "web", apps[:2])
	harness.Eventually(t, 2*time.Second, "the alarm ends", func() bool {
		src := s.Pool(t, "web").Sources[0]
		return src.Alarm == "" && len(src.Held) == 0
	})
	members(t, s, "web", addresses(apps)...)
	stop()
	l.leaves("a", "deregistered afterwards", func() { agent.Deregister("web-0") })
	l.end(apps...)
}

// An agent that hangs keeps its connections: only time tells.
func TestAnAgentThatHangsIsNotNoticed(t *testing.T) {
	t.Parallel()
	agent := harness.Consul(t)
	apps := harness.Apps(t, "a", "b", "c")
	register(t, agent, "web", apps[:2])
	s := harness.Start(t, onePool(agent.Address(), "source: {consul: web}"))
	l := begin(t, s.URL, 6)
	l.flows(50)
	stop := watchOver(t, s, 2)
	agent.Pause()
	began := time.Now()
	sourceSays(t, s, "web", "agent "+agent.Address(), "did not answer in time")
	t.Logf("said after %v", time.Since(began).Round(time.Millisecond))
	l.flows(200)
	agent.Resume()
	harness.Eventually(t, patience, "the agent answers again", func() bool {
		_, err := agent.Client().Status().Leader()
		return err == nil
	})
	followed(t, l, "c", func() { agent.Register("web", "c", port(t, apps[2].Address)) })
	sourceSays(t, s, "web")
	members(t, s, "web", addresses(apps)...)
	stop()
	l.end(apps...)
}

func TestTheSecondAgentIsUsedWhileTheFirstIsGone(t *testing.T) {
	t.Parallel()
	first := harness.Consul(t, harness.ConsulPersistent(), harness.ConsulNode("first"))
	second := harness.Consul(t, harness.ConsulNode("second"))
	apps := harness.Apps(t, "a", "b", "c")
	register(t, first, "web", apps[:2])
	register(t, second, "web", apps[:2])
	s := harness.Start(t, onePool(fmt.Sprintf("{address: [%s, %s]}", first.Address(), second.Address()), "source: {consul: web}"))
	l := begin(t, s.URL, 6)
	l.flows(50)
	stop := watchOver(t, s, 2)
	inUse := func(agent *harness.ConsulAgent, within time.Duration) {
		t.Helper()
		from := time.Now()
		harness.Eventually(t, within, agent.Address()+" is in use", func() bool { return consul(t, s).Agent == agent.Address() })
		t.Logf("%s in use after %v", agent.Address(), time.Since(from).Round(time.Millisecond))
	}
	inUse(first, patience)
	if node := s.Backend(t, "web", apps[0].Address).Meta["node"]; node != "first" {
		t.Errorf("the member comes from node %q", node)
	}

	first.Kill()
	inUse(second, 3*time.Second)
	logged(t, s, "Consul agent given up", first.Address())
	logged(t, s, "Consul agent in use", second.Address())
	followed(t, l, "c", func() { second.Register("web", "c", port(t, apps[2].Address)) })
	if b := s.Backend(t, "web", apps[2].Address); b.Meta["node"] != "second" {
		t.Errorf("the admin API shows %+v", b)
	}
	sourceSays(t, s, "web") // Nothing is wrong with it: somebody answers.

	first.Start()
	first.Register("web", "c", port(t, apps[2].Address))
	inUse(first, 30*time.Second)
	if v := consul(t, s); v.Moves != 2 {
		t.Errorf("the agent was changed %d times; want 2", v.Moves)
	}

	first.Kill()
	second.Kill()
	sourceSays(t, s, "web", "agent "+first.Address()+":", "agent "+second.Address()+":", "see that Consul is running")
	members(t, s, "web", addresses(apps)...)
	l.flows(100)
	stop()
	l.end(apps...)
}

package discovery_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

// instance is a backend in the test's own process, for tests of many.
type instance struct {
	name, address string
	ill           atomic.Bool
}

// instances starts n backends, each of which answers with its name.
func instances(t *testing.T, n int) []*instance {
	t.Helper()
	all := make([]*instance, n)
	for i := range all {
		all[i] = listenOn(t, fmt.Sprintf("i%d", i), "127.0.0.1:0")
	}
	return all
}

func listenOn(t *testing.T, name, address string) *instance {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{name: name, address: ln.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && i.ill.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if r.URL.Path != "/healthz" {
			time.Sleep(5 * time.Millisecond) // It thinks.
		}
		fmt.Fprint(w, name)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln) // Until it is closed.
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return i
}

// twenty are 20 instances of the service "web" behind Steelyard, with load.
func twenty(t *testing.T, pool string) (*harness.ConsulAgent, []*instance, *harness.Steelyard, *load) {
	t.Helper()
	agent := harness.Consul(t)
	all := instances(t, 20)
	registerAll(t, agent, all)
	s := harness.Start(t, onePool(agent.Address(), pool))
	members(t, s, "web", of(all)...)
	l := begin(t, s.URL, 4)
	l.flows(100)
	return agent, all, s, l
}

func registerAll(t *testing.T, agent *harness.ConsulAgent, all []*instance) {
	t.Helper()
	for _, i := range all {
		agent.Register("web", i.name, port(t, i.address))
	}
}

// vanish takes instances out of the registry, all at once.
func vanish(agent *harness.ConsulAgent, all []*instance) {
	var wg sync.WaitGroup
	client := agent.Client().Agent()
	for _, i := range all {
		wg.Go(func() { _ = client.ServiceDeregister(i.name) }) // What is not gone is missed by who waits for it.
	}
	wg.Wait()
}

func of(all []*instance) (addresses []string) {
	for _, i := range all {
		addresses = append(addresses, i.address)
	}
	slices.Sort(addresses)
	return addresses
}

// holds waits until the guard holds exactly these and shows it.
func holds(t *testing.T, s *harness.Steelyard, within time.Duration, who []*instance) harness.SourceView {
	t.Helper()
	var src harness.SourceView
	harness.Eventually(t, within, fmt.Sprintf("the guard holds %d", len(who)), func() bool {
		src = s.Pool(t, "web").Sources[0]
		return src.Alarm != "" && slices.Equal(slices.Sorted(slices.Values(src.Held)), of(who))
	})
	return src
}

// noAlarm waits until nothing is held any more.
func noAlarm(t *testing.T, s *harness.Steelyard, within time.Duration) {
	t.Helper()
	harness.Eventually(t, within, "the alarm has ended", func() bool {
		src := s.Pool(t, "web").Sources[0]
		return src.Alarm == "" && src.AlarmUntil == nil && len(src.Held) == 0
	})
	logged(t, s, "no removal is held any more", "consul service web")
}

// serve waits until each of these has got requests again.
func serve(t *testing.T, l *load, all []*instance) {
	t.Helper()
	for _, i := range all {
		l.forget(i.name)
	}
	for _, i := range all {
		harness.Eventually(t, patience, "requests to "+i.name, func() bool {
			s, _ := l.sightings(i.name)
			return s.count > 0
		})
	}
}

func TestElevenOfTwentyThatVanishAtOnceAreHeldUntilReleased(t *testing.T) {
	t.Parallel()
	agent, all, s, l := twenty(t, "source: {consul: web}")
	gone := all[:11]
	vanish(agent, gone)
	src := holds(t, s, 2*time.Second, gone)
	if !strings.Contains(src.Alarm, "consul service web would remove 11 of 20 members at once") || !strings.Contains(src.Alarm, "until released") {
		t.Errorf("the alarm says %q", src.Alarm)
	}
	if src.AlarmUntil == nil || time.Until(*src.AlarmUntil) < 9*time.Minute || time.Until(*src.AlarmUntil) > 10*time.Minute {
		t.Errorf("the alarm is until %v", src.AlarmUntil)
	}
	logged(t, s, "held a removal; release it by the admin API if it is meant", "consul service web", "11 of 20")
	members(t, s, "web", of(all)...)
	for _, i := range gone {
		if b := s.Backend(t, "web", i.address); !b.Held || b.State != "healthy" {
			t.Errorf("the held %s shows %+v", i.name, b)
		}
	}
	serve(t, l, gone)

	if n := s.Release(t, "web"); n != 11 {
		t.Errorf("%d were released; want 11", n)
	}
	noAlarm(t, s, time.Second)
	members(t, s, "web", of(all[11:])...)
	logged(t, s, "members changed", "removed=11", "members=9")
	l.settles()
	for _, i := range gone {
		l.forget(i.name)
	}
	l.flows(200)
	for _, i := range gone {
		if s, _ := l.sightings(i.name); s.count > 0 {
			t.Errorf("%s got %d requests after it was released", i.name, s.count)
		}
	}
	l.end()
}

func TestHalfOfTwentyThatVanishAtOnceLeaveWhenTheirChecksFailOrTimeIsUp(t *testing.T) {
	t.Parallel()
	agent, all, s, l := twenty(t, `source: {consul: {service: web, max_removal: 40%, guard_timeout: 8s}},
    check: {path: /healthz, interval: 200ms, fall: 2}`)
	gone := all[:10]
	vanish(agent, gone)
	began := time.Now()
	holds(t, s, 2*time.Second, gone)
	serve(t, l, gone)

	// Of these the registry was right: their own checks fail too.
	for _, i := range gone[:3] {
		i.ill.Store(true)
	}
	holds(t, s, 3*time.Second, gone[3:])
	t.Logf("those whose checks failed left %v after they vanished", time.Since(began).Round(time.Millisecond))
	members(t, s, "web", of(all[3:])...)
	logged(t, s, "a held backend does not answer either; it leaves", gone[0].address)
	serve(t, l, gone[3:])

	members(t, s, "web", of(all[10:])...) // Time is up.
	if took := time.Since(began); took < 7*time.Second || took > 10*time.Second {
		t.Errorf("guard_timeout of 8s carried the removal out after %v", took)
	}
	noAlarm(t, s, time.Second)
	l.end()
}

func TestInstancesThatComeBackEndTheAlarm(t *testing.T) {
	t.Parallel()
	agent, all, s, l := twenty(t, "source: {consul: {service: web, max_removal: 40%}}")
	vanish(agent, all[:10])
	holds(t, s, 2*time.Second, all[:10])
	registerAll(t, agent, all[:6])
	holds(t, s, 2*time.Second, all[6:10])
	registerAll(t, agent, all[6:10])
	noAlarm(t, s, 2*time.Second)
	members(t, s, "web", of(all)...)
	serve(t, l, all)
	if b := s.Backend(t, "web", all[0].address); b.Held || b.State != "healthy" {
		t.Errorf("%+v", b)
	}
	// One by one is not at once, and is followed.
	l.leaves(all[0].name, "one deregistered afterwards", func() { vanish(agent, all[:1]) })
	members(t, s, "web", of(all[1:])...)
	l.end()
}

package health_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

// crowd is constant traffic of GETs that counts the answers by status, and apart
// those that Steelyard made or that never came.
type crowd struct {
	t        *testing.T
	statuses [600]atomic.Int64
	made     atomic.Int64
	total    atomic.Int64
	clients  []atomic.Int64 // answers of each
	stop     func()
}

// gather starts clients that ask until stop or the end of the test.
func gather(t *testing.T, url string, clients int, headers ...string) *crowd {
	t.Helper()
	c := &crowd{t: t, clients: make([]atomic.Int64, clients)}
	client := harness.Client(t)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				status, _, err := harness.Do(client, "GET", url, "", headers...)
				if err != nil {
					c.made.Add(1)
				}
				c.statuses[status].Add(1)
				c.clients[n].Add(1)
				c.total.Add(1)
			}
		})
	}
	c.stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
		client.CloseIdleConnections()
	})
	t.Cleanup(c.stop)
	return c
}

// flows waits for more answers.
func (c *crowd) flows(more int64) {
	c.t.Helper()
	want := c.total.Load() + more
	harness.Eventually(c.t, patience, "answers", func() bool { return c.total.Load() >= want })
}

// settles waits until each client has had the answer to a request that it sent
// after now.
func (c *crowd) settles() {
	c.t.Helper()
	for n := range c.clients {
		want := c.clients[n].Load() + 2
		harness.Eventually(c.t, patience, "each client goes on", func() bool { return c.clients[n].Load() >= want })
	}
}

func (c *crowd) bad() int64 { return c.statuses[http.StatusBadGateway].Load() }

func TestOneOfFourThatFailsAShareIsEjectedAndReturnsSlowly(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c", "d")
	s := harness.Start(t, onePool("outlier: {failure_share: 20%, window: 2s, min_requests: 10, ejection: 2s}, slow_start: 1s", apps...))
	load := gather(t, s.URL, 8)
	load.flows(200)
	if p := s.Pool(t, "web"); p.Counters.Ejections != 0 {
		t.Fatalf("while all is well: %+v", p)
	}
	apps[1].Set(t, "share", 0.3)

	first := ejected(t, s, apps[1], load)
	if !strings.Contains(first.Reason, "% of ") || !strings.Contains(first.Reason, "requests failed in 2s") {
		t.Errorf("the reason is %q", first.Reason)
	}
	// It is still ill when it comes back, so it goes again, for twice as long.
	harness.Eventually(t, patience, "it comes back slowly", func() bool {
		b := s.Backend(t, "web", apps[1].Address)
		return b.State == "slow_start" && b.Percent < 100
	})
	if early := time.Until(*first.EjectedUntil); early > 0 {
		t.Errorf("it came back %v early", early)
	}
	second := ejected(t, s, apps[1], load)
	if length := time.Until(*second.EjectedUntil); length <= 2*time.Second || length > 4*time.Second {
		t.Errorf("the second ejection has %v to go; want a little less than 4s", length)
	}

	apps[1].Set(t, "share", 0)
	becomes(t, s, apps[1], "slow_start")
	bad := load.bad()
	becomes(t, s, apps[1], "healthy")
	before := s.Backend(t, "web", apps[1].Address).Requests
	load.flows(400)
	if got := s.Backend(t, "web", apps[1].Address).Requests - before; got < 70 {
		t.Errorf("well again it got %d of 400 requests; want 100", got)
	}
	if load.bad() != bad || load.made.Load() != 0 {
		t.Errorf("%d answers were bad after its recovery, %d were made by Steelyard", load.bad()-bad, load.made.Load())
	}
	if n := s.Pool(t, "web").Counters.Ejections; n != 2 {
		t.Errorf("%d ejections; want 2", n)
	}
}

// ejected waits for a backend to be ejected and looks whether clients still see
// its failures.
func ejected(t *testing.T, s *harness.Steelyard, app *harness.Node, load *crowd) harness.BackendView {
	t.Helper()
	b := becomes(t, s, app, "ejected")
	if b.EjectedUntil == nil || b.Percent != 0 {
		t.Fatalf("ejected, but: %+v", b)
	}
	load.settles()
	bad := load.bad()
	load.flows(100)
	after := s.Backend(t, "web", app.Address)
	if after.State != "ejected" {
		t.Fatalf("%s before its time was looked at; the machine is too slow for this test", after.State)
	}
	if n := load.bad() - bad; n != 0 {
		t.Errorf("%d answers were bad while it was ejected", n)
	}
	return b
}

func TestAPoolOfWhichAllFailIsNotEmptied(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c", "d")
	for _, app := range apps {
		app.Set(t, "share", 1)
	}
	s := harness.Start(t, onePool("outlier: {failure_share: 20%, min_requests: 10, ejection: 500ms}", apps...))
	load := gather(t, s.URL, 8)
	most := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		out := 0
		for _, b := range s.Pool(t, "web").Backends {
			if b.State == "ejected" {
				out++
			}
		}
		if most = max(most, out); out > 2 {
			t.Fatalf("%d of 4 are ejected; want half at most", out)
		}
	}
	if most != 2 {
		t.Errorf("at most %d were ejected at a time; want 2", most)
	}
	load.flows(50)
	if other := load.total.Load() - load.bad(); other != 0 || load.made.Load() != 0 {
		t.Errorf("of %d answers %d were not the backends' 502", load.total.Load(), other)
	}
	spared := 0
	for _, b := range s.Pool(t, "web").Backends {
		if strings.Contains(b.Reason, "would be ejected (") {
			spared++
		}
	}
	if spared == 0 {
		t.Error("no backend says that it would be ejected if the pool could spare it")
	}
}

func TestFiveFailuresInARowEjectByDefault(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c")
	apps[0].Set(t, "share", 1)
	apps[0].Set(t, "code", 503)
	s := harness.Start(t, onePool("policy: round_robin", apps...))
	c := harness.Client(t)
	var bad int
	for range 60 {
		if status, _, _ := harness.Do(c, "GET", s.URL, ""); status == 503 {
			bad++
		}
	}
	b := becomes(t, s, apps[0], "ejected")
	// One more may have been on its way before the pool knew.
	if bad < 5 || bad > 6 || b.Reason != "5 gateway failures in a row" {
		t.Errorf("ejected after %d failures because of %q; want 5", bad, b.Reason)
	}
	if left := time.Until(*b.EjectedUntil); left < 8*time.Second || left > 10*time.Second {
		t.Errorf("out for %v more; want almost 10s", left)
	}
}

func TestAKilledBackendIsMissedByNobodyAndServesAgainAfterItsRestart(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c")
	s := harness.Start(t, onePool("outlier: {ejection: 500ms}", apps...))
	load := gather(t, s.URL+"/slow?ms=5", 8)
	load.flows(100)
	apps[1].Kill(t)
	harness.Eventually(t, patience, "it is out", func() bool {
		state := s.Backend(t, "web", apps[1].Address).State
		return state == "ejected" || state == "unreachable"
	})
	load.flows(500)
	_, port, _ := strings.Cut(apps[1].Address, ":")
	again := harness.App(t, "b", "PORT="+port)
	harness.Eventually(t, 20*time.Second, "it serves again", func() bool { return again.Stats(t).Begun > 20 })
	becomes(t, s, again, "healthy")
	if got := load.statuses[200].Load(); got != load.total.Load() {
		t.Errorf("of %d GETs %d failed", load.total.Load(), load.total.Load()-got)
	}
}

// The same backend resets connections twice: those that were used before, which
// any backend may close, and then new ones, which none should.
func TestAResetOfAReusedConnectionIsNoFailureOfTheBackend(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	address := harness.Backend(t, func(c *harness.Conn) {
		for n := 0; ; n++ {
			if _, err := c.Request(); err != nil || n == 1 || broken.Load() {
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{pool: web}]
admin: ADMIN
pools:
  web: {backends: [%s], retry: {budget: 100%%}}
`, address))
	c := harness.Client(t)
	for range 20 {
		harness.Get(t, c, s.URL)
	}
	p := s.Pool(t, "web")
	if b := p.Backends[0]; b.Failures != 0 || b.State != "healthy" || b.Reason != "" || b.Requests < 20 || p.Counters.Retries < 10 {
		t.Errorf("after %d resets of reused connections: %+v", p.Counters.Retries, b)
	}
	broken.Store(true)
	for range 3 {
		if status, _, err := harness.Do(c, "GET", s.URL, ""); err == nil {
			t.Errorf("a broken backend answered %d", status)
		}
	}
	if b := s.Backend(t, "web", address); b.Failures < 3 {
		t.Errorf("after resets of new connections: %+v", b)
	}
}

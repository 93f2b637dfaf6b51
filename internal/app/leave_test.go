package app

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// registry is a Consul agent that does no more than take registrations.
type registry struct {
	*httptest.Server
	left, registered atomic.Bool

	mu       sync.Mutex
	services map[string]string // address and port by id
	gaps     int               // how often nothing was registered after something had been
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	g := &registry{services: map[string]string{}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.URL.Path == "/v1/status/leader" {
		_, _ = io.WriteString(w, `"127.0.0.1:8300"`)
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/v1/agent/service/deregister/"); ok {
		g.left.Store(true)
		delete(g.services, id)
		if len(g.services) == 0 {
			g.gaps++
		}
	}
	if r.URL.Path == "/v1/agent/service/register" {
		g.registered.Store(true)
		var s struct {
			ID, Address string
			Port        int
		}
		_ = json.NewDecoder(r.Body).Decode(&s)
		g.services[s.ID] = fmt.Sprint(s.Address, ":", s.Port)
	}
}

// all is what is registered, and how often nothing was.
func (g *registry) all() (services map[string]string, gaps int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.services), g.gaps
}

// awaitRegistration waits until both sides know of one.
func (g *registry) awaitRegistration(a *App) {
	for !g.registered.Load() || !a.Consul().Stats().Registered {
		time.Sleep(time.Millisecond)
	}
}

// TestStopLeavesConsulFirst: whoever finds Steelyard in Consul is served until it
// has had time to hear that Steelyard has left.
func TestStopLeavesConsulFirst(t *testing.T) {
	agent := newRegistry(t)
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes: [{respond: 204}]
pools: {}
consul: {address: "%s", register: true}
`, address, agent.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	agent.awaitRegistration(a)
	stopped := make(chan struct{})
	go func() { defer close(stopped); a.Stop() }()
	for !agent.left.Load() {
		time.Sleep(time.Millisecond)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(leaveFirst / 2); time.Now().Before(end); {
		res, err := client.Get("http://" + address)
		if err != nil {
			t.Fatal("a client that had not heard yet was refused:", err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusNoContent {
			t.Error(res.Status)
		}
	}
	<-stopped
	if _, err := client.Get("http://" + address); err == nil {
		t.Error("the address is served after Stop")
	}
}

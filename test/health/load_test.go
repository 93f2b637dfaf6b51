// Package health_test tells how backends come and go, by checks, by what
// requests see, by the operator and by sources, and that clients see none of it.
package health_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

// onePool is a configuration of one pool over apps with the settings given.
func onePool(settings string, apps ...*harness.Node) string {
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{pool: web}]
admin: ADMIN
pools:
  web: {%s, backends: [%s]}
`, settings, addresses(apps))
}

func addresses(apps []*harness.Node) string {
	var all []string
	for _, app := range apps {
		all = append(all, app.Address)
	}
	return strings.Join(all, ", ")
}

// load is constant traffic that must not see an error: GETs, and POSTs that
// must not be done twice.
type load struct {
	t        *testing.T
	client   *http.Client
	answered atomic.Int64
	done     chan struct{}
	once     sync.Once // closes done
	wg       sync.WaitGroup
	mu       sync.Mutex
	failed   []string
	posts    []string // ids that were answered well
}

// begin starts clients that ask one request after the other, every other client
// with POST, until end or the end of the test.
func begin(t *testing.T, url string, clients int) *load {
	t.Helper()
	l := &load{t: t, client: harness.Client(t), done: make(chan struct{})}
	run := time.Now().UnixNano() // Keeps the ids of two loads apart.
	for n := range clients {
		l.wg.Go(func() {
			for i := 0; !l.over(); i++ {
				l.ask(url, n%2 == 0, fmt.Sprintf("%d-%d-%d", run, n, i))
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *load) ask(url string, post bool, id string) {
	method, path := "GET", "/slow?ms=5"
	if post {
		method, path = "POST", "/count?ms=5"
	}
	status, body, err := harness.Do(l.client, method, url+path, "", "X-Id: "+id)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil || status != 200:
		l.failed = append(l.failed, fmt.Sprintf("%s: %d %.100q %v", method, status, body, err))
	case post:
		l.posts = append(l.posts, id)
	}
	l.answered.Add(1)
}

// flows waits for more answers.
func (l *load) flows(more int64) {
	l.t.Helper()
	want := l.answered.Load() + more
	harness.Eventually(l.t, patience, fmt.Sprintf("%d more answers", more), func() bool { return l.answered.Load() >= want })
}

func (l *load) stop() {
	l.once.Do(func() { close(l.done) })
	l.wg.Wait()
	l.client.CloseIdleConnections()
}

// end stops the clients; no request may have failed, and each POST must have
// reached one of the apps once.
func (l *load) end(apps ...*harness.Node) {
	l.t.Helper()
	l.stop()
	if n := len(l.failed); n > 0 {
		l.t.Errorf("%d of %d requests failed: %q", n, l.answered.Load(), l.failed[:min(n, 5)])
	}
	counts := map[string]int{}
	for _, app := range apps {
		app.IDs(l.t, counts)
	}
	for _, id := range l.posts {
		if counts[id] != 1 {
			l.t.Errorf("POST %s reached the backends %d times", id, counts[id])
		}
	}
}

// becomes waits until a backend of the pool "web" has a state.
func becomes(t *testing.T, s *harness.Steelyard, app *harness.Node, state string) harness.BackendView {
	t.Helper()
	return becomesIn(t, s, "web", app.Address, state)
}

func becomesIn(t *testing.T, s *harness.Steelyard, pool, address, state string) (b harness.BackendView) {
	t.Helper()
	harness.Eventually(t, patience, address+" is "+state, func() bool {
		b = s.Backend(t, pool, address)
		return b.State == state
	})
	return b
}

// Package discovery_test tells how the members of a pool follow Consul, DNS and
// files, and what happens when these lie, vanish or cannot be reached: clients
// see none of it, the operator sees all of it.
package discovery_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 15 * time.Second

// onePool is a configuration of one pool, with what belongs to it and, if it is
// not empty, the value of the top-level key consul.
func onePool(consul, pool string) string {
	if consul != "" {
		consul = "consul: " + consul
	}
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{pool: web}]
admin: ADMIN
%s
pools:
  web: {%s}
`, consul, pool)
}

// load is constant traffic that must not see an error: GETs, and POSTs that
// must not be done twice. It knows who answered what.
type load struct {
	t        *testing.T
	soon     time.Duration // within which traffic must follow a change
	answered atomic.Int64
	rounds   []atomic.Int64 // answers by client
	done     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	failed   []string
	posts    []string // ids that were answered well
	seen     map[string]*sighting
}

// sighting is what one backend has answered.
type sighting struct {
	count int
	first time.Time // answer since forget
	last  time.Time // beginning of the last request that it answered
}

// begin starts clients that ask one request after the other, every other client
// with POST, until end or the end of the test.
func begin(t *testing.T, url string, clients int, headers ...string) *load {
	t.Helper()
	l := &load{t: t, soon: follow, done: make(chan struct{}), seen: map[string]*sighting{}, rounds: make([]atomic.Int64, clients)}
	c := harness.Client(t)
	for n := range clients {
		l.wg.Go(func() {
			for i := 0; !l.over(); i++ {
				l.ask(c, url, n%2 == 1, append([]string{fmt.Sprintf("X-Id: %d-%d", n, i)}, headers...))
				l.rounds[n].Add(1)
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

func (l *load) ask(c *http.Client, url string, post bool, headers []string) {
	method, path := "GET", "/slow?ms=8"
	if post {
		method, path = "POST", "/count?ms=8"
	}
	began := time.Now()
	status, body, err := harness.Do(c, method, url+path, "", headers...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered.Add(1)
	if err != nil || status != 200 {
		l.failed = append(l.failed, fmt.Sprintf("%s at %s: %d %.100q %v", method, began.Format("15:04:05.000"), status, body, err))
		return
	}
	if post {
		l.posts = append(l.posts, strings.TrimPrefix(headers[0], "X-Id: "))
	}
	s := l.seen[body]
	if s == nil {
		s = &sighting{first: time.Now()}
		l.seen[body] = s
	}
	s.count++
	if began.After(s.last) {
		s.last = began
	}
}

// flows waits for more answers.
func (l *load) flows(more int64) {
	l.t.Helper()
	want := l.answered.Load() + more
	harness.Eventually(l.t, patience, fmt.Sprintf("%d more answers", more), func() bool { return l.answered.Load() >= want })
}

// settles waits until what each client had under way has been answered.
func (l *load) settles() {
	l.t.Helper()
	for n := range l.rounds {
		before := l.rounds[n].Load()
		harness.Eventually(l.t, patience, "what was under way is answered", func() bool { return l.rounds[n].Load() > before })
	}
}

// sightings are those of one backend, and of all together.
func (l *load) sightings(name string) (of sighting, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, s := range l.seen {
		all += s.count
		if n == name {
			of = *s
		}
	}
	return of, all
}

// forget makes the next answer of a backend its first.
func (l *load) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, name)
}

// follow is how soon traffic must follow a change in Consul.
const follow = time.Second

// comes makes a change after which a backend must soon get requests, and returns
// after which time it did.
func (l *load) comes(name, what string, change func()) time.Duration {
	l.t.Helper()
	l.forget(name)
	l.settles()
	if s, _ := l.sightings(name); s.count > 0 {
		l.t.Fatalf("%s: %s has requests before", what, name)
	}
	change()
	from := time.Now()
	var s sighting
	harness.Eventually(l.t, patience, what+": requests to "+name, func() bool {
		s, _ = l.sightings(name)
		return s.count > 0
	})
	return l.within(what, "first answer of", name, s.first.Sub(from))
}

// leaves makes a change after which a backend must soon get no more requests,
// and returns after which time it got the last.
func (l *load) leaves(name, what string, change func()) time.Duration {
	l.t.Helper()
	l.forget(name)
	harness.Eventually(l.t, patience, what+": requests to "+name+" before", func() bool {
		s, _ := l.sightings(name)
		return s.count > 0
	})
	change()
	from := time.Now()
	// Of 300 requests without it, none can have been sent to it by chance.
	count, since := -1, 0
	harness.Eventually(l.t, patience, what+": no more requests to "+name, func() bool {
		s, all := l.sightings(name)
		if s.count != count {
			count, since = s.count, all
		}
		return all-since >= 300
	})
	s, _ := l.sightings(name)
	return l.within(what, "last request to", name, max(s.last.Sub(from), 0))
}

func (l *load) within(what, which, name string, took time.Duration) time.Duration {
	l.t.Helper()
	l.t.Logf("%-50s %s %s after %v", what, which, name, took.Round(100*time.Microsecond))
	if took > l.soon {
		l.t.Errorf("%s: %s %s after %v; want at most %v", what, which, name, took, l.soon)
	}
	return took
}

func (l *load) stop() {
	if !l.over() {
		close(l.done)
	}
	l.wg.Wait()
}

// end stops the clients; no request may have failed, and each POST must have
// reached one of the apps once.
func (l *load) end(apps ...*harness.Node) {
	l.t.Helper()
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.failed); n > 0 {
		l.t.Errorf("%d of %d requests failed: %q", n, l.answered.Load(), l.failed[:min(n, 5)])
	}
	l.t.Logf("%d requests, %d failed", l.answered.Load(), len(l.failed))
	if len(apps) == 0 {
		return
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

// port is that of an app.
func port(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// members waits until the pool has exactly these addresses, be they healthy or not.
func members(t *testing.T, s *harness.Steelyard, pool string, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	harness.Eventually(t, patience, fmt.Sprintf("the members of %s are %v", pool, want), func() bool {
		got = current(s.Pool(t, pool))
		return slices.Equal(got, want)
	})
}

// current are the addresses of a pool that have not left, sorted.
func current(p harness.PoolView) []string {
	var all []string
	for _, b := range p.Backends {
		if !b.Left {
			all = append(all, b.Address)
		}
	}
	slices.Sort(all)
	return all
}

// sourceSays waits until the only source of a pool has an error with all these
// words in it, or with none until it has no error.
func sourceSays(t *testing.T, s *harness.Steelyard, pool string, words ...string) {
	t.Helper()
	last := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the source of %s said last: %q", pool, last)
		}
	})
	harness.Eventually(t, patience, fmt.Sprintf("the source of %s says %q", pool, words), func() bool {
		last = s.Pool(t, pool).Sources[0].Error
		return containsAll(last, words) && (last == "") == (len(words) == 0)
	})
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// logged waits until one line of the log has all these words.
func logged(t *testing.T, s *harness.Steelyard, words ...string) {
	t.Helper()
	harness.Eventually(t, patience, fmt.Sprintf("the log says %q", words), func() bool {
		for line := range strings.Lines(s.Output()) {
			if containsAll(line, words) {
				return true
			}
		}
		return false
	})
}

// consulView is the connection to Consul as the admin API shows it.
type consulView struct {
	Agent          string
	Error          string
	Watches        int
	Failing        int `json:"watches_failing"`
	Connections    int
	MaxConnections int `json:"max_connections"`
	Requests       uint64
	Errors         uint64
	Moves          uint64
	Registered     bool
	RegisterError  string `json:"register_error"`
}

func consul(t *testing.T, s *harness.Steelyard) (v consulView) {
	t.Helper()
	c := harness.Client(t)
	defer c.CloseIdleConnections() // The admin API bounds its connections.
	status, text, err := harness.Do(c, "GET", "http://"+s.Admin+"/api/v1/consul", "")
	if err != nil || status != 200 {
		t.Fatalf("/api/v1/consul: %d %s %v", status, text, err)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("/api/v1/consul: %v in %q", err, text)
	}
	return v
}

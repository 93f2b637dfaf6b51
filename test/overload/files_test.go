package overload_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// watchBackend asks the admin API for the state of the only backend over a
// connection that is opened now.
func watchBackend(t *testing.T, s *harness.Steelyard) func() string {
	t.Helper()
	c := harness.Client(t)
	ask := func() string {
		var p harness.PoolView
		if err := json.Unmarshal([]byte(harness.Get(t, c, "http://"+s.Admin+"/api/v1/pools/web")), &p); err != nil {
			t.Fatal(err)
		}
		return p.Backends[0].State
	}
	ask()
	return ask
}

// TestWithoutFilesItServesWhatItHas: when no file can be opened any more, the
// clients and backends that are connected go on, one line of the log says so, no
// backend is blamed, and when there are files again those who waited are served.
func TestWithoutFilesItServesWhatItHas(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools:
  web:
    backends: [%s]
    check: {path: /healthz, interval: 200ms}
admin: "ADMIN"
`, app.Address))
	known := harness.Client(t)
	known.Transport.(*http.Transport).MaxConnsPerHost = 1
	harness.Get(t, known, s.URL+"/")
	harness.Eventually(t, 10*time.Second, "the backend to be healthy", func() bool { return s.Backend(t, "web", app.Address).State == "healthy" })
	watch := watchBackend(t, s) // its connection is open before files run out

	again := s.WithoutFiles(t)
	var late sync.WaitGroup
	newcomers := harness.Client(t)
	for range 20 {
		late.Go(func() {
			if status, body, err := harness.Do(newcomers, "GET", s.URL+"/", ""); err != nil || status != 200 {
				t.Errorf("one who came while there were no files got %d %q %v", status, body, err)
			}
		})
	}
	harness.Eventually(t, 10*time.Second, "the log to say that no connection can be accepted", func() bool {
		return strings.Contains(s.Output(), "cannot accept connections")
	})
	for range 200 {
		if got := harness.Get(t, known, s.URL+"/"); got != "a" {
			t.Errorf("a client that was connected got %q", got)
		}
	}
	if state := watch(); state != "healthy" {
		t.Errorf("the backend is %s because Steelyard has no files", state)
	}
	if n := strings.Count(s.Output(), "cannot accept connections"); n != 1 {
		t.Errorf("that was told %d times", n)
	}

	again()
	late.Wait()
	harness.Eventually(t, 10*time.Second, "the log to say that it accepts again", func() bool {
		return strings.Contains(s.Output(), "accepting connections again")
	})
}

// TestDialWithoutFiles: a request whose backend cannot be dialled for want of a
// file says that, and the backend is not taken out for it.
func TestDialWithoutFiles(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%s], keepalive: {max_idle: 0}}}
admin: "ADMIN"
`, app.Address))
	c := harness.Dial(t, s.Address)
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	if got := c.Exchange(t, get); got.Status() != 200 {
		t.Fatalf("before: %d", got.Status())
	}
	watch := watchBackend(t, s)
	again := s.WithoutFiles(t)
	for range 5 {
		got := c.Exchange(t, get)
		if got.Status() != 503 || got.Value("X-Steelyard-Cause") != "out_of_files" || got.Value("Retry-After") == "" {
			t.Fatalf("%d %v", got.Status(), got)
		}
	}
	if state := watch(); state != "healthy" {
		t.Errorf("the backend is %s because Steelyard has no files", state)
	}
	again()
	if got := c.Exchange(t, get); got.Status() != 200 {
		t.Errorf("as soon as there are files: %d %v", got.Status(), got)
	}
}

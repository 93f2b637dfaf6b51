package metrics_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestErrorsByPoolAndCause: what goes wrong is counted where it went wrong, in the
// metrics and in the history that the dashboard draws.
func TestErrorsByPoolAndCause(t *testing.T) {
	app := harness.App(t, "a")
	app.Set(t, "code", 503)
	resets := harness.Backend(t, func(c *harness.Conn) { _, _ = c.Request() }) // and closes
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN", max_body_size: 1KiB}}
routes:
  - {match: {path: /app}, pool: app}
  - {match: {path: /slow}, pool: app}
  - {match: {path: /resets}, pool: resets}
pools:
  app: {backends: [%[1]s], retry: off, outlier: off, timeouts: {response: 300ms}}
  resets: {backends: [%[2]s], retry: off, outlier: off}
admin: ADMIN
`, app.Address, resets))
	c := harness.Client(t)
	ask := func(n int, path string) {
		for range n {
			if status, _, _ := harness.Do(c, "GET", s.URL+path, ""); status < 400 {
				t.Errorf("GET %s: %d", path, status)
			}
		}
	}
	app.Set(t, "share", 1)
	ask(4, "/app")
	app.Set(t, "share", 0)
	ask(1, "/slow?ms=3000")
	ask(3, "/resets")
	ask(2, "/nowhere")
	want := map[string]float64{
		`steelyard_errors_total{cause="reset_before_response",pool="resets"}`: 3,
		`steelyard_errors_total{cause="response_timeout",pool="app"}`:         1,
		`steelyard_errors_total{cause="no_route",pool=""}`:                    2,
		`steelyard_errors_total{cause="reset_before_response",pool=""}`:       0,
		`steelyard_pool_responses_total{class="5xx",pool="app"}`:              5,
	}
	harness.Eventually(t, 5*time.Second, "the metrics agree with what clients got", func() bool {
		series, _ := read(t, s)
		for name, n := range want {
			if v, ok := series[name]; !ok || v != n {
				return false
			}
		}
		_, wrong := series[`steelyard_errors_total{cause="reset_before_response",pool="app"}`]
		return !wrong
	})
	for pool, causes := range map[string]map[string]float64{
		"app": {"response_timeout": 1, "passed_on": 4}, "resets": {"reset_before_response": 3},
	} {
		harness.Eventually(t, 5*time.Second, "the history of "+pool+" has them", func() bool {
			var got struct{ Causes map[string][]*float64 }
			tell(t, s, "/api/v1/history?pool="+pool, &got)
			for cause, n := range causes {
				sum := 0.0
				for _, v := range got.Causes[cause] {
					if v != nil {
						sum += *v
					}
				}
				if sum < n*0.8 || sum > n*1.2 { // a second is never quite one
					return false
				}
			}
			return len(got.Causes) == len(causes)
		})
	}
}

// TestBoundSessions: as many as there are clients, in the pool's JSON, in the
// metrics and in the words of a reload; not known where cookies carry them.
func TestBoundSessions(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	yaml := fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /cookie}, pool: cookie}, {pool: header}]
pools:
  header: {backends: [%[1]s, %[2]s, %[3]s], sticky: {header: x-user}}
  cookie: {backends: [%[1]s, %[2]s], sticky: cookie}
admin: ADMIN
`, apps[0].Address, apps[1].Address, apps[2].Address)
	s := harness.Start(t, yaml)
	c := harness.Client(t)
	bound := map[string]int{}
	for i := range 30 {
		for range 2 { // the second time the binding is used
			status, _, err := harness.Do(c, "GET", s.URL+"/", "", fmt.Sprintf("X-User: user-%d", i))
			if status != http.StatusOK {
				t.Fatal(status, err)
			}
		}
	}
	type view struct {
		Affinity string
		Backends []struct {
			Address string
			Bound   *int
		}
	}
	harness.Eventually(t, 5*time.Second, "all clients are bound", func() bool {
		var v view
		tell(t, s, "/api/v1/pools/header", &v)
		sum := 0
		for _, b := range v.Backends {
			if b.Bound == nil {
				t.Fatalf("%+v", v)
			}
			bound[b.Address] = *b.Bound
			sum += *b.Bound
		}
		return sum == 30 && v.Affinity == "header"
	})
	var v view
	if tell(t, s, "/api/v1/pools/cookie", &v); v.Affinity != "cookie" || v.Backends[0].Bound != nil {
		t.Errorf("bound by cookie: %+v", v)
	}
	harness.Eventually(t, 5*time.Second, "the metrics say the same", func() bool {
		series, _ := read(t, s)
		for address, n := range bound {
			if series[`steelyard_backend_bound_sessions{backend="`+address+`",pool="header"}`] != float64(n) {
				return false
			}
		}
		_, wrong := series[`steelyard_backend_bound_sessions{backend="`+apps[0].Address+`",pool="cookie"}`]
		return !wrong
	})
	g := s.Reload(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /cookie}, pool: cookie}, {pool: header}]
pools:
  header: {backends: [%[1]s, %[2]s], sticky: {header: x-user}}
  cookie: {backends: [%[1]s, %[2]s], sticky: cookie}
admin: ADMIN
`, apps[0].Address, apps[1].Address))
	want := fmt.Sprintf("pool header: -1 backend (%s; %d bound session", apps[2].Address, bound[apps[2].Address])
	if len(g.Changes) != 1 || len(g.Changes[0]) < len(want) || g.Changes[0][:len(want)] != want {
		t.Errorf("the reload says %q, want %q…", g.Changes, want)
	}
}

// tell reads an answer of the admin API.
func tell(t *testing.T, s *harness.Steelyard, path string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(harness.Get(t, harness.Client(t), "http://"+s.Admin+path)), into); err != nil {
		t.Fatal(err)
	}
}

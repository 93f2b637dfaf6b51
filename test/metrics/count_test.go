// Package metrics_test holds the metrics to what clients and a real Prometheus
// see of them.
package metrics_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// read scrapes the metrics of s; the keys are the series as they are written.
func read(t testing.TB, s *harness.Steelyard) (series map[string]float64, text string) {
	t.Helper()
	text = harness.Get(t, harness.Client(t), "http://"+s.Admin+"/metrics")
	series = map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if line == "" || line[0] == '#' || at < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		series[line[:at]] = v
	}
	return series, text
}

// TestCountsAreWhatClientsSaw: a thousand requests with all sorts of ends, and
// every counter agrees with what was answered.
func TestCountsAreWhatClientsSaw(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	dead, log := harness.FreeAddress(t), filepath.Join(t.TempDir(), "access.log")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {name: web, match: {path: /*, host: web.test}, pool: web}
  - {name: dead, match: {path: /*, host: dead.test}, pool: dead}
  - {name: fixed, match: {path: /robots.txt, host: web.test}, respond: {status: 204}}
  - {name: moved, match: {path: /old, host: web.test}, redirect: /new}
pools:
  web: {backends: [%[1]s, %[2]s], outlier: off}
  dead: {backends: [%[3]s], retry: off}
access_log: {to: %[4]q}
admin: ADMIN
`, apps[0].Address, apps[1].Address, dead, log))
	for _, app := range apps {
		app.Set(t, "code", 503)
		app.Set(t, "share", 0.25)
	}
	c := harness.Client(t)
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		got    = map[string]float64{} // by host and class
		causes = map[string]float64{}
	)
	requests := []struct{ host, path string }{
		{"web.test", "/"}, {"web.test", "/robots.txt"}, {"web.test", "/old"}, {"dead.test", "/"}, {"nobody.test", "/"},
		{"web.test", "/slow?ms=2"}, {"web.test", "/"}, {"web.test", "/x"}, {"web.test", "/y"}, {"web.test", "/"},
	}
	for worker := range 10 {
		wg.Go(func() {
			for i := range 100 {
				r := requests[(worker+i)%len(requests)]
				status, _, err := harness.Do(c, "GET", s.URL+r.path, "", "Host: "+r.host)
				var made *harness.CauseError
				if err != nil && !errors.As(err, &made) {
					t.Errorf("GET %s%s: %v", r.host, r.path, err)
					continue
				}
				route := strings.TrimSuffix(r.host, ".test")
				switch r.path {
				case "/robots.txt":
					route = "fixed"
				case "/old":
					route = "moved"
				}
				mu.Lock()
				got[fmt.Sprintf("%s %dxx", route, status/100)]++
				if made != nil {
					causes[made.Cause]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got["web 2xx"] == 0 || got["web 5xx"] == 0 || got["fixed 2xx"] != 100 || got["moved 3xx"] != 100 || got["dead 5xx"] != 100 || got["nobody 4xx"] != 100 {
		t.Fatalf("clients saw %v", got)
	}
	web := got["web 2xx"] + got["web 5xx"]
	want := map[string]float64{
		`steelyard_errors_total{cause="no_route",pool=""}`:                   100,
		`steelyard_errors_total{cause="connect_refused",pool=""}`:            0,
		`steelyard_errors_total{cause="connect_refused",pool="dead"}`:        causes["connect_refused"],
		`steelyard_errors_total{cause="no_backend",pool=""}`:                 0,
		`steelyard_access_log_lines_total{result="written"}`:                 1000,
		`steelyard_access_log_lines_total{result="dropped"}`:                 0,
		`steelyard_errors_total{cause="internal",pool=""}`:                   0,
		`steelyard_pool_requests_total{pool="web"}`:                          web,
		`steelyard_pool_attempts_total{pool="web"}`:                          web,
		`steelyard_pool_responses_total{class="2xx",pool="web"}`:             got["web 2xx"],
		`steelyard_pool_responses_total{class="5xx",pool="web"}`:             got["web 5xx"],
		`steelyard_pool_responses_total{class="none",pool="web"}`:            0,
		`steelyard_pool_responses_total{class="5xx",pool="dead"}`:            100,
		`steelyard_pool_latency_seconds_count{pool="web"}`:                   web,
		`steelyard_pool_latency_seconds_bucket{pool="web",le="+Inf"}`:        web,
		`steelyard_backends_not_listed`:                                      0,
		`steelyard_pool_usable_backends{pool="web"}`:                         2,
		`steelyard_pool_backends{pool="web",state="healthy"}`:                2,
		`steelyard_backend_up{backend="` + apps[0].Address + `",pool="web"}`: 1,
		`steelyard_config_generation`:                                        1,
		`steelyard_config_last_reload_successful`:                            1,
	}
	if n := causes["no_backend"]; n > 0 { // a pool has no cause that there never was
		want[`steelyard_errors_total{cause="no_backend",pool="dead"}`] = n
	}
	for name, n := range got {
		route, class, _ := strings.Cut(name, " ")
		if route != "nobody" {
			want[fmt.Sprintf(`steelyard_route_responses_total{class="%s",route="%s"}`, class, route)] = n
		}
	}
	var wrong []string
	var text string
	var series map[string]float64
	deadline := time.Now().Add(5 * time.Second)
	for { // a request is counted when all is done about it, which may be after its client has the response
		series, text = read(t, s)
		wrong = nil
		for name, n := range want {
			if v, ok := series[name]; !ok || v != n {
				wrong = append(wrong, fmt.Sprintf("%s is %v, clients saw %v", name, v, n))
			}
		}
		if len(wrong) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, w := range wrong {
		t.Error(w)
	}
	for name := range series {
		if strings.HasPrefix(name, "steelyard_errors_total{") && strings.Contains(name, `pool="web"`) {
			t.Errorf("%s: the errors of web were those of its backends", name)
		}
		if strings.HasPrefix(name, "steelyard_backend_bound_sessions") {
			t.Errorf("%s: no pool binds clients", name)
		}
	}
	both := func(format string) (sum float64) {
		for _, app := range apps {
			sum += series[fmt.Sprintf(format, app.Address)]
		}
		return sum
	}
	for format, want := range map[string]float64{
		`steelyard_backend_attempts_total{backend="%s",pool="web"}`:              web,
		`steelyard_backend_responses_total{backend="%s",class="2xx",pool="web"}`: got["web 2xx"],
		`steelyard_backend_responses_total{backend="%s",class="5xx",pool="web"}`: got["web 5xx"],
		`steelyard_backend_failures_total{backend="%s",pool="web"}`:              got["web 5xx"],
		`steelyard_backend_first_byte_seconds_count{backend="%s",pool="web"}`:    web,
		`steelyard_backend_in_flight_requests{backend="%s",pool="web"}`:          0,
		`steelyard_backend_connections{backend="%s",pool="web",state="busy"}`:    0,
	} {
		if n := both(format); n != want {
			t.Errorf("%s: %v of both, want %v", format, n, want)
		}
	}
	if text, err := os.ReadFile(log); err != nil || bytes.Count(text, []byte("\n")) != 1000 {
		t.Errorf("the access log has %d lines, %v", bytes.Count(text, []byte("\n")), err)
	}
	if causes["connect_refused"]+causes["no_backend"] != 100 {
		t.Errorf("causes %v", causes)
	}
	harness.Promtool(t, text, "check", "metrics")
}

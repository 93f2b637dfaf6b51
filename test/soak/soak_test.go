package soak_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
	"steelyard/test/load"
)

// configuration is that of generation n: reloads change the policy, headers and
// the order of things, and leave the backends alone.
func configuration(n int, apps []*load.App) string {
	policies := []string{"round_robin", "least_connections", "power_of_two", "least_time"}
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /ws}, pool: sockets}
  - {pool: web, response_headers: {set: {x-generation: "%d"}}}
admin: ADMIN
pools:
  web:
    policy: %s
    backends: %s
    check: {path: /healthz, interval: 1s, rise: 1}
    slow_start: 1s
  sockets: {policy: least_connections, backends: %s, check: {path: /healthz, interval: 1s}}
`, n, policies[n%len(policies)], load.Addresses(apps), load.Addresses(apps))
}

// trouble is what happens one after the other all the time; each leaves all apps
// as they were.
var trouble = []struct {
	name string
	do   func(t *testing.T, s *harness.Steelyard, apps []*load.App, n int)
}{
	{"kill", func(t *testing.T, _ *harness.Steelyard, apps []*load.App, n int) {
		app := apps[n%len(apps)]
		app.Kill(t)
		time.Sleep(time.Second) // How long it is away.
		app.Again(t)
	}},
	{"reload", func(t *testing.T, s *harness.Steelyard, apps []*load.App, n int) {
		if g := s.Reload(t, configuration(n, apps)); !g.LastOK {
			t.Errorf("reload %d failed: %q", n, g.Errors)
		}
	}},
	{"health flaps", func(t *testing.T, s *harness.Steelyard, apps []*load.App, n int) {
		app := apps[n%len(apps)]
		app.Set(t, "health", "503")
		harness.Eventually(t, time.Minute, "it is unhealthy", func() bool { return s.Backend(t, "web", app.Address).State == "unhealthy" })
		app.Set(t, "health", "200")
	}},
	{"stop", func(t *testing.T, _ *harness.Steelyard, apps []*load.App, n int) {
		app := apps[n%len(apps)]
		app.Signal(t, syscall.SIGSTOP)
		time.Sleep(time.Second) // How long it stands still.
		app.Signal(t, syscall.SIGCONT)
	}},
	{"drain", func(t *testing.T, s *harness.Steelyard, apps []*load.App, n int) {
		for _, pool := range []string{"web", "sockets"} {
			s.Order(t, pool, apps[n%len(apps)].Address, "drain", `{"for": "2s"}`)
		}
		time.Sleep(3 * time.Second) // Longer than the drain.
		for _, pool := range []string{"web", "sockets"} {
			s.Order(t, pool, apps[n%len(apps)].Address, "enable", "")
		}
	}},
	{"slow", func(t *testing.T, _ *harness.Steelyard, apps []*load.App, n int) {
		apps[n%len(apps)].Set(t, "delay", "60")
		time.Sleep(2 * time.Second) // How long it is slow.
		apps[n%len(apps)].Set(t, "delay", "3")
	}},
}

// explained are the errors that trouble may bring, by what they begin with.
// Requests that may be repeated see none before their response has begun.
var explained = map[string][]string{
	"GET":                      {"cut short"},
	"POST":                     {"cut short", "502 reset_before_response"},
	"upload":                   {"cut short", "502 reset_before_response"}, // larger than what is kept for a retry
	"download":                 {"cut short"},
	"slow download":            {"cut short"},
	"events":                   {"cut short"},
	"WebSocket":                {"cut short", "closed in good order", "502 reset_before_response"},
	"client that leaves":       {"cut short"},
	"client that sends slowly": {"502 reset_before_response"},
	"new connection":           {"cut short"},
}

func lasts(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAKTIME")
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 30*time.Second {
		t.Fatalf("SOAKTIME=%s is no duration of at least 30s, such as 10m or 1h", text)
	}
	return d
}

func TestSoak(t *testing.T) {
	lasts := lasts(t)
	apps := load.Apps(t, []string{"a", "b", "c", "d"}, "DELAY_MS=3")
	s := harness.Start(t, configuration(0, apps))
	harness.Eventually(t, 20*time.Second, "all apps are checked", func() bool { return s.Pool(t, "web").Healthy == len(apps) })
	rest, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	tr := begin(t, s)
	samples := run(t, s, tr, apps, lasts)
	tr.end()

	judge(t, samples)
	requests, failed, _ := tr.sums()
	t.Logf("%v, %d requests: %s", lasts, requests, table(tr.counts))
	t.Logf("%d failed: %s", failed, table(tr.errors))
	if n := len(tr.wrong); n > 0 {
		t.Errorf("%d wrong answers: %q", n, tr.wrong[:min(n, 5)])
	}
	tr.account(t, apps)
	// The app keeps a connection for 5 s, a client that has left none.
	var last sample
	harness.Eventually(t, 90*time.Second, "all is given back", func() bool {
		if last, err = look(s); err != nil {
			t.Fatal(err)
		}
		return last.goroutines <= rest.goroutines+5 && last.files <= rest.files+5 || t.Failed()
	})
	t.Logf("at rest: %.0f goroutines and %.0f files, before the traffic %.0f and %.0f; memory %.0f MiB", last.goroutines, last.files, rest.goroutines, rest.files, last.rss)
}

// run makes trouble until the time is over, and looks at steelyard every second.
// What it returns begins when it had warmed up.
func run(t *testing.T, s *harness.Steelyard, tr *traffic, apps []*load.App, lasts time.Duration) (samples []sample) {
	t.Helper()
	began := time.Now()
	warm := began.Add(min(max(lasts/6, 20*time.Second), 5*time.Minute))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		said := began
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				sample, err := look(s)
				if err != nil {
					t.Error(err)
					continue
				}
				if now.After(warm) {
					samples = append(samples, sample)
				}
				if now.Sub(said) >= max(lasts/60, 5*time.Second) {
					said = now
					requests, failed, wrong := tr.sums()
					t.Logf("%v of %v: %d requests, %d failed, %d wrong; %.0f MiB, %.0f goroutines, %.0f files",
						now.Sub(began).Round(time.Second), lasts, requests, failed, wrong, sample.rss, sample.goroutines, sample.files)
				}
			}
		}
	}()
	halt := sync.OnceFunc(func() { close(stop); <-stopped })
	defer halt()
	for n := 0; time.Since(began) < lasts && !t.Failed(); n++ {
		what := &trouble[n%len(trouble)]
		what.do(t, s, apps, n)
		harness.Eventually(t, time.Minute, "all is well after "+what.name, func() bool {
			return s.Pool(t, "web").Healthy == len(apps) && s.Pool(t, "sockets").Healthy == len(apps)
		})
	}
	halt()
	return samples
}

// account fails the test for errors that are not explained or too many, and for
// POSTs that were not done once.
func (tr *traffic) account(t *testing.T, apps []*load.App) {
	t.Helper()
	for what, n := range tr.errors {
		kind, failed, _ := strings.Cut(what, ": ")
		if !slices.ContainsFunc(explained[kind], func(begin string) bool { return strings.HasPrefix(failed, begin) }) {
			t.Errorf("%d × %s, which is not to be explained by what happened", n, what)
		}
		if n > 10+tr.counts[kind]/20 {
			t.Errorf("%d × %s, of %d", n, what, tr.counts[kind])
		}
	}
	arrived := load.Posts(t, apps)
	twice, never := 0, 0
	for _, n := range arrived {
		if n > 1 {
			twice++
		}
	}
	for _, id := range tr.posts {
		if arrived[id] == 0 {
			never++
		}
	}
	t.Logf("%d POSTs were answered; %d reached apps more than once, %d never", len(tr.posts), twice, never)
	if twice+never > 0 {
		t.Errorf("%d POSTs reached apps more than once, %d were answered and never did", twice, never)
	}
}

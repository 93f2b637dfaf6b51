package reload_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// file is a configuration with one pool, and more of it.
func file(top, pool string, backends ...string) string {
	return fmt.Sprintf("admin: ADMIN\n%s\nlisteners: {web: LISTEN}\nroutes: [{pool: web}]\npools: {web: {backends: [%s]%s}}\n",
		top, strings.Join(backends, ", "), pool)
}

// TestHangupReloads tells what has changed.
func TestHangupReloads(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, file("", "", apps[0].Address))
	client := harness.Client(t)
	if got := harness.Get(t, client, s.URL); got != "a" {
		t.Fatalf("%q", got)
	}
	g := s.Reload(t, file("", "", apps[1].Address))
	if want := fmt.Sprintf("pool web: +1 backend (%s), -1 backend (%s)", apps[1].Address, apps[0].Address); g.ID != 2 || !g.LastOK || len(g.Changes) != 1 || g.Changes[0] != want {
		t.Errorf("%+v; want %q", g, want)
	}
	if got := harness.Get(t, client, s.URL); got != "b" {
		t.Errorf("%q after the reload", got)
	}
	if g = s.Reload(t, file("", "", apps[1].Address)); len(g.Changes) != 1 || g.Changes[0] != "nothing changed" {
		t.Errorf("%+v; want that nothing changed", g)
	}
}

// TestABrokenFileChangesNothing: all that is wrong with it is said, each with its
// place, and everything goes on; so it is with what only opening shows.
func TestABrokenFileChangesNothing(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, file("", "", apps[0].Address))
	client := harness.Client(t)
	taken := apps[1].Address // somebody listens there
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"wrong keys and values", strings.Replace(file("shutdown_timeout: soon\ncolour: red", ", retries: 3", apps[1].Address), "pool: web", "pool: wep", 1),
			[]string{`steelyard.yaml:2:19: shutdown_timeout: "soon"`, `steelyard.yaml:3:1: colour: unknown key`, `steelyard.yaml:5:17: routes[0].pool: there is no pool "wep"`, `pools.web.retries: unknown key`}},
		{"no YAML", "listeners: [", []string{"steelyard.yaml:1:"}},
		{"an address that is taken", strings.Replace(file("", "", apps[1].Address), "{web: LISTEN}", "{web: LISTEN, more: "+taken+"}", 1),
			[]string{"listener more: cannot listen on " + taken + ": another process listens there"}},
		{"a missing CA", file("", ", check: {path: /, tls: {ca: /does/not/exist.pem}}", apps[0].Address), []string{"/does/not/exist.pem"}},
	} {
		before := s.Generation(t)
		g := s.Reload(t, tt.yaml)
		if g.LastOK || g.ID != 1 || g.Failed != before.Failed+1 || g.Reloads != 0 {
			t.Errorf("%s: %+v", tt.name, g)
		}
		for _, want := range tt.want {
			if !strings.Contains(strings.Join(g.Errors, "\n"), want) {
				t.Errorf("%s: the API does not say %q but %q", tt.name, want, g.Errors)
			}
			if !strings.Contains(s.Output(), strings.ReplaceAll(want, `"`, `\"`)) {
				t.Errorf("%s: the log does not say %q", tt.name, want)
			}
		}
		if got := harness.Get(t, client, s.URL); got != "a" {
			t.Errorf("%s: %q answers", tt.name, got)
		}
	}
	if p := s.Pool(t, "web"); len(p.Backends) != 1 || p.Backends[0].Address != apps[0].Address {
		t.Errorf("%+v", p)
	}
	if g := s.Reload(t, file("", "", apps[1].Address)); !g.LastOK || g.ID != 2 || len(g.Errors) != 0 {
		t.Errorf("mended: %+v", g)
	}
}

// TestUnchangedBackendsNoticeNothing: connections, counters and the history of
// checks go on, whatever else of the pool changes.
func TestUnchangedBackendsNoticeNothing(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	const checks = ", check: {path: /healthz, interval: 100ms}"
	s := harness.Start(t, file("", checks, apps[0].Address, apps[1].Address))
	client := harness.Client(t)
	for range 10 {
		harness.Get(t, client, s.URL)
	}
	harness.Eventually(t, patience, "there is a history of checks", func() bool {
		b := s.Backend(t, "web", apps[0].Address)
		return b.Check != nil && len(b.Check.Results) > 3
	})
	before := s.Backend(t, "web", apps[0].Address)
	for _, yaml := range []string{
		file("", checks+", policy: least_connections", apps[2].Address, apps[0].Address),
		file("", checks+", sticky: cookie, retry: {attempts: 3}", apps[0].Address, apps[1].Address),
		"# a line more\n" + file("", checks+", max_connections: 50", apps[0].Address),
	} {
		if g := s.Reload(t, yaml); !g.LastOK {
			t.Fatalf("%+v", g)
		}
		for range 10 {
			harness.Get(t, client, s.URL)
		}
	}
	after := s.Backend(t, "web", apps[0].Address)
	if after.Requests < before.Requests+10 || !after.Since.Equal(before.Since) {
		t.Errorf("counters began anew: %+v, %+v before", after, before)
	}
	if first := before.Check.Results[0].At; len(after.Check.Results) < len(before.Check.Results) || !after.Check.Results[0].At.Equal(first) {
		oldest := after.Check.Results[len(after.Check.Results)-1].At
		if !oldest.Equal(before.Check.Results[len(before.Check.Results)-1].At) {
			t.Errorf("the history of checks began anew: %v, %v before", after.Check.Results, before.Check.Results)
		}
	}
	// A check has a connection of its own each time; those of requests were kept.
	if after.Connections != before.Connections {
		t.Errorf("%d connections, %d before", after.Connections, before.Connections)
	}
}

// TestARemovedBackendDrains, and so does a pool that is removed altogether: what
// is in flight on it ends well.
func TestARemovedBackendDrains(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, file("", "", apps[0].Address))
	for name, yaml := range map[string]string{
		"the backend is removed": file("", "", apps[1].Address),
		"the pool is removed":    strings.NewReplacer("pool: web", "pool: other", "{web: {", "{other: {").Replace(file("", "", apps[1].Address)),
	} {
		t.Run(name, func(t *testing.T) {
			if g := s.Reload(t, file("", "", apps[0].Address)); !g.LastOK {
				t.Fatalf("%+v", g)
			}
			begun := apps[0].Stats(t).Busy
			answers := make(chan string, 1)
			go func() {
				_, body, err := harness.Do(harness.Client(t), "GET", s.URL+"/hold", "")
				answers <- fmt.Sprint(body, err)
			}()
			harness.Eventually(t, patience, "the request is in flight", func() bool { return apps[0].Stats(t).Busy > begun })
			if g := s.Reload(t, yaml); !g.LastOK {
				t.Fatalf("%+v", g)
			}
			if got := harness.Get(t, harness.Client(t), s.URL); got != "b" {
				t.Errorf("%q answers a new request", got)
			}
			time.Sleep(time.Second) // more than it takes to close what is not needed
			var released int
			apps[0].Ask(t, "/_release", &released)
			if got := <-answers; got != "a<nil>" {
				t.Errorf("the request in flight got %q", got)
			}
		})
	}
}

// TestStickySessionsSurviveReloads, of a cookie and of a header, while backends
// come beside theirs and the policy changes.
func TestStickySessionsSurviveReloads(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	all := []string{apps[0].Address, apps[1].Address, apps[2].Address}
	for _, kind := range []string{"cookie", "{header: x-session}"} {
		t.Run(kind, func(t *testing.T) {
			s := harness.Start(t, file("", ", sticky: "+kind, all[:2]...))
			type session struct {
				client *http.Client
				header string
				app    string
			}
			var sessions []session
			for i := range 20 {
				c := session{client: harness.Browser(t), header: fmt.Sprintf("X-Session: %d", i)}
				c.app = harness.Get(t, c.client, s.URL, c.header)
				sessions = append(sessions, c)
			}
			for i, yaml := range []string{
				file("", ", sticky: "+kind, all...),
				file("", ", policy: random, sticky: "+kind, all...),
				file("", ", policy: least_connections, sticky: "+kind, all[2], all[1], all[0]),
			} {
				if g := s.Reload(t, yaml); !g.LastOK {
					t.Fatalf("%+v", g)
				}
				for n, c := range sessions {
					if got := harness.Get(t, c.client, s.URL, c.header); got != c.app {
						t.Errorf("session %d is at %s after reload %d, and was at %s", n, got, i, c.app)
					}
				}
			}
			if g := s.Reload(t, file("", "", all...)); len(g.Changes) != 1 || !strings.Contains(g.Changes[0], "sticky off (") ||
				strings.HasPrefix(kind, "{header") != strings.Contains(g.Changes[0], "sticky off (20 bound sessions affected)") {
				t.Errorf("%q", g.Changes)
			}
		})
	}
}

// TestWatchReloadsWhenTheFileChanges, and only then; a broken one changes nothing.
func TestWatchReloadsWhenTheFileChanges(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	const watch = "reload: {watch: true}"
	s := harness.Start(t, file(watch, "", apps[0].Address))
	client := harness.Client(t)
	eventually := func(want string) {
		t.Helper()
		harness.Eventually(t, patience, "answers come from "+want, func() bool { return harness.Get(t, client, s.URL) == want })
	}
	eventually("a")
	s.Write(t, file(watch, "", apps[1].Address)) // renamed into its place
	eventually("b")
	broken := file(watch, ", retries: 1", apps[0].Address)
	s.Write(t, broken)
	harness.Eventually(t, patience, "the broken file is refused", func() bool { return s.Generation(t).Failed == 1 })
	eventually("b")
	// Written in place, and neighbours in its folder do not count.
	text, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.File+".other", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.File, []byte(strings.Replace(string(text), ", retries: 1", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually("a")
	if g := s.Generation(t); g.Reloads != 2 || g.Failed != 1 {
		t.Errorf("%+v; want 2 reloads and one that failed", g)
	}
	// Without the key it is not watched any more.
	if g := s.Reload(t, file("", "", apps[0].Address)); !g.LastOK {
		t.Fatalf("%+v", g)
	}
	before := s.Generation(t)
	s.Write(t, file("", "", apps[1].Address))
	time.Sleep(500 * time.Millisecond)
	if g := s.Generation(t); g.ID != before.ID {
		t.Error("a file that is not to be watched was reloaded")
	}
}

// asks keeps asking until it is stopped, and counts what came back.
type asks struct {
	stop     atomic.Bool
	wg       sync.WaitGroup
	ok, fail atomic.Int64
}

func ask(t *testing.T, url string) *asks {
	a := &asks{}
	t.Cleanup(func() { a.stop.Store(true); a.wg.Wait() })
	for range 4 {
		client := harness.Client(t)
		a.wg.Go(func() {
			for !a.stop.Load() {
				if status, _, err := harness.Do(client, "GET", url, ""); err == nil && status < 500 {
					a.ok.Add(1)
				} else {
					a.fail.Add(1)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return a
}

const rollback = "reload: {rollback: {window: 2s, errors: 5%, min_requests: 20}}"

// TestRollbackWhenAReloadSendsTrafficToADeadPool says why, and that it did.
func TestRollbackWhenAReloadSendsTrafficToADeadPool(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, file(rollback, "", app.Address))
	a := ask(t, s.URL)
	harness.Eventually(t, patience, "requests are served", func() bool { return a.ok.Load() > 300 })
	if a.fail.Load() > 0 {
		t.Fatal("requests fail before the reload")
	}
	if g := s.Reload(t, file(rollback, "", harness.FreeAddress(t))); !g.LastOK || g.ID != 2 || g.RolledBack != "" {
		t.Fatalf("%+v", g)
	}
	var g harness.GenerationView
	harness.Eventually(t, patience, "it goes back", func() bool {
		g = s.Generation(t)
		return g.RolledBack != ""
	})
	if g.ID != 3 || !strings.Contains(g.RolledBack, "were errors (5xx), 0.0% before") || len(g.Changes) != 1 || !strings.Contains(g.Changes[0], "+1 backend ("+app.Address) {
		t.Errorf("%+v", g)
	}
	if !strings.Contains(s.Output(), "going back to the configuration before the reload") {
		t.Error("the log does not say it")
	}
	failed, served := a.fail.Load(), a.ok.Load()
	harness.Eventually(t, patience, "requests are served again", func() bool { return a.ok.Load() > served+300 })
	if n := a.fail.Load() - failed; n > 8 { // those under way
		t.Errorf("%d requests failed after it went back", n)
	}
}

// TestNoRollbackForAnOutageThatWasThereBefore, nor for a reload that is fine.
func TestNoRollbackForAnOutageThatWasThereBefore(t *testing.T) {
	for _, tt := range []struct {
		name  string
		share float64
	}{{"an outage before", 1}, {"half an outage before", 0.5}, {"all is well", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app := harness.App(t, "a")
			app.Set(t, "share", tt.share)
			s := harness.Start(t, file(rollback, ", outlier: off", app.Address))
			a := ask(t, s.URL)
			harness.Eventually(t, patience, "there is a window before", func() bool { return a.ok.Load()+a.fail.Load() > 1000 })
			if tt.share > 0 && a.fail.Load() == 0 {
				t.Fatal("there is no outage")
			}
			if g := s.Reload(t, file(rollback, ", outlier: off, policy: random", app.Address)); !g.LastOK || g.ID != 2 {
				t.Fatalf("%+v", g)
			}
			harness.Eventually(t, patience, "the window is over", func() bool { return strings.Contains(s.Output(), "the reload is kept") })
			if g := s.Generation(t); g.ID != 2 || g.RolledBack != "" {
				t.Errorf("%+v", g)
			}
		})
	}
}

// TestAStopDuringReloadsIsGraceful: neither waits for the other.
func TestAStopDuringReloadsIsGraceful(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, file("", "", app.Address))
	for i := range 20 {
		s.Write(t, file("", fmt.Sprintf(", max_connections: %d", 100+i), app.Address))
		s.Signal(t, syscall.SIGHUP)
	}
	s.Signal(t, syscall.SIGTERM)
	if code := s.ExitCode(t, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

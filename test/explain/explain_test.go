// Package explain_test holds explanations to the truth: where a request is
// explained to go is where it goes.
package explain_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/config"
	"steelyard/internal/app"
	"steelyard/internal/explain"
	"steelyard/test/harness"
)

// apps are backends that answer with the request line they got.
func apps(t *testing.T, n int) string {
	t.Helper()
	var all []string
	for range n {
		address, _ := harness.Scripted(t, func(m *harness.Message) string {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: %s\r\n\r\n", m.First)
		})
		all = append(all, address)
	}
	return strings.Join(all, ", ")
}

// tells are the response headers by which a route says what it did.
const tells = `response_headers: {set: {X-Route: "{route}", X-Pool: "{pool}", X-Backend: "{backend}"}}`

// everyKind is a configuration with routes and pools of every kind.
func everyKind(t *testing.T) *config.Config {
	t.Helper()
	empty := filepath.Join(t.TempDir(), "backends.yaml")
	if err := os.WriteFile(empty, []byte("[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("LISTEN", harness.FreeAddress(t), "TELLS", tells, "EMPTY", empty,
		"APPS1", apps(t, 3), "APPS2", apps(t, 3), "APPS3", apps(t, 3), "APPS4", apps(t, 2), "APPS5", apps(t, 3), "APPS6", apps(t, 3), "APPS7", apps(t, 2)).Replace(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {name: any, match: {path: /*}, pool: turns, TELLS}
  - {name: exact-host, match: {host: api.test}, pool: ring, TELLS}
  - {name: wildcard, match: {host: "*.api.test", path: /v1/*}, pool: table, rewrite: {strip_prefix: /v1}, TELLS}
  - {name: exact-path, match: {path: /login}, pool: cookies, TELLS}
  - {name: regex, match: {path: "~^/u/[0-9]+$"}, pool: idle, rewrite: {regex: {from: "^/u/([0-9]+)$", to: "/users/$1"}}, TELLS}
  - {name: method, match: {path: /api/*, method: [PUT, DELETE]}, pool: turns, TELLS}
  - {name: header, match: {path: /api/*, headers: {X-Beta: "1"}}, pool: known, TELLS}
  - {name: header-regex, match: {path: /api/*, headers: {X-Beta: "~^[2-9]"}}, pool: ring, TELLS}
  - {name: query, match: {path: /api/*, query: {debug: "*"}}, pool: table, TELLS}
  - {name: split, match: {path: /split}, split: {to: [{pool: turns, weight: 3}, {pool: idle, weight: 1}], sticky: {header: {name: X-User}}}, TELLS}
  - {name: split-cookie, match: {path: /split/cookie}, split: {to: [{pool: turns, weight: 1}, {pool: idle, weight: 1}], sticky: {cookie: {name: branch}}}, TELLS}
  - {name: moved, match: {path: /old/*}, redirect: {to: "https://{host}{uri}"}, TELLS}
  - {name: fixed, match: {path: /gone}, respond: {status: 410}, TELLS}
  - {name: nobody, match: {path: /nobody}, pool: nobody, TELLS}
  - {name: spare, match: {path: /spare}, pool: spare, TELLS}
pools:
  turns: {backends: [APPS1]}
  ring: {policy: {consistent_hash: {key: "header:x-user"}}, backends: [APPS2]}
  table: {policy: {maglev: {key: uri}}, backends: [APPS3]}
  idle: {policy: least_connections, backends: [APPS4]}
  cookies: {backends: [APPS5], sticky: {cookie: {name: sy}}}
  known: {backends: [APPS6], sticky: {header: {name: X-User}}}
  nobody: {source: {file: EMPTY}}
  spare: {backends: [{address: "127.0.0.1:1", weight: 0}, {address: "SPARE", backup: true}]}
`)
	text = strings.Replace(text, "SPARE", apps(t, 1), 1)
	cfg, err := config.Parse("explain.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// requests are those that are asked about and then sent.
func requests() []explain.Question {
	var all []explain.Question
	add := func(method, host, path string, headers ...string) {
		q := explain.Question{Method: method, Host: host, Path: path, Headers: map[string]string{}}
		for i := 0; i < len(headers); i += 2 {
			q.Headers[headers[i]] = headers[i+1]
		}
		all = append(all, q)
	}
	for i := range 5 {
		user := fmt.Sprint("user-", i)
		add("GET", "app.test", fmt.Sprintf("/page/%d?x=%d", i, i))
		add("GET", "API.test:8080", "/", "X-User", user)
		add("POST", "v2.api.test", "/v1/items/"+user)
		add("GET", "app.test", fmt.Sprint("/u/", i))
		add("PUT", "app.test", "/api/x", "X-User", user)
		add("GET", "app.test", "/api/x", "x-beta", "1", "X-User", user)
		add("GET", "app.test", "/api/x", "X-Beta", "2", "X-User", user)
		add("GET", "app.test", "/api/x?debug="+user)
		add("GET", "app.test", "/split", "X-User", user)
	}
	add("GET", "app.test", "/login")
	add("GET", "app.test", "/old/a?b=c")
	add("HEAD", "app.test", "/gone")
	add("GET", "app.test", "/nobody")
	add("GET", "app.test", "/spare")
	add("GET", "x.v2.api.test", "/v2")
	add("DELETE", "", "/")
	return all
}

// start runs the configuration in this process.
func start(t *testing.T, cfg *config.Config) *app.App {
	t.Helper()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	a, err := app.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

// send sends a request that was explained, as it was asked about.
func send(t *testing.T, c *harness.Conn, q explain.Question) *harness.Message {
	t.Helper()
	fields := ""
	for name, value := range q.Headers {
		fields += name + ": " + value + "\r\n"
	}
	return c.Exchange(t, q.Method+" "+q.Path+" HTTP/1.1\r\nHost: "+q.Host+"\r\nContent-Length: 0\r\n"+fields+"\r\n")
}

// compare holds an explanation to what happened. X-Backend is where the request
// was sent, X-Got what arrived there.
func compare(t *testing.T, q explain.Question, a explain.Answer, m *harness.Message) {
	t.Helper()
	for _, e := range []struct{ what, said, is string }{
		{"cause", a.Cause, m.Value("X-Steelyard-Cause")},
		{"backend", a.Backend, m.Value("X-Backend")},
		{"request line", a.Sends, m.Value("X-Got")},
		{"redirect", a.Redirect, m.Value("Location")},
		{"route", a.Route, m.Value("X-Route")},
		{"pool", a.Pool, m.Value("X-Pool")},
	} {
		if a.Cause != "" && e.what != "cause" {
			continue // an error of ours carries nothing of the route
		}
		if e.said != e.is {
			t.Errorf("%s %s%s %v: the %s is explained as %q, but is %q", q.Method, q.Host, q.Path, q.Headers, e.what, e.said, e.is)
		}
	}
	if a.Status != 0 && a.Status != m.Status() {
		t.Errorf("%s %s: status %d is explained, but it is %d", q.Method, q.Path, a.Status, m.Status())
	}
}

// ask waits until the requests before have been counted out: a client has its
// response a moment earlier.
func ask(t *testing.T, a *app.App, q explain.Question) explain.Answer {
	t.Helper()
	harness.Eventually(t, 5*time.Second, "nothing is in flight", func() bool {
		for _, p := range a.Pools() {
			for _, e := range p.Snapshot().Endpoints {
				if e.Backend.InFlight() > 0 {
					return false
				}
			}
		}
		return true
	})
	answer, err := a.Explain(q)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestRequestsGoWhereTheyAreExplainedToGo asks about each request, sends it, and
// compares: twice, so that bindings made by the first round hold in the second.
func TestRequestsGoWhereTheyAreExplainedToGo(t *testing.T) {
	cfg := everyKind(t)
	a := start(t, cfg)
	c := harness.Dial(t, cfg.Listeners[0].Address)
	routes := map[string]bool{}
	for range 2 {
		for _, q := range requests() {
			answer := ask(t, a, q)
			routes[answer.Route] = true
			compare(t, q, answer, send(t, c, q))
		}
	}
	if n := len(requests()); n < 50 || len(routes) < 12 {
		t.Errorf("%d requests met %d routes; 50 and 12 are wanted", n, len(routes))
	}
}

// TestClientsThatHaveCookies are explained with the cookies they were given.
func TestClientsThatHaveCookies(t *testing.T) {
	cfg := everyKind(t)
	a := start(t, cfg)
	for _, path := range []string{"/login", "/split/cookie"} {
		for range 6 {
			c := harness.Dial(t, cfg.Listeners[0].Address)
			q := explain.Question{Method: "GET", Host: "app.test", Path: path}
			first := send(t, c, q)
			cookie, _, ok := strings.Cut(first.Value("Set-Cookie"), ";")
			if !ok {
				t.Fatalf("no cookie in %q", first.Fields)
			}
			q.Headers = map[string]string{"Cookie": "other=1; " + cookie}
			for range 3 {
				answer := ask(t, a, q)
				m := send(t, c, q)
				compare(t, q, answer, m)
				if path == "/login" && (m.Value("X-Backend") != first.Value("X-Backend") || !strings.HasPrefix(answer.Affinity, "bound to "+answer.Backend)) {
					t.Errorf("bound to %s, went to %s; %s", first.Value("X-Backend"), m.Value("X-Backend"), answer.Affinity)
				}
				if path != "/login" && answer.Split != "by the cookie branch" {
					t.Errorf("split: %q", answer.Split)
				}
			}
		}
	}
}

// TestAFileIsExplainedAsItWouldRun asks the file alone, before anything runs: what
// depends on the request only is the same.
func TestAFileIsExplainedAsItWouldRun(t *testing.T) {
	cfg := everyKind(t)
	var before []explain.Answer
	for _, q := range requests() {
		answer, err := app.ExplainFile(cfg, q)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Pool != "" && len(answer.Notes) == 0 {
			t.Errorf("%s: no note says that nothing runs", q.Path)
		}
		before = append(before, answer)
	}
	start(t, cfg)
	c := harness.Dial(t, cfg.Listeners[0].Address)
	for i, q := range requests() {
		m := send(t, c, q)
		if before[i].Pool == "nobody" { // its source has not been asked
			if a := before[i]; a.Cause != "" || a.Status != 0 || !strings.HasPrefix(a.Why, "which backend gets it is known to a running Steelyard only") {
				t.Errorf("a pool whose source has not been asked: %+v", a)
			}
			continue
		}
		switch before[i].Policy {
		case "", "consistent_hash", "maglev":
		default: // whose turn it is only a running Steelyard knows
			before[i].Backend = m.Value("X-Backend")
		}
		compare(t, q, before[i], m)
	}
}

// TestExplainingChangesNothing asks a thousand questions while turns are taken:
// they come as without.
func TestExplainingChangesNothing(t *testing.T) {
	cfg := everyKind(t)
	a := start(t, cfg)
	c := harness.Dial(t, cfg.Listeners[0].Address)
	q := explain.Question{Method: "GET", Host: "app.test", Path: "/"}
	got := map[string]int{}
	for range 30 {
		for range 33 {
			ask(t, a, q)
		}
		got[send(t, c, q).Value("X-Backend")]++
	}
	for backend, n := range got {
		if n != 10 {
			t.Errorf("%s got %d of 30 requests, want 10", backend, n)
		}
	}
	counts := map[string]int64{}
	harness.Eventually(t, 5*time.Second, "the requests are counted", func() bool {
		for _, r := range a.Routes() {
			counts[r.Name] = r.Requests
		}
		return counts["any"] >= 30
	})
	for name, n := range counts {
		if name == "any" && n != 30 || name != "any" && n != 0 {
			t.Errorf("route %s counts %d requests", name, n)
		}
	}
}

// TestWhatIsTooLargeIsExplainedAsRefused: by those listeners that refuse it, as
// they do.
func TestWhatIsTooLargeIsExplainedAsRefused(t *testing.T) {
	const text = `
listeners:
  small: {address: "SMALL", max_body_size: 1KiB, max_header_size: 2KiB}
  large: {address: "LARGE", max_body_size: 1MiB, max_header_size: 8KiB}
routes: [{respond: {status: 200}}]
`
	small, large := harness.FreeAddress(t), harness.FreeAddress(t)
	cfg, err := config.Parse("explain.yaml", []byte(strings.NewReplacer("SMALL", small, "LARGE", large).Replace(text)), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, cfg)
	for name, tc := range map[string]struct {
		header, value string
		cause, note   string // of both listeners, of the small one alone
	}{
		"all is well":    {"X", "y", "", ""},
		"a body for one": {"content-length", "5000", "", "the listener small would refuse it: its body has 5000 bytes, max_body_size is 1024"},
		"for neither":    {"Content-Length", "5000000", "body_too_large", ""},
		"a head for one": {"X", strings.Repeat("x", 3000), "", "the listener small would refuse it: its head has "},
		"neither head":   {"X", strings.Repeat("x", 9000), "head_too_large", ""},
	} {
		t.Run(name, func(t *testing.T) {
			q := explain.Question{Method: "POST", Host: "a.test", Path: "/", Headers: map[string]string{tc.header: tc.value}}
			for who, ask := range map[string]func() (explain.Answer, error){
				"it runs": func() (explain.Answer, error) { return a.Explain(q) }, "of the file": func() (explain.Answer, error) { return app.ExplainFile(cfg, q) },
			} {
				answer, err := ask()
				if err != nil || answer.Cause != tc.cause || tc.cause != "" && answer.Why == "" || !strings.HasPrefix(strings.Join(answer.Notes, "; "), tc.note) {
					t.Errorf("%s: %+v %v", who, answer, err)
				}
				for address, refuses := range map[string]bool{small: tc.cause != "" || tc.note != "", large: tc.cause != ""} {
					m := harness.Dial(t, address).Exchange(t, "POST / HTTP/1.1\r\nHost: a.test\r\n"+tc.header+": "+tc.value+"\r\n\r\n")
					if (m.Status() >= 400) != refuses || refuses && answer.Cause != "" && (m.Value("X-Steelyard-Cause") != answer.Cause || m.Status() != answer.Status) {
						t.Errorf("%s: it is explained as %d %q, but %s answers %d %q", who, answer.Status, answer.Cause, address, m.Status(), m.Value("X-Steelyard-Cause"))
					}
				}
			}
		})
	}
}

package wire_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// pathCases are what becomes of a path under each policy: the route that took it
// and the path that its backend got, or 400. Route admin answers 403 itself.
var pathCases = []struct{ name, path, normalize, reject, pass string }{
	{"nothing odd", "/x", "any /x", "any /x", "any /x"},
	{"the admin route", "/admin/x", "403", "403", "403"},
	{"dot segments", "/files/../admin/x", "403", "400", "files /files/../admin/x"},
	{"dot segments that lead nowhere else", "/files/./a/../b", "files /files/b", "400", "files /files/./a/../b"},
	{"escaped dot segments", "/files/%2e%2E/admin/x", "403", "400", "files /files/%2e%2E/admin/x"},
	{"dots and an escaped slash", "/files/..%2fadmin/x", "400", "400", "files /files/..%2fadmin/x"},
	{"dots and an escaped backslash", "/files/..%5cadmin", "400", "400", "files /files/..%5cadmin"},
	{"dots, escaped twice", "/files/%252e%252e/admin", "400", "400", "files /files/%252e%252e/admin"},
	{"dots with a parameter", "/files/..;/admin", "400", "400", "files /files/..;/admin"},
	{"backslashes", `/files\..\admin`, "400", "400", `any /files\..\admin`},
	{"above the beginning", "/../admin/x", "400", "400", "any /../admin/x"},
	{"two slashes", "//admin/x", "403", "400", "any //admin/x"},
	{"two slashes inside", "/files//admin", "files /files//admin", "400", "files /files//admin"},
	{"a URL in a path", "/files/http://a.test/b", "files /files/http://a.test/b", "400", "files /files/http://a.test/b"},
	{"two slashes that hide a route", "/v2//admin/x", "400", "400", "any /v2//admin/x"},
	{"an escaped letter", "/%61dmin/x", "403", "400", "any /%61dmin/x"},
	{"an escaped letter, twice", "/%2561dmin/x", "400", "400", "any /%2561dmin/x"},
	{"an escaped slash that hides a route", "/admin%2Fx", "400", "400", "any /admin%2Fx"},
	{"the same in small letters", "/admin%2fx", "400", "400", "any /admin%2fx"},
	{"the same, escaped twice", "/admin%252fx", "400", "400", "any /admin%252fx"},
	{"an escaped backslash that hides a route", "/admin%5Cx", "400", "400", "any /admin%5Cx"},
	{"an escaped slash at the beginning", "/%2Fadmin/x", "400", "400", "any /%2Fadmin/x"},
	{"a parameter that hides a route", "/admin;a=b/x", "400", "400", "any /admin;a=b/x"},
	{"a parameter", "/files/a;v=1", "files /files/a;v=1", "files /files/a;v=1", "files /files/a;v=1"},
	{"an escaped slash in an id", "/files/a%2Fb", "files /files/a%2Fb", "400", "files /files/a%2Fb"},
	{"an escaped slash for an expression", "/id/a%2Fb/edit", "id /id/a%2Fb/edit", "400", "id /id/a%2Fb/edit"},
	{"an escaped NUL", "/files/a%00b", "400", "400", "files /files/a%00b"},
	{"half an escape", "/files/100%", "400", "400", "files /files/100%"},
	{"an escape outside ASCII", "/files/%c3%a9", "files /files/%C3%A9", "files /files/%C3%A9", "files /files/%c3%a9"},
	{"a query is nobody's path", "/files/a?b=/../%2e%00//", "files /files/a?b=/../%2e%00//", "files /files/a?b=/../%2e%00//", "files /files/a?b=/../%2e%00//"},
	{"a rewrite", "/static/x", "static /site/x", "static /site/x", "static /site/x"},
	{"dots that a rewrite would join", "/static../x", "400", "400", "static /site/../x"},
	{"dots that a rewrite does not join", "/static/a..", "static /site/a..", "static /site/a..", "static /site/a.."},
	{"absolute form", "http://a.test/files/../admin/x", "403", "400", "files /files/../admin/x"},
}

// TestPathPolicies: what is routed is what is forwarded, no way of writing a path
// gets around the route for it, and Explain reads paths in the same way.
func TestPathPolicies(t *testing.T) {
	backend, _ := harness.Scripted(t, func(m *harness.Message) string {
		target, _, _ := strings.Cut(strings.TrimPrefix(m.First, "GET "), " HTTP/")
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: %s\r\n\r\n", target)
	})
	for _, policy := range []string{"normalize", "reject", "pass"} {
		t.Run(policy, func(t *testing.T) {
			s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
admin: {address: "ADMIN"}
paths: %s
routes:
  - {name: any, match: {path: /*}, pool: web, response_headers: {set: {X-Route: any}}}
  - {name: files, match: {path: /files/*}, pool: web, response_headers: {set: {X-Route: files}}}
  - {name: id, match: {path: "~^/id/[^/]+/edit$"}, pool: web, response_headers: {set: {X-Route: id}}}
  - {name: static, match: {path: "~^/static"}, pool: web, rewrite: {regex: {from: "^/static/?(.*)$", to: "/site/$1"}}, response_headers: {set: {X-Route: static}}}
  - {name: admin, match: {path: /admin/*}, respond: {status: 403}}
  - {name: deep, match: {path: /v2/admin/*}, respond: {status: 403}}
pools: {web: {backends: [%q]}}
`, policy, backend))
			for _, c := range pathCases {
				want := map[string]string{"normalize": c.normalize, "reject": c.reject, "pass": c.pass}[policy]
				t.Run(c.name, func(t *testing.T) {
					if got := sendPath(t, s, c.path); got != want {
						t.Errorf("%s: %s, want %s", c.path, got, want)
					}
					if got := explainPath(t, s, c.path); got != want {
						t.Errorf("%s is explained as %s, want %s", c.path, got, want)
					}
				})
			}
		})
	}
}

// TestPathsAreReadAnewAfterAReload: a connection that is open goes by the policy in
// force, and the change is told.
func TestPathsAreReadAnewAfterAReload(t *testing.T) {
	rec, backend := newRecorder(t)
	yaml := fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
admin: {address: "ADMIN"}
paths: POLICY
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q]}}
`, backend)
	with := func(policy string) string { return strings.Replace(yaml, "POLICY", policy, 1) }
	s := harness.Start(t, with("normalize"))
	c := harness.Dial(t, s.Address)
	for i, want := range []string{"GET /a/../%62", "GET /b"} {
		policy, change := "pass", "paths normalize -> pass"
		if i == 1 {
			policy, change = "normalize", "paths pass -> normalize"
		}
		if g := s.Reload(t, with(policy)); strings.Join(g.Changes, "\n") != change {
			t.Errorf("the reload tells %q", g.Changes)
		}
		if m := c.Exchange(t, "GET /a/../%62 HTTP/1.1\r\nHost: a.test\r\n\r\n"); string(m.Body) != want {
			t.Errorf("%s: the backend got %s", policy, m.Body)
		}
	}
	rec.take(t)
}

// sendPath says what becomes of a request for a path.
func sendPath(t *testing.T, s *harness.Steelyard, path string) string {
	t.Helper()
	c := harness.Dial(t, s.Address)
	defer c.Close()
	m := c.Exchange(t, "GET "+path+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if m.Status() != 200 {
		return fmt.Sprint(m.Status())
	}
	return m.Value("X-Route") + " " + m.Value("X-Got")
}

// explainPath says the same by the admin API.
func explainPath(t *testing.T, s *harness.Steelyard, path string) string {
	t.Helper()
	question, err := json.Marshal(map[string]string{"host": "a.test", "path": path})
	if err != nil {
		t.Fatal(err)
	}
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	status, text, err := harness.Do(&c, "POST", "http://"+s.Admin+"/api/v1/explain", string(question), "Content-Type: application/json")
	if err != nil || status != 200 {
		t.Fatalf("explain: %d %s %v", status, text, err)
	}
	var a struct {
		Route, Sends string
		Status       int
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if a.Status != 0 {
		return fmt.Sprint(a.Status)
	}
	target, _, _ := strings.Cut(strings.TrimPrefix(a.Sends, "GET "), " HTTP/")
	return a.Route + " " + target
}

// Package routing_test tells what a route does with the requests it takes.
package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// echo answers with the name of its pool, the request line and the headers.
func echo(t *testing.T, pool string) (address string) {
	t.Helper()
	address, _ = harness.Scripted(t, func(m *harness.Message) string {
		body := pool + "\n" + m.First + "\n" + strings.Join(m.Fields, "\n")
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Powered-By: tests\r\nX-From: %s\r\n\r\n%s", len(body), pool, body)
	})
	return address
}

func TestTheMostSpecificRouteTakesTheRequest(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: any}
  - {match: {path: /api/*}, pool: prefix}
  - {match: {path: /api/health}, pool: exact}
  - {match: {path: "~^/u/[0-9]+$"}, pool: regex}
  - {match: {host: api.test}, pool: host}
  - {match: {host: "*.api.test"}, pool: wildcard}
  - {match: {path: /api/*, method: POST}, pool: method}
  - {match: {path: /api/*, headers: {X-Beta: "1"}}, pool: header}
  - {match: {path: /api/*, query: {debug: "*"}}, pool: query}
pools:
  any: {backends: [%s]}
  prefix: {backends: [%s]}
  exact: {backends: [%s]}
  regex: {backends: [%s]}
  host: {backends: [%s]}
  wildcard: {backends: [%s]}
  method: {backends: [%s]}
  header: {backends: [%s]}
  query: {backends: [%s]}
`, echo(t, "any"), echo(t, "prefix"), echo(t, "exact"), echo(t, "regex"), echo(t, "host"), echo(t, "wildcard"),
		echo(t, "method"), echo(t, "header"), echo(t, "query")))
	c := harness.Dial(t, s.Address)
	for _, e := range []struct{ request, host, field, want string }{
		{"GET /", "app.test", "", "any"},
		{"GET /apix", "app.test", "", "any"},
		{"GET /api", "app.test", "", "prefix"},
		{"GET /api/x/y?q", "app.test", "", "prefix"},
		{"GET /api/health", "app.test", "", "exact"},
		{"GET /api/health?x", "app.test", "", "exact"},
		{"GET /u/12", "app.test", "", "regex"},
		{"GET /u/x", "app.test", "", "any"},
		{"GET /", "API.test:8080", "", "host"},
		{"GET /", "v2.api.test", "", "wildcard"},
		{"GET /", "a.v2.api.test", "", "wildcard"},
		{"POST /api/x", "app.test", "", "method"},
		{"GET /api/x", "app.test", "x-beta: 1\r\n", "header"},
		{"GET /api/x", "app.test", "X-Beta: 2\r\n", "prefix"},
		{"GET /api/x?debug=yes", "app.test", "", "query"},
	} {
		m := c.Exchange(t, e.request+" HTTP/1.1\r\nHost: "+e.host+"\r\nContent-Length: 0\r\n"+e.field+"\r\n")
		if got := m.Value("X-From"); got != e.want {
			t.Errorf("%s on %s with %q went to %q; want %q", e.request, e.host, e.field, got, e.want)
		}
	}
}

func TestNoRouteIsA404ThatSaysSo(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {host: app.test}, pool: web}
pools:
  web: {backends: [%s]}
`, echo(t, "web")))
	c := harness.Dial(t, s.Address)
	for range 2 { // The connection stays usable, body or not.
		m := c.Exchange(t, "POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 4\r\n\r\nbody")
		if m.Status() != 404 || m.Value("X-Steelyard-Cause") != "no_route" || m.Value("X-Request-Id") == "" {
			t.Errorf("got %s %q; want 404 no_route with a request id", m.First, m.Fields)
		}
	}
}

func TestRedirectsAndFixedResponses(t *testing.T) {
	s := harness.Start(t, `
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /old/*}, redirect: {to: "https://{host}{path}"}}
  - {match: {path: /moved}, redirect: {to: /new, status: 301}}
  - {match: {path: /robots.txt}, respond: {body: "User-agent: *\n", headers: {Content-Type: text/plain}}}
  - {match: {path: /gone}, respond: {status: 410}}
`)
	c := harness.Dial(t, s.Address)
	ask := func(request string) *harness.Message {
		return c.Exchange(t, request+" HTTP/1.1\r\nHost: app.test\r\n\r\n")
	}
	if m := ask("GET /old/a/b"); m.Status() != 308 || m.Value("Location") != "https://app.test/old/a/b" {
		t.Errorf("got %s %q", m.First, m.Fields)
	}
	if m := ask("GET /moved"); m.Status() != 301 || m.Value("Location") != "/new" {
		t.Errorf("got %s %q", m.First, m.Fields)
	}
	if m := ask("GET /robots.txt"); m.Status() != 200 || string(m.Body) != "User-agent: *\n" || m.Value("Content-Type") != "text/plain" {
		t.Errorf("got %s %q %q", m.First, m.Fields, m.Body)
	}
	if m := ask("HEAD /robots.txt"); m.Status() != 200 || m.Value("Content-Length") != "14" {
		t.Errorf("HEAD got %s %q", m.First, m.Fields)
	}
	if m := ask("GET /gone"); m.Status() != 410 || m.Value("X-Steelyard-Cause") != "" {
		t.Errorf("got %s %q; want a plain 410, which is no error of ours", m.First, m.Fields)
	}
}

func TestRewritesAndHeaderOperations(t *testing.T) {
	backend := echo(t, "web")
	s := harness.Start(t, strings.ReplaceAll(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /strip/*}, pool: web, rewrite: {strip_prefix: /strip}}
  - {match: {path: /v1/*}, pool: web, rewrite: {replace_prefix: {from: /v1, to: /api/one}}}
  - {match: {path: /users/*}, pool: web, rewrite: {regex: {from: "^/users/([0-9]+)$", to: "/u/$1/profile"}}}
  - {match: {path: /host}, pool: web, host: backend}
  - {match: {path: /fixed}, pool: web, host: inner.test}
  - match: {path: /*}
    name: everything
    pool: web
    request_headers:
      remove: [X-Secret]
      set: {X-Client: "{client_ip}", X-Where: "{route}/{pool}"}
      add: {X-Tag: steel}
    response_headers:
      remove: [x-powered-by]
      set: {X-Frame-Options: DENY, X-Served-By: "{backend}"}
pools:
  web: {backends: [BACKEND]}
`, "BACKEND", backend))
	c := harness.Dial(t, s.Address)
	ask := func(path, fields string) (*harness.Message, []string) {
		m := c.Exchange(t, "GET "+path+" HTTP/1.1\r\nHost: app.test\r\n"+fields+"\r\n")
		return m, strings.Split(string(m.Body), "\n")
	}
	for path, want := range map[string]string{
		"/strip/a?q=1": "GET /a?q=1 HTTP/1.1",
		"/strip":       "GET / HTTP/1.1",
		"/v1/a%20b?q":  "GET /api/one/a%20b?q HTTP/1.1",
		"/users/12?q":  "GET /u/12/profile?q HTTP/1.1",
		"/users/x":     "GET /users/x HTTP/1.1",
		"/plain?q":     "GET /plain?q HTTP/1.1",
	} {
		if _, seen := ask(path, ""); len(seen) < 2 || seen[1] != want {
			t.Errorf("%s arrived as %q; want %q", path, seen, want)
		}
	}
	for path, want := range map[string]string{"/plain": "app.test", "/host": backend, "/fixed": "inner.test"} {
		if _, seen := ask(path, ""); !contains(seen, "Host: "+want) {
			t.Errorf("%s arrived with %q; want the host %s", path, seen, want)
		}
	}
	m, seen := ask("/headers", "X-Secret: 1\r\nX-Client: forged\r\nX-Tag: mine\r\n")
	for _, want := range []string{"X-Client: 127.0.0.1", "X-Where: everything/web", "X-Tag: mine", "X-Tag: steel"} {
		if !contains(seen, want) {
			t.Errorf("the backend did not get %q but %q", want, seen)
		}
	}
	for _, unwanted := range []string{"X-Secret: 1", "X-Client: forged"} {
		if contains(seen, unwanted) {
			t.Errorf("the backend got %q", unwanted)
		}
	}
	if m.Value("X-Frame-Options") != "DENY" || m.Value("X-Powered-By") != "" || m.Value("X-Served-By") != backend {
		t.Errorf("the client got %q", m.Fields)
	}
}

func contains(lines []string, want string) bool {
	for _, line := range lines {
		if line == want {
			return true
		}
	}
	return false
}

func TestABackendThatSpeaksNoHTTPIsABadResponse(t *testing.T) {
	backend, _ := harness.Scripted(t, func(*harness.Message) string { return "SSH-2.0-OpenSSH_9.2\r\n\r\n" })
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
`, backend))
	m := harness.Dial(t, s.Address).Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
	if m.Status() != 502 || m.Value("X-Steelyard-Cause") != "bad_response" {
		t.Errorf("got %s %q; want 502 bad_response", m.First, m.Fields)
	}
}

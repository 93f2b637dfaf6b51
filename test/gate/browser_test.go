package gate_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"steelyard/test/harness"
)

// patience bounds the wait for what should happen soon.
const patience = 15 * time.Second

// sloppy is an app with CORS headers of its own, which are not meant for anybody.
func sloppy(t *testing.T, fields ...string) string {
	t.Helper()
	address, _ := harness.Scripted(t, func(m *harness.Message) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: https://app.test\r\nServer: tests\r\nX-Powered-By: tests\r\nVary: Accept\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\nok"
	})
	return address
}

// cross is what an answer tells of other origins.
func cross(m *harness.Message) string {
	var lines []string
	for _, f := range m.Fields {
		if strings.HasPrefix(f, "Access-Control-") || strings.HasPrefix(f, "Vary") {
			lines = append(lines, strings.TrimPrefix(f, "Access-Control-"))
		}
	}
	return strings.Join(lines, "; ")
}

func TestCORS(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /some}, pool: web, rate_limit: 1000/s, cors: {origins: [https://shop.test, "https://*.shop.test", "null"], methods: [PUT], headers: [X-A], expose: [X-Total], credentials: true, max_age: 1m}}
  - {match: {path: /any}, pool: web, cors: "*"}
  - {match: {path: /fixed}, respond: 200, cors: https://shop.test}
  - {match: {path: /down}, pool: down, cors: https://shop.test}
  - {match: {path: /none}, pool: web}
pools: {web: {backends: [%s]}, down: {backends: [%s]}}
`, sloppy(t), harness.FreeAddress(t)))
	c := harness.Dial(t, s.Address)
	const named = "Vary: Accept; Vary: Origin"
	for _, e := range []struct{ method, path, fields, said, want string }{
		{"GET", "/some", "Origin: https://shop.test", "200", named + "; Allow-Origin: https://shop.test; Allow-Credentials: true; Expose-Headers: X-Total"},
		{"GET", "/some", "Origin: https://a.b.shop.test", "200", named + "; Allow-Origin: https://a.b.shop.test; Allow-Credentials: true; Expose-Headers: X-Total"},
		{"GET", "/some", "Origin: null", "200", named + "; Allow-Origin: null; Allow-Credentials: true; Expose-Headers: X-Total"},
		{"GET", "/some", "Origin: https://app.test", "200", named}, // the app allows it, the route does not
		{"GET", "/some", "X: y", "200", named},
		{"OPTIONS", "/some", "X: y", "200", named}, // no preflight: for the app
		{"OPTIONS", "/some", "Origin: https://shop.test", "200", named + "; Allow-Origin: https://shop.test; Allow-Credentials: true; Expose-Headers: X-Total"},
		{"OPTIONS", "/some", "Origin: https://shop.test\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a", "204",
			"Allow-Origin: https://shop.test; Allow-Credentials: true; Allow-Methods: PUT; Allow-Headers: X-A; Max-Age: 60; Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
		{"OPTIONS", "/some", "Origin: https://evil.test\r\nAccess-Control-Request-Method: PUT", "403 cors_refused", "Vary: Accept; Vary: Origin"},
		{"OPTIONS", "/some", "Origin: https://shop.test\r\nAccess-Control-Request-Method: DELETE", "403 cors_refused", "Vary: Accept; Vary: Origin; Allow-Origin: https://shop.test; Allow-Credentials: true; Expose-Headers: X-Total"},
		{"OPTIONS", "/some", "Origin: https://shop.test\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, x-b", "403 cors_refused", "Vary: Accept; Vary: Origin; Allow-Origin: https://shop.test; Allow-Credentials: true; Expose-Headers: X-Total"},
		{"GET", "/any", "Origin: https://who.test", "200", "Vary: Accept; Allow-Origin: *"},
		{"OPTIONS", "/any", "Origin: https://who.test\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization,x-z", "204",
			"Allow-Origin: *; Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE; Max-Age: 600; Allow-Headers: authorization,x-z; Vary: Access-Control-Request-Method, Access-Control-Request-Headers"},
		{"GET", "/fixed", "Origin: https://shop.test", "200", "Vary: Origin; Allow-Origin: https://shop.test"},
		{"GET", "/down", "Origin: https://shop.test", "502 connect_refused", "Vary: Accept; Vary: Origin; Allow-Origin: https://shop.test"},
		{"GET", "/none", "Origin: https://x.test", "200", "Allow-Origin: https://app.test; Vary: Accept"}, // the app's own
	} {
		m := c.Exchange(t, e.method+" "+e.path+" HTTP/1.1\r\nHost: a\r\n"+e.fields+"\r\n\r\n")
		if said(m) != e.said || cross(m) != e.want {
			t.Errorf("%s %s with %q: %s\n got %s\nwant %s", e.method, e.path, e.fields, said(m), cross(m), e.want)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /default}, pool: plain, security_headers: true}
  - {match: {path: /keep}, pool: own, security_headers: true}
  - {match: {path: /override}, pool: own, security_headers: {override: true, no_sniff: false, frames: none, referrer: no-referrer, policy: "default-src 'self'", hide_server: true}}
  - {match: {path: /set}, pool: plain, security_headers: true, response_headers: {set: {X-Frame-Options: ALLOWALL}, remove: [Referrer-Policy]}}
  - {match: {path: /fixed}, respond: {status: 200, headers: {X-Content-Type-Options: mine}}, security_headers: true}
  - {match: {path: /refused}, respond: 200, deny: 127.0.0.0/8, security_headers: true}
pools: {plain: {backends: [%s]}, own: {backends: [%s]}}
`, sloppy(t), sloppy(t, "X-Frame-Options: DENY", "Referrer-Policy: origin", "Content-Security-Policy: script-src 'none'")))
	c := harness.Dial(t, s.Address)
	for _, e := range []struct{ path, want string }{
		{"/default", "Server: tests; X-Powered-By: tests; X-Content-Type-Options: nosniff; X-Frame-Options: SAMEORIGIN; Content-Security-Policy: frame-ancestors 'self'; Referrer-Policy: strict-origin-when-cross-origin"},
		{"/keep", "Server: tests; X-Powered-By: tests; X-Frame-Options: DENY; Referrer-Policy: origin; Content-Security-Policy: script-src 'none'; X-Content-Type-Options: nosniff"},
		{"/override", "X-Frame-Options: DENY; Content-Security-Policy: default-src 'self'; frame-ancestors 'none'; Referrer-Policy: no-referrer"},
		{"/set", "Server: tests; X-Powered-By: tests; X-Frame-Options: ALLOWALL; X-Content-Type-Options: nosniff"},
		{"/fixed", "X-Content-Type-Options: mine; X-Frame-Options: SAMEORIGIN; Content-Security-Policy: frame-ancestors 'self'; Referrer-Policy: strict-origin-when-cross-origin"},
		{"/refused", "X-Content-Type-Options: nosniff; X-Frame-Options: SAMEORIGIN; Content-Security-Policy: frame-ancestors 'self'; Referrer-Policy: strict-origin-when-cross-origin"},
	} {
		m := c.Exchange(t, "GET "+e.path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		got := strings.Join(m.Without("Content-Length", "Access-Control-Allow-Origin", "Vary", "Date", "X-Request-Id", "X-Steelyard-Cause", "Content-Type", "Cache-Control"), "; ")
		if got != e.want {
			t.Errorf("%s:\n got %s\nwant %s", e.path, got, e.want)
		}
	}
}

// TestCORSInABrowser lets a page of one origin use another, which needs a
// preflight, and one that is not allowed.
func TestCORSInABrowser(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "A")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {host: 127.0.0.1}, respond: {body: "<!doctype html><title>page</title>", headers: {Content-Type: text/html}}}
  - {match: {host: localhost, path: /echo}, pool: web, rate_limit: 100/s, cors: {origins: "http://LISTEN", methods: [PUT], headers: [X-Token], expose: [RateLimit], credentials: true}}
  - {match: {host: localhost, path: /status}, pool: web, cors: https://other.test}
pools: {web: {backends: [%s]}}
`, app.Address))
	_, port, _ := net.SplitHostPort(s.Address)
	page := open(t, s.URL+"/")
	for _, e := range []struct{ name, script, want string }{
		{"with a preflight", `fetch('http://localhost:PORT/echo', {method: 'PUT', credentials: 'include', headers: {'X-Token': 't'}, body: 'body'}).then(async (r) => {
			const e = await r.json(); return [r.status, e.method, e.body, e.headers.includes('t'), r.headers.get('RateLimit').startsWith('"client_ip";r=')].join(' ') })`, "200 PUT body true true"},
		{"a header that is not allowed", `fetch('http://localhost:PORT/echo', {method: 'PUT', headers: {'X-Other': 't'}}).then(() => 'allowed', (e) => e.name)`, "TypeError"},
		{"a method that is not allowed", `fetch('http://localhost:PORT/echo', {method: 'DELETE'}).then(() => 'allowed', (e) => e.name)`, "TypeError"},
		{"an origin that is not allowed", `fetch('http://localhost:PORT/status?code=200').then(() => 'allowed', (e) => e.name)`, "TypeError"},
	} {
		if got := page(strings.ReplaceAll(e.script, "PORT", port)); got != e.want {
			t.Errorf("%s: %q, want %q", e.name, got, e.want)
		}
	}
}

// open opens a page in a chromium; what it returns runs a script there that
// promises a text.
func open(t *testing.T, url string) func(script string) string {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("CORS is tried in Debian's chromium; run: tools/need chromium")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(binary), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)                        // ends this chromium and waits for it
	if err := chromedp.Do(ctx); err != nil { // it lives as long as the context it was started with
		t.Fatal(err)
	}
	in, done := context.WithTimeout(ctx, 2*patience)
	defer done()
	if err := chromedp.Do(in, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return func(script string) string {
		t.Helper()
		in, done := context.WithTimeout(ctx, patience)
		defer done()
		v, err := chromedp.Run(in, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return v
	}
}

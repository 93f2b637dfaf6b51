package tls_test

import (
	"fmt"
	"strings"
	"testing"

	"steelyard/test/harness"
)

func TestPlainRequestsAreSentToHTTPS(t *testing.T) {
	app := harness.App(t, "a")
	start := func(to string) *harness.Steelyard {
		return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN", redirect_to_https: %s}}
routes:
  - {match: {path: /*}, pool: web}
  - {match: {host: acme.test, path: /.well-known/acme-challenge/*}, pool: web}
pools: {web: {backends: [%s]}}
`, to, app.Address))
	}
	s, other := start("true"), start("8443")
	for _, c := range []struct {
		name    string
		s       *harness.Steelyard
		request string
		status  int
		want    string // Location
	}{
		{"a path and a query", s, "GET /a/b?c=d%20e HTTP/1.1\r\nHost: shop.test\r\n\r\n", 308, "https://shop.test/a/b?c=d%20e"},
		{"a port is left out", s, "GET / HTTP/1.1\r\nHost: shop.test:8080\r\n\r\n", 308, "https://shop.test/"},
		{"another port", other, "GET /a HTTP/1.1\r\nHost: shop.test:8080\r\n\r\n", 308, "https://shop.test:8443/a"},
		{"IPv6", other, "GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 308, "https://[::1]:8443/a"},
		{"IPv6 without a port", s, "GET /a HTTP/1.1\r\nHost: [::1]\r\n\r\n", 308, "https://[::1]/a"},
		{"a body", s, "POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nhi", 308, "https://shop.test/a"},
		{"absolute form", s, "GET http://shop.test/x?y HTTP/1.1\r\nHost: shop.test\r\n\r\n", 308, "https://shop.test/x?y"},
		{"all of the server", s, "OPTIONS * HTTP/1.1\r\nHost: shop.test\r\n\r\n", 308, "https://shop.test/"},
		{"no host", s, "GET / HTTP/1.0\r\n\r\n", 400, ""},
		{"a path that looks like a host", s, "GET //evil.test/a HTTP/1.1\r\nHost: shop.test\r\n\r\n", 308, "https://shop.test/evil.test/a"},
		{"a challenge that a route names", s, "GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: acme.test\r\n\r\n", 200, ""},
		{"another path of that host", s, "GET /.well-known/x HTTP/1.1\r\nHost: acme.test\r\n\r\n", 308, "https://acme.test/.well-known/x"},
		{"a challenge that no route names", s, "GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: shop.test\r\n\r\n", 308, "https://shop.test/.well-known/acme-challenge/tok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := harness.Dial(t, c.s.Address).Exchange(t, c.request)
			if m.Status() != c.status || m.Value("Location") != c.want || m.Value("Strict-Transport-Security") != "" {
				t.Errorf("%s %q, want %d to %q", m.First, m.Fields, c.status, c.want)
			}
		})
	}
	t.Run("on one connection", func(t *testing.T) {
		c := harness.Dial(t, s.Address)
		for range 3 {
			if m := c.Exchange(t, "POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nhi"); m.Status() != 308 {
				t.Fatal(m.First)
			}
		}
	})
}

func TestBrowsersAreToldToStayWithTLS(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	backend, _ := harness.Scripted(t, func(m *harness.Message) string {
		return "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n"
	})
	plain := harness.FreeAddress(t)
	file := func(hsts string) string {
		return fmt.Sprintf(`
listeners:
  web: {address: "LISTEN", tls: {certificates: {%s}}, hsts: %s}
  plain: {address: %q}
admin: {address: "ADMIN"}
routes:
  - {match: {path: /app}, pool: web}
  - {match: {path: /own}, pool: web, response_headers: {set: {Strict-Transport-Security: max-age=7}}}
  - {match: {path: /fixed}, respond: {status: 200, headers: {strict-transport-security: max-age=9}}}
  - {match: {path: /moved}, redirect: {to: "https://app.test/"}}
pools: {web: {backends: [%s]}}
`, l.files("a"), hsts, plain, backend)
	}
	s := harness.Start(t, file("true"))
	const year = "max-age=31536000"
	secure, open := dial(t, s, l.trust("app.test")), harness.Dial(t, plain)
	for path, want := range map[string][2]string{ // over TLS, and without
		"/app": {year, "max-age=1"}, "/own": {"max-age=7", "max-age=7"}, "/fixed": {year, "max-age=9"}, "/moved": {year, ""}, "/nowhere": {year, ""},
	} {
		request := "GET " + path + " HTTP/1.1\r\nHost: app.test\r\n\r\n"
		for i, c := range []*harness.Conn{secure, open} {
			if got := strings.Join(c.Exchange(t, request).Values("Strict-Transport-Security"), "|"); got != want[i] {
				t.Errorf("%s (%d): %q, want %q", path, i, got, want[i])
			}
		}
	}
	for hsts, want := range map[string]string{
		"{max_age: 730d, include_subdomains: true, preload: true}": "max-age=63072000; includeSubDomains; preload",
		"{max_age: 0}": "max-age=0",
		"false":        "max-age=1", // the backend's
	} {
		if g := s.Reload(t, file(hsts)); !g.LastOK {
			t.Fatal(g.Errors)
		}
		if got := dial(t, s, l.trust("app.test")).Exchange(t, "GET /app HTTP/1.1\r\nHost: app.test\r\n\r\n").Value("Strict-Transport-Security"); got != want {
			t.Errorf("hsts: %s: %q, want %q", hsts, got, want)
		}
	}
}

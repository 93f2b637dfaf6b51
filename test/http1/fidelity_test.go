// Package http1_test tells what of a message reaches the other side: all of it,
// byte for byte, and nothing else.
package http1_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

// ours are the request headers that Steelyard adds by default.
var ours = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id"}

// front starts steelyard with the default settings in front of one backend.
func front(t *testing.T, backend string) *harness.Steelyard {
	t.Helper()
	return configured(t, "", "", backend)
}

// configured adds top-level settings and settings of the pool.
func configured(t *testing.T, top, pool, backend string) *harness.Steelyard {
	t.Helper()
	return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
%s
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends: [%q]
    %s
`, top, backend, pool))
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// only fails unless the backend has seen exactly one request, and returns it.
func only(t *testing.T, requests func() []*harness.Message) *harness.Message {
	t.Helper()
	seen := requests()
	if len(seen) != 1 {
		t.Fatalf("the backend saw %d requests", len(seen))
	}
	return seen[0]
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestRequestHeadersPassUnchanged(t *testing.T) {
	backend, requests := harness.Scripted(t, func(*harness.Message) string { return ok })
	s := front(t, backend)
	fields := []string{
		"hOsT: App.Test:8080",
		"x-lower: a",
		"X-UPPER: B",
		"x-MiXeD-cAsE: c",
		"X-Repeated: one",
		"Accept: */*",
		"x-repeated: two",
		"X-Repeated: one",
		"X-Empty:",
		"X-Spaces: a  b   c",
		"X-Quoted: \"a, b\"; q=0.5,,",
		"Cookie: b=2; a=1;c = 3; =x; \"q\"",
		"X-Latin: caf\xe9",
		"X_underscore: 1",
		"Accept-Encoding: br;q=0.1, gzip",
		"If-None-Match: W/\"x\"",
		"Range: bytes=0-1",
		"User-Agent: ",
	}
	c := harness.Dial(t, s.Address)
	c.Exchange(t, "GET /a%2Fb/c//d;x=1?q=%20+&&=%zz HTTP/1.1\r\n"+strings.Join(fields, "\r\n")+"\r\n\r\n")
	m := only(t, requests)
	if want := "GET /a%2Fb/c//d;x=1?q=%20+&&=%zz HTTP/1.1"; m.First != want {
		t.Errorf("request line %q; want %q", m.First, want)
	}
	// White space around a value is not part of it (RFC 9110, section 5.5).
	trimmed := func(lines []string) (out []string) {
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ":")
			out = append(out, name+": "+strings.TrimSpace(value))
		}
		return out
	}
	equal(t, "header lines", trimmed(m.Without(ours...)), trimmed(fields))
}

func TestResponseHeadersPassUnchanged(t *testing.T) {
	fields := []string{
		"x-lower: a",
		"Set-Cookie: a=1; Path=/; HttpOnly",
		"set-cookie: b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
		"X-Repeated: one",
		"ETag: W/\"x\"",
		"x-repeated: two",
		"Set-Cookie: a=1; Path=/; HttpOnly",
		"Content-Length: 2",
		"WWW-Authenticate: Basic realm=\"x\", Digest qop=\"auth\"",
		"X-Empty: ",
		"Content-Encoding: br",
	}
	for _, status := range []string{"200 OK", "404 Nothing Here", "500 Internal Server Error", "299 "} {
		backend, _ := harness.Scripted(t, func(*harness.Message) string {
			return "HTTP/1.1 " + status + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\nok"
		})
		s := front(t, backend)
		m := harness.Dial(t, s.Address).Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
		if got := strings.TrimSpace(m.First); got != strings.TrimSpace("HTTP/1.1 "+status) {
			t.Errorf("status line %q; want %q", m.First, status)
		}
		var got, want []string
		for _, line := range m.Fields {
			got = append(got, strings.TrimSpace(line))
		}
		for _, line := range fields {
			want = append(want, strings.TrimSpace(line))
		}
		// No Date, no Server, no Content-Type that the backend did not send.
		equal(t, "header lines of "+status, got, want)
	}
}

func TestHopByHopHeadersStayOnTheirHop(t *testing.T) {
	backend, requests := harness.Scripted(t, func(*harness.Message) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Private , keep-alive\r\nKeep-Alive: timeout=9\r\n" +
			"X-Private: 1\r\nProxy-Authenticate: Basic\r\nX-Public: 1\r\n\r\nok"
	})
	s := front(t, backend)
	c := harness.Dial(t, s.Address)
	m := c.Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive, x-secret\r\nConnection: X-Other\r\nKeep-Alive: 300\r\n"+
		"X-Secret: 1\r\nx-other: 2\r\nTE: gzip\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Public: 1\r\n\r\n")
	equal(t, "the backend's header lines", only(t, requests).Without(ours...), []string{"Host: app.test", "X-Public: 1"})
	for _, name := range []string{"X-Private", "Keep-Alive"} {
		if v := m.Values(name); len(v) != 0 {
			t.Errorf("the client got %s: %q", name, v)
		}
	}
	if m.Value("X-Public") != "1" {
		t.Errorf("the client did not get X-Public: %q", m.Fields)
	}
}

func TestForwardingHeadersSayWhoAsked(t *testing.T) {
	forged := "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Request-Id: forged\r\nForwarded: for=6.6.6.6\r\n"
	for _, c := range []struct {
		name, top string
		want      map[string]string // "*" for any value
	}{
		{"by default what a client says of itself is replaced", "", map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "app.test", "X-Request-Id": "*",
		}},
		{"a trusted proxy is believed and added to", "trusted_proxies: [127.0.0.0/8]", map[string]string{
			"X-Forwarded-For": "6.6.6.6, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test",
			"X-Request-Id": "forged", "Forwarded": "for=6.6.6.6",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			backend, requests := harness.Scripted(t, func(*harness.Message) string { return ok })
			s := configured(t, c.top, "", backend)
			harness.Dial(t, s.Address).Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\n"+forged+"\r\n")
			m := only(t, requests)
			for _, name := range append(ours, "Forwarded") {
				got, want := strings.Join(m.Values(name), ", "), c.want[name]
				if want == "*" && got != "" && got != "forged" {
					continue
				}
				if got != want {
					t.Errorf("%s: %q; want %q", name, got, want)
				}
			}
		})
	}
	t.Run("each request has an id of its own, on both sides of an error", func(t *testing.T) {
		backend, requests := harness.Scripted(t, func(*harness.Message) string { return ok })
		s := front(t, backend)
		c := harness.Dial(t, s.Address)
		for range 3 {
			c.Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
		}
		ids := map[string]bool{}
		for _, m := range requests() {
			ids[m.Value("X-Request-Id")] = true
		}
		if len(ids) != 3 || ids[""] {
			t.Errorf("three requests had the ids %v", ids)
		}
	})
}

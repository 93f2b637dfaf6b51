package tls_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"steelyard/test/harness"
)

func TestTheCertificateIsChosenByHost(t *testing.T) {
	l := newLab(t)
	first := l.issue("first", "ecdsa", []string{"first.test"})
	rsa := l.issue("rsa", "rsa", []string{"shop.test"})
	ecdsa := l.issue("ecdsa", "ecdsa", []string{"shop.test", "*.shop.test"})
	exact := l.issue("exact", "rsa", []string{"api.shop.test", "other.test"})
	app := harness.App(t, "a")
	s := l.front(fmt.Sprintf("tls: {certificates: [{%s}, {%s}, {%s}, {%s, hosts: api.shop.test}]}",
		l.files("first"), l.files("rsa"), l.files("ecdsa"), l.files("exact")), "", app.Address)
	old := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}}
	for _, c := range []struct {
		name, host string
		conf       *tls.Config
		want       string
	}{
		{"an exact name", "first.test", nil, serialOf(first)},
		{"no name", "", nil, serialOf(first)},
		{"a name that none has", "elsewhere.test", nil, serialOf(first)},
		{"two kinds of keys", "shop.test", nil, serialOf(ecdsa)},
		{"two kinds of keys, a client that knows RSA alone", "shop.test", old, serialOf(rsa)},
		{"a pattern", "www.shop.test", nil, serialOf(ecdsa)},
		{"an exact name before the pattern", "api.shop.test", nil, serialOf(exact)},
		{"a name that hosts has left out", "other.test", nil, serialOf(first)},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := &tls.Config{}
			if c.conf != nil {
				conf = c.conf.Clone()
			}
			conf.ServerName, conf.InsecureSkipVerify = c.host, true
			if got := serial(t, s, conf); got != c.want {
				t.Errorf("got another certificate: %s, want %s", got, c.want)
			}
		})
	}
}

func TestBackendsHearThatItWasHTTPS(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), `
forwarded: {standard: true}
routes:
  - pool: web
    request_headers: {set: {x-scheme: "{scheme}", x-tls: "{tls_version} {tls_sni}", x-verified: "{tls_client_verified}"}}
`, app.Address)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := l.trust("app.test")
		conf.MaxVersion, conf.NextProtos = version, []string{"h2", "http/1.1"}
		c := dial(t, s, conf)
		if got := state(c); got.Version != version || got.NegotiatedProtocol != "http/1.1" {
			t.Errorf("speaks %s, %q", tls.VersionName(got.Version), got.NegotiatedProtocol)
		}
		for range 3 { // on one connection
			m := c.Exchange(t, "POST /echo HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-Proto: http\r\nX-TLS: faked\r\nX_TLS: faked\r\nContent-Length: 5\r\n\r\nhello")
			e := echo(t, m)
			want := map[string]string{
				"X-Forwarded-Proto": "https", "X-Scheme": "https", "X-Verified": "false", "X_TLS": "",
				"X-TLS":     map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[version] + " app.test",
				"Forwarded": `for=127.0.0.1;host="app.test";proto=https`,
			}
			for name, value := range want {
				if e.header(name) != value {
					t.Errorf("%s: the backend got %q, want %q", name, e.header(name), value)
				}
			}
			if e.Body != "hello" || e.Method != "POST" {
				t.Errorf("%+v", e)
			}
		}
	}
}

func TestCookiesAreSecureOverTLS(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	app := harness.App(t, "a")
	plain := harness.FreeAddress(t)
	s := harness.Start(t, fmt.Sprintf(`
listeners:
  web: {address: "LISTEN", tls: {certificates: {%s}}}
  plain: {address: %q}
routes: [{pool: web}]
pools: {web: {backends: [%s], sticky: cookie}}
`, l.files("a"), plain, app.Address))
	if got := dial(t, s, l.trust("app.test")).Exchange(t, get).Value("Set-Cookie"); !strings.Contains(got, "; Secure") {
		t.Errorf("over TLS: %q", got)
	}
	if got := harness.Dial(t, plain).Exchange(t, get).Value("Set-Cookie"); got == "" || strings.Contains(got, "Secure") {
		t.Errorf("without TLS: %q", got)
	}
}

func TestOnlySafeTLSIsSpoken(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "", app.Address)
	strict := l.front(strings.Replace(l.plainTLS(), "tls: {", "tls: {min_version: 1.3, ", 1), "", app.Address)
	for _, c := range []struct {
		name   string
		s      *harness.Steelyard
		change func(*tls.Config)
		reason string
	}{
		{"TLS 1.1", s, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "version"},
		{"TLS 1.2 with min_version 1.3", strict, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "version"},
		{"CBC", s, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
		}, "cipher"},
		{"HTTP/2 alone", s, func(c *tls.Config) { c.NextProtos = []string{"h2"} }, "alpn"},
		{"an unknown CA", s, func(c *tls.Config) { c.RootCAs = newLab(t).ca.Pool() }, "rejected_by_client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := failures(t, c.s, c.reason)
			conf := l.trust("app.test")
			c.change(conf)
			if conn, err := connect(c.s.Address, conf); err == nil {
				conn.Close()
				t.Fatal("accepted")
			}
			harness.Eventually(t, patience, "the failure is counted", func() bool { return failures(t, c.s, c.reason) == before+1 })
			if strings.Contains(c.s.Output(), "level=ERROR") || strings.Contains(c.s.Output(), " ERROR ") {
				t.Errorf("a client's mistake was logged as an error:\n%s", c.s.Output())
			}
		})
	}
	if got := metric(t, s, fmt.Sprintf(`steelyard_listener_tls_handshakes_total{address=%q,listener="web",resumed="false",version="1.3"}`, s.Address)); got < 0 {
		t.Errorf("handshakes: %v", got)
	}
}

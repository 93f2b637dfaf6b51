package tls_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// show makes a client show a certificate, whatever the server asks for.
func show(conf *tls.Config, p *certtest.Pair) *tls.Config {
	conf = conf.Clone()
	pair := p.TLS()
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return conf
}

// talks reports whether a client gets an answer.
func talks(t *testing.T, s *harness.Steelyard, conf *tls.Config) bool {
	t.Helper()
	c, err := connect(s.Address, conf)
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := c.Write([]byte(get)); err != nil {
		return false
	}
	m, err := c.Receive("GET") // with TLS 1.3 a refusal comes here
	return err == nil && m.Status() == 200
}

func TestClientsShowCertificates(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	clients, others := certtest.NewCA(t, "Clients"), certtest.NewCA(t, "Others")
	certtest.Write(t, l.path("clients.pem"), clients.PEM())
	ann, mallory := clients.Issue(t, "ecdsa", []string{"Ann"}), others.Issue(t, "ecdsa", []string{"Ann"})
	app := harness.App(t, "a")
	listener := func(auth string) string {
		return fmt.Sprintf("tls: {certificates: {%s}, client_auth: %s}", l.files("a"), auth)
	}
	for _, c := range []struct {
		name, auth           string
		without, right, with bool // whether who shows none, a right one, one of another CA is let in
	}{
		{"require, in short", l.path("clients.pem"), false, true, false},
		{"require", "{mode: require, ca: " + l.path("clients.pem") + "}", false, true, false},
		{"optional", "{mode: optional, ca: " + l.path("clients.pem") + "}", true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := l.front(listener(c.auth), "", app.Address)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				base := l.trust("app.test")
				base.MaxVersion = version
				if got := talks(t, s, base); got != c.without {
					t.Errorf("%s, no certificate: let in: %v", tls.VersionName(version), got)
				}
				if got := talks(t, s, show(base, ann)); got != c.right {
					t.Errorf("%s, a right one: let in: %v", tls.VersionName(version), got)
				}
				if got := talks(t, s, show(base, mallory)); got != c.with {
					t.Errorf("%s, one of another CA: let in: %v", tls.VersionName(version), got)
				}
			}
			failed(t, s, "bad_client_certificate", 2)
			failed(t, s, "no_client_certificate", map[bool]float64{true: 0, false: 2}[c.without])
		})
	}
}

func TestWhatTheCertificateSaysReachesBackendsAndTheLog(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	certtest.Write(t, l.path("clients.pem"), l.ca.PEM())
	ann := l.ca.Issue(t, "ecdsa", []string{"Ann Other", "ann.test", "ann@example.com", "192.0.2.1", "spiffe://lab/ann"})
	app := harness.App(t, "a")
	log := l.path("access.log")
	s := l.front(fmt.Sprintf("tls: {certificates: {%s}, client_auth: {mode: optional, ca: %s}}", l.files("a"), l.path("clients.pem")), fmt.Sprintf(`
access_log: {to: %s}
routes:
  - pool: web
    request_headers:
      set:
        x-subject: "{tls_client_subject}"
        x-cn: "{tls_client_cn}"
        x-san: "{tls_client_san}"
        x-fingerprint: "{tls_client_fingerprint}"
        x-verified: "{tls_client_verified}"
`, log), app.Address)
	sum := sha256.Sum256(ann.Cert.Raw)
	names := []string{"x-subject", "x-cn", "x-san", "x-fingerprint", "x-verified"}
	const fakes = "X-Subject: CN=root\r\nx-cn: root\r\nX_CN: root\r\nX-San: dns:root\r\nX-Fingerprint: 00\r\nX-Verified: true\r\n"
	for _, c := range []struct {
		name string
		conf *tls.Config
		want []string
	}{
		{"a certificate", show(l.trust("app.test"), ann), []string{"CN=Ann Other", "Ann Other",
			"dns:ann.test,email:ann@example.com,ip:192.0.2.1,uri:spiffe://lab/ann", hex.EncodeToString(sum[:]), "true"}},
		{"none", l.trust("app.test"), []string{"", "", "", "", "false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := echo(t, dial(t, s, c.conf).Exchange(t, "GET /echo?"+strings.ReplaceAll(c.name, " ", "+")+" HTTP/1.1\r\nHost: app.test\r\n"+fakes+"\r\n"))
			for i, name := range names {
				if got := e.header(name); got != c.want[i] {
					t.Errorf("%s is %q, want %q", name, got, c.want[i])
				}
			}
			if got := e.header("X_CN"); got != "" {
				t.Errorf("a spoofed X_CN came through: %q", got)
			}
			var line map[string]any
			harness.Eventually(t, patience, "the access line is there", func() bool {
				text, _ := os.ReadFile(log)
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				line = nil
				return json.Unmarshal([]byte(lines[len(lines)-1]), &line) == nil && line["query"] == strings.ReplaceAll(c.name, " ", "+")
			})
			subject, _ := line["tls_client_subject"].(string)
			if subject != c.want[0] || line["tls_version"] != "1.3" || line["tls_sni"] != "app.test" {
				t.Errorf("%v", line)
			}
		})
	}
}

func TestTheCAsOfClientsAreExchanged(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	old, next := certtest.NewCA(t, "Old"), certtest.NewCA(t, "Next")
	certtest.Write(t, l.path("clients.pem"), old.PEM())
	app := harness.App(t, "a")
	s := l.front(fmt.Sprintf("tls: {certificates: {%s}, client_auth: %s}", l.files("a"), l.path("clients.pem")), "", app.Address)
	conf := show(l.trust("app.test"), old.Issue(t, "ecdsa", []string{"Ann"}))
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	kept := dial(t, s, conf)
	kept.Exchange(t, get)
	certtest.Write(t, l.path("clients.pem"), next.PEM())
	nextConf := show(l.trust("app.test"), next.Issue(t, "ecdsa", []string{"Ann"}))
	harness.Eventually(t, patience, "the next CA is believed", func() bool { return talks(t, s, nextConf) })
	if talks(t, s, conf) {
		t.Error("who comes from the old CA is let in on, by a session of before")
	}
	if m := kept.Exchange(t, get); m.Status() != 200 {
		t.Errorf("a connection of before: %s", m.First)
	}
}

// A client that was let in for one site must not speak to another that may ask
// for more.
func TestAConnectionIsForOneSite(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"a.test", "www.a.test"})
	l.issue("b", "ecdsa", []string{"b.test"})
	certtest.Write(t, l.path("clients.pem"), l.ca.PEM())
	ann := l.ca.Issue(t, "ecdsa", []string{"Ann"})
	app := harness.App(t, "a")
	both := fmt.Sprintf("certificates: [{%s}, {%s}]", l.files("a"), l.files("b"))
	guarded := l.front(fmt.Sprintf("tls: {%s, client_auth: %s}", both, l.path("clients.pem")), "", app.Address)
	open := l.front("tls: {"+both+"}", "", app.Address)
	for _, c := range []struct {
		name, sni, host string
		s               *harness.Steelyard
		status          int
	}{
		{"the same host", "a.test", "a.test", guarded, 200},
		{"the same host with its port", "a.test", "A.TEST:443", guarded, 200},
		{"another host of the same certificate", "a.test", "www.a.test", guarded, 200},
		{"a host of another certificate", "a.test", "b.test", guarded, 421},
		{"the other way round", "b.test", "a.test", guarded, 421},
		{"a host of no certificate is one of the first", "a.test", "c.test", guarded, 200},
		{"a host of no certificate, by another one", "b.test", "c.test", guarded, 421},
		{"no name, the first certificate", "", "a.test", guarded, 200},
		{"no name, another certificate", "", "b.test", guarded, 421},
		{"without client_auth", "a.test", "b.test", open, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := show(l.trust(c.sni), ann)
			conf.InsecureSkipVerify = c.sni == ""
			m := dial(t, c.s, conf).Exchange(t, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n")
			if m.Status() != c.status || (c.status == 421) != (m.Value("X-Steelyard-Cause") == "misdirected") {
				t.Errorf("%s %q", m.First, m.Fields)
			}
		})
	}
}

// A client hears by an alert why it is refused, though it has sent its request
// already, as one with TLS 1.3 has.
func TestTheClientHearsWhyItIsRefused(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	certtest.Write(t, l.path("clients.pem"), l.ca.PEM())
	app := harness.App(t, "a")
	s := l.front(fmt.Sprintf("tls: {certificates: {%s}, client_auth: %s}", l.files("a"), l.path("clients.pem")), "", app.Address)
	for range 20 {
		c, err := connect(s.Address, l.trust("app.test"))
		if err == nil { // for TLS 1.3 that is no more than half of it
			_, _ = c.Write([]byte("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 60000\r\n\r\n" + strings.Repeat("x", 60000)))
			_, err = c.R.ReadByte()
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Fatalf("the client hears %v", err)
		}
	}
}

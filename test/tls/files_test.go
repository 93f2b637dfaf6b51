package tls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// TestBadFilesAreRefused holds check, the start and a reload to one answer, which
// names file, line and key and says what to do. A reload leaves all as it is.
func TestBadFilesAreRefused(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	l.issue("other", "ecdsa", []string{"app.test"})
	l.issue("expired", "ecdsa", []string{"app.test"}, certtest.Between(-48*time.Hour, -time.Hour))
	l.issue("early", "ecdsa", []string{"app.test"}, certtest.Between(time.Hour, 48*time.Hour))
	l.issue("client", "ecdsa", []string{"app.test"}, certtest.For(x509.ExtKeyUsageClientAuth))
	l.issue("nobody", "ecdsa", []string{"No Host"})
	certtest.Write(t, l.path("half.pem"), []byte("-----BEGIN CERTIFICATE-----\nMIIB"))
	app := harness.App(t, "a")
	const file = `listeners:
  web:
    address: "LISTEN"
    tls:
      certificates:
        - {cert: GOODCERT, key: GOODKEY}
        - cert: CERT
          key: KEY
          hosts: HOSTS
      client_auth: {mode: optional, ca: CA}
admin: {address: "ADMIN"}
routes: [{pool: web}]
pools: {web: {backends: [BACKEND]}}
`
	good := map[string]string{"GOODCERT": "a.pem", "GOODKEY": "a.key", "CERT": "other.pem", "KEY": "other.key", "HOSTS": "app.test", "CA": "ca.pem", "BACKEND": app.Address}
	certtest.Write(t, l.path("ca.pem"), l.ca.PEM())
	write := func(change map[string]string) string {
		var pairs []string
		for name, value := range good {
			if other, ok := change[name]; ok {
				value = other
			}
			if strings.Contains(value, ".pem") || strings.Contains(value, ".key") {
				value = l.path(value)
			}
			pairs = append(pairs, name, value)
		}
		return strings.NewReplacer(append([]string{"GOODCERT", l.path("a.pem"), "GOODKEY", l.path("a.key")}, pairs...)...).Replace(file)
	}
	s := harness.Start(t, write(nil))
	kept := dial(t, s, l.trust("app.test"))
	kept.Exchange(t, get)
	for _, c := range []struct {
		name   string
		change map[string]string
		place  string // line, column and key
		want   string
	}{
		{"expired", map[string]string{"CERT": "expired.pem", "KEY": "expired.key"}, ":7:17: listeners.web.tls.certificates[1].cert: ", "expired.pem has expired on"},
		{"not valid yet", map[string]string{"CERT": "early.pem", "KEY": "early.key"}, ":7:17: listeners.web.tls.certificates[1].cert: ", "is the clock of this machine right?"},
		{"another's key", map[string]string{"KEY": "a.key"}, ":8:16: listeners.web.tls.certificates[1].key: ", "is not the key of the certificate in"},
		{"of a client", map[string]string{"CERT": "client.pem", "KEY": "client.key"}, ":7:17: listeners.web.tls.certificates[1].cert: ", "have one issued for a server"},
		{"no host", map[string]string{"CERT": "nobody.pem", "KEY": "nobody.key"}, ":7:17: listeners.web.tls.certificates[1].cert: ", "names no host"},
		{"another host", map[string]string{"HOSTS": "shop.test"}, ":9:18: listeners.web.tls.certificates[1].hosts: ", "is not valid for shop.test (it is for app.test)"},
		{"exchanged", map[string]string{"CERT": "other.key", "KEY": "other.pem"}, ":7:17: listeners.web.tls.certificates[1].cert: ", "are cert and key exchanged?"},
		{"half a file", map[string]string{"CERT": "half.pem"}, ":7:17: listeners.web.tls.certificates[1].cert: ", "was it written to its end?"},
		{"CAs that are none", map[string]string{"CA": "half.pem"}, ":10:41: listeners.web.tls.client_auth.ca: ", "has no certificate in PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.NewReplacer("LISTEN", harness.FreeAddress(t), "ADMIN", harness.FreeAddress(t)).Replace(write(c.change))
			path := filepath.Join(t.TempDir(), "steelyard.yaml")
			certtest.Write(t, path, []byte(text))
			for _, command := range []string{"check", "run"} {
				out, code := run(t, command, "-c", path)
				if code == 0 || !strings.Contains(out, path+c.place) || !strings.Contains(out, c.want) {
					t.Errorf("%s ended with %d and said\n%s", command, code, out)
				}
			}
			g := s.Reload(t, write(c.change))
			if g.LastOK || len(g.Errors) == 0 || !strings.Contains(strings.Join(g.Errors, "\n"), c.want) {
				t.Errorf("a reload: %+v", g)
			}
			if m := kept.Exchange(t, get); m.Status() != 200 {
				t.Error(m.First)
			}
			if m := dial(t, s, l.trust("app.test")).Exchange(t, get); m.Status() != 200 {
				t.Error(m.First)
			}
		})
	}
	t.Run("a file that is not there", func(t *testing.T) {
		text := strings.NewReplacer("LISTEN", harness.FreeAddress(t), "ADMIN", harness.FreeAddress(t)).Replace(write(map[string]string{"CERT": "missing.pem"}))
		path := filepath.Join(t.TempDir(), "steelyard.yaml")
		certtest.Write(t, path, []byte(text))
		out, code := run(t, "check", "-c", path)
		if code != 0 || !strings.Contains(out, "there is no file "+l.path("missing.pem")) {
			t.Errorf("check ended with %d and said\n%s", code, out)
		}
		out, code = run(t, "run", "-c", path)
		if code == 0 || !strings.Contains(out, path+":7: listeners.web.tls.certificates[1].cert: "+l.path("missing.pem")+" does not exist; create it") {
			t.Errorf("run ended with %d and said\n%s", code, out)
		}
	})
	t.Run("soon to expire", func(t *testing.T) {
		l.issue("soon", "ecdsa", []string{"app.test"}, certtest.Between(-80*24*time.Hour, 5*24*time.Hour))
		path := filepath.Join(t.TempDir(), "steelyard.yaml")
		certtest.Write(t, path, []byte(strings.NewReplacer("LISTEN", "127.0.0.1:1", "ADMIN", "127.0.0.1:2").Replace(write(map[string]string{"CERT": "soon.pem", "KEY": "soon.key"}))))
		if out, code := run(t, "check", "-c", path); code != 0 || !strings.Contains(out, "soon.pem expires on") {
			t.Errorf("check ended with %d and said\n%s", code, out)
		}
	})
}

// TestCertificatesAreExchangedUnderLoad exchanges the files again and again, and
// no client notices but by the certificate it is shown.
func TestCertificatesAreExchangedUnderLoad(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	app := harness.App(t, "a")
	s := l.front(fmt.Sprintf("tls: {certificates: {%s}}", l.files("a")), "", app.Address)
	kept := dial(t, s, l.trust("app.test"))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var served, handshakes atomic.Int64
	for i := range 4 {
		c := client(t, s, l.trust("app.test"))
		c.Transport.(*http.Transport).DisableKeepAlives = i%2 == 0
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := harness.Do(c, "GET", "https://app.test/", ""); err != nil {
					t.Error(err)
					return
				}
				served.Add(1)
				if i%2 == 0 {
					handshakes.Add(1)
				}
			}
		})
	}
	for range 8 {
		pair := l.ca.Issue(t, "ecdsa", []string{"app.test"})
		pair.WriteTo(t, l.path("a.pem"), l.path("a.key"))
		want := serialOf(pair)
		harness.Eventually(t, patience, "the new certificate is shown", func() bool { return serial(t, s, l.trust("app.test")) == want })
		if m := kept.Exchange(t, get); m.Status() != 200 {
			t.Error(m.First)
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d requests, %d handshakes", served.Load(), handshakes.Load())
	if served.Load() < 100 || handshakes.Load() < 20 {
		t.Error("hardly any load")
	}
}

// TestABadExchangeIsAnAlarm leaves the certificate as it is and says so in the
// log (once), in the metrics and in the API, until the files are right.
func TestABadExchangeIsAnAlarm(t *testing.T) {
	l := newLab(t)
	first := l.issue("a", "ecdsa", []string{"app.test"})
	app := harness.App(t, "a")
	s := l.front(fmt.Sprintf("tls: {certificates: {%s}}", l.files("a")), "", app.Address)
	labels := fmt.Sprintf(`{file=%q,listener="web"}`, l.path("a.pem"))
	problem := func() float64 { return metric(t, s, "steelyard_tls_certificate_problem"+labels) }
	expiry := func() float64 { return metric(t, s, "steelyard_tls_certificate_expiry_timestamp_seconds"+labels) }
	if problem() != 0 || expiry() != float64(first.Cert.NotAfter.Unix()) {
		t.Errorf("problem %v, expiry %v, want 0 and %d", problem(), expiry(), first.Cert.NotAfter.Unix())
	}
	expired := l.ca.Issue(t, "ecdsa", []string{"app.test"}, certtest.Between(-48*time.Hour, -time.Hour))
	expired.WriteTo(t, l.path("a.pem"), l.path("a.key"))
	harness.Eventually(t, patience, "the alarm is raised", func() bool { return problem() == 1 })
	if got := serial(t, s, l.trust("app.test")); got != serialOf(first) || expiry() != float64(first.Cert.NotAfter.Unix()) {
		t.Errorf("another certificate is shown: %s", got)
	}
	var listeners struct {
		Listeners []struct {
			TLS struct {
				Certificates []struct {
					File, Problem, Serial string
					Hosts                 []string
				}
			}
		}
	}
	api := harness.Get(t, harness.Client(t), "http://"+s.Admin+"/api/v1/listeners")
	if err := json.Unmarshal([]byte(api), &listeners); err != nil {
		t.Fatal(err)
	}
	if c := listeners.Listeners[0].TLS.Certificates[0]; c.File != l.path("a.pem") || c.Serial != serialOf(first) || !strings.Contains(c.Problem, "has expired on") || fmt.Sprint(c.Hosts) != "[app.test]" {
		t.Errorf("the API says %+v", c)
	}
	harness.Eventually(t, patience, "it is logged", func() bool { return strings.Contains(s.Output(), "a certificate cannot be exchanged") })
	second := l.issue("a", "ecdsa", []string{"app.test"})
	harness.Eventually(t, patience, "the alarm ends", func() bool { return problem() == 0 })
	if got := serial(t, s, l.trust("app.test")); got != serialOf(second) {
		t.Errorf("the certificate of before is shown: %s", got)
	}
	if n := strings.Count(s.Output(), "a certificate cannot be exchanged"); n > 2 { // one for each of two files, at most
		t.Errorf("logged %d times", n)
	}
}

func TestSessionsAreResumedAcrossReloads(t *testing.T) {
	l := newLab(t)
	listener := l.plainTLS()
	app := harness.App(t, "a")
	s := l.front(listener, "", app.Address)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := l.trust("app.test")
		conf.MaxVersion, conf.ClientSessionCache = version, tls.NewLRUClientSessionCache(8)
		resumed := func() bool {
			t.Helper()
			c := dial(t, s, conf)
			defer c.Close()
			c.Exchange(t, get) // a ticket comes behind the handshake of TLS 1.3
			return state(c).DidResume
		}
		if resumed() || !resumed() {
			t.Error("not resumed")
		}
		for _, more := range []string{"header_timeout: 9s, ", "", "hsts: true, "} {
			if g := s.Reload(t, l.file(more+listener, "", app.Address)); !g.LastOK {
				t.Fatal(g.Errors)
			}
			if !resumed() {
				t.Errorf("%s: not resumed after a reload", tls.VersionName(version))
			}
		}
		strict := strings.Replace(listener, "tls: {", "tls: {ocsp_stapling: false, ", 1) // other settings of TLS
		if g := s.Reload(t, l.file(strict, "", app.Address)); !g.LastOK || !resumed() {
			t.Errorf("%s: not resumed after another kind of reload: %v", tls.VersionName(version), g.Errors)
		}
		if g := s.Reload(t, l.file(listener, "", app.Address)); !g.LastOK {
			t.Fatal(g.Errors)
		}
	}
	if n := metric(t, s, fmt.Sprintf(`steelyard_listener_tls_handshakes_total{address=%q,listener="web",resumed="true",version="1.3"}`, s.Address)); n < 4 {
		t.Errorf("%v resumed handshakes are counted", n)
	}
}

package backendtls_test

import (
	"cmp"
	"errors"
	"net/http"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// TestWhoIsTrusted: a backend gets requests only if its certificate is trusted,
// valid now and for the name, and whoever reads the log learns what to do about
// one that is not.
func TestWhoIsTrusted(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1", "app.internal"})
	w.issue("expired", []string{"127.0.0.1"}, certtest.Between(-48*time.Hour, -24*time.Hour))
	w.issue("future", []string{"127.0.0.1"}, certtest.Between(24*time.Hour, 48*time.Hour))
	w.issue("other-name", []string{"other.internal", "10.0.0.1"})
	certtest.NewCA(t, "Somebody Else").Issue(t, "ecdsa", []string{"127.0.0.1"}).Files(t, w.dir, "other-ca")
	w.issue("client", []string{"steelyard"})
	certtest.NewCA(t, "Nobody").Issue(t, "ecdsa", []string{"impostor"}).Files(t, w.dir, "impostor")
	clientCA := "CLIENT_CA=" + w.path("ca.pem")
	cases := []struct {
		name, cert string
		env        []string
		tls        string
		says       string // in the log; "": the request is answered
		cause      string // default tls_failed
	}{
		{name: "right CA and address", cert: "good", tls: "{ca: DIR/ca.pem}"},
		{name: "right CA and name", cert: "good", tls: "{ca: DIR/ca.pem, server_name: app.internal}"},
		{name: "TLS 1.2 is spoken", cert: "good", env: []string{"MAX_VERSION=TLSv1.2"}, tls: "{ca: DIR/ca.pem}"},
		{name: "TLS 1.2 is too old", cert: "good", env: []string{"MAX_VERSION=TLSv1.2"}, tls: "{ca: DIR/ca.pem, min_version: 1.3}", says: "protocol version"},
		{name: "CAs of the system", cert: "good", tls: "true", says: "signed by an authority that is not trusted (Backend CA); set tls.ca"},
		{name: "other CA", cert: "other-ca", tls: "{ca: DIR/ca.pem}", says: "not trusted (Somebody Else); set tls.ca"},
		{name: "expired", cert: "expired", tls: "{ca: DIR/ca.pem}", says: "is not valid now: it expired on"},
		{name: "not yet valid", cert: "future", tls: "{ca: DIR/ca.pem}", says: "is not valid now: it begins on"},
		{name: "wrong name", cert: "other-name", tls: "{ca: DIR/ca.pem}", says: "is not for 127.0.0.1 (it is for other.internal, 10.0.0.1); set tls.server_name"},
		{name: "wrong server_name", cert: "good", tls: "{ca: DIR/ca.pem, server_name: shop.internal}", says: "is not for shop.internal (it is for app.internal, 127.0.0.1); set tls.server_name"},
		{name: "anybody", cert: "expired", tls: "{verify: false}"},
		{name: "client certificate", cert: "good", env: []string{clientCA}, tls: "{ca: DIR/ca.pem, cert: DIR/client.pem, key: DIR/client.key}"},
		{name: "no client certificate", cert: "good", env: []string{clientCA}, tls: "{ca: DIR/ca.pem}", says: "set tls.cert and tls.key"},
		{name: "no client certificate, TLS 1.2", cert: "good", env: []string{clientCA, "MAX_VERSION=TLSv1.2"}, tls: "{ca: DIR/ca.pem}", says: "set tls.cert and tls.key"},
		{name: "foreign client certificate", cert: "good", env: []string{clientCA}, tls: "{ca: DIR/ca.pem, cert: DIR/impostor.pem, key: DIR/impostor.key}",
			cause: "reset_before_response", says: "may not accept that of tls.cert"}, // Node.js just closes,
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := &world{t: t, dir: w.dir, ca: w.ca}
			app := w.app("a", c.cert, c.env...)
			s := w.start(`backends: "` + app.Address + `", retry: off, tls: ` + c.tls)
			if c.says == "" {
				if a := ask(t, s, "GET", "/x", ""); !a.Encrypted || a.Path != "/x" || a.ALPN != "http/1.1" {
					t.Errorf("the app sees %+v", a)
				}
				return
			}
			var cause *harness.CauseError
			status, _, err := harness.Do(harness.Client(t), "POST", s.URL+"/x", "a body")
			if !errors.As(err, &cause) || cause.Cause != cmp.Or(c.cause, "tls_failed") || status != http.StatusBadGateway {
				t.Errorf("the answer is %d, %v; want 502 %s", status, err, cmp.Or(c.cause, "tls_failed"))
			}
			logged(t, s, c.says)
		})
	}
}

// TestPlainAndTLS: TLS to a port without it and none to a port with it are told
// apart from an app that is down.
func TestPlainAndTLS(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	plain := harness.App(t, "plain")
	s := w.start(`backends: "` + plain.Address + `", retry: off, tls: {ca: DIR/ca.pem}`)
	var cause *harness.CauseError
	if _, _, err := harness.Do(harness.Client(t), "GET", s.URL+"/", ""); !errors.As(err, &cause) || cause.Cause != "tls_failed" {
		t.Errorf("TLS to a plain app: %v", err)
	}
	logged(t, s, "does not speak TLS on this port; remove tls from the pool")
}

// TestOneOfTwoIsNotTrusted: a handshake that fails costs no request, a POST with a
// body neither, because nothing of it was sent.
func TestOneOfTwoIsNotTrusted(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	w.issue("expired", []string{"127.0.0.1"}, certtest.Between(-48*time.Hour, -24*time.Hour))
	good, expired := w.app("good", "good"), w.app("expired", "expired")
	s := w.start(`backends: ["` + expired.Address + `", "` + good.Address + `"], tls: {ca: DIR/ca.pem}`)
	for range 20 {
		if a := ask(t, s, "POST", "/order", "one of it"); a.Name != "good" || a.Received != 9 {
			t.Fatalf("the app got %+v", a)
		}
	}
	if text := harness.Get(t, harness.Client(t), "http://"+s.Admin+"/metrics"); !contains(text, `steelyard_retries_total{class="unsent",reason="tls_failed"}`) {
		t.Errorf("the retries are not counted as unsent because of tls_failed")
	}
}

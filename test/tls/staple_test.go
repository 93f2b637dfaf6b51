package tls_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// responder answers OCSP questions about a CA's certificates.
type responder struct {
	*httptest.Server
	ca     *certtest.CA
	asked  atomic.Int64
	broken atomic.Bool
}

func newResponder(t *testing.T, ca *certtest.CA) *responder {
	r := &responder{ca: ca}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		question, _ := io.ReadAll(q.Body)
		req, err := ocsp.ParseRequest(question)
		if err != nil || r.broken.Load() {
			http.Error(w, "broken", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(r.response(t, &x509.Certificate{SerialNumber: req.SerialNumber}))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) response(t *testing.T, of *x509.Certificate) []byte {
	der, err := ocsp.CreateResponse(r.ca.Cert, r.ca.Cert, ocsp.Response{
		Status: ocsp.Good, SerialNumber: of.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, r.ca.Key)
	if err != nil {
		t.Error(err)
	}
	return der
}

// stapled is what comes stapled to the certificate.
func stapled(t *testing.T, s *harness.Steelyard, conf *tls.Config) []byte {
	t.Helper()
	c := dial(t, s, conf)
	defer c.Close()
	return state(c).OCSPResponse
}

func TestOCSPResponsesAreStapled(t *testing.T) {
	l := newLab(t)
	r := newResponder(t, l.ca)
	at := func(c *x509.Certificate) { c.OCSPServer = []string{r.URL} }
	pair := l.issue("a", "ecdsa", []string{"app.test"}, at)
	app := harness.App(t, "a")
	listener := fmt.Sprintf("tls: {certificates: {%s}}", l.files("a"))
	t.Run("by default", func(t *testing.T) {
		s := l.front(listener, "", app.Address)
		var der []byte
		harness.Eventually(t, patience, "a response is stapled", func() bool { der = stapled(t, s, l.trust("app.test")); return der != nil })
		if got, err := ocsp.ParseResponseForCert(der, pair.Cert, l.ca.Cert); err != nil || got.Status != ocsp.Good {
			t.Errorf("%+v %v", got, err)
		}
		if until := metric(t, s, fmt.Sprintf(`steelyard_tls_ocsp_staple_expiry_timestamp_seconds{file=%q,listener="web"}`, l.path("a.pem"))); until < float64(time.Now().Unix()) {
			t.Errorf("the metric says %v", until)
		}
		asked := r.asked.Load()
		for range 5 {
			stapled(t, s, l.trust("app.test"))
		}
		if r.asked.Load() != asked {
			t.Error("the responder is asked for each client")
		}
		_, port, _ := strings.Cut(s.Address, ":")
		out, err := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", "127.0.0.1:"+port, "-servername", "app.test", "-status", "-CAfile", l.ca.File(t), "-verify_return_error").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "OCSP Response Status: successful") || !strings.Contains(string(out), "Cert Status: good") {
			t.Errorf("openssl: %v\n%s", err, out)
		}
	})
	t.Run("ocsp_stapling: false", func(t *testing.T) {
		asked := r.asked.Load()
		s := l.front(strings.Replace(listener, "tls: {", "tls: {ocsp_stapling: false, ", 1), "", app.Address)
		if stapled(t, s, l.trust("app.test")) != nil || r.asked.Load() != asked {
			t.Error("stapled, or asked")
		}
	})
	t.Run("a responder that fails", func(t *testing.T) {
		r.broken.Store(true)
		defer r.broken.Store(false)
		asked := r.asked.Load()
		s := l.front(listener, "", app.Address)
		if m := dial(t, s, l.trust("app.test")).Exchange(t, get); m.Status() != 200 {
			t.Error(m.First)
		}
		harness.Eventually(t, patience, "it is asked", func() bool { return r.asked.Load() > asked })
		harness.Eventually(t, patience, "it is told", func() bool { return strings.Contains(s.Output(), "no fresh OCSP response can be had") })
		if stapled(t, s, l.trust("app.test")) != nil {
			t.Error("something is stapled")
		}
	})
	t.Run("from a file", func(t *testing.T) {
		der := r.response(t, pair.Cert)
		certtest.Write(t, l.path("a.pem.ocsp"), der)
		asked := r.asked.Load()
		s := l.front(listener, "", app.Address)
		if got := stapled(t, s, l.trust("app.test")); string(got) != string(der) {
			t.Error("the response of the file is not what is stapled")
		}
		if r.asked.Load() != asked {
			t.Error("the responder was asked although there is a file")
		}
	})
}

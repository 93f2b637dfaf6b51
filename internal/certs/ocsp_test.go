package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"steelyard/internal/certs/certtest"
)

// responderFake is an OCSP responder with moods.
type responderFake struct {
	*httptest.Server
	mu       sync.Mutex
	ca       *certtest.CA
	status   int
	lives    time.Duration
	fails    string // how it misbehaves; "": not
	asked    int
	from     time.Duration
	produced []byte // the last response
}

func newResponder(t *testing.T, ca *certtest.CA) *responderFake {
	r := &responderFake{ca: ca, lives: time.Hour}
	release := make(chan struct{})
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		req, err := ocsp.ParseRequest(body)
		r.mu.Lock()
		r.asked++
		fails := r.fails
		r.mu.Unlock()
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case fails == "hangs":
			<-release
		case fails == "huge":
			_, _ = w.Write(make([]byte, 1<<20))
		case fails != "":
			http.Error(w, fails, http.StatusServiceUnavailable)
		default:
			_, _ = w.Write(r.response(t, req))
		}
	}))
	t.Cleanup(func() { close(release); r.Close() })
	return r
}

func (r *responderFake) response(t *testing.T, req *ocsp.Request) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().Add(r.from)
	der, err := ocsp.CreateResponse(r.ca.Cert, r.ca.Cert, ocsp.Response{
		Status: r.status, SerialNumber: req.SerialNumber, ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(r.lives), RevokedAt: now.Add(-time.Hour),
	}, r.ca.Key)
	if err != nil {
		t.Error(err)
	}
	r.produced = der
	return der
}

func (r *responderFake) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *responderFake) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// at names the responder in a certificate.
func (r *responderFake) at(c *x509.Certificate) { c.OCSPServer = []string{r.URL} }

// stapled is the OCSP response that a client is shown; it has been checked.
func stapled(t *testing.T, s *Store, ca *certtest.CA) []byte {
	t.Helper()
	state, err, serverErr := shake(t, s.Config(), &tls.Config{ServerName: "a.example", RootCAs: ca.Pool()})
	if err != nil {
		t.Fatal(err, serverErr)
	}
	if len(state.OCSPResponse) == 0 {
		return nil
	}
	if _, err := ocsp.ParseResponseForCert(state.OCSPResponse, state.PeerCertificates[0], ca.Cert); err != nil {
		t.Error(err)
	}
	return state.OCSPResponse
}

func TestStapling(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	t.Run("from the responder", func(t *testing.T) {
		r := newResponder(t, ca)
		o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}, r.at))
		o.OCSP = true
		s, _ := open(t, o, nil)
		eventually(t, "it is stapled", func() bool { return stapled(t, s, ca) != nil })
		if st := s.Status()[0]; st.OCSP != "good" || st.Stapled.IsZero() {
			t.Errorf("%+v", st)
		}
	})
	t.Run("off", func(t *testing.T) {
		r := newResponder(t, ca)
		o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}, r.at))
		s, _ := open(t, o, nil)
		if stapled(t, s, ca) != nil || r.count() > 0 || s.Status()[0].OCSP != "none" {
			t.Error("stapled, or asked")
		}
	})
	t.Run("from a file", func(t *testing.T) {
		r := newResponder(t, ca)
		pair := ca.Issue(t, "ecdsa", []string{"a.example"}, r.at)
		o := options(t, pair)
		o.OCSP = true
		der := r.response(t, &ocsp.Request{SerialNumber: pair.Cert.SerialNumber})
		certtest.Write(t, o.Certificates[0].CertFile+".ocsp", der)
		s, _ := open(t, o, nil)
		if string(stapled(t, s, ca)) != string(der) {
			t.Error("the first client did not get the response of the file")
		}
		if r.count() > 0 {
			t.Error("the responder was asked although there is a file")
		}
	})
	for _, how := range []string{"down", "hangs", "huge"} {
		t.Run("a responder that fails: "+how, func(t *testing.T) {
			r := newResponder(t, ca)
			r.set(func() { r.fails = how })
			o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}, r.at))
			o.OCSP = true
			began := time.Now()
			s, _ := open(t, o, nil)
			if stapled(t, s, ca) != nil || time.Since(began) > 3*time.Second {
				t.Errorf("a client was hindered for %v", time.Since(began))
			}
			eventually(t, "it is asked", func() bool { return r.count() > 0 })
			if how != "hangs" {
				eventually(t, "it is told", func() bool { return s.Status()[0].OCSP != "none" })
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		r := newResponder(t, ca)
		r.set(func() { r.status = ocsp.Revoked })
		o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}, r.at))
		o.OCSP = true
		s, _ := open(t, o, nil)
		eventually(t, "it is told", func() bool { return strings.Contains(s.Status()[0].OCSP, "was revoked on") })
		if stapled(t, s, ca) != nil {
			t.Error("the revocation is stapled")
		}
	})
}

// TestStapleIsKeptFresh goes by a clock of its own.
func TestStapleIsKeptFresh(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	r := newResponder(t, ca)
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}, r.at))
	p, bad := Load(o.Certificates[0], time.Now())
	if bad != nil {
		t.Fatal(bad)
	}
	sp := &stapling{e: newEntry(p)}
	start := time.Now()
	shown := func() []byte { return sp.e.shown.Load().OCSPStaple }
	tend := func(after time.Duration) error { return sp.tend(t.Context(), r.Client(), start.Add(after)) }

	if err := tend(0); err != nil || shown() == nil || r.count() != 1 {
		t.Fatalf("%v, asked %d times", err, r.count())
	}
	if err := tend(20 * time.Minute); err != nil || r.count() != 1 {
		t.Errorf("asked again before half of its time: %v", err)
	}
	first := string(shown())
	r.set(func() { r.fails = "down" })
	if err := tend(31 * time.Minute); err == nil || r.count() != 2 || string(shown()) != first {
		t.Errorf("after half of its time: %v, asked %d times", err, r.count())
	}
	if err := tend(31*time.Minute + 10*time.Second); err == nil || r.count() != 2 {
		t.Errorf("asked again at once: %v, %d times", err, r.count())
	}
	if err := tend(33 * time.Minute); err == nil || r.count() != 3 || string(shown()) != first {
		t.Errorf("%v, asked %d times", err, r.count())
	}
	if err := tend(61 * time.Minute); err == nil || shown() != nil {
		t.Errorf("what has expired is stapled on: %v", err)
	}
	r.set(func() { r.fails, r.from = "", 3*time.Hour })
	if err := tend(3 * time.Hour); err != nil || shown() == nil {
		t.Errorf("the responder is back: %v", err)
	}
	asked := r.count()
	for i := range 100 { // a responder that is down for good is not asked often
		r.set(func() { r.fails = "down" })
		_ = tend(5*time.Hour + time.Duration(i)*time.Minute)
	}
	if n := r.count() - asked; n < 4 || n > 12 {
		t.Errorf("asked %d times in 100 minutes of failure", n)
	}
}

func TestReadStaple(t *testing.T) {
	ca, other := certtest.NewCA(t, "Test CA"), certtest.NewCA(t, "Other")
	pair := ca.Issue(t, "ecdsa", []string{"a.example"})
	now := time.Now()
	for _, c := range []struct {
		name, want string
		by         *certtest.CA
		r          ocsp.Response
	}{
		{"good", "", ca, ocsp.Response{Status: ocsp.Good, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}},
		{"no end", "", ca, ocsp.Response{Status: ocsp.Good, ThisUpdate: now}},
		{"over", "held until", ca, ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(-2 * time.Hour), NextUpdate: now.Add(-time.Hour)}},
		{"of the future", "is not valid before", ca, ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(time.Hour), NextUpdate: now.Add(2 * time.Hour)}},
		{"unknown", "does not know", ca, ocsp.Response{Status: ocsp.Unknown, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}},
		{"by another", "signature", other, ocsp.Response{Status: ocsp.Good, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}},
	} {
		c.r.SerialNumber, c.r.IssuerHash = pair.Cert.SerialNumber, crypto.SHA256
		der, err := ocsp.CreateResponse(c.by.Cert, c.by.Cert, c.r, c.by.Key)
		if err != nil {
			t.Fatal(err)
		}
		s, err := readStaple(der, pair.Cert, ca.Cert, now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if s != nil && (!s.next.Before(s.until) || !s.next.After(now)) {
			t.Errorf("%s: asked again at %v of %v", c.name, s.next, s.until)
		}
	}
	otherLeaf := ca.Issue(t, "ecdsa", []string{"b.example"})
	der, _ := ocsp.CreateResponse(ca.Cert, ca.Cert, ocsp.Response{SerialNumber: otherLeaf.Cert.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, ca.Key)
	if _, err := readStaple(der, pair.Cert, ca.Cert, now); err == nil {
		t.Error("the response of another certificate was accepted")
	}
}

func FuzzReadStaple(f *testing.F) {
	ca := certtest.NewCA(f, "Test CA")
	pair := ca.Issue(f, "ecdsa", []string{"a.example"})
	der, err := ocsp.CreateResponse(ca.Cert, ca.Cert, ocsp.Response{SerialNumber: pair.Cert.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, ca.Key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readStaple(b, pair.Cert, ca.Cert, time.Now()); err == nil && string(s.der) != string(b) {
			t.Error("another response than the one that was read")
		}
	})
}

func TestReasonOf(t *testing.T) {
	for _, c := range []struct {
		header [5]byte
		want   Reason
	}{
		{[5]byte([]byte("GET /")), ReasonPlainHTTP}, {[5]byte([]byte("POST ")), ReasonPlainHTTP}, {[5]byte([]byte("OPTIO")), ReasonPlainHTTP},
		{[5]byte([]byte("SSH-2")), ReasonNotTLS}, {[5]byte{0, 0, 0, 0, 0}, ReasonNotTLS}, {[5]byte([]byte("get /")), ReasonNotTLS},
	} {
		if got := (looksLikeHTTP(c.header)); got != (c.want == ReasonPlainHTTP) {
			t.Errorf("%q looks like HTTP: %v", c.header, got)
		}
	}
	if r := ReasonOf(errors.New("strange")); r != ReasonOther || r.String() != "other" {
		t.Error(r)
	}
	seen := map[string]bool{}
	for r := range ReasonCount {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d is %q", r, r)
		}
		seen[r.String()] = true
	}
}

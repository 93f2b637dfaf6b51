package certs

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
)

func TestOpenSaysAllThatIsWrong(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}), ca.Issue(t, "ecdsa", []string{"b.example"}))
	o.Certificates[0].CertFile = "/does/not/exist.pem"
	o.Certificates[0].Line = 7
	o.Certificates[1].KeyFile = o.Certificates[0].KeyFile
	o.ClientAuth = &ClientAuth{CAFile: "/no/ca.pem"}
	_, err := Open(o, nil, (&journal{}).log())
	if err == nil {
		t.Fatal("accepted")
	}
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != 3 {
		t.Fatal(err)
	}
	for i, want := range []Problem{
		{Key: "cert", Msg: "does not exist", Missing: true, Line: 7}, {Key: "key", Msg: "is not the key of the certificate in", Index: 1}, {Key: "ca", Msg: "does not exist", Missing: true},
	} {
		if p := ps[i]; p.Key != want.Key || !strings.HasPrefix(p.Msg, want.Msg) || p.Missing != want.Missing || p.Line != want.Line || p.Index != want.Index {
			t.Errorf("%+v, want %+v", *p, want)
		}
	}
}

// seen is the serial number of the certificate that a client is shown.
func seen(t *testing.T, s *Store) string {
	t.Helper()
	state, err, serverErr := shake(t, s.Config(), &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"})
	if err != nil {
		t.Fatal(err, serverErr)
	}
	return state.PeerCertificates[0].SerialNumber.Text(16)
}

func serialOf(p *certtest.Pair) string { return p.Cert.SerialNumber.Text(16) }

func TestFilesAreWatched(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	issue := func() *certtest.Pair { return ca.Issue(t, "ecdsa", []string{"a.example"}) }
	first := issue()
	t.Run("renamed into place", func(t *testing.T) {
		o := options(t, first)
		s, j := open(t, o, nil)
		second := issue()
		second.WriteTo(t, o.Certificates[0].CertFile, o.Certificates[0].KeyFile)
		eventually(t, "the new certificate is shown", func() bool { return seen(t, s) == serialOf(second) })
		if n := j.count("a certificate was exchanged"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
	t.Run("written in place, in two halves", func(t *testing.T) {
		o := options(t, first)
		s, j := open(t, o, nil)
		second := issue()
		f := o.Certificates[0]
		if err := os.WriteFile(f.CertFile, second.Chain[:200], 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the half is noticed", func() bool { return s.Status()[0].Problem != "" })
		if seen(t, s) != serialOf(first) {
			t.Error("half a file was taken")
		}
		if err := os.WriteFile(f.CertFile, second.Chain, 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the missing key is noticed", func() bool { return strings.Contains(s.Status()[0].Problem, "is not the key") })
		if seen(t, s) != serialOf(first) {
			t.Error("a certificate was taken without its key")
		}
		if err := os.WriteFile(f.KeyFile, second.KeyPEM(t), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new certificate is shown", func() bool { return seen(t, s) == serialOf(second) })
		if st := s.Status()[0]; st.Problem != "" || st.Serial != serialOf(second) {
			t.Errorf("%+v", st)
		}
		for range 5 {
			s.Look()
		}
		if n := j.count("a certificate cannot be exchanged"); n != 2 {
			t.Errorf("two things were wrong, and %d were told", n)
		}
	})
	t.Run("as Kubernetes does it", func(t *testing.T) {
		dir := t.TempDir()
		volume := func(name string, p *certtest.Pair) {
			d := filepath.Join(dir, name)
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
			p.WriteTo(t, filepath.Join(d, "tls.crt"), filepath.Join(d, "tls.key"))
		}
		link := func(to, name string) {
			if err := os.Symlink(to, filepath.Join(dir, name+".tmp")); err != nil {
				t.Fatal(err)
			}
			rename(t, filepath.Join(dir, name+".tmp"), filepath.Join(dir, name))
		}
		volume("..2026_1", first)
		link("..2026_1", "..data")
		link("..data/tls.crt", "tls.crt")
		link("..data/tls.key", "tls.key")
		s, _ := open(t, Options{Certificates: []Files{{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}}}, nil)
		if seen(t, s) != serialOf(first) {
			t.Fatal("not the first")
		}
		second := issue()
		volume("..2026_2", second)
		link("..2026_2", "..data")
		if err := os.RemoveAll(filepath.Join(dir, "..2026_1")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new certificate is shown", func() bool { return seen(t, s) == serialOf(second) })
	})
	t.Run("removed and put back", func(t *testing.T) {
		o := options(t, first)
		s, _ := open(t, o, nil)
		f := o.Certificates[0]
		rename(t, f.CertFile, f.CertFile+".away")
		eventually(t, "it is noticed", func() bool { return strings.Contains(s.Status()[0].Problem, "does not exist") })
		if seen(t, s) != serialOf(first) {
			t.Error("the certificate went with its file")
		}
		rename(t, f.CertFile+".away", f.CertFile)
		eventually(t, "all is well", func() bool { return s.Status()[0].Problem == "" })
	})
	t.Run("a bad one does not hinder another", func(t *testing.T) {
		o := options(t, first, ca.Issue(t, "ecdsa", []string{"b.example"}))
		s, _ := open(t, o, nil)
		second := issue()
		certtest.Write(t, o.Certificates[1].CertFile, []byte("garbage"))
		second.WriteTo(t, o.Certificates[0].CertFile, o.Certificates[0].KeyFile)
		eventually(t, "the good one is shown", func() bool { return seen(t, s) == serialOf(second) })
		if s.Status()[1].Problem == "" {
			t.Error("the bad one is not told of")
		}
	})
}

func TestTheEndIsTold(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(-10*24*time.Hour, 30*24*time.Hour)))
	j := &journal{}
	s, err := Open(o, nil, j.log()) // not started: nothing but the test says what time it is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, c := range []struct {
		in            time.Duration
		soon, expired int
	}{
		{0, 0, 0}, {19 * 24 * time.Hour, 0, 0}, {21 * 24 * time.Hour, 1, 0}, {22 * 24 * time.Hour, 1, 0}, {31 * 24 * time.Hour, 1, 1}, {32 * 24 * time.Hour, 1, 1},
	} {
		s.lookAt(time.Now().Add(c.in))
		if soon, expired := j.count("expires soon"), j.count("has expired, and clients refuse it"); soon != c.soon || expired != c.expired {
			t.Errorf("after %v: told %d and %d times, want %d and %d", c.in, soon, expired, c.soon, c.expired)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	ca, clients, others := certtest.NewCA(t, "Test CA"), certtest.NewCA(t, "Clients"), certtest.NewCA(t, "Others")
	good := clients.Issue(t, "ecdsa", []string{"Ann Other", "ann@example.com", "spiffe://example.com/a,b"}).TLS()
	bad := others.Issue(t, "ecdsa", []string{"Ann Other"}).TLS()
	late := clients.Issue(t, "ecdsa", []string{"Late"}, certtest.Between(-2*time.Hour, -time.Hour)).TLS()
	for _, c := range []struct {
		name, mode string
		show       *tls.Certificate
		ok         bool
		reason     Reason
	}{
		{"required and shown", Require, &good, true, 0},
		{"required and not shown", Require, nil, false, ReasonNoCert},
		{"required, of another CA", Require, &bad, false, ReasonBadCert},
		{"required, expired", Require, &late, false, ReasonBadCert},
		{"optional and shown", Optional, &good, true, 0},
		{"optional and not shown", Optional, nil, true, 0},
		{"optional, of another CA", Optional, &bad, false, ReasonBadCert},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+" "+tls.VersionName(version), func(t *testing.T) {
				o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}))
				o.ClientAuth = &ClientAuth{Mode: c.mode, CAFile: clients.File(t)}
				s, _ := open(t, o, nil)
				client := &tls.Config{ServerName: "a.example", RootCAs: ca.Pool(), MaxVersion: version}
				if c.show != nil { // even one that the server does not ask for
					client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.show, nil }
				}
				conf := s.Config().Clone()
				var state tls.ConnectionState
				conf.VerifyConnection = func(cs tls.ConnectionState) error { state = cs; return nil }
				_, err, serverErr := shake(t, conf, client)
				if (err == nil) != c.ok || (serverErr == nil) != c.ok {
					t.Fatalf("client: %v, server: %v", err, serverErr)
				}
				if !c.ok {
					if ReasonOf(serverErr) != c.reason {
						t.Errorf("%v is said to be %v, want %v", serverErr, ReasonOf(serverErr), c.reason)
					}
					return
				}
				got := ClientOf(&state)
				if (got == nil) != (c.show == nil) {
					t.Fatalf("%+v", got)
				}
				if got != nil && (got.CN != "Ann Other" || got.Subject != "CN=Ann Other" || len(got.Fingerprint) != 64 ||
					got.SAN != "email:ann@example.com,uri:spiffe://example.com/a%2Cb") {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

func TestCAsAreWatched(t *testing.T) {
	ca, old, next := certtest.NewCA(t, "Test CA"), certtest.NewCA(t, "Old"), certtest.NewCA(t, "Next")
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}))
	o.ClientAuth = &ClientAuth{CAFile: old.File(t)}
	s, j := open(t, o, nil)
	try := func(of *certtest.CA) error {
		pair := of.Issue(t, "ecdsa", []string{"Somebody"}).TLS()
		_, err, _ := shake(t, s.Config(), &tls.Config{ServerName: "a.example", RootCAs: ca.Pool(),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }})
		return err
	}
	if err := try(old); err != nil {
		t.Fatal(err)
	}
	certtest.Write(t, o.ClientAuth.CAFile, []byte("garbage"))
	eventually(t, "it is noticed", func() bool { return s.ClientProblem() != "" })
	if err := try(old); err != nil {
		t.Errorf("a bad file has shut clients out: %v", err)
	}
	certtest.Write(t, o.ClientAuth.CAFile, next.PEM())
	eventually(t, "the next CA is believed", func() bool { return try(next) == nil })
	if try(old) == nil {
		t.Error("the old CA is believed on")
	}
	if s.ClientProblem() != "" || j.count("cannot be exchanged") != 1 {
		t.Errorf("%q, told %d times", s.ClientProblem(), j.count("cannot be exchanged"))
	}
}

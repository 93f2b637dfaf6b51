package certs

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
)

func TestChoice(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	o := options(t,
		ca.Issue(t, "ecdsa", []string{"first.example"}),
		ca.Issue(t, "rsa", []string{"shop.example", "www.shop.example"}),
		ca.Issue(t, "ecdsa", []string{"*.shop.example", "shop.example"}),
		ca.Issue(t, "rsa", []string{"*.example"}),
	)
	s, _ := open(t, o, nil)
	onlyRSA := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	for _, c := range []struct {
		name, host string
		client     *tls.Config
		want       int // of the certificates
	}{
		{"its name", "first.example", nil, 0},
		{"in capitals", "FIRST.Example", nil, 0},
		{"no name", "", nil, 0},
		{"an unknown name", "elsewhere.test", nil, 0},
		{"two for one name, the better one", "shop.example", nil, 2},
		{"two for one name, a client that knows RSA alone", "shop.example", onlyRSA, 1},
		{"an exact name before a pattern", "www.shop.example", nil, 1},
		{"a pattern", "api.shop.example", nil, 2},
		{"a pattern has one label", "a.b.shop.example", nil, 0},
		{"a shorter pattern", "other.example", nil, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := c.client
			if client == nil {
				client = &tls.Config{}
			}
			client = client.Clone()
			client.ServerName, client.InsecureSkipVerify = c.host, true
			state, err, serverErr := shake(t, s.Config(), client)
			if err != nil || serverErr != nil {
				t.Fatal(err, serverErr)
			}
			want := s.set.Load().all[c.want]
			if got := state.PeerCertificates[0]; !got.Equal(want.Leaf) {
				t.Errorf("got the certificate for %v (%v), want number %d", got.DNSNames, got.PublicKeyAlgorithm, c.want)
			}
		})
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"shop.example", "api.shop.example", true}, {"shop.example", "www.shop.example", false}, {"first.example", "shop.example", false},
		{"", "first.example", true}, {"elsewhere.test", "first.example", true}, {"SHOP.example.", "shop.example", true}, {"first.example", "x.example", false},
	} {
		if s.SameSite(c.a, c.b) != c.same {
			t.Errorf("%q and %q are one site: %v", c.a, c.b, !c.same)
		}
	}
}

func TestHostsNarrowTheChoice(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example", "b.example"}), ca.Issue(t, "ecdsa", []string{"*.example"}))
	o.Certificates[0].Hosts = []string{"A.example"}
	s, _ := open(t, o, nil)
	for host, want := range map[string]int{"a.example": 0, "b.example": 1} {
		state, err, _ := shake(t, s.Config(), &tls.Config{ServerName: host, RootCAs: ca.Pool()})
		if err != nil || !state.PeerCertificates[0].Equal(s.set.Load().all[want].Leaf) {
			t.Errorf("%s: %v %v", host, err, state.PeerCertificates)
		}
	}
}

func TestNeverShown(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example", "b.example"}), ca.Issue(t, "ecdsa", []string{"b.example"}), ca.Issue(t, "rsa", []string{"b.example"}))
	var pairs []*Pair
	for _, f := range o.Certificates {
		p, bad := Load(f, time.Now())
		if bad != nil {
			t.Fatal(bad)
		}
		pairs = append(pairs, p)
	}
	got := NeverShown(pairs)
	if len(got) != 1 || !strings.Contains(got[1], "a.pem comes first") {
		t.Errorf("%v", got)
	}
}

func TestWhatIsSpoken(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	o := options(t, ca.Issue(t, "ecdsa", []string{"a.example"}))
	s12, _ := open(t, o, nil)
	o.MinVersion = "1.3"
	s13, _ := open(t, o, nil)
	base := tls.Config{ServerName: "a.example", RootCAs: ca.Pool()}
	for _, c := range []struct {
		name   string
		s      *Store
		change func(*tls.Config)
		reason Reason
		ok     bool
	}{
		{"1.3", s12, func(*tls.Config) {}, 0, true},
		{"1.2", s12, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, 0, true},
		{"1.1", s12, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, ReasonVersion, false},
		{"1.2 where 1.3 is wanted", s13, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, ReasonVersion, false},
		{"CBC", s12, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, ReasonCipher, false},
		{"http/1.1", s12, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, 0, true},
		{"h2 alone", s12, func(c *tls.Config) { c.NextProtos = []string{"h2"} }, ReasonALPN, false},
		{"a client that does not trust the CA", s12, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, ReasonRejected, false},
		{"a client that expects another name", s12, func(c *tls.Config) { c.ServerName = "b.example" }, ReasonRejected, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := base.Clone()
			c.change(client)
			state, err, serverErr := shake(t, c.s.Config(), client)
			if (err == nil) != c.ok {
				t.Fatalf("client: %v, server: %v", err, serverErr)
			}
			if !c.ok && ReasonOf(serverErr) != c.reason {
				t.Errorf("%v is said to be %v, want %v", serverErr, ReasonOf(serverErr), c.reason)
			}
			if c.ok && len(client.NextProtos) > 0 && state.NegotiatedProtocol != "http/1.1" {
				t.Errorf("speaks %q", state.NegotiatedProtocol)
			}
		})
	}
}

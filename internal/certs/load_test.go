package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
)

func TestLoad(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	for _, c := range []struct {
		name, key string
		hosts     []string
		names     []string
	}{
		{"ecdsa", "ecdsa", []string{"Shop.Example.com", "*.shop.example.com"}, []string{"shop.example.com", "*.shop.example.com"}},
		{"rsa", "rsa", []string{"a.example"}, []string{"a.example"}},
		{"ed25519", "ed25519", []string{"a.example", "192.0.2.1"}, []string{"a.example", "192.0.2.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Files{}
			f.CertFile, f.KeyFile = ca.Issue(t, c.key, c.hosts).Files(t, t.TempDir(), "a")
			p, problems := Load(f, time.Now())
			if problems != nil {
				t.Fatal(problems)
			}
			if strings.Join(p.Names, " ") != strings.Join(c.names, " ") || p.KeyType != c.key || p.issuer == nil || len(p.Warnings) > 0 {
				t.Errorf("%v %s, issuer %v, warnings %q", p.Names, p.KeyType, p.issuer != nil, p.Warnings)
			}
		})
	}
}

func TestLoadOneFileWithBoth(t *testing.T) {
	pair := certtest.NewCA(t, "Test CA").Issue(t, "ecdsa", []string{"a.example"})
	path := filepath.Join(t.TempDir(), "both.pem")
	certtest.Write(t, path, append(pair.KeyPEM(t), pair.Chain...))
	if _, problems := Load(Files{CertFile: path, KeyFile: path}, time.Now()); problems != nil {
		t.Error(problems)
	}
}

func TestLoadOldKeyFormats(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	for kind, encode := range map[string]func(any) (string, []byte, error){
		"rsa": func(k any) (string, []byte, error) {
			return "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.(*rsa.PrivateKey)), nil
		},
		"ecdsa": func(k any) (string, []byte, error) {
			der, err := x509.MarshalECPrivateKey(k.(*ecdsa.PrivateKey))
			return "EC PRIVATE KEY", der, err
		},
	} {
		pair := ca.Issue(t, kind, []string{"a.example"})
		cert, key := pair.Files(t, t.TempDir(), "a")
		name, der, err := encode(pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		// As openssl ecparam -genkey writes it.
		text := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der}))
		certtest.Write(t, key, []byte(text))
		if _, problems := Load(Files{CertFile: cert, KeyFile: key}, time.Now()); problems != nil {
			t.Errorf("%s: %v", kind, problems)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	good := ca.Issue(t, "ecdsa", []string{"a.example"})
	other := ca.Issue(t, "ecdsa", []string{"b.example"})
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		pair  *certtest.Pair
		cert  []byte // in place of that of the pair
		key   []byte
		hosts []string
		want  string // "cert: " or "key: " and a part of the message
	}{
		{name: "no certificate file", cert: nil, want: "cert: does not exist"},
		{name: "empty", cert: []byte{}, want: "cert: is empty"},
		{name: "half written", cert: good.Chain[:300], want: "cert: has no certificate in PEM"},
		{name: "cut in the chain's second", cert: good.Chain[:len(good.Chain)-100], want: ""},
		{name: "text", cert: []byte("hello\n"), want: "cert: has no certificate in PEM"},
		{name: "der", cert: good.Cert.Raw, want: "cert: is DER and not PEM; openssl x509"},
		{name: "exchanged", cert: good.KeyPEM(t), key: good.Chain, want: "cert: has a key and no certificate; are cert and key exchanged"},
		{name: "key is a certificate", key: good.Chain, want: "key: has a certificate and no key"},
		{name: "garbage within", cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1, 2, 3}}), want: "cert: has a certificate (number 1) that cannot be read"},
		{name: "key half written", key: good.KeyPEM(t)[:60], want: "key: has no key in PEM"},
		{name: "key of another", key: other.KeyPEM(t), want: "key: is not the key of the certificate in"},
		{name: "encrypted", key: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}), want: "key: has a key that is encrypted"},
		{name: "wrong order", cert: append(ca.PEM(), good.Chain...), want: "cert: has the certificate of the key as number 2; put it first"},
		{name: "expired", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(-48*time.Hour, -time.Hour)), want: "cert: has expired on"},
		{name: "not yet valid", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(time.Hour, 48*time.Hour)), want: "cert: is not valid before"},
		{name: "of a client", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.For(x509.ExtKeyUsageClientAuth)), want: "cert: is not meant for servers"},
		{name: "no names", pair: ca.Issue(t, "ecdsa", []string{"Some Body"}), want: "cert: names no host"},
		{name: "wrong name", hosts: []string{"a.example", "c.example"}, want: "hosts: is not valid for c.example (it is for a.example)"},
		{name: "wrong pattern", hosts: []string{"*.example"}, want: "hosts: is not valid for *.example"},
		{name: "weak", pair: ca.IssueFor(t, weak, []string{"a.example"}), want: "key: has an RSA key of 1024 bits"},
		{name: "odd curve", pair: ca.IssueFor(t, odd, []string{"a.example"}), want: "key: has an ECDSA key on P-224"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair := c.pair
			if pair == nil {
				pair = good
			}
			f := Files{Hosts: c.hosts}
			f.CertFile, f.KeyFile = pair.Files(t, t.TempDir(), "a")
			switch {
			case c.cert != nil:
				certtest.Write(t, f.CertFile, c.cert)
			case c.name == "no certificate file":
				if err := os.Remove(f.CertFile); err != nil {
					t.Fatal(err)
				}
			}
			if c.key != nil {
				certtest.Write(t, f.KeyFile, c.key)
			}
			p, problems := Load(f, time.Now())
			if c.want == "" {
				if problems != nil {
					t.Errorf("refused: %v", problems)
				}
				return
			}
			if problems == nil || p != nil {
				t.Fatalf("accepted: %+v", p)
			}
			bad := problems[0]
			key, text, _ := strings.Cut(c.want, ": ")
			if bad.Key != key || !strings.HasPrefix(bad.Msg+"; "+bad.Cure, text) || bad.Cure == "" {
				t.Errorf("%s: %v, want %s", bad.Key, bad, c.want)
			}
			if bad.Missing != (c.name == "no certificate file") {
				t.Errorf("missing: %v", bad.Missing)
			}
		})
	}
}

func TestLoadWarns(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	aia := func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example/ca.der"} }
	for _, c := range []struct {
		name  string
		pair  *certtest.Pair
		alone bool
		want  string
	}{
		{name: "ten days left", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(-80*24*time.Hour, 10*24*time.Hour)), want: "expires on"},
		{name: "twenty days left", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(-70*24*time.Hour, 20*24*time.Hour))},
		{name: "lives for a day", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(-time.Hour, 23*time.Hour))},
		{name: "lives for a day, five hours left", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, certtest.Between(-19*time.Hour, 5*time.Hour)), want: "expires on"},
		{name: "without the chain", pair: ca.Issue(t, "ecdsa", []string{"a.example"}, aia), alone: true, want: "full chain"},
		{name: "private, without the chain", pair: ca.Issue(t, "ecdsa", []string{"a.example"}), alone: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.alone {
				c.pair.Chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.pair.Cert.Raw})
			}
			f := Files{}
			f.CertFile, f.KeyFile = c.pair.Files(t, t.TempDir(), "a")
			p, problems := Load(f, time.Now())
			if problems != nil {
				t.Fatal(problems)
			}
			if got := strings.Join(p.Warnings, "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("warnings %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheckCAs(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	leaf := ca.Issue(t, "ecdsa", []string{"a.example"})
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"right", "", ca.PEM()},
		{"two", "", append(ca.PEM(), certtest.NewCA(t, "Other").PEM()...)},
		{"a leaf", "is not of a CA", leaf.Chain},
		{"nothing", "has no certificate", []byte("x")},
	} {
		path := filepath.Join(t.TempDir(), "ca.pem")
		certtest.Write(t, path, c.data)
		bad := CheckCAs(path, time.Now())
		if (bad == nil) != (c.want == "") || bad != nil && !strings.Contains(bad.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, bad, c.want)
		}
	}
	if bad := CheckCAs("/does/not/exist", time.Now()); bad == nil || !bad.Missing {
		t.Errorf("a file that is not there: %v", bad)
	}
}

// FuzzLoad must survive whatever stands in the files.
func FuzzLoad(f *testing.F) {
	pair := certtest.NewCA(f, "Test CA").Issue(f, "ecdsa", []string{"a.example"})
	f.Add(pair.Chain, pair.KeyPEM(f))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add(bytes.Repeat([]byte("-----BEGIN X-----\n"), 100), []byte{0x30, 0x82})
	dir := f.TempDir()
	cert, key := filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key")
	f.Fuzz(func(t *testing.T, c, k []byte) {
		if os.WriteFile(cert, c, 0o600) != nil || os.WriteFile(key, k, 0o600) != nil {
			t.Skip()
		}
		p, problems := Load(Files{CertFile: cert, KeyFile: key}, time.Now())
		if (p == nil) == (problems == nil) {
			t.Fatalf("%v %v", p, problems)
		}
		for _, bad := range problems {
			if bad.Msg == "" || bad.Cure == "" || bad.Key == "" {
				t.Errorf("%+v", bad)
			}
		}
	})
}

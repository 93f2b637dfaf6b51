// Package certtest makes certificates for tests: a CA, what it issues, and the
// files of both.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// CA issues certificates.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	Name string
}

// NewCA makes a CA.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	key := NewKey(t, "ecdsa")
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name, Organization: []string{"Steelyard Tests"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return &CA{Cert: sign(t, template, template, key.Public(), key), Key: key, Name: name}
}

// Pool has the CA alone.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

// PEM is the certificate of the CA.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.Cert.Raw) }

// File writes the certificate of the CA.
func (ca *CA) File(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	Write(t, path, ca.PEM())
	return path
}

// Option changes the template of a certificate.
type Option func(*x509.Certificate)

// Between sets how long the certificate is valid, from now.
func Between(from, to time.Duration) Option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

// For sets what the certificate may be used for.
func For(use ...x509.ExtKeyUsage) Option {
	return func(c *x509.Certificate) { c.ExtKeyUsage = use }
}

// Pair is a certificate with its key.
type Pair struct {
	Cert  *x509.Certificate
	Key   crypto.Signer
	Chain []byte // PEM: the certificate, and who signed it
	CA    *CA
}

// Issue makes a certificate: for the hosts, names with @ being of people and
// those with :// being URIs, with the first as the common name. The key is ecdsa,
// ed25519 or rsa.
func (ca *CA) Issue(t testing.TB, key string, hosts []string, options ...Option) *Pair {
	t.Helper()
	return ca.IssueFor(t, NewKey(t, key), hosts, options...)
}

// IssueFor is Issue for a key there is.
func (ca *CA) IssueFor(t testing.TB, key crypto.Signer, hosts []string, options ...Option) *Pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for i, h := range hosts {
		ip := net.ParseIP(h)
		if i == 0 {
			template.Subject.CommonName = h
		}
		switch {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case strings.Contains(h, "://"):
			u, err := url.Parse(h)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		case strings.Contains(h, "@"):
			template.EmailAddresses = append(template.EmailAddresses, h)
		case !strings.Contains(h, " "):
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	for _, o := range options {
		o(template)
	}
	c := sign(t, template, ca.Cert, key.Public(), ca.Key)
	return &Pair{Cert: c, Key: key, Chain: append(encode("CERTIFICATE", c.Raw), ca.PEM()...), CA: ca}
}

// KeyPEM is the key in PKCS #8.
func (p *Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

// Files writes certificate and key into a folder, as name.pem and name.key.
func (p *Pair) Files(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	p.WriteTo(t, cert, key)
	return cert, key
}

// WriteTo puts the pair into files, each at once and whole.
func (p *Pair) WriteTo(t testing.TB, cert, key string) {
	t.Helper()
	Write(t, key, p.KeyPEM(t))
	Write(t, cert, p.Chain)
}

// TLS is the pair as crypto/tls has it.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Cert.Raw, p.CA.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
}

// Write puts another file in the place of the one there is.
func Write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// rsaKey is made once for all: it takes long, and no test looks at it.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewKey makes a key: ecdsa, ed25519 or rsa, which is always the same one.
func NewKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsaKey()
	case "ed25519":
		_, key, err = newEd25519()
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519() (ed25519.PublicKey, crypto.Signer, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	return pub, key, err
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

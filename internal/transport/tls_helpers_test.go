package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// certificate is a self-signed certificate for 127.0.0.1 and backend.test, and
// a pool that trusts it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "backend.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"backend.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

func serverConfig(version uint16) *tls.Config {
	cert, _ := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version}
}

func clientConfig(version uint16) *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "backend.test", MinVersion: version, MaxVersion: version}
}

// watched is a network connection that can be told to hold back what is written,
// as a network does in the middle of a record.
type watched struct {
	net.Conn
	mu   sync.Mutex
	hold bool
	held []byte
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hold {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// let passes n of the held bytes on, all with n < 0.
func (w *watched) let(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < 0 {
		n, w.hold = len(w.held), false
	}
	_ = w.SetWriteDeadline(time.Time{}) // crypto/tls sets one behind its last word
	_, _ = w.Conn.Write(w.held[:n])
	w.held = w.held[n:]
}

func (w *watched) holdBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = true
}

// pair is a Socket with TLS and the other end, which is crypto/tls over a plain
// connection.
type pair struct {
	s     *Socket
	far   *tls.Conn
	below *watched
}

// tlsPair makes a pair after its handshake; client says which side s is.
func tlsPair(t testing.TB, network string, version uint16, client bool, change func(near, far *tls.Config)) *pair {
	t.Helper()
	b := newBackend(t, network)
	nc, err := net.Dial(network, b.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far := serverConfig(version), clientConfig(version)
	if client {
		near, far = far, near
	}
	if change != nil {
		change(near, far)
	}
	p := &pair{s: &Socket{}, below: &watched{Conn: other}}
	wrap := func(c net.Conn) *tls.Conn { return tls.Server(c, near) }
	p.far = tls.Client(p.below, far)
	if client {
		wrap = func(c net.Conn) *tls.Conn { return tls.Client(c, near) }
		p.far = tls.Server(p.below, far)
	}
	if err := p.s.InitTLS(nc, wrap); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.s.Close(), p.far.Close() })
	shaken := make(chan error, 1)
	go func() { shaken <- p.far.Handshake() }()
	_ = p.s.SetDeadline(time.Now().Add(5 * time.Second))
	err = p.s.TLS().HandshakeContext(t.Context())
	if other := <-shaken; err != nil || other != nil {
		t.Fatalf("handshake: %v, the other end: %v", err, other)
	}
	_ = p.s.SetDeadline(time.Time{})
	return p
}

// say makes the other end write.
func (p *pair) say(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(p.far, text); err != nil {
		t.Fatal(err)
	}
}

// hear is what the other end reads, of a length that is known.
func (p *pair) hear(t testing.TB, n int) string {
	t.Helper()
	buf := make([]byte, n)
	if _, err := io.ReadFull(p.far, buf); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

// everyTLS runs a test for both versions, both roles and both networks.
func everyTLS(t *testing.T, f func(t *testing.T, p *pair)) {
	for _, network := range []string{"tcp", "unix"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, role := range []string{"client", "server"} {
				t.Run(network+" "+tls.VersionName(version)+" "+role, func(t *testing.T) {
					noLeaks(t)
					f(t, tlsPair(t, network, version, role == "client", nil))
				})
			}
		}
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// otherKey is a key that goes with no certificate.
func otherKey(t testing.TB) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("PRIVATE KEY", der)
}

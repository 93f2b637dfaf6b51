package healthcheck

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a certificate authority of one test.
type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{file, cert, key}
}

// server is the TLS configuration of a server with a certificate that ends at
// until.
func (a *authority) server(t *testing.T, until time.Time, names []string, ips ...net.IP) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		DNSNames: names, IPAddresses: ips, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// serveTLS is serve with TLS.
func serveTLS(t *testing.T, conf *tls.Config, handle func(net.Conn)) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, handle)
}

func TestTLS(t *testing.T) {
	leaks(t)
	ca, other := newAuthority(t), newAuthority(t)
	later, local := time.Now().Add(time.Hour), net.IPv4(127, 0, 0, 1)
	good := func(c net.Conn) {
		say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(c)
		untilClosed(c)
	}
	var sni string
	noting := ca.server(t, later, []string{"app.example.com"})
	noting.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { sni = h.ServerName; return nil, nil }
	cases := []struct {
		name    string
		server  *tls.Config // nil: a server without TLS
		tls     TLS
		host    string
		want    string
		wantSNI string
	}{
		{"name from the options", noting, TLS{CAFile: ca.file, ServerName: "app.example.com"}, "", "", "app.example.com"},
		{"name from Host", noting, TLS{CAFile: ca.file}, "app.example.com:8443", "", "app.example.com"},
		{"an address is no SNI", ca.server(t, later, nil, local), TLS{CAFile: ca.file}, "", "", ""},
		{"insecure", noting, TLS{Insecure: true}, "", "", ""},
		{"wrong name", noting, TLS{CAFile: ca.file}, "", `certificate is not for "127.0.0.1" (it is for app.example.com); set tls.server_name`, ""},
		{"no names", ca.server(t, later, nil), TLS{CAFile: ca.file, ServerName: "x"}, "", `certificate is not for "x" (it has no names)`, ""},
		{"expired", ca.server(t, time.Now().Add(-time.Hour), nil, local), TLS{CAFile: ca.file}, "", "certificate is not valid now: it expired on ", ""},
		{"unknown authority", noting, TLS{CAFile: other.file, ServerName: "app.example.com"}, "", "certificate is signed by an unknown authority", ""},
		{"system authorities", noting, TLS{ServerName: "app.example.com"}, "", "; set tls.ca", ""},
		{"no TLS there", nil, TLS{Insecure: true}, "", "the backend does not speak TLS on this port", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			address := serve(t, say("HTTP/1.1 400 Bad Request\r\n\r\n"))
			if c.server != nil {
				address = serveTLS(t, c.server, good)
			}
			sni = ""
			o := testOptions("http")
			o.TLS, o.HTTP.Host = &c.tls, c.host
			_, err := runProbe(t, o, address)
			wantError(t, err, c.want)
			if sni != c.wantSNI && c.want == "" {
				t.Errorf("SNI %q, expected %q", sni, c.wantSNI)
			}
		})
	}
	t.Run("hangs in the handshake", func(t *testing.T) {
		o := testOptions("tcp")
		o.Timeout, o.TLS = 50*time.Millisecond, &TLS{Insecure: true}
		_, err := runProbe(t, o, serve(t, untilClosed))
		wantError(t, err, "no TLS handshake within 50ms")
	})
	t.Run("closes in the handshake", func(t *testing.T) {
		o := testOptions("tcp")
		o.TLS = &TLS{Insecure: true}
		_, err := runProbe(t, o, serve(t, say("")))
		wantError(t, err, "connection closed within the TLS handshake")
	})
	t.Run("a unix socket has no name", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		serveOn(t, ln, untilClosed)
		o := testOptions("tcp")
		o.TLS = &TLS{}
		_, err = runProbe(t, o, "unix:"+path)
		wantError(t, err, "set tls.server_name")
	})
}

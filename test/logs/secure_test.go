package logs_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// secureListener is one that speaks TLS with two hosts, and asks clients for
// certificates.
type secureListener struct {
	address string
	ca      *certtest.CA
	keys    string // of the listener
}

func newSecureListener(t *testing.T) *secureListener {
	t.Helper()
	s := &secureListener{address: harness.FreeAddress(t), ca: certtest.NewCA(t, "Lab CA")}
	dir := t.TempDir()
	var files []string
	for _, host := range []string{"a.test", "b.test"} {
		cert, key := s.ca.Issue(t, "ecdsa", []string{host}).Files(t, dir, host)
		files = append(files, fmt.Sprintf("{cert: %q, key: %q}", cert, key))
	}
	ca := filepath.Join(dir, "ca.pem")
	certtest.Write(t, ca, s.ca.PEM())
	s.keys = fmt.Sprintf("{address: %q, tls: {certificates: [%s], client_auth: %q}}", s.address, strings.Join(files, ", "), ca)
	return s
}

// ask sends a request over TLS for a.test.
func (s *secureListener) ask(t *testing.T, request string) *harness.Message {
	t.Helper()
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{
		ServerName: "a.test", RootCAs: s.ca.Pool(), Certificates: []tls.Certificate{s.ca.Issue(t, "ecdsa", []string{"Ann"}).TLS()},
	}}
	c, err := d.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	return (&harness.Conn{Conn: c, R: bufio.NewReader(c)}).Exchange(t, request)
}

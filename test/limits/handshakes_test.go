package limits_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// TestHandshakesTakeTurns: with max_handshakes there are no more TLS handshakes at
// once; others wait for their turn, and are closed when header_timeout is over.
func TestHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t, "Test CA")
	cert, key := ca.Issue(t, "ecdsa", []string{"a.test"}).Files(t, t.TempDir(), "a")
	yaml := func(limits string) string {
		return fmt.Sprintf(fixed, fmt.Sprintf("%s, tls: {certificates: [{cert: %q, key: %q}]}", limits, cert, key))
	}
	s := harness.Start(t, yaml("max_handshakes: 1, header_timeout: 1m"))
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"}
	shake := func() error {
		c := from(t, "127.0.0.1", s.Address)
		return tls.Client(c, client).HandshakeContext(t.Context())
	}
	if err := shake(); err != nil {
		t.Fatal(err)
	}
	idle := from(t, "127.0.0.1", s.Address) // who says nothing takes no turn
	stalls := stall(t, s.Address, client)
	waits := make(chan error, 1)
	go func() { waits <- shake() }()
	if g := s.Reload(t, yaml("max_handshakes: 1, header_timeout: 300ms")); !g.LastOK {
		t.Fatal(g.Errors)
	}
	if err := shake(); err == nil {
		t.Error("there were two handshakes at once")
	}
	harness.Eventually(t, patience, "who waited in vain is counted", func() bool { return rejected(t, s, "max_handshakes") == 1 })
	if !strings.Contains(s.Output(), "limit=max_handshakes") {
		t.Error("the log does not say so")
	}
	if len(waits) > 0 {
		t.Errorf("who may wait longer got %v", <-waits)
	}
	stalls.Close()
	select {
	case err := <-waits:
		if err != nil {
			t.Errorf("who waited for its turn got %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the turn never came")
	}
	idle.Close()
	stalls = stall(t, s.Address, client)
	if g := s.Reload(t, yaml("max_handshakes: 2, header_timeout: 10s")); !g.LastOK {
		t.Fatal(g.Errors)
	}
	if err := shake(); err != nil {
		t.Errorf("with one more at once: %v", err)
	}
	stalls.Close()
}

// firstOnly is a connection that loses what is written after the first message.
type firstOnly struct {
	net.Conn
	said bool
}

func (f *firstOnly) Write(p []byte) (int, error) {
	if f.said {
		return len(p), nil
	}
	f.said = true
	return f.Conn.Write(p)
}

// stall begins a handshake, up to the point where the server has done its work, and
// does not end it.
func stall(t *testing.T, address string, client *tls.Config) net.Conn {
	t.Helper()
	c := from(t, "127.0.0.1", address)
	if err := tls.Client(&firstOnly{Conn: c}, client).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

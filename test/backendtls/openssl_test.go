package backendtls_test

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// console is openssl s_server, which serves one connection at a time, prints what
// comes and sends what is typed; a line of one letter is an order.
type console struct {
	*harness.Process
	address string
	keys    io.Writer
}

func (w *world) console(t *testing.T, version string) *console {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed; run: tools/need openssl")
	}
	c := &console{address: harness.FreeAddress(t)}
	_, port, _ := net.SplitHostPort(c.address)
	cmd := exec.Command(path, "s_server", "-accept", port, "-4", "-cert", w.path("good.pem"), "-key", w.path("good.key"), "-"+version, "-crlf")
	if c.keys, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	c.Process = harness.Run(t, "openssl", cmd)
	harness.Eventually(t, 10*time.Second, "openssl listens", func() bool { return strings.Contains(c.Output(), "ACCEPT") })
	return c
}

// serve answers the n-th request of all.
func (c *console) serve(t *testing.T, s *harness.Steelyard, n int) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, _, err := harness.Do(harness.Client(t), "GET", s.URL+"/", "")
		done <- err
	}()
	harness.Eventually(t, 10*time.Second, "the request arrives", func() bool { return strings.Count(c.Output(), "GET / HTTP/1.1") == n })
	if _, err := io.WriteString(c.keys, "HTTP/1.1 200 OK\nContent-Length: 4\n\nok\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("request %d: %v", n, err)
	}
	// The client has its answer a moment before the connection can be used again.
	harness.Eventually(t, 10*time.Second, "the request has ended", func() bool { return s.Backend(t, "web", c.address).InFlight == 0 })
}

// connections is how many there have been.
func (c *console) connections() int {
	return strings.Count(c.Output(), "-----BEGIN SSL SESSION PARAMETERS-----")
}

// TestKeyUpdate: new keys in the middle of a connection's life, while it is idle too.
func TestKeyUpdate(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	c := w.console(t, "tls1_3")
	s := w.start(`backends: "` + c.address + `", retry: off, tls: {ca: DIR/ca.pem}`)
	for n := range 3 {
		c.serve(t, s, n+1)
		if _, err := io.WriteString(c.keys, "K\n"); err != nil { // and the other side is to do the same
			t.Fatal(err)
		}
	}
	if n := c.connections(); n != 1 {
		t.Errorf("%d connections for three requests\n%s", n, c.Output())
	}
}

// TestNoRenegotiation: a backend that wants to begin anew, perhaps as somebody else,
// gets another connection.
func TestNoRenegotiation(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	c := w.console(t, "tls1_2")
	s := w.start(`backends: "` + c.address + `", tls: {ca: DIR/ca.pem}`)
	c.serve(t, s, 1)
	if _, err := io.WriteString(c.keys, "R\n"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 10*time.Second, "the connection is given up", func() bool { return s.Backend(t, "web", c.address).Connections == 0 })
	c.serve(t, s, 2)
	if n := c.connections(); n != 2 {
		t.Errorf("%d connections\n%s", n, c.Output())
	}
}

package transport

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// eventually waits for a condition, at most 5 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// noLeaks fails the test if it leaves goroutines or descriptors behind. It must
// be called first, so that it checks last.
func noLeaks(t testing.TB) {
	t.Helper()
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	warmUp.Do(func() { // the poller's own descriptors come with the first socket
		if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
			_ = ln.Close()
		}
	})
	goroutines, fds := runtime.NumGoroutine(), descriptors()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "no descriptor is left", func() bool { return descriptors() <= fds })
	})
}

var warmUp sync.Once

// backend is the other end of an endpoint's connections, in the order they were
// made.
type backend struct {
	t     testing.TB
	ln    net.Listener
	conns []net.Conn
}

func newBackend(t testing.TB, network string) *backend {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{t: t, ln: ln}
	t.Cleanup(func() {
		_ = ln.Close()
		for _, c := range b.conns {
			_ = c.Close()
		}
	})
	return b
}

// endpoint makes an endpoint for the backend; change may be nil.
func (b *backend) endpoint(change func(*Options)) *Endpoint {
	o := DefaultOptions()
	if change != nil {
		change(&o)
	}
	address := b.ln.Addr().String()
	if b.ln.Addr().Network() == "unix" {
		address = "unix:" + address
	}
	e := NewEndpoint(address, o)
	b.t.Cleanup(func() {
		e.Close()
		if n := e.Open(); n != 0 && !b.t.Failed() {
			b.t.Errorf("%d connections are counted as open at the end", n)
		}
	})
	return e
}

// dial makes a connection and its other end.
func (b *backend) dial(e *Endpoint) (*Conn, net.Conn) {
	b.t.Helper()
	c, err := e.Dial()
	if err != nil {
		b.t.Fatal(err)
	}
	nc, err := b.ln.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	b.conns = append(b.conns, nc)
	return c, nc
}

// idle makes n connections that were given back at the times.
func (b *backend) idle(e *Endpoint, times ...time.Duration) []*Conn {
	b.t.Helper()
	var list []*Conn
	for range times {
		c, _ := b.dial(e)
		list = append(list, c)
	}
	for i, c := range list {
		e.Put(c, times[i])
	}
	return list
}

// seen waits until c has seen what its peer did.
func (b *backend) seen(c *Conn, want SocketState) {
	b.t.Helper()
	eventually(b.t, "the peer's doing arrives", func() bool { return c.Socket.Peek() == want })
}

// reset closes a connection with RST.
func reset(t testing.TB, nc net.Conn) {
	t.Helper()
	if tc, ok := nc.(*net.TCPConn); ok {
		if err := tc.SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Close(); err != nil {
		t.Fatal(err)
	}
}

// both runs a test with TCP and with unix sockets.
func both(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			f(t, network)
		})
	}
}

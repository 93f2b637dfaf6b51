package pool

import (
	"net"
	"sync"
	"testing"

	"steelyard/internal/transport"
)

// newListener accepts connections and keeps them open until the test ends.
func newListener(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		var conns []net.Conn
		for {
			nc, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, nc)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		accepting.Wait()
	})
	return ln
}

func dial(t testing.TB, e *Endpoint) *transport.Conn {
	t.Helper()
	c, err := e.Conns.Dial()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSweep: the pool looks after idle connections by itself, and closes them in
// the end.
func TestSweep(t *testing.T) {
	ln := newListener(t)
	o := options(1)
	o.Backends[0].Address = ln.Addr().String()
	p, err := New("web", o)
	if err != nil {
		t.Fatal(err)
	}
	e := p.Snapshot().Endpoints[0]
	young, old := dial(t, e), dial(t, e)
	e.Conns.Put(old, transport.Now()-o.Transport.IdleTimeout)
	e.Conns.Put(young, transport.Now())
	eventually(t, "the old connection is closed", func() bool { return e.Conns.Idle() == 1 })
	p.Close()
	if e.Conns.Open() != 0 {
		t.Error("a connection is open after Close")
	}
}

package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// line is a preface that ends with LF, of at most 8 bytes.
func line(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("!")) {
		return 0, errEnough
	}
	return bytes.IndexByte(b, '\n') + 1, nil
}

// TestReadPreface takes the preface in whatever pieces it comes, and not a byte
// behind it.
func TestReadPreface(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		for _, c := range []struct {
			name   string
			pieces []string
			end    bool
			err    error
			left   string
		}{
			{"at once", []string{"hello\n"}, false, nil, ""},
			{"with more behind it", []string{"hello\nworld"}, false, nil, "world"},
			{"in pieces", []string{"h", "el", "lo", "\nwor", "ld"}, false, nil, "world"},
			{"exactly as long as allowed", []string{"1234567\nx"}, false, nil, "x"},
			{"too long", []string{"1234", "567890\n"}, false, errPrefaceTooLong, "90\n"},
			{"refused", []string{"!"}, false, errEnough, "!"},
			{"ended", []string{"hel"}, true, io.EOF, ""},
			{"late", []string{"hel"}, false, os.ErrDeadlineExceeded, ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				conn, peer := b.dial(b.endpoint(nil))
				defer conn.Close()
				go func() {
					for _, p := range c.pieces {
						_, _ = io.WriteString(peer, p)
						time.Sleep(2 * time.Millisecond)
					}
					if c.end {
						_ = peer.Close()
					}
				}()
				_ = conn.Socket.SetReadDeadline(time.Now().Add(time.Second))
				if errors.Is(c.err, os.ErrDeadlineExceeded) {
					_ = conn.Socket.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
				}
				if err := conn.Socket.ReadPreface(make([]byte, 8), line); !errors.Is(err, c.err) {
					t.Fatalf("got %v, want %v", err, c.err)
				}
				buf := make([]byte, len(c.left))
				if _, err := io.ReadFull(&conn.Socket, buf); err != nil || string(buf) != c.left {
					t.Errorf("%q is left, %v, want %q", buf, err, c.left)
				}
			})
		}
	})
}

// TestPrefacedConnections: a connection is used again only for the preface it began
// with, and makes room for those that can be used.
func TestPrefacedConnections(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(func(o *Options) { o.MaxIdle = 2 })
	dial := func(preface string) (*Conn, net.Conn) {
		t.Helper()
		c, err := e.DialWith(preface)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := b.ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		b.conns = append(b.conns, peer)
		got := make([]byte, len(preface))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != preface {
			t.Fatalf("the connection begins with %q, %v", got, err)
		}
		return c, peer
	}
	a, _ := dial("a")
	e.Put(a, Now())
	if c := e.GetFor("b", true, Now()); c != nil {
		t.Error("another client's connection is used")
	}
	if c := e.GetFor("a", true, Now()); c != a {
		t.Error("a client's own connection is not used")
	}
	e.Put(a, Now())
	for _, p := range []string{"b", "c"} {
		c, _ := dial(p)
		e.Put(c, Now())
	}
	if c := e.GetFor("a", true, Now()); c != nil || e.Idle() != 2 {
		t.Errorf("the oldest does not make room: %v, %d idle", c, e.Idle())
	}
	if c := e.Get(true, Now()); c != nil || e.Idle() != 0 {
		t.Errorf("connections with a preface are used, or kept, for who wants none: %v, %d idle", c, e.Idle())
	}
	plain, _ := dial("")
	e.Put(plain, Now())
	if c := e.GetFor("a", true, Now()); c != nil {
		t.Error("a connection without a preface is used for one")
	}
	d, _ := dial("d")
	e.Put(d, Now())
	if e.Drop("d"); e.Idle() != 1 || e.Open() != 1 {
		t.Errorf("%d idle, %d open after a client has left", e.Idle(), e.Open())
	}
}

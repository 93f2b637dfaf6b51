package transport

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// TestWriteBoth: all of both arrives in order, whatever the kernel takes at once.
func TestWriteBoth(t *testing.T) {
	noLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	pattern := func(n int, seed byte) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = seed + byte(i*7)
		}
		return p
	}
	for _, sizes := range [][2]int{{1, 1}, {200, 16 << 10}, {0, 100}, {100, 0}, {3 << 20, 10}, {10, 5 << 20}, {4 << 20, 4 << 20}} {
		p, q := pattern(sizes[0], 1), pattern(sizes[1], 2)
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte)
		go func() {
			time.Sleep(10 * time.Millisecond) // so that a large one finds the kernel's buffer full
			b, _ := io.ReadAll(peer)
			got <- b
		}()
		var s Socket
		if err := s.Init(nc); err != nil {
			t.Fatal(err)
		}
		n, err := s.WriteBoth(p, q)
		if err != nil || n != len(p)+len(q) {
			t.Errorf("%v: %d written, %v", sizes, n, err)
		}
		_ = s.Close()
		if b := <-got; !bytes.Equal(b, append(p, q...)) {
			t.Errorf("%v: what arrived is not what was sent; %d bytes", sizes, len(b))
		}
		_ = peer.Close()
	}
}

// TestWriteBothToNobody: a peer that has gone is an error, and no wait.
func TestWriteBothToNobody(t *testing.T) {
	noLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.(*net.TCPConn).SetLinger(0)
	_ = peer.Close()
	var s Socket
	if err := s.Init(nc); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eventually(t, "an error", func() bool {
		_, err := s.WriteBoth([]byte("a"), []byte("b"))
		return err != nil
	})
}

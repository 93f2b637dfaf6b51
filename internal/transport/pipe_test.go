package transport

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// sockets is one end of a connection as a Socket, and the other as it is.
func sockets(t testing.TB, network string) (*Socket, net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := &Socket{}
	if err := s.Init(nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(), peer.Close() })
	return s, peer
}

// closePipes closes the pipes that nobody uses.
func closePipes() {
	for {
		select {
		case k := <-freePipes:
			k.put(false)
		default:
			return
		}
	}
}

// text is n bytes that are different from those of another seed.
func text(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = seed + byte(i*7) + byte(i>>12)
	}
	return p
}

// move is what a body does: it moves all that comes through one pipe.
func move(from, to *Socket) (moved int, err error) {
	var p Pipe
	defer p.Drop()
	for {
		if err := from.FillPipe(&p, 1<<30); err != nil {
			return moved, err
		}
		n, err := to.WritePipe(&p)
		if moved += n; err != nil {
			return moved, err
		}
	}
}

// TestPipe: all of it arrives as it was, also through many pipes at once, to readers
// who are slow, and when it comes in bits.
func TestPipe(t *testing.T) {
	if !pipesWork {
		t.Skip("no pipes here")
	}
	both(t, func(t *testing.T, network string) {
		t.Cleanup(closePipes)
		var all sync.WaitGroup
		for i := range 8 {
			in, sender := sockets(t, network)
			out, reader := sockets(t, network)
			what := text(1+i*700_000, byte(i))
			all.Go(func() { // in parts of all sizes
				for rest := what; len(rest) > 0; {
					n := min(len(rest), 1+len(rest)/3)
					_, _ = sender.Write(rest[:n])
					rest = rest[n:]
				}
				_ = sender.(interface{ CloseWrite() error }).CloseWrite()
			})
			all.Go(func() {
				if n, err := move(in, out); n != len(what) || err != io.EOF {
					t.Errorf("%d of %d bytes, %v", n, len(what), err)
				}
				_ = out.Close()
			})
			all.Go(func() {
				if i%2 == 1 {
					time.Sleep(20 * time.Millisecond) // so that the kernel's buffers fill
				}
				if b, err := io.ReadAll(reader); err != nil || !bytes.Equal(b, what) {
					t.Errorf("%d bytes arrived, not what was sent; %v", len(b), err)
				}
			})
		}
		all.Wait()
	})
}

// TestPipeTakesNoMoreThanMost: what follows a body stays where it is.
func TestPipeTakesNoMoreThanMost(t *testing.T) {
	if !pipesWork {
		t.Skip("no pipes here")
	}
	in, sender := sockets(t, "tcp")
	out, reader := sockets(t, "tcp")
	if _, err := sender.Write([]byte("0123456789next")); err != nil {
		t.Fatal(err)
	}
	var p Pipe
	if err := in.FillPipe(&p, 10); err != nil || p.Len() != 10 {
		t.Fatal(p.Len(), err)
	}
	if n, err := out.WritePipe(&p); n != 10 || err != nil || p.kernel != nil {
		t.Fatal(n, err, "the pipe is kept")
	}
	b := make([]byte, 20)
	n, _ := in.Read(b)
	if m, _ := reader.Read(b[n:]); string(b[:n+m]) != "next0123456789" {
		t.Errorf("%q", b[:n+m])
	}
}

// TestPipeOfAnother: what one connection leaves in a pipe, no other ever gets, and
// waiting needs no pipe.
func TestPipeOfAnother(t *testing.T) {
	if !pipesWork {
		t.Skip("no pipes here")
	}
	in, sender := sockets(t, "tcp")
	gone, peer := sockets(t, "tcp")
	reset(t, peer)
	if _, err := sender.Write([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	var p Pipe
	if err := in.FillPipe(&p, 100); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reset arrives", func() bool { return gone.Peek() == SocketClosed })
	if _, err := gone.WritePipe(&p); err == nil || p.Len() != 6 {
		t.Fatal("written to nobody", p.Len(), err)
	}
	mine := p.kernel
	p.Drop()
	for range len(freePipes) {
		k := <-freePipes
		if k == mine {
			t.Error("a pipe with something in it is used again")
		}
		k.put(true)
	}
	before := pipes.Load() - int32(len(freePipes)) // in use
	done := make(chan error)
	go func() { done <- in.FillPipe(&p, 100) }()
	_ = in.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := <-done; err == nil || p.kernel != nil || pipes.Load()-int32(len(freePipes)) != before {
		t.Error("a pipe is held while nothing is there", err)
	}
}

// TestNoPipeLeft: with all pipes in use nothing is read, and nothing waits.
func TestNoPipeLeft(t *testing.T) {
	if !pipesWork {
		t.Skip("no pipes here")
	}
	in, sender := sockets(t, "tcp")
	if _, err := sender.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var held []*kernelPipe
	for k := getKernelPipe(); k != nil; k = getKernelPipe() {
		held = append(held, k)
	}
	if len(held) != maxPipes {
		t.Errorf("%d pipes, want %d", len(held), maxPipes)
	}
	var p Pipe
	if err := in.FillPipe(&p, 100); err != ErrNoPipe || p.kernel != nil {
		t.Error(err)
	}
	for _, k := range held {
		k.put(true)
	}
	if err := in.FillPipe(&p, 100); err != nil || p.Len() != 1 {
		t.Error(err)
	}
	p.Drop()
}

// TestWriteBeforePipe: what is before the pipe arrives before it, also when the kernel
// does not take it at once.
func TestWriteBeforePipe(t *testing.T) {
	if !pipesWork {
		t.Skip("no pipes here")
	}
	for _, n := range []int{0, 100, 8 << 20} {
		in, sender := sockets(t, "tcp")
		out, reader := sockets(t, "tcp")
		head, body := text(n, 1), text(50_000, 2)
		go func() { _, _ = sender.Write(body) }()
		var p Pipe
		if err := in.FillPipe(&p, 1<<20); err != nil {
			t.Fatal(err)
		}
		held := p.Len()
		got := make(chan []byte)
		go func() {
			time.Sleep(10 * time.Millisecond) // so that a large one finds the kernel's buffer full
			b, _ := io.ReadAll(reader)
			got <- b
		}()
		sent, err := out.WriteBeforePipe(head, &p)
		if err != nil || sent != n+held {
			t.Errorf("%d of %d and %d bytes, %v", sent, n, held, err)
		}
		_ = out.Close()
		if b := <-got; !bytes.Equal(b, append(head, body[:held]...)) {
			t.Errorf("%d bytes before a pipe: what arrived is not what was sent; %d bytes", n, len(b))
		}
	}
}

package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"steelyard/internal/wire"
)

// TestTLSReadWrite: bytes come and go as on a plain connection, large writes
// against a slow reader too.
func TestTLSReadWrite(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		if n, err := p.s.Read(nil); n != 0 || err != nil {
			t.Errorf("reading nothing: %d, %v", n, err)
		}
		buf := make([]byte, 64<<10)
		p.say(t, "hello")
		if n, err := p.s.Read(buf); string(buf[:n]) != "hello" || err != nil {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		p.say(t, "abcdef")
		got := ""
		for range 3 { // what is left of a record is there without waiting
			n, err := p.s.Read(buf[:2])
			if err != nil {
				t.Fatal(err)
			}
			got += string(buf[:n])
		}
		if got != "abcdef" {
			t.Errorf("in pieces: %q", got)
		}
		sent := bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
		var writing sync.WaitGroup
		writing.Go(func() {
			if n, err := p.s.Write(sent); n != len(sent) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		})
		if heard := p.hear(t, len(sent)); heard != string(sent) {
			t.Error("other bytes arrive")
		}
		writing.Wait()
	})
}

// TestTLSFill: a Reader is filled with what is inside TLS, holds no buffer while
// nothing comes, and a deadline harms nothing, in the middle of a record either.
func TestTLSFill(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		var r wire.Reader
		defer r.Release()
		timeout := func(what string) {
			t.Helper()
			_ = p.s.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
			if err := p.s.Fill(&r); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: Fill returns %v", what, err)
			}
			_, err := p.s.Read(make([]byte, 1))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: Read returns %v", what, err)
			}
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v is no timeout", what, err)
			}
			if r.Bytes() != nil {
				t.Errorf("%s: the reader holds a buffer", what)
			}
		}
		timeout("nothing there")
		p.below.holdBack()
		p.say(t, "hello")
		for _, n := range []int{1, 3, 4, 5} { // of the record's header, and behind it
			p.below.let(n)
			timeout("a part of a record")
		}
		p.below.let(-1)
		_ = p.s.SetReadDeadline(time.Now().Add(5 * time.Second))
		if err := p.s.Fill(&r); err != nil || string(r.Bytes()) != "hello" {
			t.Fatalf("filled %q, %v", r.Bytes(), err)
		}
		r.Release()
		p.say(t, "again")
		if err := p.s.Fill(&r); err != nil || string(r.Bytes()) != "again" {
			t.Fatalf("filled %q, %v", r.Bytes(), err)
		}
		r.Release()
	})
}

// TestTLSFillAtTheEnd: bytes that come together with the end are not lost.
func TestTLSFillAtTheEnd(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		p.below.holdBack()
		p.say(t, "last words")
		_ = p.far.CloseWrite()
		p.below.let(-1)
		var r wire.Reader
		_ = p.s.SetReadDeadline(time.Now().Add(5 * time.Second))
		if err := p.s.Fill(&r); err != nil || string(r.Bytes()) != "last words" {
			t.Fatalf("filled %q, %v", r.Bytes(), err)
		}
		r.Release()
		for range 2 {
			if err := p.s.Fill(&r); err != io.EOF || r.Bytes() != nil {
				t.Errorf("at the end: %v", err)
			}
			if _, err := p.s.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
		}
		if p.s.Truncated() {
			t.Error("an end that was said is taken for a truncation")
		}
	})
}

// TestTLSTruncated: an end that TLS does not know of can be told from one it does.
func TestTLSTruncated(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		p.say(t, "half of wh")
		_ = p.below.Close()
		got, err := io.ReadAll(p.s)
		if string(got) != "half of wh" || err != nil || !p.s.Truncated() {
			t.Errorf("read %q, %v, truncated: %v", got, err, p.s.Truncated())
		}
	})
}

// TestTLSCutRecord: a stream that ends inside a record is an error.
func TestTLSCutRecord(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		p.below.holdBack()
		p.say(t, "hello")
		p.below.let(7)
		_ = p.below.Close()
		if n, err := p.s.Read(make([]byte, 9)); n != 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

// ends are the ways in which a peer leaves.
var ends = []struct {
	name string
	end  func(t *testing.T, p *pair)
	// silent: nothing that is seen below TLS without reading
	silent bool
}{
	{"says so and closes", func(_ *testing.T, p *pair) { _ = p.far.Close() }, false},
	{"just closes", func(_ *testing.T, p *pair) { _ = p.below.Close() }, false},
	{"resets", func(t *testing.T, p *pair) { reset(t, p.below.Conn) }, false},
	{"ends its direction", func(_ *testing.T, p *pair) {
		_ = p.far.CloseWrite()
		_ = p.below.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}, false},
	{"only says so", func(_ *testing.T, p *pair) { _ = p.far.CloseWrite() }, true},
}

// TestTLSPeek: a look that another goroutine's read does not disturb sees who has
// left, and Idle sees it from TLS's word alone.
func TestTLSPeek(t *testing.T) {
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			everyTLS(t, func(t *testing.T, p *pair) {
				eventually(t, "a new connection is quiet", func() bool { return p.s.Idle() == SocketQuiet })
				if got := p.s.Peek(); got != SocketQuiet {
					t.Fatalf("Peek at a quiet one: %v", got)
				}
				e.end(t, p)
				want := SocketClosed
				if e.silent {
					want = SocketData
				}
				eventually(t, "Peek sees it", func() bool { return p.s.Peek() == want })
				if got := p.s.Idle(); got != SocketClosed {
					t.Errorf("Idle: %v", got)
				}
				if got := p.s.Idle(); got != SocketClosed {
					t.Errorf("Idle again: %v", got)
				}
			})
		})
	}
}

// TestTLSPeekBeforeUnread: who has left is seen although something is left to
// read, and that can be read still.
func TestTLSPeekBeforeUnread(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		p.say(t, "unread")
		eventually(t, "it arrives", func() bool { return p.s.Peek() == SocketData })
		_ = p.far.Close()
		eventually(t, "the end is seen", func() bool { return p.s.Peek() == SocketClosed })
		if got, err := io.ReadAll(p.s); string(got) != "unread" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// TestTLSIdleTickets: session tickets that come behind the handshake are not taken
// for bytes that nobody asked for, and are kept for the next connection.
func TestTLSIdleTickets(t *testing.T) {
	noLeaks(t)
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 3 {
		p := tlsPair(t, "tcp", tls.VersionTLS13, true, func(near, far *tls.Config) {
			near.ClientSessionCache = cache
			far.SetSessionTicketKeys([][32]byte{{1}})
			far.ClientAuth = tls.RequestClientCert // or the first ticket comes within the handshake
		})
		if i == 0 {
			eventually(t, "a ticket arrives", func() bool { return p.s.Peek() == SocketData })
		}
		if got := p.s.Idle(); got != SocketQuiet {
			t.Errorf("connection %d: Idle sees %v", i, got)
		}
		if got := p.s.TLS().ConnectionState().DidResume; got != (i > 0) {
			t.Errorf("connection %d: resumed: %v", i, got)
		}
		p.say(t, "unasked")
		eventually(t, "bytes that nobody asked for are seen", func() bool { return p.s.Idle() == SocketData })
	}
}

// TestTLSIdleGarbage: what is not TLS ends the connection.
func TestTLSIdleGarbage(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		eventually(t, "quiet", func() bool { return p.s.Idle() == SocketQuiet })
		_, _ = p.below.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n"))
		eventually(t, "bytes that are not TLS break the connection", func() bool { return p.s.Idle() == SocketClosed })
	})
}

// TestTLSCloseWrite: the peer gets the end and TLS's word for it, and can still
// send.
func TestTLSCloseWrite(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		if _, err := p.s.Write([]byte("all of it")); err != nil {
			t.Fatal(err)
		}
		_ = p.s.SetWriteDeadline(past) // as after a long silence
		if err := p.s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p.far); string(got) != "all of it" || err != nil {
			t.Errorf("the peer reads %q, %v", got, err)
		}
		if n, err := p.below.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("below TLS: %d, %v", n, err)
		}
		p.say(t, "answer")
		buf := make([]byte, 10)
		if n, err := p.s.Read(buf); string(buf[:n]) != "answer" || err != nil {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		if _, err := p.s.Write([]byte("x")); err == nil {
			t.Error("writing after CloseWrite works")
		}
	})
}

// TestTLSClose says the end, unless the connection is to be reset.
func TestTLSClose(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		rest := below(t, p, func() { _ = p.s.Close() })
		if len(rest) == 0 {
			t.Error("the end is not said")
		}
		if err := p.s.Close(); !errors.Is(err, net.ErrClosed) && err != nil {
			t.Errorf("closing again: %v", err)
		}
	})
	everyTLS(t, func(t *testing.T, p *pair) {
		p.s.ResetOnClose()
		if rest := below(t, p, func() { _ = p.s.Close() }); len(rest) != 0 {
			t.Errorf("an abrupt close says %x", rest)
		}
	})
}

// below is what arrives below TLS because of f, to the end.
func below(t *testing.T, p *pair, f func()) []byte {
	t.Helper()
	_ = p.below.SetReadDeadline(time.Now().Add(5 * time.Second))
	f()
	got, err := io.ReadAll(p.below)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection is not closed")
	}
	return got
}

// TestTLSCloseDoesNotWait: a peer that takes nothing does not hold who closes,
// nor does it get the impression of an end.
func TestTLSCloseDoesNotWait(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		_ = p.s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := p.s.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a write that nobody takes ends with %v", err)
		}
		_ = p.s.SetWriteDeadline(time.Time{})
		began := time.Now()
		_ = p.s.Close()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("closing takes %v", d)
		}
	})
}

// TestTLSInterrupt: another goroutine ends reads, writes and handshakes that wait.
func TestTLSInterrupt(t *testing.T) {
	everyTLS(t, func(t *testing.T, p *pair) {
		eventually(t, "quiet", func() bool { return p.s.Idle() == SocketQuiet })
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := p.s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the read ends with %v", err)
			}
		})
		waiting.Go(func() {
			if _, err := p.s.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the write ends with %v", err)
			}
		})
		var other Socket
		if err := other.Init(p.below.Conn); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the write begins", func() bool { return other.Peek() == SocketData })
		_ = p.s.SetDeadline(past)
		waiting.Wait()
		_ = p.s.SetDeadline(time.Time{})
		p.say(t, "still there")
		buf := make([]byte, 20)
		if n, err := p.s.Read(buf); string(buf[:n]) != "still there" || err != nil {
			t.Errorf("after the interruption %q, %v is read", buf[:n], err)
		}
	})
}

// TestTLSHandshakeEnds: a handshake ends at the deadline, with its context, and
// when the peer is no TLS at all.
func TestTLSHandshakeEnds(t *testing.T) {
	begin := func(t *testing.T) (*Socket, net.Conn) {
		noLeaks(t)
		b := newBackend(t, "tcp")
		nc, err := net.Dial("tcp", b.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := b.ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		b.conns = append(b.conns, peer)
		s := &Socket{}
		cfg := clientConfig(0)
		if err := s.InitTLS(nc, func(c net.Conn) *tls.Conn { return tls.Client(c, cfg) }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s, peer
	}
	t.Run("deadline", func(t *testing.T) {
		s, _ := begin(t)
		_ = s.SetDeadline(time.Now().Add(10 * time.Millisecond))
		if err := s.TLS().HandshakeContext(context.Background()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("context", func(t *testing.T) {
		s, _ := begin(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.TLS().HandshakeContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		s, peer := begin(t)
		_ = peer.Close()
		if err := s.TLS().HandshakeContext(t.Context()); err == nil {
			t.Error("a handshake with nobody works")
		}
	})
	t.Run("plain", func(t *testing.T) {
		s, peer := begin(t)
		_, _ = io.WriteString(peer, "HTTP/1.1 400 Bad Request\r\n\r\n")
		var rhe tls.RecordHeaderError
		if err := s.TLS().HandshakeContext(t.Context()); !errors.As(err, &rhe) {
			t.Errorf("got %v", err)
		}
	})
}

package proxy

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// peer is a backend's end of a connection, as a script uses it.
type peer struct {
	net.Conn
	r *bufio.Reader
}

// head reads the next head, "" at the end of the connection.
func (p *peer) head() string {
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		b.WriteString(line)
		switch {
		case err != nil:
			return ""
		case line == "\r\n":
			return b.String()
		}
	}
}

// body reads the body behind head, in the bytes that came.
func (p *peer) body(head string) string {
	if field(head, "Transfer-Encoding") != "" {
		var b strings.Builder
		for !strings.HasSuffix(b.String(), "0\r\n\r\n") {
			c, err := p.r.ReadByte()
			if err != nil {
				return b.String()
			}
			b.WriteByte(c)
		}
		return b.String()
	}
	n, _ := strconv.Atoi(field(head, "Content-Length"))
	b := make([]byte, n)
	n, _ = io.ReadFull(p.r, b)
	return string(b[:n])
}

// say writes, and reports whether that went well.
func (p *peer) say(s string) bool {
	_, err := io.WriteString(p, s)
	return err == nil
}

// waitClosed returns when the proxy has closed the connection.
func (p *peer) waitClosed() { _, _ = io.Copy(io.Discard, p.r) }

// reset closes the connection the hard way.
func (p *peer) reset() {
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	_ = p.Close()
}

// field is the value of a field of a head, "" if absent. Names are compared
// with their case.
func field(head, name string) string {
	_, rest, ok := strings.Cut(head, "\r\n"+name+": ")
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, "\r\n")
	return v
}

// scripted is a backend that runs a script on each connection.
func scripted(t testing.TB, script func(p *peer, n int)) string {
	return rawBackend(t, func(nc net.Conn, n int) {
		_ = nc.SetDeadline(time.Now().Add(3 * patience))
		script(&peer{nc, bufio.NewReader(nc)}, n)
	})
}

// station is a backend that keeps what it got and does what it is told with the
// first request, the second, and so on; the last act goes on for ever.
type station struct {
	addr string
	acts []act

	mu     sync.Mutex
	heads  []string
	bodies []string
	conns  int
}

// act deals with one request that has been read; false ends the connection.
type act func(p *peer, head string) bool

func newStation(t testing.TB, acts ...act) *station {
	s := &station{acts: acts}
	s.addr = scripted(t, func(p *peer, _ int) {
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		for {
			head := p.head()
			if head == "" {
				return
			}
			if field(head, "Expect") != "" && !p.say("HTTP/1.1 100 Continue\r\n\r\n") {
				return
			}
			body := p.body(head)
			s.mu.Lock()
			a := s.acts[min(len(s.heads), len(s.acts)-1)]
			s.heads, s.bodies = append(s.heads, head), append(s.bodies, body)
			s.mu.Unlock()
			if !a(p, head) {
				return
			}
		}
	})
	return s
}

// seen is what has come so far.
func (s *station) seen() (heads, bodies []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heads...), append([]string(nil), s.bodies...)
}

func (s *station) count() int { h, _ := s.seen(); return len(h) }

// last is the head of the last request.
func (s *station) last(t testing.TB) string {
	t.Helper()
	h, _ := s.seen()
	if len(h) == 0 {
		t.Fatal("the backend has got no request")
	}
	return h[len(h)-1]
}

// Acts of stations.

// ok answers with 200 and the text, and says that it keeps the connection.
func ok(text string) act { return status("200 OK", text) }

func status(line, text string) act {
	return func(p *peer, head string) bool {
		return p.say("HTTP/1.1 " + line + "\r\nKeep-Alive: timeout=60\r\nContent-Length: " + strconv.Itoa(len(text)) + "\r\n\r\n" + text)
	}
}

// says answers with exactly these bytes and goes on.
func says(s string) act { return func(p *peer, _ string) bool { return p.say(s) } }

// saysAndEnds answers with exactly these bytes and closes.
func saysAndEnds(s string) act { return func(p *peer, _ string) bool { p.say(s); return false } }

// hangsUp closes without a word.
func hangsUp(*peer, string) bool { return false }

// resets breaks the connection without a word.
func resets(p *peer, _ string) bool { p.reset(); return false }

// thinks says nothing until the proxy closes.
func thinks(p *peer, _ string) bool { p.waitClosed(); return false }

// refused is an address that belongs to nobody else and refuses connections.
func refused(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*syscall.SockaddrInet4).Port))
}

// fakeServer is a backend that answers "one" and can close all its connections
// as soon as the next request has come on one of them, and go away for good.
type fakeServer struct {
	addr string
	ln   net.Listener

	mu   sync.Mutex
	ends bool // hang up on the next request
	gone bool // and stop listening before that
}

func newFakeServer(t testing.TB) *fakeServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{addr: ln.Addr().String(), ln: ln}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(&peer{nc, bufio.NewReader(nc)})
		}
	}()
	return s
}

// closeNext makes the server hang up on the next request; with gone no other
// connection can be made afterwards.
func (s *fakeServer) closeNext(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends, s.gone = true, gone
}

func (s *fakeServer) serve(p *peer) {
	defer p.Close()
	for {
		head := p.head()
		if head == "" {
			return
		}
		s.mu.Lock()
		ends, gone := s.ends, s.gone
		s.ends = false
		s.mu.Unlock()
		if gone {
			_ = s.ln.Close()
		}
		if ends || gone || !ok("one")(p, head) {
			return
		}
	}
}

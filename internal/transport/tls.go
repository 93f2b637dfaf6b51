package transport

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// secure is the TLS part of a Socket, and the connection below it as crypto/tls
// sees it. After the handshake a read never waits below TLS: it is tried, and
// waited for above, so that nothing is held meanwhile. crypto/tls goes on where
// it was after an error that is temporary, in the middle of a record too.
type secure struct {
	s   *Socket
	tls *tls.Conn

	// Of the goroutine that reads.
	trying bool // a read does not wait
	ended  bool // the peer has ended the stream below TLS

	silent bool         // closing says nothing; of the goroutine that closes
	haste  atomic.Int32 // how writes wait
}

// The ways in which a write below TLS waits.
const (
	patient = iota // until its deadline
	eager          // as patient, but it is tried even after its deadline
	hasty          // not at all
)

// InitTLS makes s wrap nc, with TLS between. wrap gets the connection below TLS,
// which is nc with the Socket's own system calls, and returns tls.Server or
// tls.Client of it. The owner calls TLS().HandshakeContext before anything else,
// under deadlines of s.
func (s *Socket) InitTLS(nc net.Conn, wrap func(net.Conn) *tls.Conn) error {
	if err := s.Init(nc); err != nil {
		return err
	}
	sec := &secure{s: s}
	sec.tls = wrap(sec)
	s.secure = sec
	s.attempt = sec.readNow
	s.readFn = sec.tryRead
	return nil
}

// TLS is the TLS connection, nil when s is plain. It is for its handshake and its
// state; reading, writing and closing are done by s.
func (s *Socket) TLS() *tls.Conn {
	if s.secure == nil {
		return nil
	}
	return s.secure.tls
}

// Truncated reports, after Read has returned io.EOF, whether the end is one that
// anybody could have made: that of the network's connection, without TLS's word
// for it. What ends with its connection is then not known to be whole (RFC 9112,
// section 9.8).
func (s *Socket) Truncated() bool { return s.secure != nil && s.secure.ended }

// Idle looks at a connection that nobody uses, as Peek does. With TLS it reads
// what belongs to TLS alone, such as session tickets, and a byte of what does
// not: after SocketData the connection can only be closed.
func (s *Socket) Idle() SocketState {
	if s.secure == nil {
		return s.Peek()
	}
	var b [1]byte
	s.secure.haste.Store(hasty)
	n, err := s.secure.readNow(b[:])
	s.secure.haste.Store(patient)
	switch {
	case n > 0:
		return SocketData
	case err == errAgain:
		return SocketQuiet
	}
	return SocketClosed
}

// AwaitBytes waits until there is something to read, or the end, below TLS.
func (s *Socket) AwaitBytes() error {
	return s.raw.Read(func(uintptr) bool { return s.Peek() != SocketQuiet })
}

// peekBelow is Peek below TLS. A message of TLS's own may wait there unread, so
// that the end of the stream is asked for by itself.
func (s *Socket) peekBelow() SocketState {
	list := [1]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN | pollEnded}}
	for {
		_, err := unix.Poll(list[:], 0)
		switch got := list[0].Revents; {
		case err == unix.EINTR:
			continue
		case err != nil || got&(pollEnded|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			return SocketClosed
		case got&unix.POLLIN != 0:
			return SocketData
		}
		return SocketQuiet
	}
}

// tryRead is Socket.tryRead inside TLS.
func (c *secure) tryRead(uintptr) bool {
	s := c.s
	s.in.n, s.in.err = c.readNow(s.in.p)
	return s.in.err != errAgain
}

// readNow reads inside TLS without waiting. An error that comes with bytes is
// kept by crypto/tls for the next call.
func (c *secure) readNow(p []byte) (int, error) {
	c.trying = true
	n, err := c.tls.Read(p)
	c.trying = false
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// sayEnd says inside TLS that nothing follows. It waits, until the deadline in
// force, only if the peer does not take what came before.
func (c *secure) sayEnd() {
	c.haste.Store(eager)
	_ = c.tls.CloseWrite()
	c.haste.Store(patient)
}

// closeNow closes, and says so inside TLS if that can be done at once.
func (c *secure) closeNow() error {
	if c.silent {
		return c.s.Conn.Close()
	}
	c.haste.Store(hasty)
	_ = c.tls.Close() // closes below as well, and fails if the end could not be said
	return nil
}

// The connection below TLS, for crypto/tls alone.

// Read waits only during the handshake.
func (c *secure) Read(p []byte) (n int, err error) {
	if c.trying {
		n, err = c.s.readNow(p)
	} else {
		n, err = c.wait(p)
	}
	c.ended = c.ended || err == io.EOF
	return n, err
}

// wait reads what is there, waiting until something is. It is not part of Read,
// whose results its closure would move to the heap.
func (c *secure) wait(p []byte) (n int, err error) {
	waited := c.s.raw.Read(func(uintptr) bool {
		n, err = c.s.readNow(p)
		return err != errAgain
	})
	if waited != nil {
		return 0, waited
	}
	return n, err
}

// Write writes all of p, as patiently as it may.
func (c *secure) Write(p []byte) (int, error) {
	haste := c.haste.Load()
	if haste == patient {
		return c.s.write(p)
	}
	n, err := c.s.writeNow(p)
	if err == errAgain && haste == eager {
		var more int
		more, err = c.s.write(p[n:])
		n += more
	}
	return n, err
}

func (c *secure) Close() error         { return c.s.Conn.Close() }
func (c *secure) LocalAddr() net.Addr  { return c.s.Conn.LocalAddr() }
func (c *secure) RemoteAddr() net.Addr { return c.s.Conn.RemoteAddr() }

// Deadlines are the business of the Socket's owner. crypto/tls would set some of
// its own when it says the end, and undo those that are in force.

func (c *secure) SetDeadline(time.Time) error      { return nil }
func (c *secure) SetReadDeadline(time.Time) error  { return nil }
func (c *secure) SetWriteDeadline(time.Time) error { return nil }

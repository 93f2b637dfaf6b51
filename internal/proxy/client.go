package proxy

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// clientConn is a client's connection as fasthttp.Server sees it: one that brings
// nothing and ends, because all its requests are served within the one Read that
// fasthttp tries, see serving.go. It reads each request head itself, strictly: a second
// reading of what came would only be another opinion of it. Responses are written by the
// exchange with send. It holds a read buffer only while a request is there.
//
// Everything but the marked fields belongs to the goroutine that serves the
// connection, but for what the upload's goroutine borrows.
type clientConn struct {
	socket   transport.Socket
	tls      *clientTLS // nil: plain HTTP
	listener *Listener
	rd       wire.Reader
	req      wire.Request
	head     []byte // what req was read from
	phase    phase
	inWait   bool          // nothing can be waited for, see attend
	started  time.Duration // when the first byte of the request was there
	at       time.Duration // the last reading of the clock; renewed after every wait
	readBy   time.Duration // armed deadlines, on the package clock
	writeBy  time.Duration
	patience time.Duration // how much longer the client may keep its body waiting
	requests int           // read on this connection
	attendFn func() bool   // attend, made once
	closing  bool          // no further request is read
	linger   bool          // let the client read the response before the connection goes
	abort    bool          // reset the connection, so that a broken response looks broken
	lively   bool          // requests have followed each other soon
	mayRest  bool          // it rests when the wait for a request ends
	resting  bool          // fasthttp is to let go of it

	seat      netip.Addr // as whom it was counted in
	peer      netip.Addr
	peerPort  uint16
	peerText  []byte
	dst       netip.AddrPort // where the client has connected to, if a PROXY header says it
	owes      bool           // a PROXY header has to come first
	prefaced  []prefaced     // where connections with the client's address wait
	trusted   bool
	trustedBy *Generation // for which trusted was found

	// Shared with other goroutines.
	state       atomic.Int32 // connBusy, connIdle or connReleased
	closed      atomic.Bool
	wasCut      atomic.Bool
	interrupted atomic.Bool
	tunnel      atomic.Pointer[tunnel]
}

// The states of a connection that other goroutines care for.
const (
	connBusy     = iota // a request is being read or answered
	connIdle            // waiting for the first byte of a request
	connReleased        // was idle and has been told to go
)

type phase uint8

const (
	phaseIdle   phase = iota // before a request
	phaseHead                // reading a head
	phaseReady               // the head has been read
	phaseBody                // the exchange has the request
	phaseExpect              // as phaseBody; the client waits for 100 (Continue)
)

// never is a deadline that does not come.
const never = time.Duration(math.MaxInt64)

func newClientConn(nc net.Conn, l *Listener) (*clientConn, error) {
	c := &clientConn{listener: l, at: transport.Now()}
	if err := c.initSocket(nc); err != nil {
		return nil, err
	}
	c.rd.Reset((*netSide)(c))
	c.attendFn = c.attend
	if l.hinted {
		c.socket.ExpectHints()
	}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.peer, c.peerPort = ap.Addr().Unmap().WithZone(""), ap.Port()
		c.peerText = c.peer.AppendTo(nil)
	} else {
		c.peerText = []byte("unknown") // RFC 7239, section 6.2
	}
	c.owes = c.owesPreface()
	return c, nil
}

// netSide is the client's connection as the reader sees it: reads from the
// network under the deadline of the phase.
type netSide clientConn

func (n *netSide) Read(p []byte) (int, error) {
	c := (*clientConn)(n)
	if c.inWait {
		return 0, errInWait
	}
	lim := c.listener.limits.Load()
	phase, began := c.phase, time.Duration(0)
	switch phase {
	case phaseHead:
		if err := c.armRead(c.started+lim.HeaderTimeout, 0); err != nil {
			return 0, err
		}
	case phaseBody:
		began = transport.Now()
		if err := c.armRead(began+c.patience, c.patience/2); err != nil {
			return 0, err
		}
	}
	if c.interrupted.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	m, err := c.socket.Read(p)
	switch phase {
	case phaseBody:
		c.paceBody(lim, transport.Now()-began, m)
	case phaseHead:
		c.at = transport.Now() // the head took its time; the backend has not yet
	case phaseExpect:
		c.phase = phaseBody
	}
	return m, err
}

// awaitBody waits for bytes of a body without holding a buffer, as netSide.Read does
// with one. large asks for much at a time. With a pipe they go there, up to most.
func (c *clientConn) awaitBody(large bool, pipe *transport.Pipe, most int64) error {
	lim := c.listener.limits.Load()
	began := transport.Now()
	if c.phase == phaseBody {
		if err := c.armRead(began+c.patience, c.patience/2); err != nil {
			return err
		}
	}
	if c.interrupted.Load() {
		return os.ErrDeadlineExceeded
	}
	var err error
	var n int
	if pipe != nil {
		if err = c.socket.FillPipe(pipe, most); err == transport.ErrNoPipe {
			return err
		}
		n = pipe.Len()
	} else {
		err = c.socket.FillMore(&c.rd, large)
		n = c.rd.Buffered()
	}
	if c.phase == phaseBody {
		c.paceBody(lim, transport.Now()-began, n)
	}
	c.phase = phaseBody
	return err
}

// armRead sets the read deadline, unless the one in force is at most slack
// earlier: a deadline costs more than a look at it.
func (c *clientConn) armRead(by, slack time.Duration) error {
	if c.readBy <= by && c.readBy >= by-slack {
		return nil
	}
	c.readBy = by
	return c.socket.SetReadDeadline(transport.Deadline(by))
}

// expectBody prepares the reading of a body. A client that may wait for 100
// (Continue) is not late before it has got that.
func (c *clientConn) expectBody(waits bool) {
	c.phase = phaseBody
	if waits {
		c.phase, c.readBy = phaseExpect, never
		_ = c.socket.SetReadDeadline(time.Time{})
	}
}

// armContinued bounds the silence of a client that has got 100 (Continue). The
// upload's goroutine may be reading meanwhile.
func (c *clientConn) armContinued() {
	by := transport.Now() + c.listener.limits.Load().BodyTimeout
	_ = c.socket.SetReadDeadline(transport.Deadline(by))
}

// keepHead takes the request's head out of the read buffer, which is given back
// while an upgraded connection lives.
func (c *clientConn) keepHead() {
	c.head = bytes.Clone(c.head)
	_ = c.req.Parse(c.head) // it was right before
}

// headCause is the cause of a head that is refused with a status.
func headCause(status int) Cause {
	switch status {
	case 431:
		return CauseHeadTooLarge
	case 414:
		return CauseTargetTooLong
	case 501, 505:
		return CauseNotSupported
	}
	return CauseBadRequest
}

// refuseHead answers a head that cannot be accepted.
func (c *clientConn) refuseHead(err error) {
	cause, detail := CauseBadRequest, err.Error()
	status := 0
	var we *wire.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return
	case errors.As(err, &we):
		status, cause = we.Status, headCause(we.Status)
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause, detail = CauseHeadTimeout, ""
	default:
		return // the client is gone
	}
	c.closing, c.linger = true, true
	x := acquireExchange(c)
	x.req = nil
	x.answerCause(cause, status, detail)
	x.settleSafely()
	x.release()
}

// Write swallows what fasthttp might want to say: clients hear the exchange alone.
func (c *clientConn) Write(p []byte) (int, error) { return len(p), nil }

// send writes a part of a response to the client at the time c.at. A client
// that keeps it waiting for longer than it may is an error.
func (c *clientConn) send(p []byte) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	_, err := c.socket.Write(p)
	return err
}

// sendBeforePipe is send for p and what is in pipe behind it.
func (c *clientConn) sendBeforePipe(p []byte, pipe *transport.Pipe) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	_, err := c.socket.WriteBeforePipe(p, pipe)
	return err
}

// sendPipe is send for what is in p.
func (c *clientConn) sendPipe(p *transport.Pipe) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	_, err := c.socket.WritePipe(p)
	return err
}

// sendBoth is send for p with q behind it.
func (c *clientConn) sendBoth(p, q []byte) error {
	if err := c.armWrite(); err != nil {
		return err
	}
	if len(q) == 0 {
		_, err := c.socket.Write(p)
		return err
	}
	_, err := c.socket.WriteBoth(p, q)
	return err
}

// armWrite prepares a write by the limits in force.
func (c *clientConn) armWrite() error {
	lim := c.listener.limits.Load()
	timeout := lim.WriteTimeout
	c.socket.SetPace(timeout, lim.MinResponseRate)
	if c.writeBy >= c.at+timeout/2 && c.writeBy <= c.at+timeout {
		return nil
	}
	c.writeBy = c.at + timeout
	return c.socket.SetWriteDeadline(transport.Deadline(c.writeBy))
}

// closeIfDraining makes the response whose head comes next the last one, if the
// listener stops. The client may have sent more, which nobody will read.
func (c *clientConn) closeIfDraining() {
	if c.listener.draining.Load() {
		c.closing, c.linger = true, true
	}
}

// gone reports whether the client has closed its connection. A client that has
// only ended its own direction looks the same and is taken for gone, as most
// servers do.
func (c *clientConn) gone() bool {
	return c.wasCut.Load() || c.socket.Peek() == transport.SocketClosed
}

// cut makes whatever waits for the client fail, and the connection be reset. It
// is for other goroutines, and to be repeated until the connection is closed:
// deadlines may be renewed at the same time.
func (c *clientConn) cut() {
	c.wasCut.Store(true)
	if t := c.tunnel.Load(); t != nil {
		t.end()
	}
	c.socket.Hurry()
	_ = c.socket.SetDeadline(time.Unix(1, 0))
}

// interrupt makes a read that waits, or comes next, return at once. It is for
// other goroutines.
func (c *clientConn) interrupt() {
	c.interrupted.Store(true)
	_ = c.socket.SetReadDeadline(time.Unix(1, 0))
}

// resume undoes interrupt.
func (c *clientConn) resume() {
	c.interrupted.Store(false)
	c.readBy = 0
}

// How long a connection lingers: RFC 9112, section 9.6 wants the client to be
// able to read the response before a reset destroys it.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// Close closes the connection as it has to be: abruptly, lingering, or simply. With
// it fasthttp also lets go of one that others go on with, a tunnel or rest.
func (c *clientConn) Close() error {
	if t := c.tunnel.Load(); t != nil {
		t.begin()
		return nil
	}
	if c.resting {
		go c.rest()
		return nil
	}
	if c.closed.Swap(true) {
		return nil
	}
	switch {
	case c.abort || c.wasCut.Load():
		c.socket.ResetOnClose()
	case c.linger, c.closing && c.saidMore():
		c.lingerUntilClosed()
	}
	c.rd.Release()
	c.dropPrefaced()
	err := c.socket.Close()
	c.listener.remove(c)
	return err
}

// saidMore reports whether the client has sent something that nobody will read:
// closing at once would be a reset, and that may overtake the response.
func (c *clientConn) saidMore() bool {
	return c.rd.Buffered() > 0 || c.socket.Peek() == transport.SocketData
}

func (c *clientConn) lingerUntilClosed() {
	if c.socket.CloseWrite() != nil || c.socket.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	b := wire.GetBuffer(wire.SmallBuffer)
	defer b.Put()
	for left := lingerBytes; left > 0; {
		n, err := c.socket.Read(b.B)
		if err != nil {
			return
		}
		left -= n
	}
}

// The rest of net.Conn. fasthttp sets no deadlines here; the phases do.

func (c *clientConn) LocalAddr() net.Addr              { return c.socket.LocalAddr() }
func (c *clientConn) RemoteAddr() net.Addr             { return c.socket.RemoteAddr() }
func (c *clientConn) SetDeadline(time.Time) error      { return nil }
func (c *clientConn) SetReadDeadline(time.Time) error  { return nil }
func (c *clientConn) SetWriteDeadline(time.Time) error { return nil }

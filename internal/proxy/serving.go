package proxy

import (
	"errors"
	"io"
	"os"
	"time"

	"steelyard/internal/transport"
)

// errInWait ends a read of the client's connection that would have to wait while the
// wait for a request goes on around it.
var errInWait = errors.New("more has to be read")

// Read serves the connection: all its requests, until it is to be closed. Whatever was
// to be said has been said then, and fasthttp, which waits for the first byte, learns
// that none comes. One that rests goes on after that, see rest.go.
func (c *clientConn) Read([]byte) (int, error) {
	for c.nextHead() == nil && c.answer() {
	}
	c.closing = !c.resting
	return 0, io.EOF
}

// answer serves the request that has been read, and reports whether another one may
// follow.
func (c *clientConn) answer() bool {
	c.phase = phaseBody
	c.exchange()
	return !c.closing
}

func (c *clientConn) exchange() {
	x := acquireExchange(c)
	defer x.finish()
	x.serve()
}

// nextHead waits for a request that is to be answered and reads its head. An error
// means that the connection is to be closed; whatever was to be said has been said.
func (c *clientConn) nextHead() error {
	c.rd.EndMessage()
	if c.closing {
		return io.EOF
	}
	if c.owes {
		if err := c.readPreface(); err != nil {
			return err
		}
	}
	if c.tls != nil && !c.tls.done {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	if c.rd.Buffered() > 0 {
		c.begin()
	} else if err := c.waitRequest(); err != nil {
		return err
	}
	if c.phase == phaseReady {
		return nil
	}
	err := c.readHead()
	if err != nil {
		c.refuseHead(err)
	}
	return err
}

// waitRequest waits for a request without holding a buffer. Those that need nothing
// but what came with their heads are answered in the middle of the wait. The one it
// returns for has been read or, in phaseHead, begun.
func (c *clientConn) waitRequest() error {
	if err := c.settleDown(); err != nil {
		return err
	}
	if err := c.socket.Attend(&c.rd, c.attendFn); err != nil {
		c.resting = c.mayRest && errors.Is(err, os.ErrDeadlineExceeded) && !c.interrupted.Load()
		return err
	}
	if c.closing {
		return io.EOF
	}
	return nil
}

// settleDown prepares the wait for the first byte of a request.
func (c *clientConn) settleDown() error {
	c.phase = phaseIdle
	c.rd.Release()
	c.state.Store(connIdle)
	wait := c.listener.limits.Load().IdleTimeout
	slack := min(wait/4, time.Second)
	if awake := c.awake(); awake < wait {
		wait, slack, c.mayRest = awake, awake/2, true
	} else {
		c.mayRest = false
	}
	if err := c.armRead(c.at+wait, slack); err != nil {
		return err
	}
	if c.interrupted.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// attend is called by Socket.Attend when the first bytes of a request have come, and
// reports whether to go on waiting: not for what has to be read before, which is
// impossible in here.
func (c *clientConn) attend() bool {
	c.arouse()
	for {
		c.begin()
		c.inWait = true
		err := c.readHead()
		c.inWait = false
		if err == errInWait {
			return false
		}
		if err != nil {
			c.refuseHead(err)
			c.closing = true
			return false
		}
		if !c.allHere() || !c.answer() {
			return false
		}
		c.rd.EndMessage()
		if c.rd.Buffered() > 0 {
			continue // it has sent the next one already
		}
		if c.settleDown() != nil {
			c.closing = true
			return false
		}
		return true
	}
}

// allHere reports whether nothing has to be read from the connection to answer the
// request, nor to be carried through it afterwards.
func (c *clientConn) allHere() bool {
	r := &c.req
	return r.Length >= 0 && r.Length <= int64(c.rd.Buffered()) && r.Upgrade == nil
}

// begin notes that the first byte of a request is there.
func (c *clientConn) begin() {
	c.enliven(transport.Now())
	c.started, c.phase = c.at, phaseHead
}

// readHead reads the head of a request that has begun.
func (c *clientConn) readHead() error {
	lim := c.listener.limits.Load()
	head, err := c.rd.RequestHead(lim.MaxHeaderSize)
	if err == errInWait {
		return err
	}
	if err == nil {
		c.head = head
		err = c.req.Parse(head)
	}
	if err = c.withinLimits(lim, err); err != nil {
		return err
	}
	c.countRequest(lim.MaxRequests)
	c.phase = phaseReady
	return nil
}

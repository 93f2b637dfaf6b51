package transport

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"steelyard/internal/wire"
)

// Durations of the deadline housekeeping. A waiting read wakes up every tick to
// ask its Watcher whether waiting is still worth it; deadlines are renewed only
// when less than the slack is left, so that busy connections seldom pay for one.
const (
	tick       = 600 * time.Millisecond
	tickSlack  = 250 * time.Millisecond
	writeStall = 60 * time.Second
	writeSlack = 30 * time.Second
)

// A Watcher decides whether to go on waiting for a backend. Tick is called on
// the reading goroutine at least every 600 ms while nothing arrives; it returns
// how long to wait before it is asked again at the latest, or an error, which
// ends the read.
type Watcher interface {
	Tick() (next time.Duration, err error)
}

// Conn is one connection to a backend. It is owned by one exchange at a time.
type Conn struct {
	Socket Socket

	// Reader buffers what the backend sends.
	Reader wire.Reader
	// Watcher is asked while a read waits; it is set for each exchange.
	Watcher Watcher

	interrupted atomic.Bool
	asked       asking // for a certificate, by the backend
	ask         ask
	askFn       func(uintptr) bool // tryAsk, made once

	endpoint  *Endpoint
	via       *ClientTLS    // that it was made with; nil: plain
	preface   string        // that it began with
	readBy    time.Duration // armed read deadline, on the package clock
	writeBy   time.Duration // armed write deadline
	lastUsed  time.Duration
	seenAlive time.Duration // when a look last found the connection open
	idleLimit time.Duration // from Keep-Alive: timeout=N; 0 if not said
	saidLimit time.Duration
	idleFor   time.Duration
	uses      int
	looked    bool // since it was idle
}

func newConn(nc net.Conn, e *Endpoint) (*Conn, error) {
	c := &Conn{endpoint: e}
	if err := c.Socket.Init(nc); err != nil {
		return nil, err
	}
	c.Reader.Reset(c)
	c.askFn = c.tryAsk
	return c, nil
}

// newTLSConn is newConn with a handshake, which lasts until the deadline.
func newTLSConn(nc net.Conn, e *Endpoint, o *Options, by time.Time) (*Conn, error) {
	c := &Conn{endpoint: e, via: o.TLS}
	if err := c.secure(nc, o.TLS, by, o.ConnectTimeout); err != nil {
		return nil, err
	}
	c.Reader.Reset(c)
	return c, nil
}

// Reused reports whether the connection has carried an exchange before.
func (c *Conn) Reused() bool { return c.uses > 1 }

// IdleFor is how long the connection was unused before this exchange.
func (c *Conn) IdleFor() time.Duration { return c.idleFor }

// SaidLimit is the idle limit that the backend announced, 0 if none.
func (c *Conn) SaidLimit() time.Duration { return c.saidLimit }

// Arm bounds the time from at until a waiting read asks the Watcher first; the
// Watcher is asked at least every 600 ms after that.
func (c *Conn) Arm(at, d time.Duration) error {
	want := at + min(d, tick)
	if c.readBy <= want && c.readBy >= at+min(d, tickSlack) {
		return nil
	}
	c.readBy = want
	if err := c.Socket.SetReadDeadline(Deadline(want)); err != nil {
		return err
	}
	return c.afterDeadline()
}

// afterDeadline must follow every new deadline: it may have undone Interrupt.
func (c *Conn) afterDeadline() error {
	if !c.interrupted.Load() {
		return nil
	}
	_ = c.Socket.SetDeadline(past)
	return os.ErrDeadlineExceeded
}

// Read reads from the backend; while nothing comes the Watcher is asked.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Socket.Read(p)
		if n > 0 || err == nil {
			return n, err
		}
		if err := c.goOn(err); err != nil {
			return 0, err
		}
	}
}

// Await waits for bytes of a body, as Read does, and reads them. Meanwhile the reader
// holds a buffer only if there is something in it. large asks for much at a time.
func (c *Conn) Await(large bool) error {
	err := c.endOfAsk()
	for {
		if err == nil {
			if err = c.Socket.FillMore(&c.Reader, large); err == nil {
				return nil
			}
		}
		if err = c.goOn(err); err != nil {
			return err
		}
	}
}

// AwaitPipe is Await into p, up to most bytes, without a buffer. The error may be
// ErrNoPipe: then Await does it.
func (c *Conn) AwaitPipe(p *Pipe, most int64) error {
	for {
		err := c.Socket.FillPipe(p, most)
		if err == nil || err == ErrNoPipe {
			return err
		}
		if err := c.goOn(err); err != nil {
			return err
		}
	}
}

// goOn prepares another wait if the one that ended with err did for the time it took
// alone, and the Watcher wants to go on. Otherwise it returns why not.
func (c *Conn) goOn(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.Watcher == nil || c.interrupted.Load() {
		return err
	}
	next, err := c.Watcher.Tick()
	if err != nil {
		return err
	}
	return c.Arm(Now(), next)
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) { return c.Send(p, Now()) }

// Send is Write at a known time. A backend that takes nothing for 30 to 60 s is
// an error.
func (c *Conn) Send(p []byte, at time.Duration) (int, error) {
	if err := c.armWrite(at); err != nil {
		return 0, err
	}
	return c.Socket.Write(p)
}

// SendPipe is Write of what is in p.
func (c *Conn) SendPipe(p *Pipe) error {
	if err := c.armWrite(Now()); err != nil {
		return err
	}
	_, err := c.Socket.WritePipe(p)
	return err
}

func (c *Conn) armWrite(at time.Duration) error {
	if c.writeBy >= at+writeSlack {
		return nil
	}
	c.writeBy = at + writeStall
	if err := c.Socket.SetWriteDeadline(Deadline(c.writeBy)); err != nil {
		return err
	}
	return c.afterDeadline()
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Interrupt makes reads and writes that wait, now or later, return at once, and
// may be called from another goroutine. The connection must then be closed.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	_ = c.Socket.SetDeadline(past)
}

// Close closes the connection and gives its buffer back. It must not be called
// while another goroutine reads from it.
func (c *Conn) Close() {
	c.Reader.Release()
	c.endpoint.open.Add(-1)
	_ = c.Socket.Close()
}

// LearnKeepAlive notes what the backend's Keep-Alive field said; 0 is nothing.
func (c *Conn) LearnKeepAlive(seconds int) {
	if seconds > 0 {
		c.saidLimit = time.Duration(seconds) * time.Second
		c.idleLimit = safeIdle(c.saidLimit)
	}
}

// safeIdle is how long a connection is trusted whose backend closes it after
// being idle for limit: a second less, or half of a short limit, so that a
// request is never on its way when the backend closes.
func safeIdle(limit time.Duration) time.Duration {
	return limit - min(time.Second, limit/2)
}

func (c *Conn) knownLimit(at time.Duration) time.Duration {
	if c.idleLimit > 0 {
		return c.idleLimit
	}
	return c.endpoint.learnedLimit(at)
}

package proxy

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

const (
	// statusGoingAway is the WebSocket close status of a server that stops.
	statusGoingAway = 1001
	// closeHandshake bounds the wait for the peers after a Close frame, or
	// after one peer of a WebSocket ended its direction.
	closeHandshake = 3 * time.Second
)

// tunnel carries an upgraded connection, both ways at once, until both ends
// have ended. It holds buffers only while there are bytes, and each way is a
// goroutine of its own with a small stack: the one that has served the request, and
// what fasthttp and the exchange needed for that, are not kept for it.
type tunnel struct {
	x         *exchange // waits to be settled
	conn      *transport.Conn
	websocket bool
	idle      time.Duration // silence both ways that ends it; 0: none
	limits    *Limits       // of the client's side
	client    direction     // client to backend
	backend   direction     // backend to client
	ways      atomic.Int32  // that have not ended
	lastUsed  atomic.Int64  // on the package clock
	leaving   atomic.Bool
	broken    atomic.Bool  // one end broke off
	stalled   atomic.Bool  // the client did not take what it got
	endBy     atomic.Int64 // when the tunnel ends whatever happens; 0: not set
}

// direction is one way through a tunnel. Everything but the deadlines belongs
// to the goroutine of run.
type direction struct {
	t      *tunnel
	from   *transport.Socket
	to     *transport.Socket
	mask   bool // towards a server, so frames are masked
	early  *wire.Reader
	frames wsFrames
	passed int64      // bytes
	said   bool       // our Close frame has been sent this way
	mu     sync.Mutex // orders deadlines for reading from and writing to
}

// upgrade passes 101 (Switching Protocols) on and hands both connections over to a
// tunnel. It begins when fasthttp is done with the client's, and closes that.
func (x *exchange) upgrade() {
	c, conn := x.c, x.conn
	c.closing = true
	x.bind()
	x.out = x.appendResponseHead(x.out[:0], false)
	if err := c.send(x.out); err != nil {
		x.conn = nil
		conn.Close()
		x.clientLost(err)
		return
	}
	c.keepHead()
	x.keepReading()
	lim := c.listener.limits.Load()
	t := &tunnel{x: x, conn: conn, idle: lim.UpgradeTimeout, limits: lim}
	t.websocket = wire.EqualFold(x.resp.First(wire.KindUpgrade), "websocket")
	t.client = direction{t: t, from: &c.socket, to: &conn.Socket, mask: true, early: &c.rd}
	t.backend = direction{t: t, from: &conn.Socket, to: &c.socket, early: &conn.Reader}
	t.ways.Store(2)
	t.touch()
	x.conn, x.tunnel = nil, t
	c.tunnel.Store(t)
	x.endpoint().Attach(t)
	if c.listener.draining.Load() {
		t.goAway()
	}
}

// begin lets bytes pass. Nobody else uses the exchange from now on.
func (t *tunnel) begin() {
	t.x.forget()
	scratches.Put(t.x.scratch)
	t.x.scratch = nil
	go t.client.run()
	go t.backend.run()
}

// settle ends the request when both ways have ended, and closes both connections.
func (t *tunnel) settle() {
	x, c := t.x, t.x.c
	defer func() {
		if r := recover(); r != nil {
			logPanic(r)
			c.abort = true
		}
		c.tunnel.Store(nil)
		_ = c.Close()
	}()
	x.scratch = acquireScratch()
	x.resp.Status = x.status
	x.bytesIn, x.bytesOut = t.client.passed, t.backend.passed
	if t.broken.Load() {
		if t.stalled.Load() {
			x.report(CauseWriteTimeout, "")
		}
		c.abort = true
		t.conn.Socket.ResetOnClose()
	}
	x.endpoint().Detach(t)
	t.conn.Close()
	x.discharge(x.snap, x.index)
	x.settleSafely()
	x.release()
}

func (t *tunnel) touch() { t.lastUsed.Store(int64(transport.Now())) }

// goAway tells both ends of a WebSocket that the connection ends; others are
// left to end by themselves. It may be called more than once.
func (t *tunnel) goAway() {
	if !t.websocket || t.leaving.Load() {
		return
	}
	t.endWithin(closeHandshake)
	t.leaving.Store(true)
	t.client.wake()
	t.backend.wake()
}

// Leave ends the tunnel because its backend's time is over: a WebSocket is told,
// another protocol knows no word for it.
func (t *tunnel) Leave() {
	if t.websocket {
		t.goAway()
	} else {
		t.end()
	}
}

// end ends both directions at once, wherever they wait.
func (t *tunnel) end() {
	t.endWithin(0)
	t.client.interrupt()
	t.backend.interrupt()
}

// endWithin bounds the rest of the tunnel's life.
func (t *tunnel) endWithin(d time.Duration) {
	by := int64(transport.Now() + d)
	for {
		old := t.endBy.Load()
		if old != 0 && old <= by || t.endBy.CompareAndSwap(old, by) {
			return
		}
	}
}

// wake makes a read that waits, or comes next, return at once.
func (d *direction) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.from.SetReadDeadline(time.Unix(1, 0))
}

func (d *direction) interrupt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.from.SetReadDeadline(time.Unix(1, 0))
	d.to.Hurry()
	_ = d.to.SetWriteDeadline(time.Unix(1, 0))
}

// arm sets how long the next wait may last; a wake-up that came first stays.
func (d *direction) arm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	leaving := d.t.leaving.Load()
	if leaving && !d.said {
		return
	}
	by := time.Duration(0)
	if d.t.idle > 0 && !leaving { // its end may be what made the tunnel leave
		by = time.Duration(d.t.lastUsed.Load()) + d.t.idle
	}
	if end := time.Duration(d.t.endBy.Load()); end > 0 && (by == 0 || end < by) {
		by = end
	}
	if by == 0 {
		_ = d.from.SetReadDeadline(time.Time{})
		return
	}
	_ = d.from.SetReadDeadline(transport.Deadline(by))
}

// armWrite bounds the next write, by the end of the tunnel if that is near.
func (d *direction) armWrite() {
	d.mu.Lock()
	defer d.mu.Unlock()
	stall, rate := tunnelStall, int64(0)
	if d == &d.t.backend { // which sends to the client
		stall, rate = d.t.limits.WriteTimeout, d.t.limits.MinResponseRate
	}
	by := transport.Now() + stall
	if end := time.Duration(d.t.endBy.Load()); end > 0 {
		by, stall = min(by, end), 0 // nobody gets more time than that
	}
	d.to.SetPace(stall, rate)
	_ = d.to.SetWriteDeadline(transport.Deadline(by))
}

// run copies until the direction ends, and then ends it for the receiver. Who ends
// last settles the tunnel.
func (d *direction) run() {
	defer func() {
		if d.t.ways.Add(-1) == 0 {
			d.t.settle()
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			logPanic(r)
			d.t.broken.Store(true)
			d.t.end()
		}
	}()
	err := d.copy()
	if err == nil {
		// An end of the stream is passed on; the other direction may go on.
		_ = d.to.CloseWrite()
		if d.t.websocket {
			d.t.endWithin(closeHandshake)
			d.t.other(d).wake()
		}
		return
	}
	if err != errTunnelEnds {
		d.t.broken.Store(true)
	}
	d.t.end()
}

func (t *tunnel) other(d *direction) *direction {
	if d == &t.client {
		return &t.backend
	}
	return &t.client
}

var errTunnelEnds = errors.New("the tunnel ends")

// copy returns nil at the end of the stream.
func (d *direction) copy() error {
	if p := d.early.Bytes(); len(p) > 0 {
		if err := d.pass(p); err != nil {
			return err
		}
	}
	d.early.Release()
	for {
		d.arm()
		err := d.from.Fill(d.early)
		if err == nil {
			err = d.take()
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := d.onDeadline(); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
}

// take passes on what has been read. A direction that fills its buffer gets a
// larger one for what follows at once.
func (d *direction) take() error {
	d.t.touch()
	full := d.early.Buffered() == wire.SmallBuffer
	err := d.pass(d.early.Bytes())
	d.early.Release()
	if err == nil && full {
		err = d.burst()
	}
	return err
}

// burst passes on with a large buffer until a read does not fill it.
func (d *direction) burst() error {
	buf := wire.GetBuffer(wire.LargeBuffer)
	defer buf.Put()
	for {
		d.arm()
		n, err := d.from.Read(buf.B)
		if err != nil {
			return err
		}
		d.t.touch()
		if err := d.pass(buf.B[:n]); err != nil || n < len(buf.B) {
			return err
		}
	}
}

// pass sends p on, or drops it when a Close frame of ours was the last.
func (d *direction) pass(p []byte) error {
	if d.said {
		return nil
	}
	between := false
	if d.t.websocket {
		whole := d.frames.feed(p)
		if between = whole > 0 && d.t.leaving.Load(); between {
			p = p[:whole]
		}
	}
	d.armWrite()
	n, err := d.to.Write(p)
	d.passed += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return d.notTaken()
	}
	if err != nil {
		return err
	}
	return d.sayGoingAway(between)
}

// notTaken is how a tunnel ends whose receiver did not take what it got in time. What
// was not taken is lost, so nothing can follow it.
func (d *direction) notTaken() error {
	if d.t.endBy.Load() != 0 {
		return errTunnelEnds
	}
	if d == &d.t.backend {
		d.t.stalled.Store(true)
	}
	return errStalled
}

var errStalled = errors.New("the receiver takes nothing")

// tunnelStall ends a tunnel whose backend takes nothing for so long; clients have
// write_timeout.
const tunnelStall = time.Minute

// onDeadline decides what a wake-up or the end of a wait means.
func (d *direction) onDeadline() error {
	t := d.t
	if end := time.Duration(t.endBy.Load()); end > 0 && transport.Now() >= end {
		return errTunnelEnds
	}
	if t.leaving.Load() {
		return d.sayGoingAway(false)
	}
	if t.idle > 0 && transport.Now() >= time.Duration(t.lastUsed.Load())+t.idle {
		if !t.websocket {
			return errTunnelEnds
		}
		t.goAway()
	}
	return nil
}

// sayGoingAway sends a Close frame once the direction stands between frames, as
// it does in any case with between.
func (d *direction) sayGoingAway(between bool) error {
	if !d.t.leaving.Load() || d.said {
		return nil
	}
	if d.frames.done {
		d.said = true
		return nil
	}
	if !between && !d.frames.boundary() {
		// In the middle of a frame: wait for its rest.
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.from.SetReadDeadline(transport.Deadline(time.Duration(d.t.endBy.Load())))
	}
	d.said = true
	d.armWrite()
	_, err := d.to.Write(appendClose(nil, statusGoingAway, d.mask))
	return err
}

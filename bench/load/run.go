//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// grace is how long answers are awaited after the last request was due.
	grace = 2 * time.Second
	// nap is the longest wait, so that the end of a run is not slept through.
	nap = 100 * time.Millisecond
)

// generator is the state of a run; it belongs to one thread.
type generator struct {
	o       Options
	to      *unix.SockaddrInet4
	ep      int
	request []byte // an upgrade, in a run with WebSockets
	frame   []byte
	echo    int // bytes of an echoed message
	conns   []conn
	idle    []int // indexes of conns without a request
	atWork  int
	start   time.Time
	hist    Histogram
	result  Result
	buf     []byte
	events  [256]unix.EpollEvent
}

// Run loads the server as o says and returns what was measured. Failed
// requests are part of the result; an error means that there was no run.
func Run(ctx context.Context, o Options) (Result, error) {
	addr, err := o.validate()
	if err != nil {
		return Result{}, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // Without it every wait is 50 µs longer.

	g := &generator{o: o, to: &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()},
		request: o.request(), conns: make([]conn, o.Connections), buf: make([]byte, 256<<10)}
	if o.WebSocket {
		g.frame = frame(o.Message)
		g.echo = len(g.frame) - 4 // A server does not mask.
	}
	if g.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return Result{}, fmt.Errorf("epoll: %w", err)
	}
	defer unix.Close(g.ep)
	defer func() {
		for i := range g.conns {
			g.conns[i].close()
		}
	}()
	if err := g.open(); err != nil {
		return Result{}, err
	}
	before := usage()
	g.start = time.Now()
	err = g.loop(ctx)
	g.finish(usage() - before)
	return g.result, err
}

// open connects, and upgrades where messages are sent.
func (g *generator) open() error {
	for i := range g.conns {
		c := &g.conns[i]
		c.fd = -1
		if !g.o.NewConn {
			if err := c.dial(g.ep, g.to, i); err != nil {
				return err
			}
		}
		if g.o.WebSocket {
			if err := g.upgrade(c); err != nil {
				return err
			}
		}
		g.idle = append(g.idle, i)
	}
	return nil
}

// upgrade makes a WebSocket of a connection; it waits for the answer.
func (g *generator) upgrade(c *conn) error {
	c.busy = true
	err := c.send(g.request)
	for whole := false; err == nil && !whole; {
		if _, err = unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(grace.Milliseconds())); err == unix.EINTR {
			err = nil
		} else if err == nil {
			if whole, err = c.receive(g.buf); err == nil && !whole && len(c.head) == 0 {
				err = errors.New("no answer")
			}
		}
	}
	if c.busy = false; err == nil && !c.upgraded {
		err = errors.New("no 101")
	}
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	return nil
}

// loop sends what is due and takes what comes until all is done.
func (g *generator) loop(ctx context.Context) error {
	gap := time.Duration(0)
	if g.o.Rate > 0 {
		gap = time.Duration(float64(time.Second) / g.o.Rate)
	}
	var sent int64
	dueAt := func(now time.Duration) time.Duration {
		if g.o.Rate > 0 { // Not gap times sent: its rounding would add up.
			return time.Duration(float64(sent) * float64(time.Second) / g.o.Rate)
		}
		return now
	}
	for {
		now := time.Since(g.start)
		due := dueAt(now)
		for len(g.idle) > 0 && due <= now && due < g.o.Duration {
			g.begin(due)
			sent++
			due = dueAt(now)
		}
		if due >= g.o.Duration && g.atWork == 0 {
			return nil
		}
		if now > g.o.Duration+grace || ctx.Err() != nil {
			if g.o.Rate > 0 && due < g.o.Duration {
				g.result.Unsent = int64((g.o.Duration - due) / max(gap, 1))
			}
			g.result.Failed += int64(g.atWork)
			if g.atWork > 0 {
				g.note(errors.New("no answer in time"))
			}
			return context.Cause(ctx)
		}
		wait := nap
		if len(g.idle) > 0 && due < g.o.Duration {
			wait = min(max(due-time.Since(g.start), 0), nap)
		}
		if err := g.poll(wait); err != nil {
			return err
		}
	}
}

// begin sends the request that was due.
func (g *generator) begin(due time.Duration) {
	i := g.idle[len(g.idle)-1]
	g.idle = g.idle[:len(g.idle)-1]
	c := &g.conns[i]
	g.atWork++
	var err error
	if c.fd < 0 {
		if err = c.dial(g.ep, g.to, i); err == nil && g.o.WebSocket {
			err = g.upgrade(c)
		}
	}
	c.due, c.busy = due, true
	if err == nil && g.o.WebSocket {
		err = c.send(g.frame)
		c.inBody, c.body, c.ok = true, g.echo, true
	} else if err == nil {
		err = c.send(g.request)
	}
	if err != nil {
		g.fail(i, err)
	}
}

// poll waits for the sockets and serves those that have something.
func (g *generator) poll(wait time.Duration) error {
	ts := unix.NsecToTimespec(wait.Nanoseconds())
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(g.ep), uintptr(unsafe.Pointer(&g.events[0])),
		uintptr(len(g.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.EINTR {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("epoll_pwait2 (Linux 5.11 or newer): %w", errno)
	}
	for _, e := range g.events[:n] {
		g.serve(int(e.Fd), e.Events)
	}
	return nil
}

// serve goes on with one connection.
func (g *generator) serve(i int, events uint32) {
	c := &g.conns[i]
	if c.fd < 0 {
		return
	}
	if events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
		if err := c.flush(); err != nil {
			g.fail(i, err)
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return
	}
	wasBusy := c.busy
	whole, err := c.receive(g.buf)
	switch {
	case whole:
		g.done(i)
		if err != nil {
			c.close()
		}
	case err != nil && wasBusy:
		g.fail(i, err)
	case err != nil: // An idle connection may be closed by the server.
		c.close()
	}
}

// done counts an answered request and frees its connection.
func (g *generator) done(i int) {
	c := &g.conns[i]
	if c.ok {
		g.hist.Record(time.Since(g.start) - c.due)
		g.result.Done++
	} else {
		g.result.Failed++
		g.note(errStatus)
	}
	if c.last || g.o.NewConn || len(c.out) > 0 {
		c.close()
	}
	g.free(i)
}

// fail counts a request that got no answer; its connection is made anew.
func (g *generator) fail(i int, err error) {
	g.result.Failed++
	g.note(err)
	g.conns[i].close()
	g.free(i)
}

func (g *generator) free(i int) {
	g.conns[i].busy = false
	g.atWork--
	g.idle = append(g.idle, i)
}

func (g *generator) note(err error) {
	if g.result.Reason == "" {
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection without an answer")
		}
		g.result.Reason = err.Error()
	}
}

// finish fills in what is known at the end.
func (g *generator) finish(cpu time.Duration) {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	r, h := &g.result, &g.hist
	r.Seconds = time.Since(g.start).Seconds()
	r.P50, r.P90, r.P99 = us(h.Quantile(.5)), us(h.Quantile(.9)), us(h.Quantile(.99))
	r.P999, r.Max = us(h.Quantile(.999)), us(h.Max())
	r.CPU = us(cpu) / float64(max(r.Done, 1))
}

// usage is the CPU time of this process.
func usage() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

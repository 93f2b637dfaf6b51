package transport

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// cautiousIdle is how long an idle connection is trusted with a request
	// that could not be repeated, while nothing is known of the backend's own
	// limit.
	cautiousIdle = 400 * time.Millisecond
	// learnFrom is the youngest age at which a close by the backend is taken
	// for its idle limit; a younger one is rather a crash or a restart.
	learnFrom = 500 * time.Millisecond
	// learnedFor is how long a limit learned from a close is believed.
	learnedFor = 5 * time.Minute
	// sweepBatch bounds how many connections are looked at under the lock.
	sweepBatch = 16
)

// Endpoint keeps the connections to one backend. It outlives configurations:
// a reload that leaves the backend alone leaves its connections alone.
type Endpoint struct {
	network, address string
	opts             atomic.Pointer[Options]
	open             atomic.Int64
	dials            atomic.Int64
	secured          atomic.Pointer[secured]

	mu     sync.Mutex
	idle   []*Conn // the last one was used last
	closed bool

	learned   atomic.Int64 // idle limit shown by closes, in ns; 0 unknown
	learnedAt atomic.Int64
}

// NewEndpoint makes an endpoint for host:port or unix:/path.
func NewEndpoint(address string, o Options) *Endpoint {
	e := &Endpoint{network: "tcp", address: address}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		e.network, e.address = "unix", path
	}
	e.SetOptions(o)
	return e
}

// SetOptions replaces the options; connections that exist follow them, but for
// those made with other TLS, which are used no more.
func (e *Endpoint) SetOptions(o Options) { e.opts.Store(&o) }

// Options returns the options in force.
func (e *Endpoint) Options() *Options { return e.opts.Load() }

// Open is the number of connections that exist, in use or idle.
func (e *Endpoint) Open() int64 { return e.open.Load() }

// Dials is the number of connections ever made.
func (e *Endpoint) Dials() int64 { return e.dials.Load() }

// Idle is the number of connections waiting to be used.
func (e *Endpoint) Idle() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.idle)
}

// Get takes the idle connection used last, or nil if there is none that can be
// trusted. repeatable says that the request may be sent again if the connection
// turns out to be closed; one that may not gets only a connection that is
// surely open.
func (e *Endpoint) Get(repeatable bool, at time.Duration) *Conn { return e.GetFor("", repeatable, at) }

// GetFor is Get of a connection that began with the preface.
func (e *Endpoint) GetFor(preface string, repeatable bool, at time.Duration) *Conn {
	for {
		c := e.Take(preface, repeatable, at)
		if c == nil || c.Looked() || c.Look() == nil {
			return c
		}
		c.Close()
	}
}

// Take is GetFor without the look at the connection, where Ask can look as well: it is
// not Looked at then.
func (e *Endpoint) Take(preface string, repeatable bool, at time.Duration) *Conn {
	for {
		c := e.pop(preface)
		if c == nil {
			return nil
		}
		age := at - c.lastUsed
		limit := c.knownLimit(at)
		opts := e.opts.Load()
		if age >= opts.IdleTimeout || limit > 0 && age >= limit || c.via != opts.TLS || c.preface != preface {
			c.Close()
			continue
		}
		if limit == 0 && !repeatable && age >= cautiousIdle {
			e.push(c)
			return nil
		}
		c.uses++
		c.idleFor = age
		if c.looked = false; c.Socket.secure != nil && c.Look() != nil {
			c.Close()
			continue
		}
		return c
	}
}

// pop takes the idle connection used last, or with a preface the last of those
// that began with it.
func (e *Endpoint) pop(preface string) *Conn {
	e.mu.Lock()
	if preface != "" {
		defer e.mu.Unlock()
		return e.popPrefaced(preface)
	}
	n := len(e.idle) - 1
	if n < 0 {
		e.mu.Unlock()
		return nil
	}
	c := e.idle[n]
	e.idle[n] = nil
	e.idle = e.idle[:n]
	e.mu.Unlock()
	return c
}

// popPrefaced takes the last idle connection that began with the preface.
func (e *Endpoint) popPrefaced(preface string) *Conn {
	for i, c := range slices.Backward(e.idle) {
		if c.preface == preface {
			e.idle = slices.Delete(e.idle, i, i+1)
			return c
		}
	}
	return nil
}

// Drop closes the idle connections that began with the preface: nobody will want
// them any more.
func (e *Endpoint) Drop(preface string) {
	for {
		e.mu.Lock()
		c := e.popPrefaced(preface)
		e.mu.Unlock()
		if c == nil {
			return
		}
		c.Close()
	}
}

// push adds an idle connection, or closes it when there are enough. One with a
// preface, which few can use, takes the place of the one that waits longest.
func (e *Endpoint) push(c *Conn) {
	limit := e.opts.Load().MaxIdle
	e.mu.Lock()
	if c.preface != "" && !e.closed && limit > 0 && len(e.idle) >= limit {
		oldest := e.idle[0]
		e.idle = append(slices.Delete(e.idle, 0, 1), c)
		e.mu.Unlock()
		oldest.Close()
		return
	}
	full := e.closed || len(e.idle) >= limit
	if !full {
		e.idle = append(e.idle, c)
	}
	e.mu.Unlock()
	if full {
		c.Close()
	}
}

// Put gives a connection back after an exchange that ended cleanly. Bytes that
// are left unread belong to nobody: such a connection is closed.
func (e *Endpoint) Put(c *Conn, at time.Duration) {
	if c.Reader.Buffered() > 0 {
		c.Close()
		return
	}
	c.Reader.Release()
	c.Watcher = nil
	c.lastUsed = at
	c.seenAlive = c.lastUsed
	e.push(c)
}

// Dial makes a new connection within the connect timeout. A failed handshake is a
// *TLSError.
func (e *Endpoint) Dial() (*Conn, error) { return e.DialWith("") }

// DialWith is Dial of a connection that begins with the preface, before TLS.
func (e *Endpoint) DialWith(preface string) (*Conn, error) {
	o := e.opts.Load()
	by := time.Now().Add(o.ConnectTimeout)
	d := net.Dialer{Deadline: by, KeepAlive: 15 * time.Second}
	nc, err := d.DialContext(context.Background(), e.network, e.address)
	if err != nil {
		return nil, err
	}
	var c *Conn
	if preface != "" {
		err = writePreface(nc, preface, by)
	}
	switch {
	case err != nil:
	case o.TLS == nil:
		c, err = newConn(nc, e)
	default:
		c, err = newTLSConn(nc, e, o, by)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	e.open.Add(1)
	e.dials.Add(1)
	c.uses, c.preface, c.looked = 1, preface, true
	return c, nil
}

// Sweep closes idle connections that are too old, too many since the options
// changed, or were closed by the backend, oldest first, and learns from the last. It is to be called a few times a
// second while the endpoint is in use.
func (e *Endpoint) Sweep() {
	for from := 0; ; from += sweepBatch {
		dead, more := e.sweepBatch(from)
		for _, c := range dead {
			c.Close()
		}
		from -= len(dead)
		if !more {
			return
		}
	}
}

func (e *Endpoint) sweepBatch(from int) (dead []*Conn, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	to := min(from+sweepBatch, len(e.idle))
	if from >= to {
		return nil, false
	}
	at := Now()
	opts := e.opts.Load()
	surplus := len(e.idle) - opts.MaxIdle
	kept := e.idle[from:from]
	for _, c := range e.idle[from:to] {
		limit := c.knownLimit(at)
		age := at - c.lastUsed
		if len(dead) < surplus || age >= opts.IdleTimeout || limit > 0 && age >= limit || c.via != opts.TLS {
			dead = append(dead, c)
			continue
		}
		if state := c.Socket.Idle(); state != SocketQuiet {
			e.learn(c, state, at)
			dead = append(dead, c)
			continue
		}
		c.seenAlive = at
		kept = append(kept, c)
	}
	if len(dead) > 0 {
		rest := append(e.idle[:from+len(kept)], e.idle[to:]...)
		clear(e.idle[len(rest):])
		e.idle = rest
	}
	return dead, from+len(kept) < len(e.idle)
}

// learn takes the age at which an idle connection that the backend has closed
// was last seen open for the backend's idle limit, when the backend did not say
// one. The lock is not needed.
func (e *Endpoint) learn(c *Conn, state SocketState, at time.Duration) {
	if state != SocketClosed || c.idleLimit > 0 || at-c.lastUsed < learnFrom {
		return
	}
	limit := max(c.seenAlive-c.lastUsed, learnFrom)
	e.learned.Store(int64(limit - limit/4))
	e.learnedAt.Store(int64(at))
}

func (e *Endpoint) learnedLimit(at time.Duration) time.Duration {
	l := e.learned.Load()
	if l == 0 || at-time.Duration(e.learnedAt.Load()) > learnedFor {
		return 0
	}
	return time.Duration(l)
}

// Close closes the idle connections; those in use are closed when they are
// given back.
func (e *Endpoint) Close() {
	e.mu.Lock()
	idle := e.idle
	e.idle, e.closed = nil, true
	e.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

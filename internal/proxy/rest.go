package proxy

import (
	"os"
	"time"
)

// A connection waits for its next request where it was served, for a while: on the
// deep stack that a request needs, so that nothing has to be fetched when the request
// is there. Then it rests: fasthttp lets go of it, and it waits on a goroutine of
// its own, whose stack is small. That costs a few
// microseconds in all, so a connection whose requests follow each other stays awake
// for long enough to pay it once in two seconds at most.
const (
	awakeBriefly = 20 * time.Millisecond
	awakeLively  = 2 * time.Second
)

// awake is how long the connection waits before it rests.
func (c *clientConn) awake() time.Duration {
	if c.lively {
		return awakeLively
	}
	return awakeBriefly
}

// rest waits for a request, and has it served. It is the connection's goroutine from
// when fasthttp has let go of it.
func (c *clientConn) rest() {
	c.resting = false
	if c.waitResting() != nil {
		_ = c.Close()
		return
	}
	_ = c.listener.server.ServeConn(c)
}

// waitResting is what is left of the wait for a request.
func (c *clientConn) waitResting() error {
	if err := c.armRead(c.at+c.listener.limits.Load().IdleTimeout, 0); err != nil {
		return err
	}
	if c.interrupted.Load() {
		return os.ErrDeadlineExceeded
	}
	if c.tls != nil {
		// Reading inside TLS is deep even when there is nothing.
		if err := c.socket.AwaitBytes(); err != nil {
			return err
		}
	}
	if err := c.socket.Fill(&c.rd); err != nil {
		return err
	}
	c.arouse()
	return nil
}

// arouse says that a request has come.
func (c *clientConn) arouse() {
	if !c.state.CompareAndSwap(connIdle, connBusy) {
		// Released in the very moment a request came: it is served.
		c.listener.mu.Lock()
		c.resume()
		c.state.Store(connBusy)
		c.listener.mu.Unlock()
	}
}

// enliven notes at the beginning of a request how soon it has followed.
func (c *clientConn) enliven(now time.Duration) {
	c.lively = c.requests > 0 && now-c.at < awakeLively
	c.at = now
}

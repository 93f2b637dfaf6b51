package proxy

import (
	"context"
	"os"
	"time"

	"steelyard/internal/transport"
)

// turns has room for the TLS handshakes that go on at once: each takes memory and
// the time of a processor, and costs its client next to nothing.
type turns chan struct{}

// setTurns lets n handshakes go on at once; 0: any number. Those under way count for
// what was before.
func (l *Listener) setTurns(n int) {
	if t := l.turns.Load(); t != nil && cap(*t) == n {
		return
	}
	if n == 0 {
		l.turns.Store(nil)
		return
	}
	t := make(turns, n)
	l.turns.Store(&t)
}

// handshakeInTurn shakes hands when it is the connection's turn, if that comes
// before by. Who waits holds nothing.
func (c *clientConn) handshakeInTurn(by time.Duration) error {
	if t := c.listener.turns.Load(); t != nil {
		if err := c.awaitTurn(*t, by); err != nil {
			return err
		}
		defer func() { <-*t }()
	}
	return c.socket.TLS().HandshakeContext(context.Background())
}

// turnLook is how often who waits for his turn looks whether he was cut meanwhile.
const turnLook = 250 * time.Millisecond

func (c *clientConn) awaitTurn(t turns, by time.Duration) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	look := time.NewTicker(turnLook)
	defer look.Stop()
	for {
		select {
		case t <- struct{}{}:
			return nil
		case <-look.C:
			if c.wasCut.Load() {
				return os.ErrDeadlineExceeded
			}
			if transport.Now() >= by {
				c.listener.countRefusal(c.tls.raw, refusedHandshake)
				return os.ErrDeadlineExceeded
			}
		}
	}
}

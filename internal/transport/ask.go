package transport

import "errors"

// ErrGone means that an idle connection turned out to be unusable: the backend has
// closed it, or has sent something that nobody asked for. Nothing was written.
var ErrGone = errors.New("the backend has closed the idle connection")

// ask is a request on its way, see Conn.Ask.
type ask struct {
	p    []byte
	sent int
	err  error
	step askStep
	// waited ended the wait for the answer, which the next Await goes on with.
	waited error
}

type askStep uint8

const (
	askLook    askStep = iota // nothing has been done
	askGone                   // the connection cannot be used
	askPartly                 // not all could be written at once, or an error came
	askWritten                // all is written, and the answer is waited for
	askRead                   // there are bytes, or an error instead
)

// Looked reports whether a look at the connection has shown that it can be used. Take
// leaves that to who writes to it: Ask, which looks by itself, or Look.
func (c *Conn) Looked() bool { return c.looked }

// Look looks at a connection that was idle, and learns from it if it is closed.
func (c *Conn) Look() error {
	c.looked = true
	if state := c.Socket.Idle(); state != SocketQuiet {
		return c.goneBy(state)
	}
	return nil
}

func (c *Conn) goneBy(state SocketState) error {
	c.endpoint.learn(c, state, c.lastUsed+c.idleFor)
	return ErrGone
}

// Ask looks at a connection from Take that nobody has looked at yet, writes p, a whole
// request, and waits for the first bytes of the answer, all in one wait of the runtime.
// A read that is bound to find nothing, before the wait, is saved that way. n is how
// much of p was written; with an error before all was, or ErrGone, it is over. What else
// ended the wait, a deadline as well, the next Await finds and deals with: that one must
// follow. The read deadline has to be armed.
//
// Why no answer is slept over: the runtime is told of a socket's events by edges, and
// keeps one that came in a flag until a wait takes it. RawConn.Read clears the flag
// once, at its beginning, and holds the right to read, so that nobody else clears it.
// After that, and not before, tryAsk looks at the socket and finds it open and empty.
// Whatever comes from then on, bytes, the end or a reset, makes a new edge, and the
// flag is up when the wait begins, or wakes it. Had the look come before the clearing,
// the edge of what arrived in between would be lost. An edge of what was read long
// ago may wake the wait for nothing; it goes on then. Any other wait begins with an
// attempt to read, as after a deadline or where not all could be written.
func (c *Conn) Ask(p []byte) (n int, err error) {
	c.looked = true
	a := &c.ask
	*a = ask{p: p}
	waited := c.Socket.raw.Read(c.askFn)
	step := a.step
	n, err = a.sent, a.err
	a.p, a.err = nil, nil
	switch step {
	case askLook: // the deadline has passed meanwhile, or the connection is interrupted
		if err = c.Look(); err == nil {
			n, err = c.Send(p, Now())
		}
	case askPartly:
		if err == nil && n < len(p) {
			var more int
			more, err = c.Send(p[n:], Now())
			n += more
		}
	case askWritten:
		a.waited, err = waited, nil
	case askRead:
		a.waited, err = err, nil
	}
	return n, err
}

// tryAsk is called first when the flag has been cleared, and then after each edge.
func (c *Conn) tryAsk(uintptr) bool {
	a, s := &c.ask, &c.Socket
	if a.step == askWritten {
		if a.err = c.Reader.Attempt(s.attempt); a.err == errAgain {
			return false
		}
		a.step = askRead
		return true
	}
	if state := s.Peek(); state != SocketQuiet {
		a.step, a.err = askGone, c.goneBy(state)
		return true
	}
	a.sent, a.err = s.writeNow(a.p)
	s.pace.given += int64(a.sent)
	if a.err == nil {
		a.step = askWritten
		return false
	}
	if a.err == errAgain {
		a.err = nil
	}
	a.step = askPartly
	return true
}

// endOfAsk is what ended the wait that Ask began, told once.
func (c *Conn) endOfAsk() error {
	err := c.ask.waited
	c.ask.waited = nil
	return err
}

package proxy

import (
	"bytes"
	"errors"
	"os"
	"time"

	"steelyard/internal/wire"
)

// errTargetTooLong refuses a target longer than Limits.MaxTarget.
var errTargetTooLong error = &wire.Error{Status: 414, Reason: "the request target is longer than the limit"}

// withinLimits holds a head that was read against the limits that the reading does
// not know; err is what came of the reading.
func (c *clientConn) withinLimits(lim *Limits, err error) error {
	switch {
	case err == wire.ErrHeadTooLarge && lim.MaxTarget > 0 && !c.lineWithin(lim.MaxHeaderSize):
		return errTargetTooLong // it is the request line that is too long
	case err != nil:
		return err
	case lim.MaxTarget > 0 && len(c.req.Target) > lim.MaxTarget:
		return errTargetTooLong
	case lim.MaxHeaderFields > 0 && len(c.req.Fields()) > lim.MaxHeaderFields:
		return wire.ErrTooManyFields
	}
	return nil
}

// lineWithin reports whether the first line ends within n bytes.
func (c *clientConn) lineWithin(n int) bool {
	b := c.rd.Bytes()
	return bytes.IndexByte(b[:min(len(b), n)], '\n') >= 0
}

// countRequest makes the last of the requests that a connection may have, if there is
// a limit, its last.
func (c *clientConn) countRequest(most int) {
	if c.requests++; most > 0 && c.requests >= most {
		c.closing, c.linger = true, true // it may have sent more
	}
}

// paceBody notes that the client has kept its body waiting for a time and then sent
// n bytes. It has body_timeout for that, which waiting uses up; each min_body_rate
// bytes give it a second back. So silence is bounded, and so is a byte now and then.
// What the backend makes the body wait is not the client's.
func (c *clientConn) paceBody(lim *Limits, waited time.Duration, n int) {
	c.patience -= waited
	if lim.MinBodyRate > 0 {
		c.patience += time.Duration(int64(n) * int64(time.Second) / lim.MinBodyRate)
	} else if n > 0 {
		c.patience = lim.BodyTimeout
	}
	c.patience = min(c.patience, lim.BodyTimeout)
}

// sendCause is why something could not be sent to the client.
func (x *exchange) sendCause(err error) Cause {
	if errors.Is(err, os.ErrDeadlineExceeded) && !x.c.wasCut.Load() {
		return CauseWriteTimeout
	}
	return CauseClientGone
}

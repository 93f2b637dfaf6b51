// Package wire reads and writes HTTP/1.1 messages (RFC 9112): one strict reading
// of a head, body framing, and buffers that are held only while bytes are there.
//
// Both sides of the proxy use it, so that what Steelyard understands of a
// message is what it passes on. It knows nothing of routes, pools or fasthttp.
package wire

import (
	"errors"
	"fmt"
)

// Error says why a message cannot be accepted. Status is what a server answers
// to such a request (RFC 9110, section 15.5); a proxy that reads it from a
// backend answers 502 instead.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

func badMessage(format string, args ...any) error {
	return &Error{Status: 400, Reason: fmt.Sprintf(format, args...)}
}

// Errors that callers decide on.
var (
	// ErrHeadTooLarge means that a head did not end within the limit.
	ErrHeadTooLarge error = &Error{Status: 431, Reason: "the head is larger than the limit"}
	// ErrVersion means an HTTP version other than 1.0 and 1.1.
	ErrVersion error = &Error{Status: 505, Reason: "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	// ErrTooManyFields means more than MaxFields fields in one head.
	ErrTooManyFields error = &Error{Status: 431, Reason: "the head has more fields than the limit"}
	// ErrShortBody means that a peer closed before the body was complete.
	ErrShortBody = errors.New("the connection ended before the body was complete")
)

// MaxFields is the most fields in one head.
const MaxFields = 1000

// maxConnectionOptions is the most names in the Connection fields of one head.
const maxConnectionOptions = 32

// maxQuoted is how much of a message an error repeats, in bytes.
const maxQuoted = 64

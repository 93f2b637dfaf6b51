package healthcheck

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxErr is the most bytes of Result.Err.
const maxErr = 200

// ErrNotChecked is wrapped by errors of a Probe that say nothing of the backend,
// because the check could not be made on this machine (no file descriptors, no
// process). Such a result is kept but does not count as a failure.
var ErrNotChecked = errors.New("not checked")

// notChecked is an error that wraps ErrNotChecked without repeating it.
type notChecked struct{ text string }

func (e *notChecked) Error() string { return "not checked: " + e.text }
func (e *notChecked) Unwrap() error { return ErrNotChecked }

// ErrSilent is wrapped by errors of a Probe that has waited in vain, for a
// connection or for the first byte of an answer.
var ErrSilent = errors.New("silent")

// silence is an error that wraps ErrSilent without repeating it.
type silence string

func (e silence) Error() string { return string(e) }
func (e silence) Unwrap() error { return ErrSilent }

// clip makes s fit for people and for Result.Err: printable, valid UTF-8, at
// most limit bytes.
func clip(s string, limit int) string {
	if len(s) <= limit && isPlain(s) {
		return s
	}
	const ellipsis = "…"
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			quoted := strconv.Quote(piece)
			piece = quoted[1 : len(quoted)-1]
		}
		i += size
		room := limit - b.Len() - len(piece)
		if room < 0 || i < len(s) && room < len(ellipsis) {
			b.WriteString(ellipsis)
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

// isPlain reports whether s is printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// excerpt shows bytes that came from outside, quoted and short.
func excerpt(b []byte) string {
	const most = 60
	s := strings.TrimSpace(string(b[:min(len(b), 4*most)]))
	if len(b) > 4*most {
		s += "…"
	}
	return `"` + clip(s, most) + `"`
}

// timedOut reports whether err is due to the end of ctx or a deadline.
func timedOut(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// dialError says why there is no connection.
func dialError(ctx context.Context, err error, timeout time.Duration) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return errors.New("cannot resolve " + quote(dns.Name) + ": no such host")
	case errors.As(err, &dns) && dns.IsTimeout:
		return errors.New("cannot resolve " + quote(dns.Name) + " within " + timeout.String())
	case errors.As(err, &dns):
		return errors.New("cannot resolve " + quote(dns.Name) + ": " + dns.Err)
	case timedOut(ctx, err):
		return silence("no connection within " + timeout.String())
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
		return &notChecked{"too many open files here; raise the limit (ulimit -n)"}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &notChecked{"no free local port to connect from"}
	case errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM):
		return &notChecked{"no memory for a connection here"}
	}
	return errors.New(cause(err))
}

// errnoTexts are said often, so they are shared.
var errnoTexts = map[syscall.Errno]string{
	syscall.ECONNREFUSED: "connection refused",
	syscall.ECONNRESET:   "connection reset",
	syscall.EPIPE:        "connection closed",
	syscall.EHOSTUNREACH: "no route to host",
	syscall.ENETUNREACH:  "network is unreachable",
	syscall.ETIMEDOUT:    "connection timed out",
	syscall.ENOENT:       "the socket does not exist",
	syscall.EACCES:       "permission denied",
}

// cause is the text of what is at the bottom of err, without the layers of
// package net around it.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if text, ok := errnoTexts[errno]; ok {
			return text
		}
		return errno.Error()
	}
	var addr *net.AddrError
	if errors.As(err, &addr) {
		return addr.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// readError says why a response that was awaited has not come (or only a part
// of it, if begun).
func readError(ctx context.Context, err error, begun bool, timeout time.Duration) error {
	switch {
	case timedOut(ctx, err) && begun:
		return errors.New("response not complete within " + timeout.String())
	case timedOut(ctx, err):
		return silence("no response within " + timeout.String())
	}
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	switch {
	case reset && begun:
		return errors.New("connection reset within the response")
	case reset:
		return errors.New("connection reset before a response")
	case isEOF(err) && begun:
		return errors.New("connection closed within the response")
	case isEOF(err):
		return errors.New("connection closed before a response")
	}
	return errors.New(cause(err))
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func isSyscall(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// shortQuote is quote for texts beside which there is another.
func shortQuote(s string) string { return `"` + clip(s, 50) + `"` }

package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// pieces is a connection that delivers one piece a read. A nil piece is a
// timeout; the end is io.EOF.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 || len(*p) == 1 && (*p)[0] != nil && len((*p)[0]) == 0 {
		return 0, io.EOF
	}
	first := (*p)[0]
	if first == nil {
		*p = (*p)[1:]
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, first)
	if n == len(first) {
		*p = (*p)[1:]
	} else {
		(*p)[0] = first[n:]
	}
	return n, nil
}

// splits returns s whole, cut in two at every position, with a timeout between
// the halves, and byte by byte.
func splits(s string) []*pieces {
	list := []*pieces{{[]byte(s)}}
	for i := 1; i < len(s); i++ {
		list = append(list, &pieces{[]byte(s[:i]), []byte(s[i:])}, &pieces{[]byte(s[:i]), nil, []byte(s[i:])})
	}
	var each pieces
	for i := range len(s) {
		each = append(each, []byte(s[i:i+1]))
	}
	return append(list, &each)
}

// patient calls f until it fails with something other than a timeout.
func patient[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return v, err
		}
	}
}

// readBody reads a body to its end, through timeouts.
func readBody(b *Body) ([]byte, error) {
	var got []byte
	for {
		p, err := patient(b.Next)
		got = append(got, p...)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

// unread is everything behind what has been read.
func unread(rd *Reader) string {
	for {
		if _, err := patient(rd.fill); err != nil {
			return string(rd.Bytes())
		}
	}
}

func newReader(src io.Reader) *Reader {
	rd := &Reader{}
	rd.Reset(src)
	return rd
}

// parseRequest parses s as a head; it panics with a head that has no end.
func parseRequest(s string) (*Request, error) {
	r := &Request{}
	return r, r.Parse([]byte(s))
}

// statusOf is the status of an *Error, 0 without one.
func statusOf(err error) int {
	var we *Error
	if errors.As(err, &we) {
		return we.Status
	}
	return 0
}

// lines ends every line with CRLF and adds the empty line.
func lines(list ...string) string { return strings.Join(list, "\r\n") + "\r\n\r\n" }

func mustEqual(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}

// grow lets the reader take more at a time, as AttemptMore does, for a body worth it.
func (b *Body) grow() {
	if b.Long() {
		b.rd.grow()
	}
}

package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"steelyard/test/harness"
)

// tap stands between Steelyard and a parser and keeps what both send.
type tap struct {
	address string
	mu      sync.Mutex
	conns   []*tapped
}

// tapped is what went over one connection and has not been looked at.
type tapped struct {
	asked, answered bytes.Buffer
	closed          bool // Steelyard has ended it
	ended           bool // the parser has
}

func newTap(t testing.TB, parser string) *tap {
	tp := &tap{}
	tp.address = harness.Backend(t, func(c *harness.Conn) {
		to, err := net.DialTimeout("tcp", parser, patience)
		if err != nil {
			return
		}
		defer to.Close()
		w := &tapped{}
		tp.mu.Lock()
		tp.conns = append(tp.conns, w)
		tp.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			tp.relay(c, to, &w.answered)
			tp.mu.Lock()
			w.ended = true
			tp.mu.Unlock()
			_ = c.Close() // The parser has ended it, as it does for Steelyard.
		}()
		tp.relay(to, c.R, &w.asked)
		tp.mu.Lock()
		w.closed = true
		tp.mu.Unlock()
		_ = to.Close()
		<-done
	})
	return tp
}

// relay copies from one side to the other; what is passed on has been kept before.
func (tp *tap) relay(to io.Writer, from io.Reader, keep *bytes.Buffer) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		tp.mu.Lock()
		keep.Write(buf[:n])
		tp.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// transaction is a request as Steelyard sent it, and what the parser says it saw;
// refused, with a status, if the parser did not take it.
type transaction struct {
	request request
	seen    string
	refused string
}

// take pairs what was asked with what was answered since it was last called. The
// error tells of a request that one side knows of and the other does not.
func (tp *tap) take() (all []transaction, err error) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	var errs []error
	for _, w := range tp.conns {
		list, err := w.take()
		all, errs = append(all, list...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (w *tapped) take() (list []transaction, err error) {
	defer w.asked.Reset()
	defer w.answered.Reset()
	asked := bufio.NewReader(bytes.NewReader(w.asked.Bytes()))
	answered := bufio.NewReader(bytes.NewReader(w.answered.Bytes()))
	for {
		q, err := readRequest(asked)
		if err != nil {
			break // the rest is a request that Steelyard has broken off
		}
		t := transaction{request: q}
		status, fields, _, err := readParsers(answered, q.method == "HEAD")
		if err == io.EOF && w.ended {
			break // the parser had enough of the connection, as it may after an error
		}
		if err != nil {
			return list, fmt.Errorf("no answer to %s %s: %w", q.method, q.target, err)
		}
		t.refused = status
		for _, f := range fields {
			if seen, found := strings.CutPrefix(f, "X-Seen: "); found {
				t.seen, t.refused = seen, ""
			}
		}
		list = append(list, t)
	}
	// To a request that was broken off some parsers answer 400; nobody has seen it.
	for {
		status, fields, _, err := readParsers(answered, false)
		if err != nil {
			break
		}
		if !w.closed || strings.Contains(strings.Join(fields, "\n"), "X-Seen") {
			return list, fmt.Errorf("one answer too many: %s %q", status, fields)
		}
	}
	return list, nil
}

// readParsers reads the final response of a parser. Its field lines are not
// Steelyard's, so they are only taken apart.
func readParsers(r *bufio.Reader, toHead bool) (status string, fields []string, body string, err error) {
	for {
		status, fields, body, err = readWhole(r, toHead)
		if err != nil || status[0] != '1' {
			return status, fields, body, err
		}
	}
}

package wire

import (
	"errors"
	"io"
)

// Reader buffers one direction of a connection. It holds a pooled buffer only
// while there are bytes in it or a message is being read. It is used by one
// goroutine at a time.
type Reader struct {
	src  io.Reader
	buf  *Buffer
	head *Buffer // the buffer of a head in use, when the body got a larger one
	r, w int     // unread bytes are buf.B[r:w]
	keep int     // bytes before keep belong to a head in use and stay where they are
}

// Reset makes the reader read from src and drops what it held.
func (rd *Reader) Reset(src io.Reader) {
	rd.Release()
	rd.src = src
}

// Release gives the buffer back. Unread bytes are lost.
func (rd *Reader) Release() {
	if rd.buf != nil {
		rd.buf.Put()
		rd.buf = nil
	}
	rd.putHead()
	rd.r, rd.w, rd.keep = 0, 0, 0
}

func (rd *Reader) putHead() {
	if rd.head != nil {
		rd.head.Put()
		rd.head = nil
	}
}

// Buffered is the number of unread bytes in the buffer.
func (rd *Reader) Buffered() int { return rd.w - rd.r }

// Bytes is the unread part of the buffer, valid until the next call.
func (rd *Reader) Bytes() []byte {
	if rd.buf == nil {
		return nil
	}
	return rd.buf.B[rd.r:rd.w]
}

// Discard drops n unread bytes.
func (rd *Reader) Discard(n int) { rd.r += n }

// EndMessage lets go of the head returned by Head. The buffer goes back to the
// pool unless it already holds bytes of the next message.
func (rd *Reader) EndMessage() {
	rd.keep = 0
	rd.putHead()
	if rd.r == rd.w {
		rd.Release()
	}
}

// fill reads once from the source into the free part of the buffer. It returns
// the number of bytes read; io.EOF only when nothing was read.
func (rd *Reader) fill() (int, error) {
	if rd.buf == nil {
		rd.buf = GetBuffer(SmallBuffer)
	}
	if rd.r == rd.w {
		rd.r, rd.w = rd.keep, rd.keep
	}
	if rd.w == len(rd.buf.B) {
		if rd.r == rd.keep {
			return 0, errBufferFull
		}
		n := copy(rd.buf.B[rd.keep:], rd.buf.B[rd.r:rd.w])
		rd.r, rd.w = rd.keep, rd.keep+n
	}
	n, err := rd.src.Read(rd.buf.B[rd.w:])
	rd.w += n
	if n > 0 {
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// Attempt fills the reader once with read, which must not wait. If that reads
// nothing, a reader that held nothing holds no buffer afterwards either. The
// error is that of read.
func (rd *Reader) Attempt(read func([]byte) (int, error)) error {
	if rd.buf == nil {
		rd.buf = GetBuffer(SmallBuffer)
	}
	n, err := read(rd.buf.B[rd.w:])
	rd.w += n
	if rd.w == 0 {
		rd.Release()
	}
	return err
}

var errBufferFull = errors.New("buffer full")

// Head reads the next head, through its empty line, and returns its bytes,
// which stay valid until EndMessage. One empty line before a head is skipped
// (RFC 9112, section 2.2). limit is the most bytes of a head.
//
// At the end of the connection before the first byte the error is io.EOF,
// inside a head io.ErrUnexpectedEOF. A line that does not end with CRLF is an
// error at once, without waiting for the rest. After a timeout Head can be
// called again and goes on where it was.
func (rd *Reader) Head(limit int) ([]byte, error) {
	scanned := 0 // complete lines before rd.r+scanned have been checked
	skipped := false
	for {
		b := rd.Bytes()
		if !skipped && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
			rd.r += 2
			skipped = true
			continue
		}
		end, next, err := headEnd(b, scanned)
		if err != nil {
			return nil, err
		}
		if end > limit || end < 0 && len(b) >= limit {
			return nil, ErrHeadTooLarge
		}
		if end >= 0 {
			rd.r += end
			rd.keep = rd.r
			return b[:end:end], nil
		}
		scanned = next
		if err := rd.fillHead(limit); err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// fillHead is fill with a buffer that grows up to the limit.
func (rd *Reader) fillHead(limit int) error {
	_, err := rd.fill()
	if err != errBufferFull {
		return err
	}
	// One byte more than the limit, so that a head that is too large is seen.
	bigger := GetBuffer(min(max(2*len(rd.buf.B), LargeBuffer), max(limit+1, len(rd.buf.B)+1)))
	n := copy(bigger.B, rd.buf.B[rd.r:rd.w])
	rd.buf.Put()
	rd.buf, rd.r, rd.w, rd.keep = bigger, 0, n, 0
	_, err = rd.fill()
	return err
}

// headEnd looks for the empty line that ends a head. from is an offset at the
// start of a line; next is where to go on with more bytes.
func headEnd(b []byte, from int) (end, next int, err error) {
	for {
		i := indexLF(b[from:])
		if i < 0 {
			return -1, from, nil
		}
		if i == 0 || b[from+i-1] != '\r' {
			return -1, from, badMessage("a line of the head ends with LF alone")
		}
		if i == 1 {
			return from + 2, 0, nil
		}
		from += i + 1
	}
}

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
	if err := rd.makeRoom(); err != nil {
		return 0, err
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

// makeRoom sees to it that there is a buffer with free bytes behind w, or
// returns errBufferFull.
func (rd *Reader) makeRoom() error {
	if rd.buf == nil {
		rd.buf = GetBuffer(SmallBuffer)
	}
	if rd.r == rd.w {
		rd.r, rd.w = rd.keep, rd.keep
	}
	if rd.w < len(rd.buf.B) {
		return nil
	}
	if rd.r == rd.keep {
		return errBufferFull
	}
	n := copy(rd.buf.B[rd.keep:], rd.buf.B[rd.r:rd.w])
	rd.r, rd.w = rd.keep, rd.keep+n
	return nil
}

// Attempt fills the reader once with read, which must not wait. If that reads
// nothing, a reader that held nothing holds no buffer afterwards either. The
// error is that of read, or says that there is no room.
func (rd *Reader) Attempt(read func([]byte) (int, error)) error {
	if err := rd.makeRoom(); err != nil {
		return err
	}
	n, err := read(rd.buf.B[rd.w:])
	rd.w += n
	if rd.w == 0 {
		rd.Release()
	}
	return err
}

// AttemptMore is Attempt in the middle of a message, of which the head may be in use
// and stays. Before and after, the reader holds a buffer only if there are bytes of the
// message in it, or its head is. large asks for more at a time, and gets it unless too many have.
func (rd *Reader) AttemptMore(read func([]byte) (int, error), large bool) error {
	rd.Yield()
	if large && largeInUse.Load() < maxLarge {
		rd.grow()
	}
	if err := rd.makeRoom(); err != nil {
		return err
	}
	n, err := read(rd.buf.B[rd.w:])
	rd.w += n
	rd.Yield()
	return err
}

// Filled reports whether the last read filled the buffer, so that there may be more
// where it came from.
func (rd *Reader) Filled() bool { return rd.buf != nil && rd.w == len(rd.buf.B) }

// Yield gives the buffer back if there is nothing in it, neither unread bytes nor a
// head in use.
func (rd *Reader) Yield() {
	if rd.buf != nil && rd.r == rd.w && rd.keep == 0 {
		rd.buf.Put()
		rd.buf, rd.r, rd.w = nil, 0, 0
	}
}

var errBufferFull = errors.New("the read buffer is full")

// Head reads the next head, through its empty line, and returns its bytes,
// which stay valid until EndMessage. limit is the most bytes of a head.
//
// At the end of the connection before the first byte the error is io.EOF,
// inside a head io.ErrUnexpectedEOF. A line that does not end with CRLF is an
// error at once, without waiting for the rest. After a timeout Head can be
// called again and goes on where it was.
func (rd *Reader) Head(limit int) ([]byte, error) { return rd.readHead(limit, false) }

// RequestHead is Head for requests: one empty line before a head is skipped (RFC
// 9112, section 2.2), and a request line that cannot be accepted is an error as
// soon as it is there. Parse comes to the same error, so that it
// makes no difference in how many parts a head comes.
func (rd *Reader) RequestHead(limit int) ([]byte, error) { return rd.readHead(limit, true) }

func (rd *Reader) readHead(limit int, request bool) ([]byte, error) {
	scanned := 0                              // the bytes before rd.r+scanned have been searched
	mayBeEmpty, unchecked := request, request // the first line
	for {
		b := rd.Bytes()
		if mayBeEmpty && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
			rd.r += 2
			mayBeEmpty, scanned = false, 0
			continue
		}
		// What is behind the limit is not looked at: it may as well not be here yet.
		end, next, err := headEnd(b[:min(len(b), limit)], scanned)
		if end >= 0 {
			rd.r += end
			rd.keep = rd.r
			return b[:end:end], nil
		}
		if unchecked {
			valid, why := checkStart(b[:min(len(b), limit)])
			if why != nil {
				return nil, why
			}
			unchecked = !valid
		}
		if err == nil && len(b) >= limit {
			err = ErrHeadTooLarge
		}
		if err != nil {
			return nil, err
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

// grow moves unread bytes into a large buffer; the head in use stays where it
// is. It reports false if that would give no more room.
func (rd *Reader) grow() bool {
	if rd.Buffered() >= LargeBuffer || rd.buf != nil && len(rd.buf.B) >= LargeBuffer && rd.keep == 0 {
		return false
	}
	bigger := GetBuffer(LargeBuffer)
	n := 0
	if rd.buf != nil {
		n = copy(bigger.B, rd.buf.B[rd.r:rd.w])
		if rd.keep > 0 {
			rd.head = rd.buf
		} else {
			rd.buf.Put()
		}
	}
	rd.buf, rd.r, rd.w, rd.keep = bigger, 0, n, 0
	return true
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

var errLoneLF = badMessage("a line of the head ends with LF alone")

// headEnd looks for the empty line that ends a head, in b from offset from on;
// what is before that has been searched. next is where to go on with more bytes.
func headEnd(b []byte, from int) (end, next int, err error) {
	for {
		i := indexLF(b[from:])
		if i < 0 {
			return -1, len(b), nil
		}
		i += from
		if i == 0 || b[i-1] != '\r' {
			return -1, i, errLoneLF
		}
		from = i + 1
		if i == 1 || b[i-2] == '\n' {
			return from, from, nil
		}
	}
}

package wire

import (
	"errors"
	"io"
)

// Limits of the chunked coding, in bytes.
const (
	maxChunkLine = 4 << 10  // a chunk's size line with its extensions
	maxTrailers  = 16 << 10 // a trailer section, with the lines that are dropped
	// maxOverhead is how much longer size lines may be in all than content
	// pays for: a body of one-byte chunks with long extensions costs more work
	// than it is worth.
	maxOverhead = 16 << 10
)

// Body reads the content of one message from a Reader, without copying it.
// It is used by one goroutine at a time. After a timeout Next can be called
// again and goes on where it was. The zero Body is empty.
type Body struct {
	rd      *Reader
	framing Framing
	left    int64 // of the message or of the current chunk
	state   chunkState
	done    bool
	read    int64
	trailer []byte
	// overhead is the length of the size lines that content has not paid for,
	// then that of the trailer section.
	overhead int64
	err      error // a violation of the coding; the body cannot go on
}

type chunkState uint8

const (
	chunkSize chunkState = iota // a size line is next
	chunkData                   // left bytes of data are next
	chunkCRLF                   // the CRLF behind the data is next
	chunkTrailer
)

// Init starts a body behind the head that rd has just read.
func (b *Body) Init(rd *Reader, f Framing, length int64) {
	*b = Body{rd: rd, framing: f, left: length, trailer: b.trailer[:0]}
	b.done = f == FramingNone || f == FramingLength && length == 0
}

// Done reports whether the whole body has been read.
func (b *Body) Done() bool { return b.done }

// Received is the number of bytes of content read so far.
func (b *Body) Received() int64 { return b.read }

// DropTrailers takes the trailers out whose name drop reports. It may be called
// once the body is Done.
func (b *Body) DropTrailers(drop func(name []byte) bool) {
	kept := b.trailer[:0]
	for rest := b.trailer; len(rest) > 0; {
		end := indexLF(rest) + 1
		line := rest[:end]
		rest = rest[end:]
		colon := 0
		for line[colon] != ':' {
			colon++
		}
		if !drop(line[:colon]) {
			kept = append(kept, line...)
		}
	}
	b.trailer = kept
}

// Trailers is the field lines behind a chunked body, checked but otherwise as
// they came, each with its CRLF. It is complete when Done reports true.
func (b *Body) Trailers() []byte { return b.trailer }

// Long reports whether the rest may be more than a small buffer holds.
func (b *Body) Long() bool { return b.framing != FramingLength || b.left > SmallBuffer }

// Hungry reports whether Next would have to wait for bytes, and there is nothing
// that a buffer would have to be held for meanwhile.
func (b *Body) Hungry() bool { return !b.done && b.rd.Buffered() == 0 }

// Unseen is how much content there is still to come that need not be looked at: what
// comes next on the connection is content, and nothing is buffered. 0: none, or it is
// not known.
func (b *Body) Unseen() int64 {
	if b.framing != FramingLength || b.done || b.rd.Buffered() > 0 {
		return 0
	}
	return b.left
}

// Skip notes that n bytes of what was Unseen have gone by without the reader.
func (b *Body) Skip(n int) {
	b.left -= int64(n)
	b.read += int64(n)
	b.done = b.left == 0
}

// Next returns the next bytes of content, at least one, valid until the next
// call; io.EOF after the last. It waits for the network only if nothing is
// buffered. A connection that ends early is ErrShortBody. A violation of the
// chunked coding is an *Error and the end: what follows it on the connection
// belongs to no message. Everything else is the error of the connection.
func (b *Body) Next() ([]byte, error) {
	for !b.done {
		p, err := b.step()
		if err == errNeedMore {
			_, err = b.rd.fill()
			if err == io.EOF {
				if b.framing == FramingClose {
					b.done = true
					return nil, io.EOF
				}
				err = ErrShortBody
			}
			if err == errBufferFull {
				if b.rd.grow() {
					continue
				}
				b.err = badMessage("a line of the chunked coding is too long")
				err = b.err
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(p) > 0 {
			b.read += int64(len(p))
			return p, nil
		}
	}
	return nil, io.EOF
}

// Ready is Next without waiting: it returns nothing when it would have to.
func (b *Body) Ready() ([]byte, error) {
	for !b.done {
		p, err := b.step()
		if err == errNeedMore {
			return nil, nil
		}
		if err != nil || len(p) > 0 {
			b.read += int64(len(p))
			return p, err
		}
	}
	return nil, nil
}

// errNeedMore asks Next to read from the connection.
var errNeedMore = errors.New("more bytes are needed")

func (b *Body) step() ([]byte, error) {
	switch b.framing {
	case FramingNone:
		b.done = true
		return nil, nil
	case FramingLength:
		p, err := b.take()
		b.done = b.left == 0
		return p, err
	case FramingClose:
		b.left = int64(b.rd.Buffered())
		return b.take()
	}
	if b.err != nil {
		return nil, b.err
	}
	p, err := b.chunked()
	if err != nil && err != errNeedMore {
		b.err = err
	}
	return p, err
}

// take returns up to left buffered bytes.
func (b *Body) take() ([]byte, error) {
	p := b.rd.Bytes()
	if len(p) == 0 {
		return nil, errNeedMore
	}
	n := int(min(int64(len(p)), b.left))
	p = p[:n:n]
	b.left -= int64(len(p))
	b.rd.Discard(len(p))
	return p, nil
}

func (b *Body) chunked() ([]byte, error) {
	switch b.state {
	case chunkSize:
		line, err := b.line()
		if err != nil {
			return nil, err
		}
		if b.left, err = parseChunkSize(line); err != nil {
			return nil, err
		}
		// Sixteen bytes a chunk and the length of its data are free.
		b.overhead = max(0, b.overhead+int64(len(line))-16-b.left)
		if b.overhead > maxOverhead {
			return nil, badMessage("the chunk extensions are larger than the limit")
		}
		b.state = chunkData
		if b.left == 0 {
			b.state, b.overhead = chunkTrailer, 0
		}
		return nil, nil
	case chunkData:
		p, err := b.take()
		if err == nil && b.left == 0 {
			b.state = chunkCRLF
		}
		return p, err
	case chunkCRLF:
		p := b.rd.Bytes()
		if len(p) > 0 && p[0] != '\r' || len(p) > 1 && p[1] != '\n' {
			return nil, badMessage("a chunk is longer than its size says")
		}
		if len(p) < 2 {
			return nil, errNeedMore
		}
		b.rd.Discard(2)
		b.state = chunkSize
		return nil, nil
	}
	return nil, b.readTrailer()
}

// line returns a buffered line without its CRLF.
func (b *Body) line() ([]byte, error) {
	p := b.rd.Bytes()
	i := indexLF(p)
	switch {
	case i < 0 && len(p) > maxChunkLine, i > maxChunkLine:
		return nil, badMessage("a line of the chunked coding is too long")
	case i < 0:
		return nil, errNeedMore
	case i == 0 || p[i-1] != '\r':
		return nil, badMessage("a line of the chunked coding ends with LF alone")
	}
	b.rd.Discard(i + 1)
	return p[:i-1], nil
}

func (b *Body) readTrailer() error {
	line, err := b.line()
	if err != nil {
		return err
	}
	if len(line) == 0 {
		b.done = true
		return nil
	}
	if b.overhead += int64(len(line)); b.overhead > maxTrailers {
		return &Error{Status: 431, Reason: "the trailer section is larger than the limit"}
	}
	n := len(b.trailer)
	b.trailer = append(append(b.trailer, line...), '\r', '\n')
	f, err := parseField(b.trailer, n, len(b.trailer))
	if err != nil {
		return err
	}
	if !trailerAllowed(b.trailer[f.start:f.nameEnd]) {
		b.trailer = b.trailer[:n]
	}
	return nil
}

// trailerAllowed drops trailers that would change framing, routing, content
// format, conditions or trust if a recipient merged them into the head (RFC
// 9110, section 6.5.1).
func trailerAllowed(name []byte) bool {
	if k, _ := kindOf(name); k != KindOther || len(name) >= 3 && EqualFold(name[:3], "if-") {
		return false
	}
	for _, s := range notInTrailers {
		if EqualFold(name, s) {
			return false
		}
	}
	return true
}

// notInTrailers are fields without a Kind that act on a whole message.
var notInTrailers = []string{
	"age", "content-encoding", "content-range", "content-type", "date", "expires", "location",
	"max-forwards", "pragma", "range", "retry-after", "vary", "warning", "www-authenticate", "x-real-ip",
}

// parseChunkSize reads chunk-size [chunk-ext] (RFC 9112, section 7.1).
func parseChunkSize(line []byte) (int64, error) {
	var n int64
	i := 0
	for ; i < len(line) && isHex(line[i]); i++ {
		if i == 15 {
			return 0, badMessage("a chunk size has more than 15 digits")
		}
		n = n<<4 | int64(unhex(line[i]))
	}
	if i == 0 {
		return 0, badMessage("a chunk size is not a hexadecimal number")
	}
	if i < len(line) && !validChunkExt(line[i:]) {
		return 0, badMessage("a chunk size is followed by something other than an extension")
	}
	return n, nil
}

// validChunkExt checks *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted ) ] )
// (RFC 9112, section 7.1.1) but for the inside of the extensions, which are
// dropped: that they begin with a name and hold no control characters.
func validChunkExt(b []byte) bool {
	ext := TrimOWS(b)
	if len(ext) < 2 || ext[0] != ';' || !IsValue(ext) {
		return false
	}
	name := TrimOWS(ext[1:])
	return len(name) > 0 && classes[name[0]]&classToken != 0
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// AppendChunk appends p as one chunk; p must not be empty.
func AppendChunk(dst, p []byte) []byte {
	dst = AppendChunkSize(dst, len(p))
	dst = append(dst, p...)
	return append(dst, '\r', '\n')
}

// AppendChunkSize appends the size line of a chunk of n bytes.
func AppendChunkSize(dst []byte, n int) []byte {
	const digits = "0123456789abcdef"
	var tmp [16]byte
	i := len(tmp)
	for {
		i--
		tmp[i] = digits[n&15]
		if n >>= 4; n == 0 {
			break
		}
	}
	dst = append(dst, tmp[i:]...)
	return append(dst, '\r', '\n')
}

// AppendLastChunk appends the end of a chunked body with its trailers, which
// are whole lines or nothing.
func AppendLastChunk(dst, trailers []byte) []byte {
	dst = append(dst, "0\r\n"...)
	dst = append(dst, trailers...)
	return append(dst, '\r', '\n')
}

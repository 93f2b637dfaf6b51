package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

const twoHeads = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n"

// TestHeadSplit: where reads end makes no difference, and a timeout is not the
// end.
func TestHeadSplit(t *testing.T) {
	for i, src := range splits("\r\n" + twoHeads) {
		rd := newReader(src)
		for _, path := range []string{"/1", "/2"} {
			head, err := patient(func() ([]byte, error) { return rd.RequestHead(1 << 10) })
			if err != nil {
				t.Fatalf("split %d, %s: %v", i, path, err)
			}
			r, err := parseRequest(string(head))
			if err != nil || string(r.Path) != path {
				t.Fatalf("split %d: %q, %v", i, head, err)
			}
			rd.EndMessage()
		}
		if _, err := rd.RequestHead(1 << 10); err != io.EOF {
			t.Fatalf("split %d: behind the last head comes %v", i, err)
		}
	}
}

// TestHeadEnds: the errors at and in a head.
func TestHeadEnds(t *testing.T) {
	cases := []struct {
		name  string
		input string
		want  error // nil: an *Error with status 400
	}{
		{"nothing", "", io.EOF},
		{"only the empty line that may come first (9112 2.2)", "\r\n", io.EOF},
		{"inside the request line", "GET / HT", io.ErrUnexpectedEOF},
		{"inside the fields", "GET / HTTP/1.1\r\nHost: a\r\n", io.ErrUnexpectedEOF},
		{"before the last octet", "GET / HTTP/1.1\r\n\r", io.ErrUnexpectedEOF},
		{"bare LF first", "\n", nil},
		{"bare LF behind a line", "GET / HTTP/1.1\n", nil},
		{"bare LF as the empty line", "GET / HTTP/1.1\r\n\n", nil},
	}
	for _, c := range cases {
		for i, src := range splits(c.input) {
			rd := newReader(src)
			_, err := patient(func() ([]byte, error) { return rd.RequestHead(1 << 10) })
			if c.want != nil && err != c.want || c.want == nil && statusOf(err) != 400 {
				t.Errorf("%s, split %d: %v, want %v", c.name, i, err, c.want)
			}
		}
	}
}

// TestBareLFAtOnce: a line that ends wrongly is refused without waiting.
func TestBareLFAtOnce(t *testing.T) {
	src := &pieces{[]byte("GET / HTTP/1.1\n"), nil}
	if _, err := newReader(src).Head(1 << 10); statusOf(err) != 400 {
		t.Errorf("got %v", err)
	}
}

// TestHeadSkipsOneEmptyLine: RFC 9112, section 2.2 asks for one, not for any
// number.
func TestHeadSkipsOneEmptyLine(t *testing.T) {
	head, err := newReader(strings.NewReader("\r\n\r\n" + twoHeads)).RequestHead(1 << 10)
	if err != nil || string(head) != "\r\n" {
		t.Errorf("got %q, %v; want the second empty line, which Parse refuses", head, err)
	}
}

// TestHeadLimit: a head of the limit passes, one more octet does not, and the
// reader takes no more memory than it needs to see that.
func TestHeadLimit(t *testing.T) {
	for _, limit := range []int{64, SmallBuffer - 1, SmallBuffer, SmallBuffer + 1, LargeBuffer, 100_000} {
		base := "GET / HTTP/1.1\r\nX: \r\n\r\n"
		fits := strings.Replace(base, "X: ", "X: "+strings.Repeat("a", limit-len(base)), 1)
		for _, step := range []int{1 << 20, 1000} {
			rd := newReader(&chopped{s: fits + "GET", step: step})
			head, err := rd.Head(limit)
			if err != nil || string(head) != fits {
				t.Errorf("limit %d: %d octets, %v", limit, len(head), err)
			}
			rd = newReader(&chopped{s: strings.Replace(fits, "X:", "X: ", 1), step: step})
			if _, err := rd.Head(limit); err != ErrHeadTooLarge {
				t.Errorf("limit %d and one octet more: %v", limit, err)
			}
			rd = newReader(&chopped{s: strings.Repeat("a", 3*limit+LargeBuffer), step: step})
			if _, err := rd.Head(limit); err != ErrHeadTooLarge {
				t.Errorf("limit %d without an end: %v", limit, err)
			}
			if n := len(rd.buf.B); n > max(LargeBuffer, limit+1) {
				t.Errorf("limit %d: the buffer has %d octets", limit, n)
			}
		}
	}
}

// chopped delivers step octets a read.
type chopped struct {
	s    string
	step int
}

func (c *chopped) Read(p []byte) (int, error) {
	if c.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.step)], c.s)
	c.s = c.s[n:]
	return n, nil
}

// TestHeadOutlivesBody: the head stays as it was until EndMessage, whatever the
// body does to the buffer.
func TestHeadOutlivesBody(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 20_000)
	for _, grow := range []bool{false, true} {
		for _, headSize := range []int{100, SmallBuffer - 100, SmallBuffer, SmallBuffer + 100, LargeBuffer, 100_000} {
			head := "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", headSize-24) + "\r\n\r\n"
			rd := newReader(&chopped{s: head + body + twoHeads, step: 3000})
			got, err := rd.Head(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			var b Body
			b.Init(rd, FramingLength, int64(len(body)))
			if grow {
				b.grow()
				b.grow()
				for range 4 { // what others do with buffers that are free
					other := GetBuffer(SmallBuffer)
					clear(other.B)
					defer other.Put()
				}
			}
			content, err := readBody(&b)
			if err != nil || string(content) != body {
				t.Errorf("head of %d, grow %v: %d octets of body, %v", headSize, grow, len(content), err)
			}
			if string(got) != head {
				t.Errorf("head of %d, grow %v: the head has changed", headSize, grow)
			}
			rd.EndMessage()
			if next, err := rd.RequestHead(1 << 10); err != nil || !bytes.HasPrefix(next, []byte("POST /1")) {
				t.Errorf("head of %d, grow %v: behind the body comes %q, %v", headSize, grow, next, err)
			}
			rd.Release()
		}
	}
}

// TestReaderHoldsNoBuffer: without bytes and without a head there is no buffer.
func TestReaderHoldsNoBuffer(t *testing.T) {
	rd := newReader(strings.NewReader("GET / HTTP/1.1\r\n\r\n"))
	if rd.buf != nil {
		t.Error("a new reader has a buffer")
	}
	if _, err := rd.Head(100); err != nil {
		t.Fatal(err)
	}
	rd.EndMessage()
	if rd.buf != nil || rd.head != nil {
		t.Error("a reader between messages has a buffer")
	}
	errAgain := errors.New("again")
	if err := rd.Attempt(func([]byte) (int, error) { return 0, errAgain }); err != errAgain || rd.buf != nil {
		t.Errorf("an attempt in vain returns %v and leaves a buffer: %v", err, rd.buf != nil)
	}
}

// TestAttempt: bytes are kept, and a full buffer is not the end of the stream.
func TestAttempt(t *testing.T) {
	rd := newReader(nil)
	give := func(p []byte) (int, error) {
		if len(p) == 0 {
			return 0, io.EOF // as read(2) into no room looks
		}
		for i := range p {
			p[i] = 'x'
		}
		return len(p), nil
	}
	if err := rd.Attempt(give); err != nil || rd.Buffered() != SmallBuffer {
		t.Fatalf("%d octets, %v", rd.Buffered(), err)
	}
	if err := rd.Attempt(give); err != errBufferFull {
		t.Errorf("with a full buffer: %v", err)
	}
	rd.Discard(10)
	if err := rd.Attempt(give); err != nil || rd.Buffered() != SmallBuffer {
		t.Errorf("after a discard: %d octets, %v", rd.Buffered(), err)
	}
	rd.Discard(SmallBuffer)
	if err := rd.Attempt(give); err != nil || rd.Buffered() != SmallBuffer {
		t.Errorf("after all was read: %d octets, %v", rd.Buffered(), err)
	}
}

// TestReadErrors: a source that returns nothing does not hang the reader, and
// the error of a connection comes through.
func TestReadErrors(t *testing.T) {
	rd := newReader(iotestZero{})
	if _, err := rd.Head(100); err != io.ErrNoProgress {
		t.Errorf("got %v", err)
	}
	rd = newReader(&pieces{nil})
	if _, err := rd.Head(100); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

type iotestZero struct{}

func (iotestZero) Read([]byte) (int, error) { return 0, nil }

// TestTrickledHeadIsLinear: a head that comes octet by octet is searched once.
// Searching it from the start for each read would take half a minute here.
func TestTrickledHeadIsLinear(t *testing.T) {
	head := "GET /" + strings.Repeat("a", 4<<20) + " HTTP/1.1\r\n\r\n"
	start := time.Now()
	if _, err := newReader(&chopped{s: head, step: 16}).Head(5 << 20); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it takes %v", d)
	}
}

func TestBufferSizes(t *testing.T) {
	for _, size := range []int{1, SmallBuffer, SmallBuffer + 1, LargeBuffer, LargeBuffer + 1} {
		b := GetBuffer(size)
		if len(b.B) < size || len(b.B) != cap(b.B) {
			t.Errorf("a buffer for %d has %d of %d", size, len(b.B), cap(b.B))
		}
		b.B = b.B[:1]
		b.Put()
	}
	for range 8 {
		if b := GetBuffer(SmallBuffer); len(b.B) != SmallBuffer {
			t.Errorf("a small buffer has %d", len(b.B))
		}
	}
}

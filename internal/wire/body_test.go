package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func newBody(src io.Reader, f Framing, length int64) (*Body, *Reader) {
	rd := newReader(src)
	b := &Body{}
	b.Init(rd, f, length)
	return b, rd
}

// TestChunkedAccepted: what RFC 9112, section 7.1 allows, wherever reads end.
func TestChunkedAccepted(t *testing.T) {
	cases := []struct{ name, body, content, trailers string }{
		{"empty", "0\r\n\r\n", "", ""},
		{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"two chunks", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", ""},
		{"capital digits", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
		{"small digits", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
		{"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello", ""},
		{"CRLF in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", ""},
		{"what looks like an end", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", ""},
		{"extension (9112 7.1.1)", "5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello", ""},
		{"extension with white space (9112 7.1.1)", "5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"quoted extension", "5;a=\";\\\"x\"\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"trailers (9112 7.1.2)", "0\r\nX-A: 1\r\nx-b:2\r\n\r\n", "", "X-A: 1\r\nx-b:2\r\n"},
		{"trailers that are dropped (9110 6.5.1)", "0\r\nContent-Length: 9\r\nX: 1\r\nHost: b\r\nIf-Match: a\r\ncontent-TYPE: a\r\n\r\n", "", "X: 1\r\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for i, src := range splits(c.body + "GET") {
				b, rd := newBody(src, FramingChunked, -1)
				got, err := readBody(b)
				if err != nil || string(got) != c.content || string(b.Trailers()) != c.trailers {
					t.Fatalf("split %d: %q, trailers %q, %v", i, got, b.Trailers(), err)
				}
				if !b.Done() || b.Received() != int64(len(c.content)) {
					t.Fatalf("split %d: done %v after %d octets", i, b.Done(), b.Received())
				}
				if behind := unread(rd); behind != "GET" {
					t.Fatalf("split %d: behind the body is %q", i, behind)
				}
			}
		})
	}
}

// TestChunkedRefused: what could be read in two ways. The content before it may
// be delivered; a failed body stays failed, so that draining it cannot end in
// what follows.
func TestChunkedRefused(t *testing.T) {
	const rest = "\r\n0\r\n\r\n0\r\n\r\n"
	cases := []struct {
		name, body string
		status     int
	}{
		{"no size", "\r\nhello" + rest, 400},
		{"size with a sign", "+5\r\nhello" + rest, 400},
		{"negative size", "-5\r\nhello" + rest, 400},
		{"size with 0x", "0x5\r\nhello" + rest, 400},
		{"space before the size", " 5\r\nhello" + rest, 400},
		{"space behind the size (9112 7.1.1)", "5 \r\nhello" + rest, 400},
		{"tab behind the size", "5\t\r\nhello" + rest, 400},
		{"not hexadecimal", "g\r\nhello" + rest, 400},
		{"underscore", "1_0\r\nhello" + rest, 400},
		{"size that would wrap around", "10000000000000005\r\nhello" + rest, 400},
		{"size above int64", "ffffffffffffffff\r\nhello" + rest, 400},
		{"sixteen digits", "0000000000000005\r\nhello" + rest, 400},
		{"bare LF behind the size", "5\nhello" + rest, 400},
		{"bare CR behind the size", "5\rhello" + rest, 400},
		{"two CR behind the size", "5\r\r\nhello" + rest, 400},
		{"no CRLF behind the data (9112 7.1)", "5\r\nhello0\r\n\r\n", 400},
		{"LF behind the data", "5\r\nhello\n0\r\n\r\n", 400},
		{"CR and something behind the data", "5\r\nhello\rx0\r\n\r\n", 400},
		{"data longer than its size", "4\r\nhello" + rest, 400},
		{"extension without a name", "5;\r\nhello" + rest, 400},
		{"extension with a bad name", "5;=a\r\nhello" + rest, 400},
		{"extension with a control octet", "5;a=\x00\r\nhello" + rest, 400},
		{"extension with a bare CR", "5;a=\rb\r\nhello" + rest, 400},
		{"a word behind the size", "5 a\r\nhello" + rest, 400},
		{"line longer than the limit", "5;" + strings.Repeat("a", maxChunkLine) + "\r\nhello" + rest, 400},
		{"line without an end", strings.Repeat("0", LargeBuffer+1), 400},
		{"extensions longer than the limit", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 20) + "0\r\n\r\n", 400},
		{"trailer without a colon", "0\r\nX\r\n\r\n", 400},
		{"trailer with a space before the colon", "0\r\nX : a\r\n\r\n", 400},
		{"folded trailer", "0\r\nX: a\r\n b\r\n\r\n", 400},
		{"control octet in a trailer", "0\r\nX: \x00\r\n\r\n", 400},
		{"bare LF in the trailers", "0\r\nX: a\n\r\n", 400},
		{"too many trailers", "0\r\n" + strings.Repeat("X: "+strings.Repeat("a", 100)+"\r\n", 200) + "\r\n", 431},
		{"too many trailers that are dropped", "0\r\n" + strings.Repeat("Host: "+strings.Repeat("a", 100)+"\r\n", 200) + "\r\n", 431},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sources := []*pieces{{[]byte(c.body)}}
			if len(c.body) < 100 {
				sources = splits(c.body)
			}
			for i, src := range sources {
				b, _ := newBody(src, FramingChunked, -1)
				got, err := readBody(b)
				if statusOf(err) != c.status {
					t.Fatalf("split %d: %q, %v", i, got, err)
				}
				for range 10 {
					if p, err := b.Ready(); statusOf(err) != c.status || len(p) > 0 {
						t.Fatalf("split %d: after the failure comes %q, %v", i, p, err)
					}
				}
				if b.Done() {
					t.Fatalf("split %d: a failed body is done", i)
				}
			}
		})
	}
}

// TestSmallChunksAreNotOverhead: a stream of tiny chunks with short extensions
// is nothing to refuse.
func TestSmallChunksAreNotOverhead(t *testing.T) {
	const n = 50_000
	b, _ := newBody(strings.NewReader(strings.Repeat("1;ext=1234567\r\nx\r\n", n)+"0\r\n\r\n"), FramingChunked, -1)
	if got, err := readBody(b); err != nil || len(got) != n {
		t.Errorf("%d octets, %v", len(got), err)
	}
}

// TestShortBody: a connection that ends early is an error with every framing
// that has an end, at every position.
func TestShortBody(t *testing.T) {
	const chunked = "3;a\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
	for i := range len(chunked) {
		for _, src := range splits(chunked[:i]) {
			b, _ := newBody(src, FramingChunked, -1)
			if _, err := readBody(b); err != ErrShortBody {
				t.Fatalf("chunked, end at %d: %v", i, err)
			}
		}
	}
	for i := range 5 {
		b, _ := newBody(strings.NewReader("hello"[:i]), FramingLength, 5)
		got, err := readBody(b)
		if err != ErrShortBody || string(got) != "hello"[:i] {
			t.Errorf("length 5, end at %d: %q, %v", i, got, err)
		}
	}
}

// TestOtherFramings: lengths, bodies until the end, and none.
func TestOtherFramings(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	cases := []struct {
		name        string
		framing     Framing
		length      int64
		input, want string
	}{
		{"none", FramingNone, 0, "GET", ""},
		{"length 0", FramingLength, 0, "GET", ""},
		{"length", FramingLength, 5, "helloGET", "hello"},
		{"long length", FramingLength, int64(len(long)), long + "GET", long},
		{"until the end", FramingClose, 0, "hello", "hello"},
		{"nothing until the end", FramingClose, 0, "", ""},
		{"much until the end", FramingClose, 0, long, long},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for i, step := range []int{1 << 20, 5000, 7} {
				b, rd := newBody(&chopped{s: c.input, step: step}, c.framing, c.length)
				if i > 0 {
					b.grow()
				}
				got, err := readBody(b)
				if err != nil || string(got) != c.want || b.Received() != int64(len(c.want)) || !b.Done() {
					t.Fatalf("step %d: %d octets, received %d, %v", step, len(got), b.Received(), err)
				}
				if rest := c.input[len(c.want):]; !strings.HasPrefix(rest, string(rd.Bytes())) {
					t.Errorf("step %d: behind the body is %q", step, rd.Bytes())
				}
			}
		})
	}
	if p, err := (&Body{}).Next(); p != nil || err != io.EOF {
		t.Errorf("the zero Body: %q, %v", p, err)
	}
}

// TestReady never reads, and gives all there is.
func TestReady(t *testing.T) {
	rd := newReader(&pieces{[]byte("5\r\nhello\r\n5\r\nwo"), []byte("rld\r\n0\r\n\r\n")})
	var b Body
	b.Init(rd, FramingChunked, -1)
	var got []byte
	for range 2 {
		if p, err := b.Ready(); p != nil || err != nil {
			t.Fatalf("before anything is read: %q, %v", p, err)
		}
	}
	for range 2 {
		if _, err := rd.fill(); err != nil {
			t.Fatal(err)
		}
		for {
			p, err := b.Ready()
			if err != nil {
				t.Fatal(err)
			}
			if len(p) == 0 {
				break
			}
			got = append(got, p...)
		}
	}
	if string(got) != "helloworld" || !b.Done() {
		t.Errorf("got %q, done %v", got, b.Done())
	}
}

// TestDropTrailers: those that are to go are gone, the others stay in order.
func TestDropTrailers(t *testing.T) {
	for _, c := range []struct{ drop, want string }{
		{"", "A: 1\r\nb:2\r\nA: 3\r\n"}, {"A", "b:2\r\n"}, {"b", "A: 1\r\nA: 3\r\n"}, {"Ab", ""},
	} {
		b, _ := newBody(strings.NewReader("0\r\nA: 1\r\nb:2\r\nA: 3\r\n\r\n"), FramingChunked, -1)
		if _, err := readBody(b); err != nil {
			t.Fatal(err)
		}
		b.DropTrailers(func(name []byte) bool { return strings.Contains(c.drop, string(name)) })
		if string(b.Trailers()) != c.want {
			t.Errorf("without %q: %q", c.drop, b.Trailers())
		}
	}
}

// TestAppendChunk: what is written is read again, and has the shortest sizes.
func TestAppendChunk(t *testing.T) {
	for _, sizes := range [][]int{{}, {1}, {15, 16, 17}, {255, 256, 4095, 4096, 65535, 65536}} {
		var wire, want []byte
		for _, n := range sizes {
			p := []byte(strings.Repeat("x", n))
			want = append(want, p...)
			wire = AppendChunk(wire, p)
		}
		wire = AppendLastChunk(wire, []byte("X: y\r\n"))
		b, _ := newBody(strings.NewReader(string(wire)), FramingChunked, -1)
		got, err := readBody(b)
		if err != nil || string(got) != string(want) || string(b.Trailers()) != "X: y\r\n" {
			t.Errorf("sizes %v: %d octets, %q, %v", sizes, len(got), b.Trailers(), err)
		}
	}
	for n, want := range map[int]string{0: "0\r\n", 9: "9\r\n", 10: "a\r\n", 4096: "1000\r\n", 1<<62 + 1: "4000000000000001\r\n"} {
		if got := string(AppendChunkSize(nil, n)); got != want {
			t.Errorf("size %d is %q", n, got)
		}
	}
	if got := string(AppendLastChunk(nil, nil)); got != "0\r\n\r\n" {
		t.Errorf("the end is %q", got)
	}
}

// TestInitReuses: nothing of the body before is left.
func TestInitReuses(t *testing.T) {
	var b Body
	for i, body := range []string{"1\r\na\r\n0\r\nX: 1\r\n\r\n", "zz\r\n", "2\r\nab\r\n0\r\n\r\n"} {
		b.Init(newReader(strings.NewReader(body)), FramingChunked, -1)
		got, err := readBody(&b)
		state := fmt.Sprintf("%q %q %v %v", got, b.Trailers(), b.Done(), errors.Unwrap(err) == nil && err != nil)
		want := []string{`"a" "X: 1\r\n" true false`, `"" "" false true`, `"ab" "" true false`}[i]
		if state != want {
			t.Errorf("body %d: %s, want %s", i, state, want)
		}
	}
}

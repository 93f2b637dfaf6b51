package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

// theirBody reads a body with net/http.
func theirBody(r io.ReadCloser) (string, error) {
	b, err := io.ReadAll(r)
	_ = r.Close()
	return string(b), err
}

// FuzzRequest compares what is accepted with net/http's reading: method, target,
// host, framing and body must agree. What net/http alone refuses is nothing to
// compare; what it reads differently is a smuggled request.
func FuzzRequest(f *testing.F) {
	const h = "\r\nHost: a.example\r\n"
	for _, s := range []string{
		"GET / HTTP/1.1" + h + "\r\n",
		"\r\nGET /a/b?c=d HTTP/1.1" + h + "Accept: */*\r\nCookie: a=b; c=d\r\n\r\n",
		"POST /x HTTP/1.1" + h + "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n",
		"POST /x HTTP/1.1" + h + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET",
		"POST /x HTTP/1.1" + h + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"POST /x HTTP/1.1" + h + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"GET http://b.example:81/x?y HTTP/1.1" + h + "Connection: close, x\r\nX: a\r\n\r\n",
		"OPTIONS * HTTP/1.1" + h + "\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.1" + h + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"GET / HTTP/1.1" + h + "X: a\r\n b\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rd := newReader(bytes.NewReader(data))
		head, err := rd.Head(64 << 10)
		if err != nil {
			return
		}
		var ours Request
		if ours.Parse(head) != nil {
			return
		}
		checkFields(t, &ours.fields, head)
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\r\n")))))
		if err != nil {
			return
		}
		agree(t, "method", string(ours.Method), theirs.Method)
		agree(t, "target", string(ours.Target), theirs.RequestURI)
		if !strings.Contains(string(ours.Host), "%") { // net/http decodes the host of a URL
			agree(t, "host", string(ours.Host), theirs.Host)
		}
		agree(t, "length", fmt.Sprint(ours.Length), fmt.Sprint(theirs.ContentLength))
		agree(t, "close", fmt.Sprint(!ours.KeepAlive), fmt.Sprint(theirs.Close))
		framing := FramingLength
		if ours.Chunked() {
			framing = FramingChunked
		}
		compareBody(t, rd, framing, ours.Length, theirs.Body)
	})
}

// compareBody reads a body on both sides. net/http refuses a little that RFC
// 9112 allows, such as white space before a chunk extension.
func compareBody(t *testing.T, rd *Reader, f Framing, length int64, theirs io.ReadCloser) {
	var b Body
	b.Init(rd, f, length)
	content, err := readBody(&b)
	if err != nil {
		return
	}
	their, err := theirBody(theirs)
	if err != nil {
		return
	}
	agree(t, "body", string(content), their)
}

func agree(t *testing.T, what, ours, theirs string) {
	t.Helper()
	if ours != theirs {
		t.Errorf("%s: we read %q, net/http %q", what, ours, theirs)
	}
}

// checkFields: the lines are the head, in order and without gaps, and hold
// nothing that another parser could take for the end of a line.
func checkFields(t *testing.T, f *fields, head []byte) {
	var joined []byte
	for i := range f.Fields() {
		joined = append(joined, f.Line(i)...)
		if !IsToken(f.Name(i)) || !IsValue(f.Value(i)) {
			t.Errorf("line %q is accepted", f.Line(i))
		}
	}
	first := bytes.IndexByte(head, '\n') + 1
	if want := head[first : len(head)-2]; !bytes.Equal(joined, want) {
		t.Errorf("the fields are %q, want %q", joined, want)
	}
}

// FuzzResponse is FuzzRequest for responses to GET and HEAD.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, toHead bool) {
		data = bytes.TrimPrefix(data, []byte("\r\n"))
		rd := newReader(bytes.NewReader(data))
		head, err := rd.Head(64 << 10)
		if err != nil {
			return
		}
		var ours Response
		if ours.Parse(head, toHead) != nil {
			return
		}
		checkFields(t, &ours.fields, head)
		req := &http.Request{Method: "GET"}
		if toHead {
			req.Method = "HEAD"
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), req)
		if err != nil {
			return
		}
		agree(t, "status", fmt.Sprint(ours.Status), fmt.Sprint(theirs.StatusCode))
		if ours.Framing != FramingNone || toHead {
			compareBody(t, rd, ours.Framing, ours.Length, theirs.Body)
		}
	})
}

// FuzzChunked compares with net/http's reader, and with itself when the input
// comes in two parts.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n", "A \t;a\r\n0123456789\r\n00\r\n\r\n",
		"ffffffffffffffff\r\n", "5\nhello\n0\n\n", "5\r\nhello0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "1\r\na\r\n-1\r\n",
	} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		b, rd := newBody(bytes.NewReader(data), FramingChunked, -1)
		content, err := readBody(b)
		at := min(int(cut), len(data))
		two, _ := newBody(&pieces{data[:at:at], nil, data[at:]}, FramingChunked, -1)
		if at == 0 || at == len(data) {
			two, _ = newBody(bytes.NewReader(data), FramingChunked, -1)
		}
		again, err2 := readBody(two)
		if fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && !bytes.Equal(content, again) || !bytes.Equal(b.Trailers(), two.Trailers()) {
			t.Fatalf("in one piece %q, %v; cut at %d %q, %v", content, err, at, again, err2)
		}
		if err != nil {
			return
		}
		their, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		if err == nil {
			agree(t, "content", string(content), string(their))
		}
		wire := AppendLastChunk(AppendChunk(nil, append(content, 'x')), b.Trailers())
		back, _ := newBody(bytes.NewReader(append(wire, rd.Bytes()...)), FramingChunked, -1)
		if got, err := readBody(back); err != nil || string(got) != string(content)+"x" || !bytes.Equal(back.Trailers(), b.Trailers()) {
			t.Errorf("written and read again: %q, %v", got, err)
		}
	})
}

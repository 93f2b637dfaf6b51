package healthcheck

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// recorded is a connection on which everything has been said already. It gives
// what it has in pieces, to show what depends on how bytes arrive.
type recorded struct {
	net.Conn
	rest  []byte
	piece int
}

func (r *recorded) Write(p []byte) (int, error) { return len(p), nil }

func (r *recorded) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.piece)], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// checkText holds every error to what people may be shown.
func checkText(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := clip(err.Error(), maxErr)
	if text == "" || len(text) > maxErr || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00\x1b") {
		t.Errorf("error text %q", text)
	}
}

func FuzzHTTPResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.0 500 No\r\n\r\n",
		"HTTP/1.1 101 Switching\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x46", "HTTP/", "H",
	} {
		f.Add([]byte(seed))
	}
	o := DefaultOptions()
	o.HTTP.Body = "ok"
	contains, err := newHTTPProbe(&o)
	if err != nil {
		f.Fatal(err)
	}
	o.HTTP.Body, o.HTTP.BodyRegex = "", "ok"
	matches, err := newHTTPProbe(&o)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, response []byte) {
		var first string
		for i, piece := range []int{1, 1 << 20} {
			for _, p := range []*httpProbe{contains, matches} {
				x := exchanges.Get().(*exchange)
				status, _, err := p.exchange(context.Background(), &recorded{rest: response, piece: piece}, place{}, x)
				x.free()
				checkText(t, err)
				if status != 0 && (status < 101 || status > 999) {
					t.Errorf("status %d", status)
				}
				if err == nil && !bytes.Contains(response, []byte("o")) {
					t.Error("passed without the text")
				}
				if p != contains {
					continue
				}
				got := http.StatusText(status) + " passed"
				if err != nil {
					got = "failed"
				}
				if i == 0 {
					first = got
				} else if got != first {
					t.Errorf("by pieces %q, at once %q (%v)", first, got, err)
				}
			}
		}
	})
}

func FuzzGRPCMessage(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x06\x12\x02hi\x08\x01"))
	f.Add([]byte("\x01\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		serving, err := parseHealth(message)
		checkText(t, err)
		if err == nil && servingText(serving) == "" {
			t.Error("no text")
		}
	})
}

func FuzzGRPCTrailers(f *testing.F) {
	f.Add("0", "", "application/grpc", 200)
	f.Add("12", "unknown%20service", "application/grpc+proto", 200)
	f.Add("x", "%zz\xff\n", "text/html", 404)
	f.Fuzz(func(t *testing.T, status, message, kind string, code int) {
		res := &http.Response{
			StatusCode: code, Header: http.Header{"Content-Type": {kind}},
			Trailer: http.Header{"Grpc-Status": {status}, "Grpc-Message": {message}},
		}
		got, err := judgeCall(res, []byte("\x00\x00\x00\x00\x02\x08\x01"), "service")
		checkText(t, err)
		if got < 0 || err == nil && got != 0 {
			t.Errorf("status %d, %v", got, err)
		}
	})
}

func FuzzClip(f *testing.F) {
	f.Add("a\xffb\n\u202e…", 10)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 3 || limit > 1000 {
			return
		}
		if got := clip(s, limit); len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	})
}

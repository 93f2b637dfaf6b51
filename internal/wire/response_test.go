package wire

import (
	"fmt"
	"testing"
)

func parseResponse(s string, toHead bool) (*Response, error) {
	r := &Response{}
	return r, r.Parse([]byte(s), toHead)
}

func describeResponse(r *Response) string {
	s := fmt.Sprintf("%d %q %s", r.Status, r.StatusText, [...]string{"none", "length", "chunked", "close"}[r.Framing])
	if r.Framing == FramingLength {
		s += fmt.Sprintf("=%d", r.Length)
	}
	if r.KeepAlive {
		s += " keep"
	}
	if r.KeepAliveSeconds != 0 {
		s += fmt.Sprintf("=%ds", r.KeepAliveSeconds)
	}
	if r.Minor == 0 {
		s += " minor0"
	}
	return s
}

// TestResponseAccepted: the framing rules of RFC 9112, section 6.3, and what a
// backend says of its connection.
func TestResponseAccepted(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	cases := []struct {
		name   string
		head   string
		toHead bool
		want   string
	}{
		{"length", lines(ok, "Content-Length: 5"), false, `200 "200 OK" length=5 keep`},
		{"length 0", lines(ok, "Content-Length: 0"), false, `200 "200 OK" length=0 keep`},
		{"chunked", lines(ok, "Transfer-Encoding: Chunked"), false, `200 "200 OK" chunked keep`},
		{"neither: until the end", lines(ok), false, `200 "200 OK" close`},
		{"to HEAD with a length", lines(ok, "Content-Length: 5"), true, `200 "200 OK" none keep`},
		{"to HEAD with chunked", lines(ok, "Transfer-Encoding: chunked"), true, `200 "200 OK" none keep`},
		{"to HEAD with neither", lines(ok), true, `200 "200 OK" none keep`},
		{"204", lines("HTTP/1.1 204 No Content"), false, `204 "204 No Content" none keep`},
		{"204 with a length (9110 8.6)", lines("HTTP/1.1 204 No Content", "Content-Length: 5"), false, `204 "204 No Content" none keep`},
		{"304 with a length", lines("HTTP/1.1 304 Not Modified", "Content-Length: 5"), false, `304 "304 Not Modified" none keep`},
		{"205 is framed like others (9110 15.3.6)", lines("HTTP/1.1 205 Reset Content", "Content-Length: 0"), false, `205 "205 Reset Content" length=0 keep`},
		{"100", lines("HTTP/1.1 100 Continue"), false, `100 "100 Continue" none keep`},
		{"103 with a length", lines("HTTP/1.1 103 Early Hints", "Content-Length: 5"), false, `103 "103 Early Hints" none keep`},
		{"101", lines("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"), false, `101 "101 Switching Protocols" none keep`},

		{"empty reason (9112 4)", lines("HTTP/1.1 200 ", "Content-Length: 5"), false, `200 "200 " length=5 keep`},
		{"no space behind the status", lines("HTTP/1.1 200", "Content-Length: 5"), false, `200 "200" length=5 keep`},
		{"obs-text in the reason (9112 4)", lines("HTTP/1.1 200 \xc3\xa4\tx", "Content-Length: 5"), false, "200 \"200 ä\\tx\" length=5 keep"},
		{"unknown status (9110 15)", lines("HTTP/1.1 599 x", "Content-Length: 5"), false, `599 "599 x" length=5 keep`},
		{"later minor version (9110 2.5)", lines("HTTP/1.2 200 OK", "Content-Length: 5"), false, `200 "200 OK" length=5 keep`},

		{"close", lines(ok, "Content-Length: 5", "Connection: close"), false, `200 "200 OK" length=5`},
		{"HTTP/1.0 closes (9112 9.3)", lines("HTTP/1.0 200 OK", "Content-Length: 5"), false, `200 "200 OK" length=5 minor0`},
		{"HTTP/1.0 with keep-alive (9112 9.3)", lines("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: keep-alive"), false, `200 "200 OK" length=5 keep minor0`},
		{"keep-alive and close (9112 9.3)", lines(ok, "Content-Length: 5", "Connection: keep-alive, close"), false, `200 "200 OK" length=5`},
		{"keep-alive cannot save a body without an end", lines("HTTP/1.0 200 OK", "Connection: keep-alive"), false, `200 "200 OK" close minor0`},
		{"Keep-Alive timeout", lines(ok, "Content-Length: 5", "Keep-Alive: timeout=5"), false, `200 "200 OK" length=5 keep=5s`},
		{"Keep-Alive among others", lines(ok, "Content-Length: 5", "Keep-Alive: max=100, Timeout = 72"), false, `200 "200 OK" length=5 keep=72s`},
		{"Keep-Alive below a second", lines(ok, "Content-Length: 5", "Keep-Alive: timeout=0"), false, `200 "200 OK" length=5`},
		{"Keep-Alive without a number", lines(ok, "Content-Length: 5", "Keep-Alive: timeout=, timeout=x"), false, `200 "200 OK" length=5 keep`},
		{"Keep-Alive that says nothing", lines(ok, "Content-Length: 5", "Keep-Alive: xtimeout=5, timeout"), false, `200 "200 OK" length=5 keep`},
		{"Keep-Alive of years", lines(ok, "Content-Length: 5", "Keep-Alive: timeout=99999999999999999999"), false, `200 "200 OK" length=5 keep`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseResponse(c.head, c.toHead)
			if err != nil {
				t.Fatal(err)
			}
			if got := describeResponse(r); got != c.want {
				t.Errorf("read as\n%s, want\n%s", got, c.want)
			}
		})
	}
}

// TestResponseRefused: what no backend may send.
func TestResponseRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	cases := []struct{ name, head string }{
		{"empty status line", "\r\n"},
		{"HTTP/0.9", lines("hello")},
		{"another protocol", lines("ICY 200 OK  ")},
		{"HTTP/2.0 (9110 2.5)", lines("HTTP/2.0 200 OK")},
		{"small letters (9112 2.3)", lines("http/1.1 200 OK")},
		{"version without a digit", lines("HTTP/1.x 200 OK")},
		{"two spaces before the status (9112 4)", lines("HTTP/1.1  200 OK")},
		{"tab before the status", lines("HTTP/1.1\t200 OK")},
		{"no status", lines("HTTP/1.1 OK         ")},
		{"status of two digits", lines("HTTP/1.1 20 OK")},
		{"status of four digits", lines("HTTP/1.1 2000 OK")},
		{"status with a sign", lines("HTTP/1.1 +20 OK")},
		{"status below 100 (9110 15)", lines("HTTP/1.1 099 x")},
		{"status above 599 (9110 15)", lines("HTTP/1.1 600 x")},
		{"control octet in the reason (9112 4)", lines("HTTP/1.1 200 O\x01K")},
		{"bare CR in the reason (response splitting)", lines("HTTP/1.1 200 O\rK")},
		{"bare LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"},
		{"obs-fold (9112 5.2)", lines(ok, "X: a", " b")},
		{"space before the colon (9112 5.1)", lines(ok, "Content-Length : 5")},
		{"NUL in a value", lines(ok, "X: \x00")},
		{"bare CR in a value", lines(ok, "X: a\rSet-Cookie: b")},
		{"two lengths (9112 6.3)", lines(ok, "Content-Length: 5", "Content-Length: 6")},
		{"a list of lengths", lines(ok, "Content-Length: 5, 5")},
		{"both lengths (9112 6.3)", lines(ok, "Content-Length: 5", "Transfer-Encoding: chunked")},
		{"both lengths to HEAD", lines("HTTP/1.1 204 No Content", "Content-Length: 5", "Transfer-Encoding: chunked")},
		{"gzip as transfer coding", lines(ok, "Transfer-Encoding: gzip, chunked")},
		{"not chunked", lines(ok, "Transfer-Encoding: identity")},
		{"chunked in HTTP/1.0 (9112 6.1)", lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseResponse(c.head, false)
			if err == nil {
				t.Fatalf("read as %s", describeResponse(r))
			}
			if statusOf(err) != 400 {
				t.Errorf("not an *Error for a bad message: %v", err)
			}
		})
	}
}

// TestErrorsAreShort: a message is not repeated at length.
func TestErrorsAreShort(t *testing.T) {
	long := make([]byte, 10_000)
	for i := range long {
		long[i] = 'a'
	}
	for _, head := range []string{
		lines("HTTP/1.1 200 OK", "Transfer-Encoding: "+string(long)),
		lines("HTTP/1.1 200 OK", string(long)+": \x00"),
	} {
		if _, err := parseResponse(head, false); err == nil || len(err.Error()) > 200 {
			t.Errorf("error %.300v", err)
		}
	}
}

func TestInformational(t *testing.T) {
	for status, want := range map[int]bool{100: true, 101: false, 102: true, 103: true, 199: true, 200: false, 304: false} {
		if r := (&Response{Status: status}); r.Informational() != want {
			t.Errorf("%d: %v", status, !want)
		}
	}
}

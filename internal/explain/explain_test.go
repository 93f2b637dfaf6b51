package explain

import (
	"strings"
	"testing"

	"steelyard/internal/wire"
)

func TestHead(t *testing.T) {
	for _, tc := range []struct {
		name           string
		q              Question
		head, ip, fail string
	}{
		{"nothing", Question{}, "GET / HTTP/1.1\r\nHost: \r\n\r\n", "127.0.0.1", ""},
		{"everything", Question{"PUT", "a.test:80", "/x?y", map[string]string{"X-B": " 2 ", "x-a": ""}, "::ffff:10.0.0.1"},
			"PUT /x?y HTTP/1.1\r\nHost: a.test:80\r\nX-B: 2\r\nx-a: \r\n\r\n", "10.0.0.1", ""},
		{"host among the headers", Question{Headers: map[string]string{"host": "b.test"}}, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", "127.0.0.1", ""},
		{"host twice", Question{Host: "a.test", Headers: map[string]string{"Host": "b.test"}}, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "127.0.0.1", ""},
		{"no address", Question{ClientIP: "here"}, "", "", `client_ip "here" is not an IP address`},
		{"a space in the path", Question{Path: "/a b"}, "", "", `path "/a b" has a space`},
		{"two lines in the host", Question{Host: "a\r\nX: y"}, "", "", `host "a\r\nX: y" has a space or a control character`},
		{"two lines in a header", Question{Headers: map[string]string{"X": "a\r\nY: b"}}, "", "", `header X: the value "a\r\nY: b" has a control character`},
		{"no header name", Question{Headers: map[string]string{"X Y": ""}}, "", "", `header "X Y": that is not a header name`},
		{"a long value", Question{Method: strings.Repeat("G", 100) + " "}, "", "", `method "` + strings.Repeat("G", 80) + `…" has`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			head, ip, err := tc.q.Head()
			switch {
			case tc.fail != "":
				if err == nil || !strings.Contains(err.Error(), tc.fail) {
					t.Errorf("error %v, want %q", err, tc.fail)
				}
			case err != nil || string(head) != tc.head || ip.String() != tc.ip:
				t.Errorf("got %q from %v, %v; want %q from %s", head, ip, err, tc.head, tc.ip)
			}
		})
	}
}

// Whatever is asked: what comes out is one head, with no more fields than were
// asked for.
func FuzzHead(f *testing.F) {
	f.Add("GET", "h", "/", "X", "1")
	f.Add("GET", "h\r\n\r\n", "/ HTTP/1.1\r\nX: y", "X:", "1\n2")
	f.Add("", "[::1]", "http://h/?q", "Host", "x\x00")
	f.Fuzz(func(t *testing.T, method, host, path, name, value string) {
		head, _, err := Question{Method: method, Host: host, Path: path, Headers: map[string]string{name: value}}.Head()
		if err != nil {
			return
		}
		if strings.Count(string(head), "\n") > 4 || strings.Index(string(head), "\r\n\r\n") != len(head)-4 {
			t.Fatalf("not one head: %q", head)
		}
		var r wire.Request
		if r.Parse(head) == nil && (len(r.Fields()) > 2 || string(r.Method) != method && method != "") {
			t.Fatalf("%q has become %s with %d fields", head, r.Method, len(r.Fields()))
		}
	})
}

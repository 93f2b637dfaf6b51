package wire

import (
	"fmt"
	"strings"
	"testing"
)

// TestRequestAccepted: what RFC 9110 and 9112 allow is read, and read as they
// say. want is method, path, query, host, length and the options.
func TestRequestAccepted(t *testing.T) {
	const h = "Host: a.example"
	cases := []struct {
		name string
		head string
		want string
	}{
		{"origin-form (9112 3.2.1)", lines("GET /a/b?c=d HTTP/1.1", h), "GET /a/b ?c=d host=a.example len=0 keep"},
		{"empty query is kept", lines("GET /? HTTP/1.1", h), "GET / ? host=a.example len=0 keep"},
		{"question marks in a query", lines("GET /a?b?c HTTP/1.1", h), "GET /a ?b?c host=a.example len=0 keep"},
		{"two slashes are a path", lines("GET //b/c HTTP/1.1", h), "GET //b/c host=a.example len=0 keep"},
		{"octets browsers do not escape", lines("GET /|{}^`\\\"<> HTTP/1.1", h), "GET /|{}^`\\\"<> host=a.example len=0 keep"},
		{"absolute-form wins over Host (9112 3.2.2)", lines("GET http://b.example:81/x?y HTTP/1.1", h), "GET /x ?y host=b.example:81 len=0 keep absolute"},
		{"absolute-form, scheme in capitals (3986 3.1)", lines("GET HTTPS://b.example/ HTTP/1.1", h), "GET / host=b.example len=0 keep absolute"},
		{"absolute-form without path (9112 3.2.1)", lines("GET http://b.example HTTP/1.1", h), "GET / host=b.example len=0 keep absolute"},
		{"absolute-form with a query only", lines("GET http://b.example?q HTTP/1.1", h), "GET / ?q host=b.example len=0 keep absolute"},
		{"asterisk-form (9112 3.2.4)", lines("OPTIONS * HTTP/1.1", h), "OPTIONS * host=a.example len=0 keep"},
		{"OPTIONS of a URL without path (9112 3.2.4)", lines("OPTIONS http://b.example HTTP/1.1", h), "OPTIONS * host=b.example len=0 keep absolute"},
		{"OPTIONS of a URL with a query", lines("OPTIONS http://b.example?q HTTP/1.1", h), "OPTIONS / ?q host=b.example len=0 keep absolute"},
		{"a URL in a path", lines("GET /http://b.example/ HTTP/1.1", h), "GET /http://b.example/ host=a.example len=0 keep"},
		{"any token is a method (9110 9.1)", lines("M-SEARCH! / HTTP/1.1", h), "M-SEARCH! / host=a.example len=0 keep"},

		{"empty Host (9112 3.2)", lines("GET / HTTP/1.1", "Host:"), "GET / host= len=0 keep"},
		{"Host with an IPv6 address (9110 7.2)", lines("GET / HTTP/1.1", "Host: [::1]:80"), "GET / host=[::1]:80 len=0 keep"},
		{"Host with an empty port (3986 3.2.3)", lines("GET / HTTP/1.1", "Host: a:"), "GET / host=a: len=0 keep"},
		{"Host with escaped octets (3986 3.2.2)", lines("GET / HTTP/1.1", "Host: a%41"), "GET / host=a%41 len=0 keep"},
		{"field names in any case (9110 5.1)", lines("GET / HTTP/1.1", "hOST:a"), "GET / host=a len=0 keep"},
		{"white space around values (9112 5)", lines("GET / HTTP/1.1", "Host: \t a \t"), "GET / host=a len=0 keep"},
		{"HTTP/1.0 without Host (9112 3.2)", lines("GET / HTTP/1.0"), "GET / host= len=0 minor0"},
		{"HTTP/1.0 with keep-alive (9112 9.3)", lines("GET / HTTP/1.0", "Connection: Keep-Alive"), "GET / host= len=0 minor0 keep"},
		{"a later minor version (9110 2.5)", lines("GET / HTTP/1.9", h), "GET / host=a.example len=0 keep"},
		{"close (9112 9.6)", lines("GET / HTTP/1.1", h, "Connection: Foo, CLOSE"), "GET / host=a.example len=0"},
		{"close in a second Connection (9110 5.3)", lines("GET / HTTP/1.1", h, "Connection: keep-alive", "Connection: close"), "GET / host=a.example len=0"},

		{"Content-Length (9112 6.2)", lines("POST / HTTP/1.1", h, "Content-Length: 12"), "POST / host=a.example len=12 keep"},
		{"Content-Length with leading zeros", lines("POST / HTTP/1.1", h, "Content-Length: 0012"), "POST / host=a.example len=12 keep"},
		{"the longest length", lines("POST / HTTP/1.1", h, "Content-Length: 999999999999999999"), "POST / host=a.example len=999999999999999999 keep"},
		{"length on GET", lines("GET / HTTP/1.1", h, "Content-Length: 1"), "GET / host=a.example len=1 keep"},
		{"chunked, in any case (9112 7)", lines("POST / HTTP/1.1", h, "Transfer-Encoding: CHUNKED"), "POST / host=a.example len=-1 keep"},

		{"Expect with a body (9110 10.1.1)", lines("POST / HTTP/1.1", h, "Content-Length: 1", "Expect: 100-Continue"), "POST / host=a.example len=1 keep expect"},
		{"Expect without a body (9110 10.1.1)", lines("POST / HTTP/1.1", h, "Expect: 100-continue"), "POST / host=a.example len=0 keep"},
		{"Expect in HTTP/1.0 (9110 10.1.1)", lines("POST / HTTP/1.0", "Content-Length: 1", "Expect: 100-continue"), "POST / host= len=1 minor0"},
		{"another expectation", lines("POST / HTTP/1.1", h, "Content-Length: 1", "Expect: 200-ok"), "POST / host=a.example len=1 keep"},

		{"Upgrade (9110 7.8)", lines("GET / HTTP/1.1", h, "Connection: Upgrade", "Upgrade: websocket"), "GET / host=a.example len=0 keep upgrade=websocket"},
		{"several protocols", lines("GET / HTTP/1.1", h, "Connection: keep-alive, upgrade", "Upgrade: foo/2, websocket"), "GET / host=a.example len=0 keep upgrade=foo/2, websocket"},
		{"Upgrade that Connection does not name (9110 7.8)", lines("GET / HTTP/1.1", h, "Upgrade: websocket"), "GET / host=a.example len=0 keep"},
		{"Upgrade in HTTP/1.0 (9110 7.8)", lines("GET / HTTP/1.0", "Connection: upgrade", "Upgrade: websocket"), "GET / host= len=0 minor0"},
		{"Upgrade with a body", lines("GET / HTTP/1.1", h, "Connection: upgrade", "Upgrade: websocket", "Content-Length: 1"), "GET / host=a.example len=1 keep"},
		{"Upgrade to h2c", lines("GET / HTTP/1.1", h, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"), "GET / host=a.example len=0 keep"},
		{"Upgrade to h2c behind another", lines("GET / HTTP/1.1", h, "Connection: Upgrade", "Upgrade: websocket , H2C-14"), "GET / host=a.example len=0 keep"},
		{"Upgrade to HTTP/2.0", lines("GET / HTTP/1.1", h, "Connection: Upgrade", "Upgrade: HTTP/2.0"), "GET / host=a.example len=0 keep"},
		{"Upgrade to TLS (2817)", lines("GET / HTTP/1.1", h, "Connection: Upgrade", "Upgrade: TLS/1.0"), "GET / host=a.example len=0 keep"},
		{"Upgrade that is no protocol", lines("GET / HTTP/1.1", h, "Connection: Upgrade", "Upgrade: websocket;h2c"), "GET / host=a.example len=0 keep"},
		{"Upgrade of empty items", lines("GET / HTTP/1.1", h, "Connection: Upgrade", "Upgrade: , ,"), "GET / host=a.example len=0 keep"},

		{"obs-text in a value (9110 5.5)", lines("GET / HTTP/1.1", h, "X: \x80\xff"), "GET / host=a.example len=0 keep"},
		{"tab inside a value (9110 5.5)", lines("GET / HTTP/1.1", h, "X: a\tb"), "GET / host=a.example len=0 keep"},
		{"empty value", lines("GET / HTTP/1.1", h, "X:"), "GET / host=a.example len=0 keep"},
		{"colon in a value", lines("GET / HTTP/1.1", h, "X::a:b"), "GET / host=a.example len=0 keep"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseRequest(c.head)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(r); got != c.want {
				t.Errorf("read as\n%s, want\n%s", got, c.want)
			}
		})
	}
}

func describe(r *Request) string {
	s := fmt.Sprintf("%s %s", r.Method, r.Path)
	if r.HasQuery {
		s += " ?" + string(r.Query)
	}
	s += fmt.Sprintf(" host=%s len=%d", r.Host, r.Length)
	for _, o := range []struct {
		on   bool
		name string
	}{{r.Minor == 0, " minor0"}, {r.KeepAlive, " keep"}, {r.Absolute, " absolute"}, {r.Expect, " expect"}} {
		if o.on {
			s += o.name
		}
	}
	if r.Upgrade != nil {
		s += " upgrade=" + string(r.Upgrade)
	}
	return s
}

// TestRequestRefused: what the RFCs forbid, or two parsers could read in two
// ways, is answered with the status they give.
func TestRequestRefused(t *testing.T) {
	const h = "Host: a.example"
	get := func(fields ...string) string { return lines(append([]string{"GET / HTTP/1.1", h}, fields...)...) }
	cases := []struct {
		name   string
		head   string
		status int
	}{
		{"no version (9112 3, HTTP/0.9)", lines("GET /"), 400},
		{"empty request line", "\r\n", 400},
		{"no method", lines(" / HTTP/1.1", h), 400},
		{"method that is no token (9110 9.1)", lines("GE(T / HTTP/1.1", h), 400},
		{"tab instead of space (9112 3)", lines("GET\t/ HTTP/1.1", h), 400},
		{"two spaces before the target (9112 3)", lines("GET  / HTTP/1.1", h), 400},
		{"two spaces before the version (9112 3)", lines("GET /  HTTP/1.1", h), 400},
		{"space behind the version (9112 3)", lines("GET / HTTP/1.1 ", h), 400},
		{"bare CR in the request line (9112 2.2)", lines("GET /\rx HTTP/1.1", h), 400},
		{"version in small letters (9112 2.3)", lines("GET / http/1.1", h), 400},
		{"version of two digits (9112 2.3)", lines("GET / HTTP/1.10", h), 400},
		{"version without a point", lines("GET / HTTP/1-1", h), 400},
		{"HTTP/0.9 (9110 15.6.6)", lines("GET / HTTP/0.9", h), 505},
		{"HTTP/2.0 preface (9113 3.4)", "PRI * HTTP/2.0\r\n\r\n", 505},
		{"HTTP/3.0 (9110 15.6.6)", lines("GET / HTTP/3.0", h), 505},

		{"empty target (9112 3.2)", lines("GET  HTTP/1.1", h), 400},
		{"relative target (9112 3.2)", lines("GET a/b HTTP/1.1", h), 400},
		{"fragment (9112 3.2)", lines("GET /a#b HTTP/1.1", h), 400},
		{"control octet in the target", lines("GET /a\x01b HTTP/1.1", h), 400},
		{"DEL in the target", lines("GET /a\x7f HTTP/1.1", h), 400},
		{"octet above 0x7e in the target", lines("GET /\xc3\xa4 HTTP/1.1", h), 400},
		{"asterisk with another method (9112 3.2.4)", lines("GET * HTTP/1.1", h), 400},
		{"CONNECT (9110 9.3.6)", lines("CONNECT a.example:443 HTTP/1.1", h), 501},
		{"authority-form without CONNECT (9112 3.2.3)", lines("GET a.example:443 HTTP/1.1", h), 400},
		{"another scheme", lines("GET ftp://a.example/ HTTP/1.1", h), 400},
		{"absolute-form without a host (9110 4.2.1)", lines("GET http:///x HTTP/1.1", h), 400},
		{"absolute-form with only a port", lines("GET http://:80/x HTTP/1.1", h), 400},
		{"user information (9110 4.2.4)", lines("GET http://u:p@a.example/ HTTP/1.1", h), 400},
		{"backslash in the authority", lines("GET http://a.example\\@b/ HTTP/1.1", h), 400},

		{"no Host (9112 3.2)", lines("GET / HTTP/1.1"), 400},
		{"no Host with absolute-form (9112 3.2)", lines("GET http://a.example/ HTTP/1.1"), 400},
		{"two Hosts (9112 3.2)", lines("GET / HTTP/1.1", h, h), 400},
		{"two Hosts in HTTP/1.0", lines("GET / HTTP/1.0", h, "host: b"), 400},
		{"Host with a path (9110 7.2)", lines("GET / HTTP/1.1", "Host: a/b"), 400},
		{"Host with user information", lines("GET / HTTP/1.1", "Host: u@a"), 400},
		{"Host with a space", lines("GET / HTTP/1.1", "Host: a b"), 400},
		{"Host with a bad port", lines("GET / HTTP/1.1", "Host: a:80x"), 400},
		{"Host with a port of six digits", lines("GET / HTTP/1.1", "Host: a:100000"), 400},
		{"Host with two ports", lines("GET / HTTP/1.1", "Host: a:1:2"), 400},
		{"Host without a name", lines("GET / HTTP/1.1", "Host: :80"), 400},
		{"Host with an open bracket", lines("GET / HTTP/1.1", "Host: [::1"), 400},
		{"Host with something behind a bracket", lines("GET / HTTP/1.1", "Host: [::1]x"), 400},
		{"Host with an empty address", lines("GET / HTTP/1.1", "Host: []"), 400},
		{"bad Host although the target has one", lines("GET http://a/ HTTP/1.1", "Host: a b"), 400},

		{"obs-fold (9112 5.2)", get("X: a", " b"), 400},
		{"obs-fold with a tab (9112 5.2)", get("X: a", "\tb"), 400},
		{"space before the first field (9112 2.2)", lines("GET / HTTP/1.1", " "+h), 400},
		{"space before the colon (9112 5.1)", get("X : a"), 400},
		{"tab before the colon (9112 5.1)", get("X\t: a"), 400},
		{"space in the name", get("X Y: a"), 400},
		{"empty name", get(": a"), 400},
		{"no colon", get("X"), 400},
		{"bracket in the name", get("X[1]: a"), 400},
		{"octet above 0x7f in the name", get("X\xe4: a"), 400},
		{"NUL in a name", get("X\x00: a"), 400},
		{"NUL in a value (9110 5.5)", get("X: a\x00b"), 400},
		{"control octet in a value", get("X: a\x0bb"), 400},
		{"DEL in a value", get("X: a\x7fb"), 400},
		{"bare CR in a value (9112 2.2)", get("X: a\rb"), 400},
		{"bare CR at the end of a value", get("X: a\r"), 400},
		{"bare CR as the name", get("\rX: a"), 400},
		{"bare LF behind the request line (9112 2.2)", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
		{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
		{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
		{"no empty line", "GET / HTTP/1.1\r\nHost: a\r\n", 400},

		{"Content-Length twice (9112 6.3)", get("Content-Length: 1", "Content-Length: 1"), 400},
		{"Content-Length list (9112 6.3)", get("Content-Length: 1, 1"), 400},
		{"Content-Length with a sign", get("Content-Length: +1"), 400},
		{"negative Content-Length", get("Content-Length: -1"), 400},
		{"empty Content-Length", get("Content-Length:"), 400},
		{"hexadecimal Content-Length", get("Content-Length: 0x1"), 400},
		{"Content-Length with a space", get("Content-Length: 1 2"), 400},
		{"Content-Length above int64", get("Content-Length: 9223372036854775808"), 400},
		{"Content-Length that wraps around", get("Content-Length: 18446744073709551617"), 400},
		{"both lengths (9112 6.3)", get("Content-Length: 1", "Transfer-Encoding: chunked"), 400},
		{"both lengths, the other way round", get("Transfer-Encoding: chunked", "Content-Length: 1"), 400},
		{"Transfer-Encoding twice", get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400},
		{"identity and chunked in two fields", get("Transfer-Encoding: identity", "Transfer-Encoding: chunked"), 400},
		{"chunked twice (9112 7.1)", get("Transfer-Encoding: chunked, chunked"), 400},
		{"chunked before another (9112 6.3)", get("Transfer-Encoding: chunked, gzip"), 400},
		{"not chunked (9112 6.3)", get("Transfer-Encoding: gzip"), 400},
		{"identity (9112 7, removed)", get("Transfer-Encoding: identity"), 400},
		{"empty Transfer-Encoding", get("Transfer-Encoding:"), 400},
		{"quoted chunked", get(`Transfer-Encoding: "chunked"`), 400},
		{"chunked with a parameter", get("Transfer-Encoding: chunked;a=b"), 400},
		{"chunked with a vertical tab", get("Transfer-Encoding: \x0bchunked"), 400},
		{"xchunked", get("Transfer-Encoding: xchunked"), 400},
		{"chunked in a list with an empty item", get("Transfer-Encoding: chunked,"), 400},
		{"chunked behind an empty item", get("Transfer-Encoding: , chunked"), 400},
		{"quoted coding under chunked", get(`Transfer-Encoding: "x", chunked`), 400},
		{"TRACE with a body (9110 9.3.8)", lines("TRACE / HTTP/1.1", h, "Content-Length: 1"), 400},
		{"gzip under chunked (9112 6.1)", get("Transfer-Encoding: gzip, chunked"), 501},
		{"chunked in HTTP/1.0 (9112 6.1)", lines("POST / HTTP/1.0", "Transfer-Encoding: chunked"), 400},

		{"too many fields (6585 5)", get(strings.Split(strings.Repeat("X: y\n", MaxFields)+"X: y", "\n")...), 431},
		{"too many connection options", get("Connection: " + strings.Repeat("a,", maxConnectionOptions+1)), 400},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseRequest(c.head)
			if err == nil {
				t.Fatalf("read as %s", describe(r))
			}
			if statusOf(err) != c.status {
				t.Errorf("status %d, want %d: %v", statusOf(err), c.status, err)
			}
		})
	}
}

// TestConnectionOptions: fields of the connection, and those Connection names,
// are marked; those a backend relies on cannot be named away (RFC 9110, 7.6.1).
func TestConnectionOptions(t *testing.T) {
	always := []string{"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "Proxy-Authorization", "HTTP2-Settings", "Proxy"}
	named := []string{"X-Hop", "x-HOP", "Foo"}
	never := []string{"Host", "Content-Length", "Cookie", "Authorization", "X-Forwarded-For", "X-Forwarded-Proto",
		"X-Forwarded-Host", "Forwarded", "X-Request-Id", "Idempotency-Key", "Cache-Control", "Expect", "Trailer", "X-Ho", "X-Hop2"}
	list := []string{"POST / HTTP/1.1", "Connection: x-hop, foo ,, " + strings.Join(never[:13], ", ") + ",keep-alive"}
	for _, n := range append(append(append([]string{}, always[1:]...), named...), never...) {
		value := "v"
		if n == "Content-Length" {
			value = "1"
		}
		list = append(list, n+": "+value)
	}
	r, err := parseRequest(lines(list...))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, n := range append(always, named...) {
		want[n] = true
	}
	for i, f := range r.Fields() {
		if f.Hop != want[string(r.Name(i))] {
			t.Errorf("%s: Hop is %v", r.Name(i), f.Hop)
		}
	}
	if len(r.Fields()) != len(always)+len(named)+len(never) {
		t.Errorf("%d fields", len(r.Fields()))
	}
}

// TestFieldAccess: lines, names and values are those that came.
func TestFieldAccess(t *testing.T) {
	r, err := parseRequest("GET / HTTP/1.1\r\nHost:  a\t\r\nX-A:1\r\nx-a: 2\r\nEmpty:\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "Line(0)", r.Line(0), []byte("Host:  a\t\r\n"))
	mustEqual(t, "Lines(1, 3)", r.Lines(1, 3), []byte("X-A:1\r\nx-a: 2\r\n"))
	mustEqual(t, "Lines(3, 3)", r.Lines(3, 3), nil)
	mustEqual(t, "Name(2)", r.Name(2), []byte("x-a"))
	mustEqual(t, "Peek", r.Peek("x-A"), []byte("1"))
	if v := r.Peek("empty"); v == nil || len(v) != 0 {
		t.Errorf("an empty field is %#v", v)
	}
	if v := r.Peek("none"); v != nil {
		t.Errorf("an absent field is %q", v)
	}
	if v := r.Peek("X@A"); v != nil {
		t.Errorf("@ is not ` in another case: %q", v)
	}
}

// TestKinds: every kind is found in any case, and nothing else is.
func TestKinds(t *testing.T) {
	names := map[Kind]string{
		KindConnection: "Connection", KindKeepAlive: "Keep-Alive", KindProxyConnection: "Proxy-Connection",
		KindTransferEncoding: "Transfer-Encoding", KindContentLength: "Content-Length", KindTE: "TE", KindTrailer: "Trailer",
		KindUpgrade: "Upgrade", KindExpect: "Expect", KindHost: "Host", KindXForwardedFor: "X-Forwarded-For",
		KindXForwardedProto: "X-Forwarded-Proto", KindXForwardedHost: "X-Forwarded-Host", KindForwarded: "Forwarded",
		KindXRequestID: "X-Request-Id", KindCookie: "Cookie", KindSetCookie: "Set-Cookie", KindAuthorization: "Authorization",
		KindProxyAuthorization: "Proxy-Authorization", KindProxyAuthenticate: "Proxy-Authenticate",
		KindIdempotencyKey: "Idempotency-Key", KindHTTP2Settings: "HTTP2-Settings", KindProxy: "Proxy", KindCacheControl: "Cache-Control",
	}
	for k := KindConnection; k <= KindCacheControl; k++ {
		name := names[k]
		for _, n := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got, alias := kindOf([]byte(n)); got != k || alias {
				t.Errorf("%s is kind %d, want %d; alias %v", n, got, k, alias)
			}
			if got, alias := kindOf([]byte(strings.ReplaceAll(n, "-", "_"))); got != k || alias != strings.Contains(n, "-") {
				t.Errorf("%s with _ for - is kind %d, want %d; alias %v", n, got, k, alias)
			}
		}
		for i := range name {
			other := []byte(name)
			other[i] = '!'
			if got, alias := kindOf(other); got != KindOther || alias {
				t.Errorf("%s is kind %d", other, got)
			}
		}
	}
}

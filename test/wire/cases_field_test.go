package wire_test

import (
	"fmt"
	"strings"
)

// fieldCases are about field lines.
func fieldCases() []wireCase {
	list := []wireCase{
		passes("an empty value", "9112 5", get("X:")),
		passes("a value of spaces", "9112 5", get("X:    ")),
		passes("a tab in a value", "9110 5.5", get("X: a\tb")),
		passes("octets in a value", "9110 5.5", get("X: \x80\xfe\xff")),
		passes("colons in a value", "9112 5", get("X: :a:b:")),
		passes("names of all token characters", "9110 5.6.2", get("!#$%&'*+-.^_`|~09azAZ: 1")),
		passes("a name in two cases", "9110 5.3", get("X-A: 1", "x-a: 2")),
		passes("several cookies", "9110 5.3", get("Cookie: a=1", "Cookie: b=2")),
		passes("a long value", "9112 5", get("X: "+strings.Repeat("a", 20_000))),
		passes("many fields", "9110 5.4", get(strings.Split(strings.Repeat("X: y\n", 180)+"X: y", "\n")...)),
		passes("a name of its own with underscores", "9110 5.1", get("X_Own_Name: 1")),
		passes("what looks like a request in a value", "9110 5.5", get("X: GET /x HTTP/1.1")),
		{name: "a head that is too large", rfc: "6585 5", send: get("X: " + strings.Repeat("a", 33<<10)), want: "431 close"},
		{name: "a target that is too long", rfc: "9110 15.5.15", send: head("GET /"+strings.Repeat("a", 33<<10)+" HTTP/1.1", "Host: a.test"), want: "414 close"},
		{name: "a name that is too long", rfc: "6585 5", send: get(strings.Repeat("a", 33<<10) + ": 1"), want: "431 close"},
		{name: "one field too many", rfc: "6585 5", send: get(strings.Split(strings.Repeat("X: y\n", 199)+"X: y", "\n")...), want: "431 close"},
		{name: "a target that is a bit too long", rfc: "9110 15.5.15", send: head("GET /"+strings.Repeat("a", 8192)+" HTTP/1.1", "Host: a.test"), want: "414 close"},
		{name: "too many fields", rfc: "6585 5", send: get(strings.Split(strings.Repeat("X: y\n", 1001)+"X: y", "\n")...), want: "431 close"},
		{name: "no end", rfc: "9112 2.1", send: "GET / HTTP/1.1\r\nHost: a.test\r\n", hangUp: true, want: " close"},
		refused("a folded value", "9112 5.2", get("X: a", " b")),
		refused("a value folded with a tab", "9112 5.2", get("X: a", "\tb")),
		refused("a folded empty value", "9112 5.2", get("X:", " b")),
		refused("a line of spaces", "9112 5.2", get("X: a", "  ")),
		refused("a space before the first field", "9112 2.2", head("GET / HTTP/1.1", " Host: a.test")),
		refused("a space before the colon", "9112 5.1", get("X : a")),
		refused("a tab before the colon", "9112 5.1", get("X\t: a")),
		refused("a space in a name", "9112 5.1", get("X Y: a")),
		refused("no name", "9112 5", get(": a")),
		refused("no name and no value", "9112 5", get(":")),
		refused("no colon", "9112 5", get("X")),
		refused("no colon but a value", "9112 5", get("X a")),
		refused("a name in brackets", "9110 5.1", get("(X): a")),
		refused("a name with a comma", "9110 5.1", get("X,Y: a")),
		refused("a name with a slash", "9110 5.1", get("X/Y: a")),
		refused("a name with an equals sign", "9110 5.1", get("X=Y: a")),
		refused("a name in quotes", "9110 5.1", get(`"X": a`)),
		refused("a name with octets", "9110 5.1", get("Xä: a")),
		refused("DEL in a name", "9110 5.1", get("X\x7f: a")),
		refused("DEL in a value", "9110 5.5", get("X: a\x7f")),
		refused("LF in a value", "9112 2.2", get("X: a\nY: b")),
		refused("CR in a value", "9112 2.2", get("X: a\rY: b")),
		refused("CR at the end of a value", "9112 2.2", get("X: a\r")),
		refused("CR before a name", "9112 2.2", get("\rX: a")),
		refused("LF CR", "9112 2.2", "GET / HTTP/1.1\r\nHost: a.test\n\r\r\n"),
		refused("LF as the empty line", "9112 2.2", "GET / HTTP/1.1\r\nHost: a.test\r\n\n"),
		refused("only LF at the end", "9112 2.2", "GET / HTTP/1.1\r\nHost: a.test\n\n"),
		refused("CR at the end", "9112 2.2", "GET / HTTP/1.1\r\nHost: a.test\r\n\rX"),
		refused("a request line among the fields", "9112 5", get("GET /x HTTP/1.1")),
	}
	for c := range 0x20 {
		if c == '\t' || c == '\r' || c == '\n' {
			continue
		}
		list = append(list, refused(fmt.Sprintf("octet %#02x in a value", c), "9110 5.5", get("X: a"+string(rune(c))+"b")))
		if c%4 == 0 {
			list = append(list, refused(fmt.Sprintf("octet %#02x in a name", c), "9110 5.1", get("X"+string(rune(c))+": b")))
		}
	}
	return list
}

// hopCases are about what belongs to one connection, and what a client says of
// itself.
func hopCases() []wireCase {
	const rfc = "9110 7.6.1"
	upgraded := func(protocol string) string {
		return "GET / HTTP/1.1\r\nHost: a.test\r\n<+>Connection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
	}
	clean := seen("GET / HTTP/1.1", "Host: a.test")
	gone := func(name, rfc string, fields ...string) wireCase { return becomes(name, rfc, get(fields...), clean) }
	list := []wireCase{
		gone("fields of the connection", rfc, "Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade: x",
			"HTTP2-Settings: AA", "Proxy-Authorization: x"),
		gone("a field that becomes a variable", "3875 4.1.18", "Proxy: http://evil.test", "PROXY: x"),
		gone("what Connection names", rfc, "Connection: X-Mine, x-other", "X-Mine: 1", "X-Other: 2", "x-mine: 3"),
		gone("what a second Connection names", rfc, "Connection: keep-alive", "Connection: ,, x-mine ,", "X-Mine: 1"),
		gone("TE in Connection", "9110 10.1.4", "Connection: TE", "TE: trailers, deflate;q=0.5"),
		gone("an empty Connection", rfc, "Connection:"),
		becomes("X-Forwarded-For in Connection", rfc, get("Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto"), clean),
		becomes("a cookie in Connection", rfc, get("Connection: cookie", "Cookie: a=1"), seen("GET / HTTP/1.1", "Host: a.test", "Cookie: a=1")),
		{name: "close and a cookie in Connection", rfc: rfc, send: get("Connection: close, Cookie", "Cookie: a=1"), want: "200 close",
			got: []string{seen("GET / HTTP/1.1", "Host: a.test", "Cookie: a=1")}},
		becomes("Authorization in Connection", rfc, get("Connection: Authorization", "Authorization: x"), seen("GET / HTTP/1.1", "Host: a.test", "Authorization: x")),
		becomes("Host in Connection", rfc, get("Connection: Host"), clean),
		becomes("Cache-Control in Connection", rfc, get("Connection: cache-control", "Cache-Control: no-cache"), seen("GET / HTTP/1.1", "Host: a.test", "Cache-Control: no-cache")),
		becomes("Trailer in Connection", rfc, get("Connection: trailer", "Trailer: x"), seen("GET / HTTP/1.1", "Host: a.test", "Trailer: x")),
		becomes("X-Request-Id in Connection", rfc, get("Connection: X-Request-Id"), clean),
		becomes("Forwarded in Connection", rfc, get("Connection: Forwarded", "Forwarded: for=x"), clean),
		gone("Connection names itself", rfc, "Connection: Connection"),
		refused("too many names in Connection", rfc, get("Connection: "+strings.Repeat("a,", 33))),

		gone("a stranger's X-Forwarded-For", "7239 8.1", "X-Forwarded-For: 1.2.3.4"),
		gone("a stranger's X-Forwarded-Host and -Proto", "7239 8.1", "X-Forwarded-Host: b", "X-Forwarded-Proto: https"),
		gone("a stranger's Forwarded", "7239 8.1", "Forwarded: for=1.2.3.4"),
		gone("a stranger's X-Request-Id", "7239 8.1", "X-Request-Id: mine"),
		gone("X-Forwarded-For with underscores", "3875 4.1.18", "X_Forwarded_For: 1.2.3.4"),
		gone("X-Forwarded-For with one underscore", "3875 4.1.18", "x_forwarded-for: 1.2.3.4"),
		gone("other names with underscores", "3875 4.1.18", "X_Forwarded_Host: b", "X_FORWARDED_PROTO: https", "X_Request_Id: 1", "Proxy_Authorization: x", "Keep_Alive: 1"),

		becomes("an upgrade", "9110 7.8", get("Connection: Upgrade", "Upgrade: websocket"), upgraded("websocket")),
		becomes("an upgrade among other options", "9110 7.8", get("Connection: keep-alive, upgrade", "Upgrade: websocket"), upgraded("websocket")),
		becomes("an upgrade to a choice", "9110 7.8", get("Connection: Upgrade", "Upgrade: foo/2, websocket"), upgraded("foo/2, websocket")),
		becomes("an upgrade with what it needs", "6455 4.1", get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
			"GET / HTTP/1.1\r\nHost: a.test\r\nSec-WebSocket-Version: 13\r\n<+>Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
		{name: "what follows an upgrade that was not granted", rfc: "9110 7.8", send: get("Connection: Upgrade", "Upgrade: websocket") + get(), want: "200 200",
			got: []string{upgraded("websocket"), clean}},
		gone("an upgrade that Connection does not name", "9110 7.8", "Upgrade: websocket"),
		gone("an upgrade to h2c", "9113 3.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
		gone("an upgrade to h2c in capitals", "9113 3.1", "Connection: Upgrade", "Upgrade: H2C"),
		gone("an upgrade to a draft of h2c", "9113 3.1", "Connection: Upgrade", "Upgrade: h2c-14"),
		gone("an upgrade to h2c behind another", "9113 3.1", "Connection: Upgrade", "Upgrade: websocket, h2c"),
		gone("an upgrade to h2", "9113 3.1", "Connection: Upgrade", "Upgrade: h2"),
		gone("an upgrade to HTTP/2.0", "9110 7.8", "Connection: Upgrade", "Upgrade: HTTP/2.0"),
		gone("an upgrade to TLS", "2817 3", "Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/1.1"),
		gone("an upgrade to what is no protocol", "9110 7.8", "Connection: Upgrade", "Upgrade: web socket"),
		gone("an upgrade to nothing", "9110 7.8", "Connection: Upgrade", "Upgrade:"),
		becomes("an upgrade with a body", "9110 7.8", post("hello", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5"),
			seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		becomes("an upgrade with chunks", "9110 7.8", post("0\r\n\r\n", "Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"),
			seen("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked")+"0\r\n\r\n"),
		{name: "an upgrade in HTTP/1.0", rfc: "9110 7.8", send: head("GET / HTTP/1.0", "Host: a.test", "Connection: Upgrade", "Upgrade: websocket"), want: "200 close", got: []string{clean}},

		passes("an expectation with its body", "9110 10.1.1", post("hello", "Content-Length: 5", "Expect: 100-continue")),
		passes("an expectation without a body", "9110 10.1.1", get("Expect: 100-continue")),
		passes("an expectation nobody knows", "9110 10.1.1", post("hello", "Content-Length: 5", "Expect: 200-ok")),
		passes("ranges and conditions", "9110 14", get("Range: bytes=0-1", "If-None-Match: \"a\"", "If-Range: \"a\"")),
		passes("Max-Forwards", "9110 7.6.2", get("Max-Forwards: 3")),
		passes("a method that is to be another", "9110 9.1", get("X-HTTP-Method-Override: DELETE")),
	}
	return list
}

// allCases are all of them.
func allCases() (all []wireCase) {
	for _, cases := range [][]wireCase{lengthCases(), codingCases(), chunkCases(), lineCases(), hostCases(), fieldCases(), hopCases()} {
		all = append(all, cases...)
	}
	return all
}

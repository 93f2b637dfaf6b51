package wire_test

import (
	"fmt"
	"strings"
)

// lineCases are about the request line.
func lineCases() []wireCase {
	const rfc = "9112 3"
	line := func(l string) string { return head(l, "Host: a.test") }
	tls := "\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03"
	list := []wireCase{
		passes("a path", "9112 3.2.1", line("GET /a/b?c=d HTTP/1.1")),
		passes("an empty query", "9112 3.2.1", line("GET /a? HTTP/1.1")),
		passes("question marks in a query", "3986 3.4", line("GET /a?b?c HTTP/1.1")),
		passes("what browsers do not escape", "3986 2.2", line("GET /|{}^`\"<>?\\{} HTTP/1.1")),
		passes("any escapes in a query", "3986 3.4", line("GET /?%zz%00%2e HTTP/1.1")),
		passes("a method in small letters", "9110 9.1", line("get / HTTP/1.1")),
		passes("a method nobody knows", "9110 9.1", line("M-SEARCH / HTTP/1.1")),
		passes("a method of odd characters", "9110 5.6.2", line("!#$%&'*+-.^_`|~9 / HTTP/1.1")),
		passes("HEAD", "9110 9.3.2", line("HEAD / HTTP/1.1")),
		passes("OPTIONS of the server", "9112 3.2.4", line("OPTIONS * HTTP/1.1")),
		passes("TRACE", "9110 9.3.8", line("TRACE / HTTP/1.1")),
		passes("a long target", "9112 3", line("GET /"+strings.Repeat("a", 8000)+" HTTP/1.1")),
		becomes("one empty line before", "9112 2.2", "\r\n"+line("GET / HTTP/1.1"), seen("GET / HTTP/1.1", "Host: a.test")),
		becomes("a later minor version", "9110 2.5", line("GET / HTTP/1.2"), seen("GET / HTTP/1.1", "Host: a.test")),
		becomes("a path with dot segments", "3986 6.2.2.3", line("GET /a/./b/../c HTTP/1.1"), seen("GET /a/c HTTP/1.1", "Host: a.test")),
		becomes("a path with escapes it does not need", "3986 6.2.2.2", line("GET /%61%2Db HTTP/1.1"), seen("GET /a-b HTTP/1.1", "Host: a.test")),
		becomes("several slashes at the beginning", "3986 3.3", line("GET ///a HTTP/1.1"), seen("GET /a HTTP/1.1", "Host: a.test")),
		passes("an escaped slash", "3986 2.2", line("GET /a%2Fb HTTP/1.1")),
		{name: "HTTP/1.0", rfc: "9112 9.3", send: head("GET / HTTP/1.0", "Host: a.test"), want: "200 close", got: []string{seen("GET / HTTP/1.1", "Host: a.test")}},
		becomes("HTTP/1.0 that stays", "9112 9.3", head("GET / HTTP/1.0", "Host: a.test", "Connection: keep-alive"), seen("GET / HTTP/1.1", "Host: a.test")),
		{name: "HTTP/1.0 with a body", rfc: "9112 9.3", send: head("POST / HTTP/1.0", "Host: a.test", "Content-Length: 5") + "hello", want: "200 close",
			got: []string{seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5") + "hello"}},
		{name: "close", rfc: "9112 9.6", send: get("Connection: close"), want: "200 close", got: []string{seen("GET / HTTP/1.1", "Host: a.test")}},
		{name: "HTTP/2's preface", rfc: "9113 3.4", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: "505 close"},
		{name: "HTTP/2.0", rfc: "9110 15.6.6", send: line("GET / HTTP/2.0"), want: "505 close"},
		{name: "HTTP/3.0", rfc: "9110 15.6.6", send: line("GET / HTTP/3.0"), want: "505 close"},
		{name: "HTTP/0.9 by name", rfc: "9110 15.6.6", send: line("GET / HTTP/0.9"), want: "505 close"},
		{name: "HTTP/9.9", rfc: "9110 15.6.6", send: line("GET / HTTP/9.9"), want: "505 close"},
		{name: "CONNECT", rfc: "9110 9.3.6", send: head("CONNECT a.test:443 HTTP/1.1", "Host: a.test:443"), want: "501 close"},
		{name: "CONNECT of a path", rfc: "9110 9.3.6", send: line("CONNECT / HTTP/1.1"), want: "501 close"},
		{name: "CONNECT with a body", rfc: "9110 9.3.6", send: head("CONNECT a.test:443 HTTP/1.1", "Host: a.test", "Content-Length: 5") + "hello", want: "501 close"},
		refused("TRACE with a body", "9110 9.3.8", head("TRACE / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		refused("TRACE with chunks", "9110 9.3.8", head("TRACE / HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked")+"0\r\n\r\n"),
		refused("HTTP/0.9", "9112 3", "GET /\r\n"),
		refused("HTTP/0.9 with a space", "9112 3", "GET / \r\n"),
		{name: "HTTP/0.9 that waits", rfc: "9112 3", send: "GET /\r\n", want: "400 close", waits: true},
		{name: "TLS that waits", rfc: rfc, send: tls, want: "400 close", waits: true},
		{name: "LF that waits", rfc: "9112 2.2", send: "GET / HTTP/1.1\n", want: "400 close", waits: true},
		{name: "HTTP/2 that waits", rfc: "9113 3.4", send: "PRI * HTTP/2.0\r\n", want: "505 close", waits: true},
		refused("TLS", rfc, tls+"\r\n\r\n"),
		refused("TLS without an end", rfc, tls),
		refused("two empty lines before", "9112 2.2", "\r\n\r\n"+line("GET / HTTP/1.1")),
		refused("LF before", "9112 2.2", "\n"+line("GET / HTTP/1.1")),
		refused("CR before", "9112 2.2", "\r"+line("GET / HTTP/1.1")),
		refused("a space before", rfc, " "+line("GET / HTTP/1.1")),
		refused("no method", rfc, line(" / HTTP/1.1")),
		refused("a method with a bracket", "9110 9.1", line("GE(T / HTTP/1.1")),
		refused("a method with a colon", "9110 9.1", line("GET: / HTTP/1.1")),
		refused("a method with an octet", "9110 9.1", line("GET\xff / HTTP/1.1")),
		refused("only a method", rfc, line("GET")),
		refused("a tab for a space", rfc, line("GET\t/ HTTP/1.1")),
		refused("a tab before the version", rfc, line("GET /\tHTTP/1.1")),
		refused("two spaces before the target", rfc, line("GET  / HTTP/1.1")),
		refused("two spaces before the version", rfc, line("GET /  HTTP/1.1")),
		refused("a space behind the version", rfc, line("GET / HTTP/1.1 ")),
		refused("a tab behind the version", rfc, line("GET / HTTP/1.1\t")),
		refused("a vertical tab for a space", rfc, line("GET\x0b/ HTTP/1.1")),
		refused("a word too many", rfc, line("GET / x HTTP/1.1")),
		refused("a space in the target", "9112 3.2", line("GET /a b HTTP/1.1")),
		refused("LF behind the line", "9112 2.2", "GET / HTTP/1.1\nHost: a.test\r\n\r\n"),
		refused("LF everywhere", "9112 2.2", "GET / HTTP/1.1\nHost: a.test\n\n"),
		refused("CR behind the line", "9112 2.2", "GET / HTTP/1.1\rHost: a.test\r\n\r\n"),
		refused("two CRs behind the line", "9112 2.2", "GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
		refused("CR in the target", "9112 2.2", line("GET /\rx HTTP/1.1")),
		refused("a target outside ASCII", "3986 2", line("GET /ä HTTP/1.1")),
		refused("DEL in the target", "3986 2", line("GET /\x7f HTTP/1.1")),
		refused("a fragment", "9112 3.2", line("GET /a#b HTTP/1.1")),
		refused("only a fragment", "9112 3.2", line("GET # HTTP/1.1")),
		refused("a relative path", "9112 3.2", line("GET a/b HTTP/1.1")),
		refused("a backslash for a slash", "9112 3.2", line("GET \\a HTTP/1.1")),
		refused("a backslash in the path", "3986 3.3", line("GET /a\\b HTTP/1.1")),
		refused("a path above the beginning", "3986 5.2.4", line("GET /../a HTTP/1.1")),
		refused("half an escape in the path", "3986 2.1", line("GET /%2 HTTP/1.1")),
		refused("an escaped NUL in the path", "9110 17.1", line("GET /a%00b HTTP/1.1")),
		refused("dots before an escaped slash", "3986 6.2.2.3", line("GET /a/..%2Fb HTTP/1.1")),
		refused("the asterisk with GET", "9112 3.2.4", line("GET * HTTP/1.1")),
		refused("an authority with GET", "9112 3.2.3", line("GET a.test:80 HTTP/1.1")),
		refused("a lower-case version", "9112 2.3", line("GET / http/1.1")),
		refused("a version of another protocol", "9112 2.3", line("GET / HTTPS/1.1")),
		refused("a version without a minor one", "9112 2.3", line("GET / HTTP/1")),
		refused("a version with an empty minor one", "9112 2.3", line("GET / HTTP/1.")),
		refused("a version of two digits", "9112 2.3", line("GET / HTTP/1.10")),
		refused("a version with a leading zero", "9112 2.3", line("GET / HTTP/01.1")),
		refused("a version with a comma", "9112 2.3", line("GET / HTTP/1,1")),
		refused("a version with a space", "9112 2.3", line("GET / HTTP/ 1.1")),
		refused("a version twice", "9112 2.3", line("GET / HTTP/1.1 HTTP/1.1")),
		refused("an unknown version", "9112 2.3", line("GET / FTP/1.1")),
	}
	for _, c := range []byte{0, 1, 8, 0x0b, 0x0c, 0x1b, 0x1f} {
		list = append(list,
			refused(fmt.Sprintf("octet %#02x in the method", c), "9110 9.1", line("G"+string(rune(c))+"ET / HTTP/1.1")),
			refused(fmt.Sprintf("octet %#02x in the target", c), "9112 3.2", line("GET /"+string(rune(c))+" HTTP/1.1")))
	}
	return list
}

// hostCases are about Host and targets that name one.
func hostCases() []wireCase {
	const rfc = "9112 3.2"
	host := func(lines ...string) string { return head(append([]string{"GET / HTTP/1.1"}, lines...)...) }
	url := func(u string) string { return head("GET "+u+" HTTP/1.1", "Host: a.test") }
	list := []wireCase{
		passes("a host with a port", "9110 7.2", host("Host: a.test:8080")),
		passes("a host with an empty port", "3986 3.2.3", host("Host: a.test:")),
		passes("a host of another case", "9110 4.2.3", host("hOsT: A.Test")),
		passes("an address of IPv4", "3986 3.2.2", host("Host: 127.0.0.1")),
		passes("an address of IPv6", "3986 3.2.2", host("Host: [::1]:80")),
		passes("an empty host", rfc, host("Host: ")),
		becomes("the target wins", "9112 3.2.2", url("http://b.test/x?y"), seen("GET /x?y HTTP/1.1", "Host: b.test")),
		becomes("the target wins with its port", "9112 3.2.2", url("http://b.test:81/x"), seen("GET /x HTTP/1.1", "Host: b.test:81")),
		becomes("the same host twice", "9112 3.2.2", url("http://a.test/"), seen("GET / HTTP/1.1", "Host: a.test")),
		becomes("a target with a scheme in capitals", "3986 3.1", url("HTTP://b.test/"), seen("GET / HTTP/1.1", "Host: b.test")),
		becomes("a target with https", "9110 4.2.2", url("https://b.test/"), seen("GET / HTTP/1.1", "Host: b.test")),
		becomes("a target without a path", "9112 3.2.1", url("http://b.test"), seen("GET / HTTP/1.1", "Host: b.test")),
		becomes("a target with only a query", "9112 3.2.1", url("http://b.test?q"), seen("GET /?q HTTP/1.1", "Host: b.test")),
		becomes("a target with dot segments", "3986 6.2.2.3", url("http://b.test/a/../c"), seen("GET /c HTTP/1.1", "Host: b.test")),
		becomes("a target with slashes at the beginning", "3986 3.3", url("http://b.test//c.test/d"), seen("GET /c.test/d HTTP/1.1", "Host: b.test")),
		becomes("OPTIONS of a server by its URL", "9112 3.2.4", head("OPTIONS http://b.test HTTP/1.1", "Host: a.test"), seen("OPTIONS * HTTP/1.1", "Host: b.test")),
		becomes("a URL in a path", "9112 3.2.1", url("/http://b.test/"), seen("GET /http://b.test/ HTTP/1.1", "Host: a.test")),
		{name: "HTTP/1.0 with a target and no host", rfc: "9112 3.2.2", send: head("GET http://b.test/ HTTP/1.0"), want: "200 close", got: []string{seen("GET / HTTP/1.1", "Host: b.test")}},
		refused("no host", rfc, host()),
		refused("no host but a target that has one", rfc, head("GET http://a.test/ HTTP/1.1")),
		refused("two hosts", rfc, host("Host: a.test", "Host: b.test")),
		refused("two hosts that agree", rfc, host("Host: a.test", "Host: a.test")),
		refused("two hosts in different cases", rfc, host("Host: a.test", "hOST: b.test")),
		refused("two hosts, one empty", rfc, host("Host: a.test", "Host:")),
		refused("two hosts in HTTP/1.0", rfc, head("GET / HTTP/1.0", "Host: a.test", "Host: b.test")),
		refused("two hosts and a target", rfc, head("GET http://a.test/ HTTP/1.1", "Host: a.test", "Host: b.test")),
		refused("a bad host although the target has one", rfc, head("GET http://a.test/ HTTP/1.1", "Host: a@b")),
		refused("a folded host", "9112 5.2", host("Host: a.test", " b.test")),
		refused("a host on the next line", "9112 5.2", host("Host:", " b.test")),
		refused("only a host of another spelling", rfc, host("H_ost: a.test")),
	}
	for name, value := range map[string]string{
		"a path": "a.test/x", "a space": "a.test b.test", "a tab": "a.test\tb.test", "a list and a space": "a.test, b.test", "user information": "u@a.test",
		"a password": "u:p@a.test", "a scheme": "http://a.test", "a query": "a.test?x", "a fragment": "a.test#x", "a backslash": `a.test\b`,
		"two ports": "a.test:1:2", "a port of letters": "a.test:http", "a port with a sign": "a.test:+80", "a port that is too long": "a.test:123456",
		"only a port": ":80", "an open bracket": "[::1", "a closed bracket": "::1]", "something behind a bracket": "[::1]x", "an empty address": "[]",
		"IPv6 without brackets": "::1", "a zone": "[fe80::1%25eth0]", "octets": "ä.test", "quotes": `"a.test"`, "NUL": "a.test\x00", "angle brackets": "<a>",
		"a vertical bar": "a|b", "a caret": "a^b", "braces": "{a}",
	} {
		list = append(list, refused("a host with "+name, "9110 7.2", host("Host: "+value)))
	}
	for name, u := range map[string]string{
		"another scheme": "ftp://b.test/", "no host": "http:///x", "only a port": "http://:80/", "user information": "http://u:p@b.test/",
		"a fragment": "http://b.test/#x", "one slash": "http:/b.test/", "no slashes": "http:b.test", "a backslash": `http://b.test\@a.test/`,
		"a bad port": "http://b.test:x/", "no scheme": "://b.test/", "file": "file:///etc/passwd", "a host that is too odd": "http://b.test,c|d/",
	} {
		list = append(list, refused("a target with "+name, "9112 3.2.2", url(u)))
	}
	return list
}

package wire_test

import "strings"

// codingCases are about Transfer-Encoding.
func codingCases() []wireCase {
	const rfc, body = "9112 6.1", "5\r\nhello\r\n0\r\n\r\n"
	chunked := func(line string) string { return post(body, line) }
	canonical := seen("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked") + body
	list := []wireCase{
		passes("chunked", rfc, chunked("Transfer-Encoding: chunked")),
		passes("chunked on GET", "9110 9.3.1", get("Transfer-Encoding: chunked")+body),
		becomes("chunked in capitals", "9112 7", chunked("Transfer-Encoding: CHUNKED"), canonical),
		becomes("chunked in capitals and not", "9112 7", chunked("Transfer-Encoding: ChunkeD"), canonical),
		becomes("chunked without a space", "9112 5", chunked("Transfer-Encoding:chunked"), canonical),
		becomes("chunked behind a tab", "9112 5", chunked("Transfer-Encoding:\tchunked"), canonical),
		becomes("chunked before a tab", "9112 5", chunked("Transfer-Encoding: chunked\t"), canonical),
		becomes("chunked between spaces", "9112 5", chunked("Transfer-Encoding:   chunked   "), canonical),
		becomes("chunked that Connection names", "9110 7.6.1", chunked("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked"), canonical),
		becomes("chunked that is not", "3875 4.1.18", post("hello", "Transfer_Encoding: chunked\r\nContent-Length: 5"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		{name: "gzip under chunked", rfc: rfc, send: chunked("Transfer-Encoding: gzip, chunked"), want: "501 close"},
		{name: "identity under chunked", rfc: "9112 7", send: chunked("Transfer-Encoding: identity, chunked"), want: "501 close"},
		refused("chunked twice in a list", "9112 7.1", chunked("Transfer-Encoding: chunked, chunked")),
		refused("chunked before another", "9112 6.3", chunked("Transfer-Encoding: chunked, gzip")),
		refused("chunked before identity", "9112 6.3", chunked("Transfer-Encoding: chunked, identity")),
		refused("chunked in two fields", rfc, chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
		refused("identity and chunked in two fields", rfc, chunked("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked")),
		refused("chunked and identity in two fields", rfc, chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
		refused("chunked and something in another case", rfc, chunked("Transfer-Encoding: chunked\r\ntransfer-encoding: cow")),
		refused("chunked and an empty field", rfc, chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding:")),
		refused("chunked in the next line", "9112 5.2", chunked("Transfer-Encoding:\r\n chunked")),
		refused("chunked in the next line behind a tab", "9112 5.2", chunked("Transfer-Encoding:\r\n\tchunked")),
		refused("chunked in a folded field", "9112 5.2", chunked("X: y\r\n Transfer-Encoding: chunked")),
		refused("chunked with a space before the colon", "9112 5.1", chunked("Transfer-Encoding : chunked")),
		refused("chunked with a line end before the colon", "9112 5", chunked("Transfer-Encoding\r\n: chunked")),
		refused("chunked with NUL in the name", "9110 5.1", chunked("Transfer-Encoding\x00: chunked")),
		refused("chunked with an octet in the name", "9110 5.1", chunked("Transfer-Encoding\xff: chunked")),
		refused("chunked behind a bare LF", "9112 2.2", chunked("X: y\nTransfer-Encoding: chunked")),
		refused("chunked behind a bare CR", "9112 2.2", chunked("X: y\rTransfer-Encoding: chunked")),
		refused("chunked behind two CRs", "9112 2.2", chunked("X: y\r\r\nTransfer-Encoding: chunked")),
		refused("chunked in HTTP/1.0", rfc, head("POST / HTTP/1.0", "Transfer-Encoding: chunked")+body),
		refused("both in HTTP/1.0", rfc, head("POST / HTTP/1.0", "Transfer-Encoding: chunked", "Content-Length: 5")+body),
		refused("chunked in HTTP/1.0 with keep-alive", rfc, head("POST / HTTP/1.0", "Connection: keep-alive", "Transfer-Encoding: chunked")+body),
	}
	for name, value := range map[string]string{
		"nothing": "", "identity": "identity", "gzip": "gzip", "a cow": "cow", "a comma behind it": "chunked,", "a comma before it": ",chunked",
		"a space inside": "chu nked", "a tab inside": "chu\tnked", "a word before it": "x chunked", "a word behind it": "chunked x",
		"quotes": `"chunked"`, "single quotes": "'chunked'", "a parameter": "chunked;q=0.5", "a parameter that is empty": "chunked;",
		"a vertical tab": "\x0bchunked", "a form feed": "\x0cchunked", "NUL before it": "\x00chunked", "NUL behind it": "chunked\x00",
		"a backspace": "chunkedd\x08", "a Kelvin sign": "chun\u212aed", "a no-break space": "\u00a0chunked", "a letter more": "xchunked",
		"a letter less": "chunke", "a colon": ": chunked", "brackets": "[chunked]",
	} {
		list = append(list, refused("a coding of "+name, rfc, chunked("Transfer-Encoding: "+value)))
	}
	return list
}

// chunkCases are about the chunked coding itself.
func chunkCases() []wireCase {
	const rfc = "9112 7.1"
	as := func(body string) string {
		return seen("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked") + body
	}
	const hello, nothing = "5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n"
	accepted := func(name, rfc, body, got string) wireCase { return becomes(name, rfc, chunks(body), as(got)) }
	bad := func(name, rfc, body string) wireCase { return refused(name, rfc, chunks(body)) }
	return []wireCase{
		accepted("no chunk", rfc, nothing, nothing),
		accepted("several chunks", rfc, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", hello),
		accepted("a size in capitals", rfc, "A\r\n0123456789\r\n0\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n"),
		accepted("a size with leading zeros", rfc, "00005\r\nhello\r\n0\r\n\r\n", hello),
		accepted("several zeros at the end", rfc, "5\r\nhello\r\n000\r\n\r\n", hello),
		accepted("data that look like the end", rfc, "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
		accepted("an extension", "9112 7.1.1", "5;a\r\nhello\r\n0\r\n\r\n", hello),
		accepted("an extension with a value", "9112 7.1.1", "5;a=b\r\nhello\r\n0;c=d\r\n\r\n", hello),
		accepted("an extension in quotes", "9112 7.1.1", "5;a=\"b;c\\\"\"\r\nhello\r\n0\r\n\r\n", hello),
		accepted("an extension between spaces", "9112 7.1.1", "5 ; a = b\r\nhello\r\n0\r\n\r\n", hello),
		accepted("a long extension", "9112 7.1.1", "5;"+strings.Repeat("a", 4000)+"\r\nhello\r\n0\r\n\r\n", hello),
		accepted("trailers", "9112 7.1.2", "0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n", "0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n"),
		accepted("trailers that frame", "9110 6.5.1", "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n", "0\r\nX: 1\r\n\r\n"),
		accepted("trailers that route", "9110 6.5.1", "0\r\nHost: b.test\r\nX-Forwarded-Host: b\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\n\r\n", nothing),
		accepted("trailers that identify", "9110 6.5.1", "0\r\nCookie: a=b\r\nAuthorization: x\r\nProxy-Authorization: x\r\nX-Real-IP: 1\r\n\r\n", nothing),
		accepted("trailers in another spelling", "3875 4.1.18", "0\r\nX_Forwarded_For: 1.2.3.4\r\ncontent_length: 5\r\n\r\n", nothing),
		accepted("trailers that act on the connection", "9110 6.5.1", "0\r\nConnection: close\r\nTE: x\r\nUpgrade: h2c\r\nTrailer: x\r\nKeep-Alive: x\r\n\r\n", nothing),
		accepted("trailers that condition", "9110 6.5.1", "0\r\nIf-Match: a\r\nRange: a\r\nExpect: 100-continue\r\nContent-Encoding: gzip\r\n\r\n", nothing),
		{name: "two chunked bodies in a pipeline", rfc: "9112 9.3.2", send: chunks(hello) + chunks(nothing), want: "200 200", got: []string{as(hello), as(nothing)}},
		{name: "a chunk that breaks off", rfc: "9112 8", send: chunks("5\r\nhel"), hangUp: true, want: " close"},
		{name: "no last chunk", rfc: "9112 8", send: chunks("5\r\nhello\r\n"), hangUp: true, want: " close"},
		{name: "no end behind the last chunk", rfc: "9112 8", send: chunks("5\r\nhello\r\n0\r\n"), hangUp: true, want: " close"},
		{name: "trailers that are too many", rfc: "6585 5", send: chunks("0\r\n" + strings.Repeat("X: "+strings.Repeat("a", 100)+"\r\n", 200) + "\r\n"), want: "431 close"},
		bad("a chunk without a size", rfc, "\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size with a plus", rfc, "+5\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size with a minus", rfc, "-5\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size with 0x", rfc, "0x5\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size of another script", rfc, "٥\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size of letters", rfc, "five\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size with an underscore", rfc, "0_5\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size of 16 digits", rfc, "0000000000000005\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size that wraps around", rfc, "10000000000000005\r\nhello\r\n0\r\n\r\n"),
		bad("a chunk size that is negative in 64 bits", rfc, "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
		bad("a space before a chunk size", rfc, " 5\r\nhello\r\n0\r\n\r\n"),
		bad("a space behind a chunk size", rfc, "5 \r\nhello\r\n0\r\n\r\n"),
		bad("a tab behind a chunk size", rfc, "5\t\r\nhello\r\n0\r\n\r\n"),
		bad("a vertical tab behind a chunk size", rfc, "5\x0b\r\nhello\r\n0\r\n\r\n"),
		bad("NUL in a chunk size", rfc, "5\x00\r\nhello\r\n0\r\n\r\n"),
		bad("LF behind a chunk size", rfc, "5\nhello\r\n0\r\n\r\n"),
		bad("CR behind a chunk size", rfc, "5\rhello\r\n0\r\n\r\n"),
		bad("two CRs behind a chunk size", rfc, "5\r\r\nhello\r\n0\r\n\r\n"),
		bad("an empty line before a chunk", rfc, "\r\n5\r\nhello\r\n0\r\n\r\n"),
		bad("data without an end", rfc, "5\r\nhello0\r\n\r\n"),
		bad("LF behind data", rfc, "5\r\nhello\n0\r\n\r\n"),
		bad("CR behind data", rfc, "5\r\nhello\rx0\r\n\r\n"),
		bad("data longer than their size", rfc, "4\r\nhello\r\n0\r\n\r\n"),
		bad("data shorter than their size", rfc, "6\r\nhello\r\n0\r\n\r\n"),
		bad("an extension without a name", "9112 7.1.1", "5;\r\nhello\r\n0\r\n\r\n"),
		bad("an extension with only a value", "9112 7.1.1", "5;=a\r\nhello\r\n0\r\n\r\n"),
		bad("an extension without a semicolon", "9112 7.1.1", "5 a\r\nhello\r\n0\r\n\r\n"),
		bad("an extension with LF", "9112 7.1.1", "5;a\nhello\r\n0\r\n\r\n"),
		bad("an extension with LF in quotes", "9112 7.1.1", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
		bad("an extension with CR", "9112 7.1.1", "5;a=\rb\r\nhello\r\n0\r\n\r\n"),
		bad("an extension with NUL", "9112 7.1.1", "5;a=\x00\r\nhello\r\n0\r\n\r\n"),
		bad("an extension beyond the limit", "9112 7.1.1", "5;"+strings.Repeat("a", 5000)+"\r\nhello\r\n0\r\n\r\n"),
		bad("extensions beyond the limit", "9112 7.1.1", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 30)+"0\r\n\r\n"),
		bad("LF behind the last chunk", rfc, "0\n\r\n"),
		bad("LF at the end", rfc, "0\r\n\n"),
		bad("a trailer without a colon", "9112 7.1.2", "0\r\nX\r\n\r\n"),
		bad("a trailer with a space before the colon", "9112 5.1", "0\r\nX : a\r\n\r\n"),
		bad("a folded trailer", "9112 5.2", "0\r\nX: a\r\n b\r\n\r\n"),
		bad("a trailer with NUL", "9110 5.5", "0\r\nX: \x00\r\n\r\n"),
		bad("a trailer with LF", "9112 2.2", "0\r\nX: a\nY: b\r\n\r\n"),
		bad("a trailer with CR", "9112 2.2", "0\r\nX: a\rY: b\r\n\r\n"),
		bad("a request where a trailer would be", "9112 7.1.2", "0\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"),
	}
}

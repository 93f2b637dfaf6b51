package wire_test

// lengthCases are about Content-Length.
func lengthCases() []wireCase {
	const rfc = "9112 6.3"
	hello := func(line string) string { return post("hello", line) }
	list := []wireCase{
		passes("a length", "9112 6.2", hello("Content-Length: 5")),
		passes("a length of 0", "9112 6.2", post("", "Content-Length: 0")),
		passes("a length on GET", "9110 9.3.1", get("Content-Length: 5")+"hello"),
		passes("a length in small letters", "9110 5.1", hello("content-length: 5")),
		passes("no length", rfc, post("")),
		becomes("a length without a space", "9112 5", hello("Content-Length:5"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		becomes("a length between tabs", "9112 5", hello("Content-Length:\t5\t"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		becomes("a length with leading zeros", "9110 8.6", hello("Content-Length: 0005"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		becomes("a length of several zeros", "9110 8.6", post("", "Content-Length: 000"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 0")),
		becomes("a length that is not one", "3875 4.1.18", hello("Content_Length: 7\r\nContent-Length: 5"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		becomes("a length that Connection names", "9110 7.6.1", hello("Connection: Content-Length\r\nContent-Length: 5"), seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5")+"hello"),
		{name: "two bodies in a pipeline", rfc: "9112 9.3.2", send: hello("Content-Length: 5") + post("you", "Content-Length: 3"), want: "200 200",
			got: []string{seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 5") + "hello", seen("POST / HTTP/1.1", "Host: a.test", "Content-Length: 3") + "you"}},
		{name: "a body that looks like a request", rfc: rfc, send: post("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length: 28"), want: "200", got: []string{as}},
		{name: "a body that is too short", rfc: "9112 8", send: post("hell", "Content-Length: 5"), hangUp: true, want: " close"},
		refused("a length of 19 digits", rfc, hello("Content-Length: 1000000000000000005")),
		refused("a length above int64", rfc, hello("Content-Length: 9223372036854775813")),
		refused("a length that wraps around", rfc, hello("Content-Length: 18446744073709551621")),
		refused("a length that wraps around in 32 bits", rfc, hello("Content-Length: 99999999999999999999999999999999")),
		refused("a length in digits of another script", "9110 8.6", hello("Content-Length: ٥")),
		refused("a length with a vertical tab", "9110 5.5", hello("Content-Length: \x0b5")),
		refused("a length with a form feed", "9110 5.5", hello("Content-Length: 5\x0c")),
		refused("a length with a no-break space", "9110 8.6", hello("Content-Length: \xa05")),
		refused("a length behind NUL", "9110 5.5", hello("Content-Length: \x005")),
		refused("a length before NUL", "9110 5.5", hello("Content-Length: 5\x00")),
		refused("a length in the next line", "9112 5.2", hello("Content-Length:\r\n 5")),
		refused("a length with a space before the colon", "9112 5.1", hello("Content-Length : 5")),
		refused("a length with a tab before the colon", "9112 5.1", hello("Content-Length\t: 5")),
		refused("a length behind a bare LF", "9112 2.2", hello("X: y\nContent-Length: 5")),
		refused("a length behind a bare CR", "9112 2.2", hello("X: y\rContent-Length: 5")),
		refused("two lengths that agree", rfc, hello("Content-Length: 5\r\nContent-Length: 5")),
		refused("two lengths that differ", rfc, hello("Content-Length: 5\r\nContent-Length: 6")),
		refused("two lengths in different cases", rfc, hello("Content-Length: 5\r\ncontent-length: 0")),
		refused("two lengths, the first empty", rfc, hello("Content-Length:\r\nContent-Length: 5")),
		refused("two lengths in HTTP/1.0", rfc, head("POST / HTTP/1.0", "Content-Length: 5", "Content-Length: 6")+"hello"),
		refused("both lengths", rfc, post("0\r\n\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked")),
		refused("both lengths, the other way round", rfc, post("0\r\n\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5")),
		refused("both lengths, one of them 0", rfc, post("0\r\n\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 0")),
		refused("both lengths on GET", rfc, get("Transfer-Encoding: chunked", "Content-Length: 5")+"0\r\n\r\n"),
		refused("a length and another coding", rfc, hello("Transfer-Encoding: identity\r\nContent-Length: 5")),
		refused("a length and an empty coding", rfc, hello("Transfer-Encoding:\r\nContent-Length: 5")),
	}
	for name, value := range map[string]string{
		"nothing": "", "a plus sign": "+5", "a minus sign": "-5", "hexadecimal": "0x5", "letters": "five", "a point": "5.0", "an exponent": "5e0",
		"two numbers": "5 5", "a list": "5, 5", "a list that differs": "5, 6", "a comma behind it": "5,", "a comma before it": ",5", "a semicolon": "5;",
		"quotes": `"5"`, "an underscore": "1_0", "a unit": "5b", "octal": "0o5", "a slash": "5/5",
	} {
		list = append(list, refused("a length of "+name, "9110 8.6", hello("Content-Length: "+value)))
	}
	return list
}

package wire_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// backendCase is what a backend answers and what a client has to get of it.
type backendCase struct {
	name, rfc string
	ask       string // the request; a GET if empty
	says      string // what the backend answers it with
	end       string // what it does then: "" nothing, "close", "reset"
	// want is the status and the body, "502" with any body, or "broken": the
	// client can see that it has not got all.
	want string
	head []string // field lines that the client gets, if not nil
	kept bool     // the connection to the backend may be used again
}

const ok = "HTTP/1.1 200 OK\r\n"

// answer is a whole response with a body and further field lines.
func answer(body string, fields ...string) string {
	return ok + strings.Join(append(fields, fmt.Sprintf("Content-Length: %d", len(body))), "\r\n") + "\r\n\r\n" + body
}

func wrongHead(name, rfc, says string) backendCase {
	return backendCase{name: name, rfc: rfc, says: says, want: "502"}
}

func brokenBody(name, rfc, fields, body, end string) backendCase {
	return backendCase{name: name, rfc: rfc, says: ok + fields + "\r\n\r\n" + body, end: end, want: "broken"}
}

// backendCases are about what backends send.
func backendCases() []backendCase {
	const te, rfc = "Transfer-Encoding: chunked", "9112 6.3"
	list := []backendCase{
		{name: "a length", rfc: rfc, says: answer("hello"), want: "200 hello", kept: true},
		{name: "a length of 0", rfc: rfc, says: answer(""), want: "200 ", kept: true},
		{name: "a length with zeros", rfc: "9110 8.6", says: ok + "Content-Length:\t005 \r\n\r\nhello", want: "200 hello", head: []string{"Content-Length: 5"}, kept: true},
		{name: "chunks", rfc: "9112 7.1", says: ok + te + "\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n", want: "200 hello", head: []string{te}, kept: true},
		{name: "chunks in capitals", rfc: "9112 7", says: ok + "Transfer-Encoding:CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: "200 hello", head: []string{te}, kept: true},
		{name: "trailers that act on the message", rfc: "9110 6.5.1", says: ok + te + "\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 1\r\nSet-Cookie: a\r\nX: y\r\n\r\n", want: "200 hello X: y", kept: true},
		{name: "the end of the connection", rfc: rfc, says: ok + "\r\nhello", end: "close", want: "200 hello", head: []string{te}},
		{name: "the end of the connection in HTTP/1.0", rfc: rfc, says: "HTTP/1.0 200 OK\r\n\r\nhello", end: "close", want: "200 hello", head: []string{te}},
		{name: "close", rfc: "9112 9.6", says: answer("hello", "Connection: close"), end: "close", want: "200 hello", head: []string{"Content-Length: 5"}},
		{name: "HTTP/1.0 that stays", rfc: "9112 9.3", says: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", want: "200 hello", kept: true},
		{name: "fields of the connection", rfc: "9110 7.6.1", says: answer("", "Connection: X-A, Set-Cookie", "X-A: 1", "Set-Cookie: b", "Keep-Alive: timeout=9", "Proxy-Authenticate: x"), want: "200 ",
			head: []string{"Set-Cookie: b", "Content-Length: 0"}, kept: true},
		{name: "an odd reason", rfc: "9112 4", says: "HTTP/1.1 200 \xff a\tb\r\nContent-Length: 0\r\n\r\n", want: "200 ", kept: true},
		{name: "no reason", rfc: "9112 4", says: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", want: "200 ", kept: true},
		{name: "an unknown status", rfc: "9110 15", says: "HTTP/1.1 599 x\r\nContent-Length: 5\r\n\r\nhello", want: "599 hello", kept: true},
		{name: "a name that is another spelling", rfc: "9112 6.3", says: ok + "Content_Length: 1\r\nContent-Length: 5\r\n\r\nhello", want: "200 hello", kept: true},

		{name: "HEAD", rfc: "9110 9.3.2", ask: "HEAD", says: ok + "Content-Length: 5\r\n\r\n", want: "200 ", head: []string{"Content-Length: 5"}, kept: true},
		{name: "HEAD with a body", rfc: "9110 9.3.2", ask: "HEAD", says: answer("hello"), want: "200 "},
		{name: "HEAD with chunks", rfc: "9110 9.3.2", ask: "HEAD", says: ok + te + "\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: "200 "},
		{name: "204", rfc: "9110 15.3.5", says: "HTTP/1.1 204 No Content\r\n\r\n", want: "204 ", kept: true},
		{name: "204 with a length", rfc: "9110 8.6", says: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: 1\r\n\r\n", want: "204 ", head: []string{"X: 1"}, kept: true},
		{name: "204 with a body", rfc: "9110 15.3.5", says: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", want: "204 ", head: []string{}},
		{name: "204 with a response for a body", rfc: "9110 15.3.5", says: "HTTP/1.1 204 No Content\r\n\r\n" + answer("evil"), want: "204 "},
		{name: "304", rfc: "9110 15.4.5", says: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", want: "304 ", kept: true},
		{name: "304 with a body", rfc: "9110 15.4.5", says: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", want: "304 "},
		{name: "205 with a body", rfc: "9110 15.3.6", says: "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello", want: "205 hello", kept: true},

		{name: "an interim response", rfc: "9110 15.2", says: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer("hello"), want: "103 200 hello", kept: true},
		{name: "many interim responses", rfc: "9110 15.2", says: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 32) + answer("hello"), want: strings.Repeat("102 ", 32) + "200 hello", kept: true},
		{name: "a flood of interim responses", rfc: "9110 15.2", says: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100) + answer("hello"), want: strings.Repeat("102 ", 32) + "502"},
		{name: "an interim response with a length", rfc: "9110 8.6", says: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + answer("hello"), want: "103 200 hello", kept: true},
		{name: "an interim response with a body", rfc: "9110 15.2", says: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + answer("hello"), want: "103 502"},
		{name: "only an interim response", rfc: "9110 15.2", says: "HTTP/1.1 103 Early Hints\r\n\r\n", end: "close", want: "103 502"},
		{name: "interim responses for HTTP/1.0", rfc: "9110 15.2", ask: "GET HTTP/1.0", says: "HTTP/1.1 103 Early Hints\r\n\r\n" + answer("hello"), want: "200 hello", kept: true},

		{name: "101 that nobody asked for", rfc: "9110 7.8", says: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", want: "502"},
		{name: "101 to another protocol", rfc: "9110 7.8", ask: "upgrade", says: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", want: "502"},
		{name: "101 to more than was offered", rfc: "9110 7.8", ask: "upgrade", says: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", want: "502"},
		{name: "101 to no protocol", rfc: "9110 7.8", ask: "upgrade", says: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", want: "502"},
		{name: "101 to what was offered, in another case", rfc: "9110 7.8", ask: "upgrade", says: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", want: "101 "},
		{name: "an upgrade that is not granted", rfc: "9110 7.8", ask: "upgrade", says: answer("hello"), want: "200 hello", kept: true},

		{name: "more than the length says", rfc: rfc, says: answer("hello") + "x", want: "200 hello"},
		{name: "a second response", rfc: rfc, says: answer("hello") + answer("evil"), want: "200 hello"},
		{name: "an empty line behind the response", rfc: "9112 2.2", says: answer("hello") + "\r\n", want: "200 hello"},
		{name: "a second response behind chunks", rfc: rfc, says: ok + te + "\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + answer("evil"), want: "200 hello"},
		{name: "an interim response behind the response", rfc: "9110 15.2", says: answer("hello") + "HTTP/1.1 100 Continue\r\n\r\n", want: "200 hello"},

		brokenBody("short of its length", "9112 8", "Content-Length: 10", "hello", "close"),
		brokenBody("short of its length, reset", "9112 8", "Content-Length: 10", "hello", "reset"),
		brokenBody("nothing of its length", "9112 8", "Content-Length: 10", "", "close"),
		brokenBody("no last chunk", "9112 8", te, "5\r\nhello\r\n", "close"),
		brokenBody("half a chunk", "9112 8", te, "9\r\nhello", "close"),
		brokenBody("a last chunk without an end", "9112 7.1", te, "5\r\nhello\r\n0\r\n", "close"),
		brokenBody("a reset where the end would be", "9112 8", "X: y", "hello", "reset"),
	}
	for name, body := range map[string]string{
		"a chunk without a size": "\r\nhello\r\n0\r\n\r\n", "a chunk size with a sign": "+5\r\nhello\r\n0\r\n\r\n", "a chunk size with 0x": "0x5\r\nhello\r\n0\r\n\r\n",
		"a chunk size that wraps around": "10000000000000005\r\nhello\r\n0\r\n\r\n", "a space behind a chunk size": "5 \r\nhello\r\n0\r\n\r\n",
		"LF behind a chunk size": "5\nhello\r\n0\r\n\r\n", "LF behind data": "5\r\nhello\n0\r\n\r\n", "no line end behind data": "5\r\nhello0\r\n\r\n",
		"data longer than their size": "4\r\nhello\r\n0\r\n\r\n", "an extension with NUL": "5;\x00\r\nhello\r\n0\r\n\r\n", "a trailer with NUL": "5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
		"a folded trailer": "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n", "a trailer with LF": "5\r\nhello\r\n0\r\nX: a\n\r\n",
	} {
		list = append(list, backendCase{name: name, rfc: "9112 7.1", says: ok + te + "\r\n\r\n" + body, want: "502 or broken"})
	}
	for name, says := range map[string]string{
		"not HTTP": "hello\r\n\r\n", "another protocol": "ICY 200 OK\r\n\r\n", "HTTP/2.0": "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1": "HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"a lower-case version": "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "two spaces before the status": "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
		"a tab before the status": "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n", "no status": "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", "a status of two digits": "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
		"a status of four digits": "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "a status of letters": "HTTP/1.1 2xx OK\r\nContent-Length: 0\r\n\r\n", "a status below 100": "HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n",
		"a status above 599": "HTTP/1.1 600 x\r\nContent-Length: 0\r\n\r\n", "a status with a sign": "HTTP/1.1 +20 x\r\nContent-Length: 0\r\n\r\n", "CR in the reason": "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
		"NUL in the reason": "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", "LF behind the status line": "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "an empty line before": "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "two empty lines before": "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		list = append(list, wrongHead(name, "9112 4", says))
	}
	for name, lines := range map[string]string{
		"a folded field": "X: a\r\n b", "a space before the colon": "Content-Length : 5", "no colon": "X", "no name": ": a", "a name with a space": "X Y: a", "NUL in a value": "X: \x00", "CR in a value": "X: a\rSet-Cookie: b",
		"LF in a value": "X: a\nSet-Cookie: b", "DEL in a value": "X: \x7f", "two lengths": "Content-Length: 5\r\nContent-Length: 6", "two lengths that agree": "Content-Length: 5\r\nContent-Length: 5",
		"a list of lengths": "Content-Length: 5, 5", "a length with a sign": "Content-Length: +5", "a negative length": "Content-Length: -1", "a length that wraps around": "Content-Length: 18446744073709551621",
		"a hexadecimal length": "Content-Length: 0x5", "an empty length": "Content-Length:", "both lengths": "Content-Length: 5\r\nTransfer-Encoding: chunked", "chunks and gzip": "Transfer-Encoding: gzip, chunked",
		"chunks twice": "Transfer-Encoding: chunked, chunked", "chunks before another": "Transfer-Encoding: chunked, identity", "identity": "Transfer-Encoding: identity", "an odd coding": "Transfer-Encoding: xchunked",
		"two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "an empty coding": "Transfer-Encoding:", "a coding in quotes": `Transfer-Encoding: "chunked"`,
	} {
		list = append(list, wrongHead("in a response, "+name, "9112 5, 6", ok+lines+"\r\n\r\nhello"))
	}
	return append(list,
		wrongHead("chunks in HTTP/1.0", "9112 6.1", "HTTP/1.0 200 OK\r\n"+te+"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
		wrongHead("a head that is too large", "6585 5", ok+"X: "+strings.Repeat("a", 300<<10)+"\r\n\r\n"),
		wrongHead("too many fields", "6585 5", ok+strings.Repeat("X: y\r\n", 1001)+"\r\n"),
		backendCase{name: "nothing", rfc: "9112 9.5", end: "close", want: "502"},
		backendCase{name: "nothing but a reset", rfc: "9112 9.5", end: "reset", want: "502"},
		backendCase{name: "half a status line", rfc: "9112 8", says: "HTTP/1.1 20", end: "close", want: "502"},
		backendCase{name: "half a head", rfc: "9112 8", says: ok + "Content-Length: 5\r\n", end: "close", want: "502"},
		backendCase{name: "half a head, reset", rfc: "9112 8", says: ok + "Content-Length: 5\r\n", end: "reset", want: "502"},
	)
}

// liar is a backend that answers /first as a case says, and anything else
// honestly.
type liar struct {
	address string
	says    atomic.Pointer[backendCase]
	step    atomic.Int64 // octets a write
	dials   atomic.Int64
	lied    atomic.Int64  // the connection of the last answer of a case
	last    atomic.Int64  // the connection of the last answer
	closed  sync.Map      // connections that Steelyard has closed
	said    chan struct{} // one for each answer of a case
}

func newLiar(t testing.TB) *liar {
	l := &liar{said: make(chan struct{}, 100)}
	l.address = harness.Backend(t, func(c *harness.Conn) {
		number := l.dials.Add(1)
		defer l.closed.Store(number, true)
		for {
			q, err := readRequest(c.R)
			if err != nil {
				return
			}
			l.last.Store(number)
			if q.target != "/first" {
				if _, err := io.WriteString(c, answer("second")); err != nil {
					return
				}
				continue
			}
			l.lied.Store(number)
			b := l.says.Load()
			l.speak(c, b.says)
			switch b.end {
			case "close":
				_ = c.Close()
			case "reset":
				_ = c.Conn.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
			l.said <- struct{}{}
			if b.end != "" {
				return
			}
		}
	})
	return l
}

// speak writes text in parts. Steelyard may have had enough before its end.
func (l *liar) speak(c *harness.Conn, text string) {
	step := int(l.step.Load())
	for len(text) > 0 {
		n := min(step, len(text))
		if _, err := io.WriteString(c, text[:n]); err != nil {
			return
		}
		text = text[n:]
	}
}

// TestBackendCases: whatever a backend sends, its client gets what it is or can see
// that something is missing, and no other client gets any of it.
func TestBackendCases(t *testing.T) {
	l := newLiar(t)
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q], retry: {attempts: 1}, outlier: {consecutive: 0}}}
`, l.address))
	cases := backendCases()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1 << 20, 1, 7} {
				if len(c.says) > 10_000 && step < 1000 {
					step *= 1000
				}
				c.run(t, s.Address, l, step)
			}
		})
	}
	if len(cases) < 100 {
		t.Errorf("only %d cases are left", len(cases))
	}
}

// run makes the backend answer so, in parts of step octets, and asks it again as
// another client.
func (c *backendCase) run(t *testing.T, address string, l *liar, step int) {
	t.Helper()
	ask(t, address, "GET /zero HTTP/1.1") // A connection that was used before.
	l.says.Store(c)
	l.step.Store(int64(step))
	request := "GET /first HTTP/1.1"
	switch c.ask {
	case "HEAD":
		request = "HEAD /first HTTP/1.1"
	case "GET HTTP/1.0":
		request = "GET /first HTTP/1.0"
	case "upgrade":
		request += "\r\nConnection: Upgrade\r\nUpgrade: websocket"
	}
	got, head := ask(t, address, request)
	want := c.want
	switch {
	case want == "502 or broken" && (got == "broken" || strings.HasPrefix(got, "502")):
		want = got
	case strings.HasSuffix(want, "502"):
		got, _, _ = strings.Cut(got, "502 ")
		got += "502"
	case want == "broken" && c.end == "reset" && strings.Contains(got, "reset_before_response"):
		got = want // The reset has overtaken what was sent before it.
	}
	if got != want {
		t.Errorf("in parts of %d: the client got %q, want %q", step, got, want)
	}
	if c.head != nil && fmt.Sprintf("%q", head) != fmt.Sprintf("%q", c.head) {
		t.Errorf("in parts of %d: the client got the fields %q, want %q", step, head, c.head)
	}
	select {
	case <-l.said:
	case <-time.After(patience):
		t.Fatal("the backend has not finished")
	}
	for range 2 {
		if got, _ := ask(t, address, "GET /second HTTP/1.1"); got != "200 second" {
			t.Errorf("in parts of %d: the next client got %q", step, got)
		}
		if l.last.Load() == l.lied.Load() && !c.kept {
			t.Errorf("in parts of %d: the connection to the backend is used again", step)
		}
	}
	closed := func() bool { _, is := l.closed.Load(l.lied.Load()); return is }
	if !c.kept {
		harness.Eventually(t, patience, "the connection to the backend is closed", closed)
	} else if closed() {
		t.Errorf("in parts of %d: the connection to the backend is closed", step)
	}
}

// ask sends a request on a connection of its own and tells what came: the statuses,
// the body and the trailers; or that it broke off.
func ask(t *testing.T, address, request string) (got string, head []string) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience)) // Fails only once closed, as the rest will then.
	if _, err := io.WriteString(nc, request+"\r\nHost: a.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	for {
		status, fields, body, err := readWhole(r, strings.HasPrefix(request, "HEAD"))
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "broken", nil
		}
		if err != nil {
			t.Fatalf("behind %q: %v", got, err)
		}
		if got += status + " "; status[0] != '1' || status == "101" {
			return got + body, fields
		}
	}
}

// readWhole reads one response of Steelyard, strictly. Its fields are without
// those that Steelyard adds to its own.
func readWhole(r *bufio.Reader, toHead bool) (status string, fields []string, body string, err error) {
	var all strings.Builder
	line, err := readLine(r, &all)
	if err != nil {
		return "", nil, "", err
	}
	if len(line) < 12 || !strings.HasPrefix(line, "HTTP/1.1 ") {
		return "", nil, "", fmt.Errorf("the status line is %q", line)
	}
	status = line[9:12]
	length, chunked := -1, false
	fields = []string{}
	for {
		if line, err = readLine(r, &all); err != nil || line == "" {
			break
		}
		name, value, ok := field(line)
		if !ok {
			return status, nil, "", fmt.Errorf("the field line %q", line)
		}
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return status, nil, "", err
			}
		case "transfer-encoding":
			chunked = true
		case "connection":
			continue
		}
		fields = append(fields, line)
	}
	switch {
	case err != nil:
	case toHead || status[0] == '1' || status == "204" || status == "304":
	case chunked:
		var q request
		err = q.readBody(r, -1, true)
		if h, rest, found := strings.Cut(q.raw, "\r\n"); found && h != "0" {
			body, rest = rest[:q.body], strings.TrimPrefix(rest[q.body:], "\r\n0\r\n")
			if rest = strings.TrimSpace(rest); rest != "" {
				body += " " + strings.ReplaceAll(rest, "\r\n", " ")
			}
		}
	case length >= 0:
		content := make([]byte, length)
		_, err = io.ReadFull(r, content)
		body = string(content)
	default:
		content, e := io.ReadAll(r)
		body, err = string(content), e
	}
	return status, fields, body, err
}

package wire_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

const patience = 10 * time.Second

// wireCase is what a client sends and what has to become of it.
type wireCase struct {
	name string
	rfc  string // the section it rests on
	send string
	// want is the statuses that the client gets, and " close" if its connection
	// is closed behind them. If it is not, one more request is answered on it; if
	// it is, one more request is sent, and nobody sees it.
	want string
	// got is the requests that the backend sees, with <+> for what Steelyard adds;
	// as stands for the request as it was sent.
	got []string
	// hangUp says that the client ends its direction behind what it sends, waits
	// that it sends nothing more and waits.
	hangUp, waits bool
}

// as in got is the request as it was sent.
const as = "as it was sent"

// The request behind every case, and the one before it in a pipeline.
const (
	lastRequest  = "GET /last HTTP/1.1\r\nHost: last.test\r\nConnection: close\r\n\r\n"
	firstRequest = "GET /first HTTP/1.1\r\nHost: first.test\r\n\r\n"
	lastSeen     = "GET /last HTTP/1.1\r\nHost: last.test\r\n<+>\r\n"
	firstSeen    = "GET /first HTTP/1.1\r\nHost: first.test\r\n<+>\r\n"
)

// head ends every line with CRLF and adds the empty line.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// get is a GET with further field lines.
func get(fields ...string) string {
	return head(append([]string{"GET / HTTP/1.1", "Host: a.test"}, fields...)...)
}

// post is a POST with a body behind further field lines.
func post(body string, fields ...string) string {
	return head(append([]string{"POST / HTTP/1.1", "Host: a.test"}, fields...)...) + body
}

// chunks is a POST with a chunked body.
func chunks(body string) string { return post(body, "Transfer-Encoding: chunked") }

// seen is a request as the backend has to see it.
func seen(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n<+>\r\n" }

// refused is a case of what is answered 400.
func refused(name, rfc, send string) wireCase {
	return wireCase{name: name, rfc: rfc, send: send, want: "400 close"}
}

// passes is a case of what passes as it is.
func passes(name, rfc, send string) wireCase {
	return wireCase{name: name, rfc: rfc, send: send, want: "200", got: []string{as}}
}

// becomes is a case of what passes in another form.
func becomes(name, rfc, send, got string) wireCase {
	return wireCase{name: name, rfc: rfc, send: send, want: "200", got: []string{got}}
}

// sent is the form of the request in which the backend has to see it.
func (c *wireCase) sent() string {
	h, body, _ := strings.Cut(c.send, "\r\n\r\n")
	return h + "\r\n<+>\r\n" + body
}

// A run is a way of sending a case.
type run struct {
	name   string
	behind bool // in a pipeline, behind a request that is good
	parts  bool // more than one
	step   func(i int) int
}

var runs = []run{
	{name: "whole", step: func(int) int { return 1 << 20 }},
	{name: "octet by octet", parts: true, step: func(int) int { return 1 }},
	{name: "in odd parts", parts: true, step: func(i int) int { return []int{3, 17, 1, 2, 7, 31}[i%6] }},
	{name: "behind another", behind: true, step: func(int) int { return 1 << 20 }},
}

// maxSteps is how many parts a case is sent in at most; of long ones the middle
// goes in one part.
const maxSteps = 1500

// TestClientCases runs every case in every way.
func TestClientCases(t *testing.T) {
	rec, backend := newRecorder(t)
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q]}}
`, backend))
	names := map[string]bool{}
	front := plain(s.Address)
	for _, c := range allCases() {
		if names[c.name] || c.rfc == "" {
			t.Errorf("%s: two cases of this name, or no section", c.name)
		}
		names[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			for _, r := range runs {
				c.run(t, front, rec, r)
			}
		})
	}
	if len(names) < 450 {
		t.Errorf("only %d cases are left", len(names))
	}
}

// TestClientCasesWithTLS runs them inside TLS, where octets come through other
// buffers and connections end in another way.
func TestClientCasesWithTLS(t *testing.T) {
	rec, backend := newRecorder(t)
	ca := certtest.NewCA(t, "Wire CA")
	cert, key := ca.Issue(t, "ecdsa", []string{"a.test"}).Files(t, t.TempDir(), "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN", tls: {certificates: {cert: %s, key: %s}}}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q]}}
`, cert, key, backend))
	front := secure(s.Address, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range runs[:2] {
				c.run(t, front, rec, r)
			}
		})
	}
}

// dialer opens a connection to a listener.
type dialer func() (net.Conn, error)

func plain(address string) dialer {
	return func() (net.Conn, error) { return net.DialTimeout("tcp", address, patience) }
}

func secure(address string, conf *tls.Config) dialer {
	return func() (net.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, conf)
	}
}

// run sends the case in one way, and compares both sides.
func (c *wireCase) run(t *testing.T, front dialer, rec *recorder, r run) {
	t.Helper()
	want, closes := strings.CutSuffix(c.want, " close")
	var got []string
	for _, g := range c.got {
		if g == as {
			g = c.sent()
		}
		got = append(got, g)
	}
	if r.behind {
		want, got = strings.TrimSpace("200 "+want), append([]string{firstSeen}, got...)
	}
	if !closes {
		want, got = want+" 200", append(got, lastSeen)
	}
	answers, err := exchange(front, c.stream(r), c.hangUp, r.step)
	if err != nil {
		t.Errorf("%s: %v", r.name, err)
	}
	if answers != want {
		t.Errorf("%s: answered %q, want %q", r.name, answers, want)
	}
	var saw []string
	for _, q := range rec.take(t) {
		saw = append(saw, q.template())
	}
	if fmt.Sprintf("%q", saw) != fmt.Sprintf("%q", got) {
		t.Errorf("%s: the backend saw\n%q, want\n%q", r.name, saw, got)
	}
}

// stream is all that a client sends. What comes on its way when Steelyard has closed
// as it was asked to is answered by a reset, which may overtake the response: then
// there is no last request.
func (c *wireCase) stream(r run) string {
	text := c.send
	if r.behind {
		text = firstRequest + text
	}
	if c.hangUp || c.waits || r.parts && strings.HasSuffix(c.want, "200 close") {
		return text
	}
	return text + lastRequest
}

// exchange sends text in parts and returns the statuses of all that is answered
// until the connection ends.
func exchange(front dialer, text string, hangUp bool, step func(int) int) (answers string, err error) {
	var list []string
	err = converse(front, text, hangUp, step, func(r *bufio.Reader) error {
		status, err := readAnswer(r)
		if err == nil {
			list = append(list, status)
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("behind %q: %w", list, err)
	}
	return strings.Join(list, " "), err
}

// converse sends text in parts while read reads what comes back, until the
// connection ends or read fails.
func converse(front dialer, text string, hangUp bool, step func(int) int, read func(*bufio.Reader) error) error {
	nc, err := front()
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience)) // Fails only once closed, as the rest will then.
	go func() {
		for i, rest := 0, text; rest != ""; i++ {
			n := min(step(i), len(rest))
			if i == maxSteps/2 && len(rest) > maxSteps {
				n = len(rest) - maxSteps/2
			}
			if _, err := io.WriteString(nc, rest[:n]); err != nil {
				return // Steelyard has closed; what it said before is read.
			}
			rest = rest[n:]
		}
		if hangUp {
			_ = nc.(interface{ CloseWrite() error }).CloseWrite()
		}
	}()
	r := bufio.NewReader(nc)
	for err == nil {
		err = read(r)
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// readAnswer reads one response and returns its status. A HEAD is known by the
// field X-Method of the recorder's answer.
func readAnswer(r *bufio.Reader) (status string, err error) {
	var all strings.Builder
	line, err := readLine(r, &all)
	if err != nil {
		if err == io.EOF && line != "" {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	if len(line) < 12 || !strings.HasPrefix(line, "HTTP/1.1 ") {
		return "", fmt.Errorf("the status line is %q", line)
	}
	status = line[9:12]
	length, toHead := -1, false
	for line != "" {
		if line, err = readLine(r, &all); err != nil {
			return status, fmt.Errorf("in the head of %s: %w", status, err)
		}
		name, value, _ := strings.Cut(line, ": ")
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil {
				return status, err
			}
		case "x-method":
			toHead = value == "HEAD"
		}
	}
	switch {
	case toHead:
		return status, nil
	case length < 0:
		return status, fmt.Errorf("no length in %q", all.String())
	}
	if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
		return status, fmt.Errorf("in the body of %s: %w", status, err)
	}
	return status, nil
}

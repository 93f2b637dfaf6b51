package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Message is a request or a response as it stood on the wire.
type Message struct {
	First    string   // the request line or status line
	Fields   []string // header lines, in order, byte for byte
	Body     []byte
	Trailers []string
}

// Status is the status code of a response, 0 if there is none.
func (m *Message) Status() int {
	parts := strings.SplitN(m.First, " ", 3)
	if len(parts) < 2 {
		return 0
	}
	code, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return code
}

// Values are the values of a header, in order; the name is compared without case.
func (m *Message) Values(name string) []string {
	var values []string
	for _, line := range m.Fields {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

// Value is the first value of a header, "" if there is none.
func (m *Message) Value(name string) string {
	if values := m.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Without are the header lines but for those with one of the names.
func (m *Message) Without(names ...string) []string {
	return slices.DeleteFunc(slices.Clone(m.Fields), func(line string) bool {
		n, _, _ := strings.Cut(line, ":")
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(n, name) })
	})
}

// Conn is a raw connection, of a client or of a backend.
type Conn struct {
	net.Conn
	R *bufio.Reader
}

// patience bounds every read of a raw connection.
const patience = 10 * time.Second

// Dial opens a raw client connection; it is closed when the test ends.
func Dial(t testing.TB, address string) *Conn {
	t.Helper()
	c, err := Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Connect opens a raw client connection that the caller closes. It may be
// called from any goroutine.
func Connect(address string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &Conn{c, bufio.NewReader(c)}, nil
}

// Send writes text in one piece.
func (c *Conn) Send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("sending %.60q: %v", text, err)
	}
}

// Response reads the response to a request of the given method; 1xx are
// responses like any other.
func (c *Conn) Response(t testing.TB, method string) *Message {
	t.Helper()
	m, err := c.Receive(method)
	if err != nil {
		t.Fatalf("reading the response to %s: %v (so far: %+v)", method, err, m)
	}
	return m
}

// Exchange sends a request, whose method is its first word, and reads the response.
func (c *Conn) Exchange(t testing.TB, request string) *Message {
	t.Helper()
	c.Send(t, request)
	method, _, _ := strings.Cut(request, " ")
	return c.Response(t, method)
}

// End waits for the other side to close and returns what it still sent.
func (c *Conn) End(t testing.TB, within time.Duration) []byte {
	t.Helper()
	c.deadline(within)
	rest, err := io.ReadAll(c.R)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("the connection is still open after %v; it sent %q", within, rest)
	}
	return rest
}

func (c *Conn) deadline(within time.Duration) {
	_ = c.SetReadDeadline(time.Now().Add(within)) // Fails only once closed, as the read will then.
}

// Head reads the first line and the header lines of a message.
func (c *Conn) Head() (*Message, error) {
	c.deadline(patience)
	m := &Message{}
	var err error
	if m.First, err = c.line(); err != nil {
		return nil, err
	}
	m.Fields, err = c.lines()
	return m, err
}

// Request reads one request.
func (c *Conn) Request() (*Message, error) { return c.Receive("") }

// Receive reads a request (method "") or the response to a method. Unlike
// Response it may be called from any goroutine.
func (c *Conn) Receive(method string) (*Message, error) {
	m, err := c.Head()
	if err != nil {
		return m, err
	}
	response := method != ""
	status := m.Status()
	switch {
	case response && (method == "HEAD" || status < 200 || status == 204 || status == 304):
	case strings.EqualFold(m.Value("Transfer-Encoding"), "chunked"):
		if m.Body, err = io.ReadAll(httputil.NewChunkedReader(c.R)); err != nil {
			return m, fmt.Errorf("chunked body: %w", err)
		}
		m.Trailers, err = c.lines()
	case m.Value("Content-Length") != "":
		n, err := strconv.Atoi(m.Value("Content-Length"))
		if err != nil {
			return m, fmt.Errorf("Content-Length: %w", err)
		}
		m.Body = make([]byte, n)
		if n, err = io.ReadFull(c.R, m.Body); err != nil {
			return m, fmt.Errorf("body of %d bytes ended after %d: %w", len(m.Body), n, err)
		}
	case response:
		m.Body, err = io.ReadAll(c.R)
	}
	return m, err
}

func (c *Conn) lines() ([]string, error) {
	var lines []string
	for {
		line, err := c.line()
		if err != nil || line == "" {
			return lines, err
		}
		lines = append(lines, line)
	}
}

func (c *Conn) line() (string, error) {
	line, err := c.R.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("line %q: %w", line, err)
	}
	if !strings.HasSuffix(line, "\r\n") {
		return "", fmt.Errorf("line %q does not end with CRLF", line)
	}
	return strings.TrimSuffix(line, "\r\n"), nil
}

// Backend listens on a free address and serves each connection with a
// function that speaks the wire format by itself. The connection is closed
// when the function returns.
func Backend(t testing.TB, serve func(*Conn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu     sync.Mutex
		open   []net.Conn
		closed bool
		wg     sync.WaitGroup
	)
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			if closed {
				c.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(&Conn{c, bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		closed = true
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// Scripted is a backend that records requests and answers each with the text
// that answer returns, on connections it keeps open.
func Scripted(t testing.TB, answer func(*Message) string) (address string, requests func() []*Message) {
	t.Helper()
	var (
		mu   sync.Mutex
		seen []*Message
	)
	address = Backend(t, func(c *Conn) {
		for {
			m, err := c.Request()
			if err != nil {
				return
			}
			mu.Lock()
			seen = append(seen, m)
			mu.Unlock()
			if _, err := io.WriteString(c, answer(m)); err != nil {
				return
			}
		}
	})
	return address, func() []*Message {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

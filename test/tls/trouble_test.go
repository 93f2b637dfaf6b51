package tls_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

func TestPlainHTTPIsAnsweredInPlain(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS()+", hsts: true", "", app.Address)
	for i, request := range []string{
		get, "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.0\r\n\r\n",
	} {
		c := harness.Dial(t, s.Address)
		m := c.Exchange(t, request)
		if m.Status() != 400 || m.Value("X-Steelyard-Cause") != "plain_http" || !strings.Contains(string(m.Body), "https://") || m.Value("Connection") != "close" {
			t.Errorf("%.20q: %s %q %q", request, m.First, m.Fields, m.Body)
		}
		if m.Value("Strict-Transport-Security") != "" {
			t.Error("HSTS without TLS")
		}
		c.End(t, patience)
		failed(t, s, "plain_http", float64(i+1))
	}
}

func TestWhatIsNotTLSIsClosed(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "", app.Address)
	for _, text := range []string{"SSH-2.0-x\r\n", "\x00\x00\x00\x00\x00\x00", "PRI\x00\x01\x02", "\x16\x03\x01\x00\x05hello"} {
		c := harness.Dial(t, s.Address)
		c.Send(t, text)
		if rest := c.End(t, patience); len(rest) > 7 { // an alert at most
			t.Errorf("%q got %q", text, rest)
		}
	}
	failed(t, s, "not_tls", 3)
	if strings.Contains(s.Output(), " ERROR ") || strings.Contains(s.Output(), " WARN ") {
		t.Errorf("logged:\n%s", s.Output())
	}
}

func TestHandshakesAreBoundedAndHinderNobody(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS()+", header_timeout: 2s", "", app.Address)
	var slow []*harness.Conn
	for i := range 200 {
		c := harness.Dial(t, s.Address)
		if i%2 == 0 { // half of a ClientHello; the others say nothing
			c.Send(t, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		}
		slow = append(slow, c)
	}
	began := time.Now()
	for range 10 {
		if m := dial(t, s, l.trust("app.test")).Exchange(t, get); m.Status() != 200 {
			t.Error(m.First)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("ten clients took %v beside 200 slow ones", took)
	}
	for _, c := range slow {
		c.End(t, patience)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("slow handshakes ended after %v, header_timeout is 2s", took)
	}
	failed(t, s, "timeout", 200)
}

func TestAStopWaitsForNoHandshakeAndSaysGoodbye(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "shutdown_timeout: 20s\n", app.Address)
	idle, silent, busy := dial(t, s, l.trust("app.test")), harness.Dial(t, s.Address), dial(t, s, l.trust("app.test"))
	idle.Exchange(t, get)
	busy.Send(t, "GET /slow?ms=1500 HTTP/1.1\r\nHost: app.test\r\n\r\n")
	harness.Eventually(t, patience, "the request arrives", func() bool { return app.Stats(t).Begun == 1 })
	began := time.Now()
	s.Signal(t, syscall.SIGTERM)
	if m := busy.Response(t, "GET"); m.Status() != 200 || m.Value("Connection") != "close" {
		t.Errorf("the request in flight: %s %q", m.First, m.Fields)
	}
	// crypto/tls returns io.EOF for close_notify alone, else io.ErrUnexpectedEOF.
	for name, c := range map[string]*harness.Conn{"idle": idle, "busy": busy} {
		if _, err := c.R.ReadByte(); err != io.EOF {
			t.Errorf("the %s client did not hear the end: %v", name, err)
		}
	}
	silent.End(t, patience)
	if code := s.ExitCode(t, patience); code != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("ended with %d after %v", code, time.Since(began))
	}
}

// What breaks off must not look whole: over TLS its end is not said either.
func TestABrokenResponseIsNotEndedProperly(t *testing.T) {
	l := newLab(t)
	backend := harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Request(); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
		}
	})
	s := l.front(l.plainTLS(), "", backend)
	c := dial(t, s, l.trust("app.test"))
	c.Send(t, "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
	if _, err := c.Head(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c.R); err == nil {
		t.Errorf("%q ended as if it was whole", rest)
	}
}

func TestAClientThatLeavesIsNoticed(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "", app.Address)
	for _, c := range []struct {
		name, path string
		begun      bool // the response has
		leave      func(*harness.Conn)
	}{
		{"with close_notify while the backend thinks", "/slow?ms=8000", false, func(c *harness.Conn) { c.Close() }},
		{"without a word while the backend thinks", "/slow?ms=8000", false, func(c *harness.Conn) { c.Conn.(*tls.Conn).NetConn().Close() }},
		{"in the middle of a response", "/stream?ms=50", true, func(c *harness.Conn) { c.Close() }},
		{"while the backend is silent in the middle", "/stream?ms=8000", true, func(c *harness.Conn) { c.Close() }},
		{"with a reset", "/slow?ms=8000", false, func(c *harness.Conn) {
			_ = c.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			c.Conn.(*tls.Conn).NetConn().Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := app.Stats(t)
			conn := dial(t, s, l.trust("app.test"))
			conn.Send(t, "GET "+c.path+" HTTP/1.1\r\nHost: app.test\r\n\r\n")
			harness.Eventually(t, patience, "the request arrives", func() bool { return app.Stats(t).Begun == before.Begun+1 })
			if c.begun {
				if m, err := conn.Head(); err != nil || m.Status() != 200 {
					t.Fatal(m, err)
				}
			}
			c.leave(conn)
			harness.Eventually(t, 2*time.Second, "the backend sees it", func() bool { return app.Stats(t).Gone == before.Gone+1 })
		})
	}
}

func TestAListenerChangesToTLSAndBack(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	secure, plain := l.file(l.plainTLS(), "", app.Address), l.file("header_timeout: 9s", "", app.Address)
	s := harness.Start(t, plain)
	before := harness.Dial(t, s.Address)
	before.Exchange(t, get)
	g := s.Reload(t, secure)
	if !g.LastOK || fmt.Sprint(g.Changes) != "[listener web: header_timeout 9s -> 10s, tls on]" {
		t.Errorf("%+v", g)
	}
	c := dial(t, s, l.trust("app.test"))
	if m := c.Exchange(t, get); m.Status() != 200 {
		t.Error(m.First)
	}
	if m := before.Exchange(t, get); m.Status() != 200 {
		t.Errorf("the connection of before: %s", m.First)
	}
	if g := s.Reload(t, plain); !g.LastOK {
		t.Fatal(g.Errors)
	}
	if m := harness.Dial(t, s.Address).Exchange(t, get); m.Status() != 200 {
		t.Error(m.First)
	}
	if m := c.Exchange(t, get); m.Status() != 200 {
		t.Errorf("the connection of before, over TLS: %s", m.First)
	}
}

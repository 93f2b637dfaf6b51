package healthcheck

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTCP(t *testing.T) {
	leaks(t)
	pieces := func(parts ...string) func(net.Conn) {
		return func(c net.Conn) {
			for _, part := range parts {
				c.Write([]byte(part))
				time.Sleep(5 * time.Millisecond) // So that they are read one by one.
			}
		}
	}
	cases := []struct {
		name   string
		handle func(net.Conn)
		tcp    TCP
		want   string
	}{
		{"connects", untilClosed, TCP{}, ""},
		{"connects to one that closes", func(net.Conn) {}, TCP{}, ""},
		{"banner", pieces("220 mail\r\n"), TCP{Expect: "220 "}, ""},
		{"banner in pieces", pieces("2", "20", " mail"), TCP{Expect: "220 m"}, ""},
		{"dialogue", func(c net.Conn) {
			if line, _ := bufio.NewReader(c).ReadString('\n'); line == "PING\r\n" {
				io.WriteString(c, "+PONG\r\n")
			}
		}, TCP{Send: "PING\r\n", Expect: "+PONG"}, ""},
		{"sends only", untilClosed, TCP{Send: "hello"}, ""},
		{"other answer", say("-ERR loading\r\n"), TCP{Send: "PING\r\n", Expect: "+PONG"}, `expected "+PONG", got "-ERR loading"; connection closed`},
		{"no answer", func(net.Conn) {}, TCP{Expect: "x"}, `connection closed, expected "x"`},
		{"hangs", untilClosed, TCP{Expect: "x"}, `no answer within 100ms, expected "x"`},
		{"hangs after a part", func(c net.Conn) { c.Write([]byte("abc")); untilClosed(c) }, TCP{Expect: "abcd"}, `expected "abcd", got "abc"; no more came within 100ms`},
		{"reset", func(c net.Conn) {
			c.Read(make([]byte, 1))
			c.(*net.TCPConn).SetLinger(0)
		}, TCP{Send: "?", Expect: "x"}, "connection reset, expected"},
		{"endless", func(c net.Conn) {
			for {
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, TCP{Expect: "x"}, `expected "x", not within the first 64 KiB`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("tcp")
			o.TCP, o.Timeout = c.tcp, time.Second
			if strings.Contains(c.want, "100ms") {
				o.Timeout = 100 * time.Millisecond
			}
			status, err := runProbe(t, o, serve(t, c.handle))
			wantError(t, err, c.want)
			if status != 0 {
				t.Errorf("status %d", status)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		_, err := runProbe(t, testOptions("tcp"), refusing(t))
		wantError(t, err, "connection refused")
	})
}

// TestTCPLeavesKindly: a server that greets sees the end of the connection, not
// a reset.
func TestTCPLeavesKindly(t *testing.T) {
	got := make(chan error, 1)
	address := serve(t, func(c net.Conn) {
		io.WriteString(c, "220 hello\r\n")
		_, err := c.Read(make([]byte, 1))
		got <- err
	})
	if _, err := runProbe(t, testOptions("tcp"), address); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != io.EOF {
		t.Errorf("the server saw %v, expected the end", err)
	}
}

package proxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/wire"
)

// TestRequestsInOneWait: requests that come in any company are all answered, and the end
// that comes with them or behind them is seen at once: nothing else ends a wait here.
func TestRequestsInOneWait(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n"
	const body = `{"name":"me"}`
	long := strings.Repeat("x", 2*wire.SmallBuffer)
	for _, tc := range []struct {
		name  string
		parts []string // each is sent when what came before has been answered
		pause bool     // sends the end of each part a moment later
	}{
		{"one", []string{get}, false},
		{"one after the other", []string{get, get, get}, false},
		{"pipelined", []string{get + get + get}, false},
		{"pipelined, more than a buffer", []string{strings.Repeat(get, 2*wire.SmallBuffer/len(get))}, false},
		{"pipelined, the last in two parts", []string{get + get}, true},
		{"a head in two parts", []string{get, get}, true},
		{"an empty line before", []string{get, "\r\n" + get}, false},
		{"with bodies", []string{post + body, get, post + body + get, get}, false},
		{"with bodies in two parts", []string{get, post + body, get, post + body}, true},
		{"a head that fills its buffer", []string{get, "GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n", get}, false},
		{"a path that nobody has", []string{get, "GET /../x HTTP/1.1\r\nHost: a\r\n\r\n"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, []string{newStation(t, func(p *peer, _ string) bool { return p.say(smallResponse) }).addr}, nil)
			nc, r := f.dial(t)
			for i, part := range tc.parts {
				end := 0
				if tc.pause {
					end = 3
				}
				send(t, nc, part[:len(part)-end])
				if tc.pause {
					time.Sleep(20 * time.Millisecond) // the proxy is to see a part, if it is fast
					send(t, nc, part[len(part)-end:])
				}
				if i == len(tc.parts)-1 {
					if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
						t.Fatal(err)
					}
				}
				for range strings.Count(part, "HTTP/1.1\r\n") {
					readResponse(t, r, "GET")
				}
			}
			if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
				t.Errorf("behind the responses: %q, %v", b, err)
			}
		})
	}
}

// TestNoReadAroundAWait: what needs more to be read leaves the wait first.
func TestNoReadAroundAWait(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, nil)
	c := &clientConn{listener: f.listener}
	c.rd.Reset((*netSide)(c))
	for _, tc := range []struct {
		name, head, behind string
		want               bool
	}{
		{"no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", true},
		{"another behind", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", true},
		{"its body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", "abc", true},
		{"a part of its body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "abc", false},
		{"chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n", false},
		{"an upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := bytes.NewBufferString(tc.head + tc.behind)
			if err := c.rd.Attempt(all.Read); err != nil {
				t.Fatal(err)
			}
			defer c.rd.Release()
			c.inWait = true
			if err := c.readHead(); err != nil {
				t.Fatal(err)
			}
			if got := c.allHere(); got != tc.want {
				t.Errorf("all is here: %v, want %v", got, tc.want)
			}
			if n, err := (*netSide)(c).Read(make([]byte, 1)); n != 0 || err != errInWait {
				t.Errorf("a read within the wait: %d, %v", n, err)
			}
			c.inWait = false
		})
	}
}

// TestKeepAlive: connections are kept alive although nobody sets that for each.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		name                string
		level, option, want int
	}{
		{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
		{"TCP_KEEPINTVL", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
	} {
		got := 0
		err := controlRaw(raw, func(fd int) (err error) {
			got, err = syscall.GetsockoptInt(fd, o.level, o.option)
			return err
		})
		if err != nil || got != o.want {
			t.Errorf("%s is %d, %v, want %d", o.name, got, err, o.want)
		}
	}
}

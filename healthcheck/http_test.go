package healthcheck

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHTTPResponses(t *testing.T) {
	leaks(t)
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	body := func(o *Options) { o.HTTP.Body = "ok" }
	regex := func(s string) func(*Options) { return func(o *Options) { o.HTTP.BodyRegex = s } }
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	cases := []struct {
		name     string
		response string
		change   func(*Options)
		status   int
		want     string
	}{
		{"passes", ok, nil, 200, ""},
		{"HTTP/1.0 without a length", "HTTP/1.0 204 No Content\r\n\r\n", nil, 204, ""},
		{"a redirect passes and is not followed", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", nil, 302, ""},
		{"status", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", nil, 500, "status 500, expected 200-399"},
		{"status that is asked for", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", func(o *Options) { o.HTTP.Status = []StatusRange{{200, 204}, {503, 503}} }, 503, ""},
		{"list of statuses", ok, func(o *Options) { o.HTTP.Status = []StatusRange{{204, 204}, {300, 310}} }, 200, "status 200, expected 204, 300-310"},
		{"interim responses", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, body, 200, ""},
		{"interim responses only", "HTTP/1.1 100 Continue\r\n\r\n", nil, 0, "connection closed within the response"},
		{"interim responses without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 4000), nil, 0, "response head is larger than 64 KiB"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", func(o *Options) { o.HTTP.Method = "HEAD" }, 200, ""},
		{"body", ok, body, 200, ""},
		{"body in chunks", chunked + "1\r\no\r\n1\r\nk\r\n0\r\n\r\n", body, 200, ""},
		{"body to the end", "HTTP/1.1 200 OK\r\n\r\nall ok", body, 200, ""},
		{"other body", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nmaintenance", body, 200, `body does not contain "ok" (got "maintenance")`},
		{"empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", body, 200, `body does not contain "ok" (it is empty)`},
		{"body of control characters", "HTTP/1.1 200 OK\r\n\r\n\x00\x1b\xff", body, 200, `(got "\x00\x1b\xff")`},
		{"long body", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("äöü ", 500), body, 200, "…\")"},
		{"too late in the body", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxBody) + "ok", body, 200, `body does not contain "ok" within its first 256 KiB`},
		{"late in the body", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxBody-2) + "ok", body, 200, ""},
		{"many small chunks", chunked + strings.Repeat("1\r\nx\r\n", 100_000) + "2\r\nok\r\n0\r\n\r\n", body, 200, ""},
		{"chunks with large heads", chunked + strings.Repeat("1;"+strings.Repeat("e", 40)+"\r\nx\r\n", 100_000), body, 200, "response body: "},
		{"regex", ok, regex(`^o[jk]$`), 200, ""},
		{"regex that does not match", ok, regex(`^K`), 200, `body does not match "^K" (got "ok")`},
		{"short body", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nmaint", body, 200, "connection closed within the response"},
		{"bad chunk", chunked + "zz\r\n", body, 200, "response body: "},
		{"nothing", "", nil, 0, "connection closed before a response"},
		{"garbage", "SSH-2.0-OpenSSH_9.6\r\n", nil, 0, `not an HTTP response: "SSH-2.0-OpenSSH_9.6"`},
		{"one byte of garbage", "?", nil, 0, `not an HTTP response: "?"`},
		{"cut head", "HTTP/1.1 200 OK\r\nContent-Type: a\r\n", nil, 0, "connection closed within the response"},
		{"bad status", "HTTP/1.1 abc OK\r\n\r\n", nil, 0, "not an HTTP response: "},
		{"bad header", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", nil, 0, "not an HTTP response: "},
		{"large head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 70), nil, 0, "response head is larger than 64 KiB"},
		{"line without end", "HTTP/1.1 200 " + strings.Repeat("b", 70_000), nil, 0, "response head is larger than 64 KiB"},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x46", nil, 0, "the backend answers with TLS; set tls"},
		{"HTTP/2", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", nil, 0, "the backend answers with HTTP/2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("http")
			if c.change != nil {
				c.change(&o)
			}
			status, err := runProbe(t, o, serve(t, say(c.response)))
			wantError(t, err, c.want)
			if status != c.status {
				t.Errorf("status %d, expected %d", status, c.status)
			}
		})
	}
}

func TestHTTPConnections(t *testing.T) {
	leaks(t)
	hold := func(text string) func(net.Conn) {
		return func(c net.Conn) { c.Write([]byte(text)); untilClosed(c) }
	}
	unix := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", unix)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, ln, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, six, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	cases := []struct {
		name, address string
		change        func(*Options)
		want          string
	}{
		{"refused", refusing(t), nil, "connection refused"},
		{"unix", "unix:" + unix, nil, ""},
		{"unix that is missing", "unix:" + unix + "x", nil, "the socket does not exist"},
		{"unix with a port", "unix:" + unix, func(o *Options) { o.Port = 80 }, "port is set, but a unix socket has none"},
		{"v6", six.Addr().String(), nil, ""},
		{"v6 by another port", "[::1]:1", func(o *Options) { o.Port = six.Addr().(*net.TCPAddr).Port }, ""},
		{"not an address", "nowhere", nil, `address "nowhere": missing port in address`},
		{"no such host", "nowhere.invalid:80", nil, `cannot resolve "nowhere.invalid"`},
		{"hangs", serve(t, hold("")), func(o *Options) { o.Timeout = 50 * time.Millisecond }, "no response within 50ms"},
		{"hangs in the head", serve(t, hold("HTTP/1.1 2")), func(o *Options) { o.Timeout = 50 * time.Millisecond }, "response not complete within 50ms"},
		{"slow body", serve(t, hold("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nma")), func(o *Options) { o.Timeout, o.HTTP.Body = 50*time.Millisecond, "ok" }, "response not complete within 50ms"},
		{"slow body that nobody wants", serve(t, hold("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nma")), nil, ""},
		{"stream that has said it", serve(t, hold("HTTP/1.1 200 OK\r\n\r\ndata: ok\n")), func(o *Options) { o.HTTP.Body = "ok" }, ""},
		{"stream that says it in two parts", serve(t, func(c net.Conn) {
			c.Write([]byte("HTTP/1.1 200 OK\r\n\r\ndata: o"))
			time.Sleep(20 * time.Millisecond)
			c.Write([]byte("k"))
			untilClosed(c)
		}), func(o *Options) { o.HTTP.Body = "ok" }, ""},
		{"reset", serve(t, func(c net.Conn) {
			c.Read(make([]byte, 10))
			c.(*net.TCPConn).SetLinger(0)
		}), nil, "connection reset before a response"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("http")
			if c.change != nil {
				c.change(&o)
			}
			begun := time.Now()
			_, err := runProbe(t, o, c.address)
			wantError(t, err, c.want)
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestConnectHangs: a listener whose queue is full answers nobody.
func TestConnectHangs(t *testing.T) {
	leaks(t)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 3 { // Until one waits, the queue has room.
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	o := testOptions("http")
	o.Timeout = 100 * time.Millisecond
	_, err = runProbe(t, o, address)
	wantError(t, err, "no connection within 100ms")
}

func TestHTTPRequest(t *testing.T) {
	cases := []struct {
		name    string
		address string // of which the port is replaced
		change  func(*HTTP)
		want    string // ADDRESS is the server's
	}{
		{"defaults", "127.0.0.1", nil, "GET / HTTP/1.1\r\nHost: ADDRESS\r\nConnection: close\r\nUser-Agent: steelyard-check\r\nAccept: */*\r\n\r\n"},
		{"all", "127.0.0.1", func(h *HTTP) {
			h.Method, h.Path, h.Host = "POST", "/a?b=c", "example.com"
			h.Headers = []Header{{"X-A", "1"}, {"user-agent", "me"}, {"X-A", "2"}}
		}, "POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nX-A: 1\r\nuser-agent: me\r\nX-A: 2\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan string, 1)
			address := serve(t, func(conn net.Conn) {
				b := make([]byte, 4096)
				n, _ := conn.Read(b)
				got <- string(b[:n])
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			o := testOptions("http")
			if c.change != nil {
				c.change(&o.HTTP)
			}
			if _, err := runProbe(t, o, address); err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(c.want, "ADDRESS", address); <-got != want {
				t.Errorf("expected %q", want)
			}
		})
	}
}

// TestHTTPServerSeesNoReset: a server of package net/http ends its answers
// undisturbed, also long ones that the check does not want.
func TestHTTPServerSeesNoReset(t *testing.T) {
	failed := make(chan error, 100)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := w.Write(make([]byte, 40<<10)); err != nil {
			failed <- err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			failed <- err
		}
	})
	ended := make(chan error, 100)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { ended <- server.Serve(ln) }()
	defer func() { server.Close(); <-ended }()
	o := testOptions("http")
	for range 20 {
		if _, err := runProbe(t, o, ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-failed:
		t.Errorf("the server could not write: %v", err)
	default:
	}
}

func TestProbeIsConcurrent(t *testing.T) {
	leaks(t)
	address := serve(t, say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	o := testOptions("http")
	o.HTTP.Body = "ok"
	p := probeWith(t, o)
	ended := make(chan error, 50)
	for range cap(ended) {
		go func() {
			_, err := p.Run(context.Background(), address)
			ended <- err
		}()
	}
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestAuthority(t *testing.T) {
	for _, c := range []struct {
		address string
		port    int
		want    string
	}{
		{"127.0.0.1:80", 0, "127.0.0.1:80"},
		{"127.0.0.1:80", 81, "127.0.0.1:81"},
		{"[::1]:80", 0, "[::1]:80"},
		{"[fe80::1%eth0]:80", 0, "[fe80::1]:80"},
		{"app:80", 81, "app:81"},
		{"unix:/run/app", 0, "localhost"},
	} {
		at, err := locate(c.address, c.port)
		if err != nil || at.authority() != c.want {
			t.Errorf("%s: %q, %v, expected %q", c.address, at.authority(), err, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"tab\tline\n\xff", `tab\tline\n\xff`},
		{"ünïcode", "ünïcode"},
		{strings.Repeat("a", 200), strings.Repeat("a", 200)},
		{strings.Repeat("a", 201), strings.Repeat("a", 197) + "…"},
		{strings.Repeat("ä", 101), strings.Repeat("ä", 98) + "…"},
		{"\u202e\x1b", `\u202e\x1b`},
	} {
		if got := clip(c.in, maxErr); got != c.want || len(got) > maxErr {
			t.Errorf("%q: got %q", c.in, got)
		}
	}
	if fmt.Sprint(Checking, Healthy, Unhealthy) != "checking healthy unhealthy" {
		t.Error("names of states")
	}
}

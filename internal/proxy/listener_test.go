package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/pool"
)

// slow is a backend whose requests wait until free is closed.
func slow(t testing.TB, free chan struct{}) *station {
	return newStation(t, func(p *peer, head string) bool { <-free; return ok("done")(p, head) })
}

// TestShutdownFinishes: what is in flight gets its response, which says that it
// is the last.
func TestShutdownFinishes(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	s := slow(t, free)
	f := newFixture(t, []string{s.addr}, nil)
	nc, r := f.dial(t)
	send(t, nc, get("/", "")+get("/second", ""))
	waitFor(t, "the request is there", func() bool { return s.count() == 1 })
	cut := f.shutdown()
	waitFor(t, "the listener is closed", func() bool {
		nc, err := net.Dial("tcp", f.addr)
		if err == nil {
			nc.Close()
		}
		return err != nil
	})
	close(free)
	resp, body := readResponse(t, r, "GET")
	if body != "done" || !resp.Close {
		t.Errorf("got %q, closes: %v", body, resp.Close)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection ended with %v", err)
	}
	nc.Close()
	if n := <-cut; n != 0 {
		t.Errorf("%d connections were cut", n)
	}
	if s.count() != 1 {
		t.Errorf("the backend got %d requests", s.count())
	}
}

// TestShutdownIdle: connections without a request stay for a moment, in which a
// request is still answered, and then end cleanly.
func TestShutdownIdle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, ok("late")).addr}, nil)
	used, usedR := f.dial(t)
	send(t, used, get("/", ""))
	readResponse(t, usedR, "GET")
	fresh, freshR := f.dial(t)
	late, lateR := f.dial(t)
	waitFor(t, "they are accepted", func() bool { return f.listener.Connections() == 3 })
	cut := f.shutdown()
	waitFor(t, "it stops", f.listener.draining.Load)
	send(t, late, get("/", ""))
	if resp, body := readResponse(t, lateR, "GET"); body != "late" || !resp.Close {
		t.Errorf("got %q, closes: %v", body, resp.Close)
	}
	late.Close()
	for _, r := range []io.Reader{usedR, freshR} {
		if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
			t.Errorf("a connection ended with %q, %v", b, err)
		}
	}
	fresh.Close()
	used.Close()
	if n := <-cut; n != 0 {
		t.Errorf("%d connections were cut", n)
	}
}

// TestShutdownCuts: when the time is over, what is left is cut, and looks so.
func TestShutdownCuts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, request, answer string }{
		{"thinking", "GET / HTTP/1.1", ""},
		{"in a response without framing", "GET / HTTP/1.0", "HTTP/1.1 200 OK\r\n\r\nabc"},
		{"in an upload", "POST / HTTP/1.1\r\nContent-Length: 10", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{})
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				p.head()
				p.say(tc.answer)
				close(asked)
				p.waitClosed()
			})}, nil)
			nc, r := f.dial(t)
			idle, idleR := f.dial(t)
			send(t, nc, tc.request+"\r\nHost: a\r\n\r\n")
			<-asked
			if tc.answer != "" {
				if _, err := r.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			waitFor(t, "both are accepted", func() bool { return f.listener.Connections() == 2 })
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if n := f.listener.Shutdown(ctx); n != 1 {
				t.Errorf("%d connections were cut, want 1", n)
			}
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the connection ended with %v, want a reset", err)
			}
			if _, err := io.Copy(io.Discard, idleR); err != nil {
				t.Errorf("an idle connection ended with %v", err)
			}
			idle.Close()
			waitFor(t, "nothing is in flight", func() bool { return f.inFlight(0) == 0 })
		})
	}
}

// TestShutdownServesBacklog: connections that were made before the end are
// served.
func TestShutdownServesBacklog(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("the last Accept was before: %v", late), func(t *testing.T) {
			t.Parallel()
			testBacklog(t, late)
		})
	}
}

func testBacklog(t *testing.T, late bool) {
	f := newFixture(t, []string{newStation(t, ok("served")).addr}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := f.NewListener("other", ln, testLimits())
	if late {
		l.draining.Store(true)
		_ = ln.(*net.TCPListener).SetDeadline(time.Unix(1, 0))
		if err := l.Serve(); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody accepts yet: all of these are in the backlog.
	var clients []net.Conn
	for range 20 {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		send(t, nc, get("/", "Connection: close\r\n"))
		clients = append(clients, nc)
	}
	if !late {
		go l.Serve()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n := l.Shutdown(ctx); n != 0 {
		t.Errorf("%d connections were cut", n)
	}
	for i, nc := range clients {
		_ = nc.SetDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(nc); !strings.HasSuffix(string(b), "served") {
			t.Errorf("client %d got %q, %v", i, b, err)
		}
	}
}

// TestShutdownUnderLoad: no request that was accepted fails.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, ok("done")).addr, newStation(t, ok("done")).addr}, nil)
	var done, failed atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: patience}
	defer client.CloseIdleConnections()
	ended := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				resp, err := client.Get("http://" + f.addr + "/")
				if err != nil {
					if !errors.Is(err, syscall.ECONNREFUSED) {
						failed.Add(1)
						t.Log(err)
					}
					return
				}
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "done" {
					failed.Add(1)
				}
				resp.Body.Close()
				done.Add(1)
			}
		}()
	}
	waitFor(t, "some load", func() bool { return done.Load() > 100 })
	cut := <-f.shutdown()
	for range 4 {
		<-ended
	}
	if cut != 0 || failed.Load() != 0 {
		t.Errorf("%d connections were cut, %d of %d requests failed", cut, failed.Load(), done.Load())
	}
}

// TestAcceptGoesOn after errors such as too many open files.
func TestAcceptGoesOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, ok("fine")).addr}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := f.NewListener("other", &failing{Listener: ln, left: 5}, testLimits())
	served := make(chan error, 1)
	go func() { served <- l.Serve() }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	send(t, nc, get("/", "Connection: close\r\n"))
	if b, _ := io.ReadAll(nc); !strings.HasSuffix(string(b), "fine") {
		t.Errorf("got %q", b)
	}
	l.Shutdown(context.Background())
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

// failing fails to accept for a while.
type failing struct {
	net.Listener
	left int
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return nil, syscall.EMFILE
	}
	return l.Listener.Accept()
}

// TestUnixSockets on both sides: the peer has no address.
func TestUnixSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	backend := filepath.Join(dir, "app.sock")
	bl, err := net.Listen("unix", backend)
	if err != nil {
		t.Fatal(err)
	}
	defer bl.Close()
	heads := make(chan http.Header, 1)
	go func() {
		_ = http.Serve(bl, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Host", r.Host)
			heads <- r.Header
			_, _ = io.WriteString(w, "unix")
		}))
	}()
	f := newFixture(t, []string{"unix:" + backend}, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
		f.route.Host = HostBackend
		g.Forward.Standard = true
	})
	front := filepath.Join(dir, "front.sock")
	if stale, err := net.Listen("unix", front); err != nil {
		t.Fatal(err)
	} else {
		stale.(*net.UnixListener).SetUnlinkOnClose(false)
		stale.Close()
	}
	ln, err := Listen("unix:" + front)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	if _, err := Listen("unix:" + front); err == nil {
		t.Error("a socket that is in use was taken over")
	}
	l := f.NewListener("front", ln, testLimits())
	go l.Serve()
	nc, err := net.Dial("unix", front)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	send(t, nc, get("/", "Connection: close\r\n"))
	if b, _ := io.ReadAll(nc); !strings.HasSuffix(string(b), "unix") {
		t.Errorf("got %q", b)
	}
	h := <-heads
	if h.Get("Host") != "localhost" || h.Get("X-Forwarded-For") != "unknown" || !strings.HasPrefix(h.Get("Forwarded"), "for=unknown;") {
		t.Errorf("the backend got %v", h)
	}
	l.Shutdown(context.Background())
	if _, err := os.Stat(front); err == nil {
		t.Error("the socket's file is left behind")
	}
}

// TestLingering: a client that is still sending can read the answer.
func TestLingering(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) { lim.MaxBodySize = 10 })
	for range 10 {
		nc, r := f.dial(t)
		send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"+strings.Repeat("x", 500000))
		if resp, _ := readResponse(t, r, "POST"); resp.StatusCode != 413 {
			t.Errorf("got %d", resp.StatusCode)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("the connection ended with %v", err)
		}
		nc.Close()
	}
	// But not for ever, and not without bound.
	nc, _ := f.dial(t)
	send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
	waitFor(t, "a client that stays is left", func() bool { return f.listener.Connections() == 0 })
	nc, _ = f.dial(t)
	send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000000\r\n\r\n")
	part, sent := []byte(strings.Repeat("x", 64<<10)), 0
	for err := error(nil); err == nil; sent += len(part) {
		_, err = nc.Write(part)
	}
	if sent > 64<<20 {
		t.Errorf("%d bytes were read for nothing", sent)
	}
}

// TestListenLeavesOthersAlone: only a socket file that surely nobody listens on
// is replaced.
func TestListenLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	datagram := filepath.Join(dir, "datagram")
	pc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: datagram, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	full := filepath.Join(dir, "full")
	fillBacklog(t, full)
	for _, path := range []string{file, datagram, full} {
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if ln, err := Listen("unix:" + path); err == nil {
			ln.Close()
			t.Errorf("%s: Listen took it", filepath.Base(path))
		}
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: Listen replaced it", filepath.Base(path))
		}
	}
	stale := filepath.Join(dir, "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if ln, err = Listen("unix:" + stale); err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	ln.Close()
}

// fillBacklog listens on a unix socket whose backlog has no room left.
func fillBacklog(t *testing.T, path string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 16 {
		c, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(c) })
		if syscall.Connect(c, &syscall.SockaddrUnix{Name: path}) == syscall.EAGAIN {
			return
		}
	}
	t.Fatal("the backlog does not fill")
}

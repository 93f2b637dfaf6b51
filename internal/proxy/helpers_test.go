package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/internal/pool"
	"steelyard/internal/router"
	"steelyard/internal/transport"
)

// patience bounds every wait of a test for something that should happen soon.
const patience = 10 * time.Second

// TestMain keeps the log quiet and looks for goroutines that were left behind.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	code := m.Run()
	if left := leftGoroutines(); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines waits for all goroutines of the request path to end.
func leftGoroutines() string {
	left := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = ""
		buf := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "proxy.(*upload)") || strings.Contains(g, "proxy.(*direction)") || strings.Contains(g, "proxy.(*exchange)") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			break
		}
	}
	return left
}

// waitFor waits until cond holds.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// testTransport has the defaults of configuration.
func testTransport() transport.Options {
	return transport.Options{MaxIdle: 64, IdleTimeout: time.Minute, ConnectTimeout: 5 * time.Second, ResponseTimeout: 30 * time.Second}
}

func testLimits() Limits {
	return Limits{IdleTimeout: time.Minute, HeaderTimeout: 20 * time.Second, BodyTimeout: 20 * time.Second,
		WriteTimeout: 20 * time.Second, UpgradeTimeout: time.Minute, MaxHeaderSize: 16 << 10}
}

// fixture is a proxy with one listener and one pool on the loopback.
type fixture struct {
	*Proxy
	pool     *pool.Pool
	target   *Target
	route    *Route
	listener *Listener
	addr     string
}

// newFixture starts a proxy before the backends; change may alter its parts.
// When the test ends, everything must have been given back: requests counted
// out and connections closed or pooled.
func newFixture(t testing.TB, backends []string, change func(*fixture, *pool.Options, *Generation, *Limits)) *fixture {
	t.Helper()
	f := &fixture{}
	po := pool.Options{Policy: balancer.Options{Policy: "round_robin"}, Transport: testTransport(), RetryBudget: 0.2}
	for _, b := range backends {
		po.Backends = append(po.Backends, pool.BackendOptions{Address: b, Weight: 1})
	}
	f.target = &Target{Retry: Retry{Attempts: 2, BodyLimit: 64 << 10, Connect: true, Reset: true}}
	f.route = &Route{Name: "all", Pool: f.target}
	g := &Generation{Routes: []*Route{f.route}, Forward: ForwardOptions{XForwarded: true, RequestID: true}}
	lim := testLimits()
	if change != nil {
		change(f, &po, g, &lim)
	}
	var err error
	if f.pool, err = pool.New("web", po); err != nil {
		t.Fatal(err)
	}
	f.target.Pool = f.pool
	if g.Table == nil {
		if g.Table, err = router.New([]router.Match{{}}); err != nil {
			t.Fatal(err)
		}
	}
	f.Proxy = New(g)
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	f.listener = f.NewListener("test", atOnce{ln}, lim)
	go f.listener.Serve()
	t.Cleanup(func() { f.stop(t) })
	return f
}

// atOnce hides that a listener can wait for its backlog, so that tests end fast.
type atOnce struct{ net.Listener }

func (a atOnce) SyscallConn() (syscall.RawConn, error) {
	return a.Listener.(syscall.Conn).SyscallConn()
}

func (f *fixture) stop(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.listener.Shutdown(ctx)
	waitFor(t, "all client connections are closed", func() bool { return f.listener.Connections() == 0 })
	for i, e := range f.pool.Snapshot().Endpoints {
		if n := e.Backend.InFlight(); n != 0 {
			t.Errorf("backend %d has %d requests in flight in the end", i, n)
		}
		if open, idle := e.Conns.Open(), e.Conns.Idle(); open != int64(idle) {
			t.Errorf("backend %d: %d connections are open, %d of them idle", i, open, idle)
		}
	}
	f.pool.Close()
	for i, e := range f.pool.Snapshot().Endpoints {
		if open := e.Conns.Open(); open != 0 {
			t.Errorf("backend %d: %d connections are open after the pool was closed", i, open)
		}
	}
}

// waitIdle waits until backend 0 has n idle connections and nothing in flight: a
// client has its response a moment before the connection goes back.
func (f *fixture) waitIdle(t testing.TB, n int) {
	t.Helper()
	e := f.pool.Snapshot().Endpoints[0]
	waitFor(t, "connections go back", func() bool { return e.Conns.Idle() == n && f.inFlight(0) == 0 })
}

// inFlight is the number of requests on backend i.
func (f *fixture) inFlight(i int) int64 { return f.pool.Snapshot().Endpoints[i].Backend.InFlight() }

// rawBackend accepts connections and hands each to serve.
func rawBackend(t testing.TB, serve func(nc net.Conn, n int)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 0; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc, n)
			}()
		}
	}()
	return ln.Addr().String()
}

// cannedBackend answers every head with the same bytes, without allocating.
func cannedBackend(t testing.TB, response string) string {
	answer := []byte(response)
	return rawBackend(t, func(nc net.Conn, _ int) {
		buf := make([]byte, 64<<10)
		n := 0
		for {
			m, err := nc.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
			if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				n = 0
				if _, err := nc.Write(answer); err != nil {
					return
				}
			}
		}
	})
}

// dial opens a client connection that is closed with the test.
func (f *fixture) dial(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(2 * patience))
	return nc, bufio.NewReader(nc)
}

// send writes a request, or a part of one.
func send(t testing.TB, nc net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(nc, s); err != nil {
		t.Fatal(err)
	}
}

// exchangeRaw sends a request on a connection of its own and returns all that
// comes back until the proxy closes.
func (f *fixture) exchangeRaw(t testing.TB, request string) string {
	t.Helper()
	nc, r := f.dial(t)
	send(t, nc, request)
	b, _ := io.ReadAll(r)
	return string(b)
}

// do sends a request on a connection of its own and reads one response.
func (f *fixture) do(t testing.TB, request string) (*http.Response, string) {
	t.Helper()
	nc, r := f.dial(t)
	defer nc.Close()
	send(t, nc, request)
	return readResponse(t, r, request)
}

// readResponse reads one final response, with its body, to a request.
func readResponse(t testing.TB, r *bufio.Reader, request string) (*http.Response, string) {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != 101 {
		resp, err = http.ReadResponse(r, &http.Request{Method: method})
	}
	if err != nil {
		t.Fatalf("response to %q: %v", method, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("response body to %q: %v", method, err)
	}
	return resp, string(body)
}

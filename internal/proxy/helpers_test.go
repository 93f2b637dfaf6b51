package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/internal/pool"
	"steelyard/internal/router"
	"steelyard/internal/transport"
)

// testTransport has the defaults of configuration.
func testTransport() transport.Options {
	return transport.Options{MaxIdle: 64, IdleTimeout: time.Minute, ConnectTimeout: time.Second, ResponseTimeout: 5 * time.Second}
}

func testLimits() Limits {
	return Limits{IdleTimeout: time.Minute, HeaderTimeout: 2 * time.Second, BodyTimeout: 2 * time.Second,
		WriteTimeout: 10 * time.Second, UpgradeTimeout: time.Minute, MaxHeaderSize: 16 << 10}
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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	f.listener = f.NewListener("test", ln, lim)
	go f.listener.Serve()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		f.listener.Shutdown(ctx)
		f.pool.Close()
	})
	return f
}

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
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	return nc, bufio.NewReader(nc)
}

// exchangeRaw sends a request on a connection of its own and returns all that
// comes back until the proxy closes.
func (f *fixture) exchangeRaw(t testing.TB, request string) string {
	t.Helper()
	nc, r := f.dial(t)
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(r)
	return string(b)
}

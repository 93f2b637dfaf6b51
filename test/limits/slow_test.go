package limits_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

const behind = `
listeners: {web: {address: "LISTEN", %s}}
routes: [{pool: web}]
pools: {web: {backends: [%s]}}
admin: "ADMIN"
`

// TestSlowBodies: who sends a byte of its body before each timeout is cut, who sends
// as fast as min_body_rate wants is not, for longer than body_timeout. Without a
// rate only silence counts.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(behind, "body_timeout: 500ms, min_body_rate: 1KiB", app.Address))
	// trickle sends a body of total bytes, n at a time every 100 ms, and returns the
	// answer and how long it took.
	trickle := func(total, n int) (string, time.Duration) {
		t.Helper()
		c := from(t, "127.0.0.1", s.Address)
		_, _ = fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", total)
		began := time.Now()
		answer := make(chan string, 1)
		go func() { answer <- ask(t, c, "") }()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case got := <-answer:
				return got, time.Since(began)
			case <-tick.C:
				if n = min(n, total); n > 0 {
					_, _ = io.WriteString(c, strings.Repeat("x", n))
					total -= n
				}
			}
		}
	}
	slow := func(when string) {
		t.Helper()
		got, took := trickle(100, 1)
		if !strings.HasPrefix(got, "HTTP/1.1 408") || !strings.Contains(got, "X-Steelyard-Cause: body_timeout\r\n") || took > 3*time.Second {
			t.Errorf("%s: a byte now and then got, after %v, %q", when, took, got)
		}
	}
	slow("from the start")
	if got, took := trickle(6000, 300); !strings.HasPrefix(got, "HTTP/1.1 200") || took < time.Second {
		t.Errorf("3 KB/s got, after %v, %q", took, got)
	}
	if g := s.Reload(t, fmt.Sprintf(behind, "body_timeout: 500ms, min_body_rate: 0", app.Address)); !g.LastOK {
		t.Fatal(g.Errors)
	}
	if got, took := trickle(20, 1); !strings.HasPrefix(got, "HTTP/1.1 200") || took < time.Second {
		t.Errorf("without a rate 10 B/s got, after %v, %q", took, got)
	}
	if g := s.Reload(t, fmt.Sprintf(behind, "body_timeout: 500ms, min_body_rate: 1KiB", app.Address)); !g.LastOK {
		t.Fatal(g.Errors)
	}
	slow("after a reload")
}

// narrow opens a connection with a small buffer for what it receives.
func narrow(t *testing.T, address string) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10) })
		if failed != nil {
			return failed
		}
		return err
	}}
	c, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sip reads n bytes of a download every 20 ms for a time, and returns how much that
// was in all and with what it ended; nil: it goes on.
func sip(t *testing.T, c net.Conn, n int, within time.Duration) (total int, err error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	_ = c.SetDeadline(time.Now().Add(within + patience))
	for began := time.Now(); time.Since(began) < within; <-tick.C {
		got, err := io.ReadFull(c, make([]byte, n))
		total += got
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// TestSlowReaders: who takes its response a few bytes at a time is cut, though each
// of them is progress; who takes as much as min_response_rate wants is not, for
// longer than write_timeout, though all writes have to wait for it. With TLS too.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	flood := harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Request(); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := c.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	ca := certtest.NewCA(t, "Test CA")
	cert, key := ca.Issue(t, "ecdsa", []string{"a.test"}).Files(t, t.TempDir(), "a")
	const limits = "write_timeout: 1s, min_response_rate: %s%s"
	speak := fmt.Sprintf(", tls: {certificates: [{cert: %q, key: %q}]}", cert, key)
	for _, tt := range []struct {
		name, more string
		tls        bool
	}{{"plain", "", false}, {"tls", speak, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, fmt.Sprintf(behind, fmt.Sprintf(limits, "100KiB", tt.more), flood))
			open := func() net.Conn {
				c := narrow(t, s.Address)
				if tt.tls {
					c = tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
				}
				if _, err := io.WriteString(c, hello); err != nil {
					t.Fatal(err)
				}
				return c
			}
			if n, err := sip(t, open(), 1000, patience); err == nil { // 50 KB/s
				t.Errorf("a slow reader has got %d bytes and still gets more", n)
			}
			harness.Eventually(t, patience, "it is counted", func() bool {
				return metric(t, s, "steelyard_errors_total", `cause="write_timeout"`, `pool="web"`) == 1
			})
			fast := open()
			if n, err := sip(t, fast, 16<<10, 4*time.Second); err != nil { // 800 KB/s
				t.Errorf("who reads at 800 KB/s was cut after %d bytes: %v", n, err)
			}
			fast.Close()
			if g := s.Reload(t, fmt.Sprintf(behind, fmt.Sprintf(limits, "0", tt.more), flood)); !g.LastOK {
				t.Fatal(g.Errors)
			}
			calm := open()
			if n, err := sip(t, calm, 1000, 4*time.Second); err != nil { // 50 KB/s
				t.Errorf("who reads at 50 KB/s, with no rate wanted, was cut after %d bytes: %v", n, err)
			}
			calm.Close()
			before := metric(t, s, "steelyard_errors_total", `cause="write_timeout"`, `pool="web"`)
			open() // and reads nothing
			harness.Eventually(t, patience, "who takes nothing is cut in any case", func() bool {
				return metric(t, s, "steelyard_errors_total", `cause="write_timeout"`, `pool="web"`) == before+1
			})
		})
	}
}

// TestStalledTunnels: who takes nothing of what comes through a WebSocket, or another
// tunnel, is cut like a slow reader; one that is only silent is not.
func TestStalledTunnels(t *testing.T) {
	t.Parallel()
	flood := harness.Backend(t, func(c *harness.Conn) {
		m, err := c.Request()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		for strings.Contains(m.First, "/flood") {
			if _, err := c.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
		_, _ = io.Copy(c, c.R)
	})
	s := harness.Start(t, fmt.Sprintf(behind, "write_timeout: 500ms, min_response_rate: 1KiB", flood))
	open := func(path string) *harness.Conn {
		c := harness.Dial(t, s.Address)
		c.Send(t, "GET "+path+" HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		if m := c.Response(t, "GET"); m.Status() != 101 {
			t.Fatalf("no upgrade: %q", m.First)
		}
		return c
	}
	silent := open("/silent")
	stalled := open("/flood")
	harness.Eventually(t, patience, "who takes nothing is cut", func() bool {
		return metric(t, s, "steelyard_errors_total", `cause="write_timeout"`, `pool="web"`) == 1
	})
	_ = stalled.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, stalled.R); err == nil {
		t.Error("its connection ended as if that had been all")
	}
	silent.Send(t, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(silent.R, got); err != nil || string(got) != "ping" {
		t.Errorf("who was silent for longer got %q, %v", got, err)
	}
}

// Package shutdown_test tells how steelyard stops: nothing that it took on is
// left undone, and it does not take forever.
package shutdown_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

func behind(t *testing.T, extra string, backends ...*harness.Node) *harness.Steelyard {
	t.Helper()
	var addresses []string
	for _, b := range backends {
		addresses = append(addresses, b.Address)
	}
	return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
%s
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
`, extra, strings.Join(addresses, ", ")))
}

// client asks again and again until the server tells it to stop or no longer
// takes connections. fresh makes it open a connection for each request.
type client struct {
	address string
	fresh   bool
	stopped *atomic.Int64 // when SIGTERM was sent, in ns; 0 before
	served  *atomic.Int64
	path    string
}

func (c client) run() error {
	var conn *harness.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		reused := conn != nil
		if conn == nil {
			var err error
			if conn, err = harness.Connect(c.address); err != nil {
				if c.stopped.Load() == 0 {
					return fmt.Errorf("connecting before the stop: %w", err)
				}
				return nil
			}
		}
		sent := time.Now().UnixNano()
		_, err := conn.Write([]byte("GET " + c.path + " HTTP/1.1\r\nHost: app.test\r\n\r\n"))
		var m *harness.Message
		if err == nil {
			m, err = conn.Receive("GET")
		}
		if err != nil {
			// A request that crosses the end of an idle connection was not
			// accepted; a client sees that no byte came and asks elsewhere.
			if at := c.stopped.Load(); reused && m == nil && at != 0 && sent > at {
				return nil
			}
			return fmt.Errorf("reused=%v, sent %v after the stop, got %+v: %w",
				reused, time.Duration(sent-c.stopped.Load()), m, err)
		}
		if m.Status() != 200 {
			return fmt.Errorf("answered with %s %q", m.First, m.Body)
		}
		c.served.Add(1)
		if c.fresh || strings.EqualFold(m.Value("Connection"), "close") {
			conn.Close()
			conn = nil
		}
	}
}

func TestStopUnderLoadFailsNoRequestThatWasAccepted(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	s := behind(t, "", apps...)
	var (
		wg      sync.WaitGroup
		stopped atomic.Int64
		served  atomic.Int64
	)
	for n := range 48 {
		c := client{address: s.Address, fresh: n%3 == 0, stopped: &stopped, served: &served, path: "/slow?ms=20"}
		if n%4 == 1 {
			c.path = "/stream?count=10&ms=10" // Answers that are under way for a while.
		}
		wg.Go(func() {
			if err := c.run(); err != nil {
				t.Error(err)
			}
		})
	}
	harness.Eventually(t, patience, "the load flows", func() bool { return served.Load() > 500 })
	stopped.Store(time.Now().UnixNano())
	s.Signal(t, syscall.SIGTERM)
	wg.Wait()
	if code := s.ExitCode(t, 5*time.Second); code != 0 {
		t.Errorf("exit code %d after a graceful stop", code)
	}
	t.Logf("%d requests were served", served.Load())
}

func TestStopFinishesWhatIsInFlightAndSaysClose(t *testing.T) {
	app := harness.App(t, "a")
	ws := harness.StartNode(t, "test/node/ws.mjs")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /ws}, pool: ws}
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
  ws: {backends: [%s]}
`, app.Address, ws.Address))

	idle := harness.Dial(t, s.Address)
	idle.Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
	thinking := harness.Dial(t, s.Address)
	thinking.Send(t, "GET /slow?ms=1500 HTTP/1.1\r\nHost: app.test\r\n\r\n")
	streaming := harness.Dial(t, s.Address)
	streaming.Send(t, "GET /stream?count=30&ms=50 HTTP/1.1\r\nHost: app.test\r\n\r\n")
	uploading := harness.Dial(t, s.Address)
	uploading.Send(t, "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\n12345")
	socket := harness.OpenWebSocket(t, s.Address, "/ws")
	harness.Eventually(t, patience, "all of them are in flight", func() bool {
		stats := app.Stats(t)
		return stats.Busy == 2 && stats.Received == 5
	})

	s.Signal(t, syscall.SIGTERM)
	if code, _, err := socket.ReadClose(); err != nil || code != 1001 {
		t.Errorf("the WebSocket got close %d, %v; want 1001", code, err)
	}
	if err := socket.WriteClose(1001, ""); err != nil {
		t.Log(err) // It may be gone already.
	}
	if rest := idle.End(t, 2*time.Second); len(rest) != 0 {
		t.Errorf("an idle connection got %q", rest)
	}
	harness.Eventually(t, 2*time.Second, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", s.Address)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})

	uploading.Send(t, "67890")
	if m := uploading.Response(t, "POST"); m.Status() != 200 || !strings.Contains(string(m.Body), `"size":10`) || m.Value("Connection") != "close" {
		t.Errorf("the upload got %s %q %q", m.First, m.Fields, m.Body)
	}
	if m := thinking.Response(t, "GET"); m.Status() != 200 || string(m.Body) != "a" || m.Value("Connection") != "close" {
		t.Errorf("the request in flight got %s %q %q; want 200 and Connection: close", m.First, m.Fields, m.Body)
	}
	if m := streaming.Response(t, "GET"); m.Status() != 200 || len(m.Body) != 30*16 {
		t.Errorf("the stream got %s and %d bytes", m.First, len(m.Body))
	}
	if code := s.ExitCode(t, 3*time.Second); code != 0 {
		t.Errorf("exit code %d after a graceful stop", code)
	}
}

func TestShutdownTimeoutBoundsTheStop(t *testing.T) {
	app := harness.App(t, "a")
	s := behind(t, "shutdown_timeout: 1s", app)
	c := harness.Dial(t, s.Address)
	c.Send(t, "GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n")
	harness.Eventually(t, patience, "the request is in flight", func() bool { return app.Stats(t).Busy == 1 })
	began := time.Now()
	s.Signal(t, syscall.SIGTERM)
	s.ExitCode(t, 4*time.Second)
	if took := time.Since(began); took < 900*time.Millisecond || took > 2500*time.Millisecond {
		t.Errorf("the stop took %v; want 1s", took)
	}
}

func TestASecondSignalExitsAtOnce(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			app := harness.App(t, "a")
			s := behind(t, "", app)
			c := harness.Dial(t, s.Address)
			c.Send(t, "GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n")
			harness.Eventually(t, patience, "the request is in flight", func() bool { return app.Stats(t).Busy == 1 })
			s.Signal(t, sig)
			harness.Eventually(t, 2*time.Second, "the stop has begun", func() bool { return strings.Contains(s.Output(), "stopping; a second signal ends at once") })
			s.Signal(t, sig) // the same, as timeout(1) sends it twice
			for again := time.Now().Add(time.Second); time.Now().Before(again); time.Sleep(10 * time.Millisecond) {
				if s.Ended() {
					t.Fatal("it ended although a request is in flight")
				}
			}
			s.Signal(t, sig)
			if code := s.ExitCode(t, time.Second); code != 1 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

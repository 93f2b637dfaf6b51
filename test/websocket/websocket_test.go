// Package websocket_test tells how WebSockets and other upgrades pass through.
package websocket_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

// behind starts steelyard in front of backends, with settings of its listener.
func behind(t *testing.T, listener string, backends ...string) *harness.Steelyard {
	t.Helper()
	return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"%s}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
`, listener, strings.Join(backends, ", ")))
}

func TestTenThousandEchoesOverAHundredConnections(t *testing.T) {
	a := harness.StartNode(t, "test/node/ws.mjs")
	b := harness.StartNode(t, "test/node/ws.mjs")
	s := behind(t, "", a.Address, b.Address)
	var wg sync.WaitGroup
	for n := range 100 {
		c := harness.OpenWebSocket(t, s.Address, "/")
		wg.Go(func() {
			for i := range 100 {
				// Sizes from a few bytes to more than one read buffer.
				message := fmt.Appendf(nil, "%d.%d:%s", n, i, strings.Repeat("x", i*i))
				if err := c.WriteFrame(harness.OpText, message); err != nil {
					t.Errorf("connection %d, message %d: %v", n, i, err)
					return
				}
				op, got, err := c.ReadFrame()
				if err != nil || op != harness.OpText || !bytes.Equal(got, message) {
					t.Errorf("connection %d, message %d: opcode %d, %.40q, %v", n, i, op, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestCloseCodesArriveOnTheOtherSide(t *testing.T) {
	node := harness.StartNode(t, "test/node/ws.mjs")
	s := behind(t, "", node.Address)

	t.Run("from the server", func(t *testing.T) {
		c := harness.OpenWebSocket(t, s.Address, "/")
		if err := c.WriteFrame(harness.OpText, []byte("close 4001 go away")); err != nil {
			t.Fatal(err)
		}
		code, reason, err := c.ReadClose()
		if err != nil || code != 4001 || reason != "go away" {
			t.Fatalf("close %d %q %v; want 4001 \"go away\"", code, reason, err)
		}
		if err := c.WriteClose(code, ""); err != nil {
			t.Fatal(err)
		}
		c.End(t, 2*time.Second)
	})

	t.Run("from the client", func(t *testing.T) {
		c := harness.OpenWebSocket(t, s.Address, "/")
		if err := c.WriteClose(4002, "done here"); err != nil {
			t.Fatal(err)
		}
		if code, _, err := c.ReadClose(); err != nil || code != 4002 {
			t.Errorf("the answer to the close was %d, %v", code, err)
		}
		c.End(t, 2*time.Second) // The server ends the connection first (RFC 6455, section 7.1.1).
		c.Close()
		awaitClose(t, node, 4002, "done here")
	})

	t.Run("a client that vanishes is a 1006", func(t *testing.T) {
		c := harness.OpenWebSocket(t, s.Address, "/")
		c.Close()
		awaitClose(t, node, 1006, "")
	})

	t.Run("a server that vanishes ends the client", func(t *testing.T) {
		c := harness.OpenWebSocket(t, s.Address, "/")
		node.Kill(t)
		c.End(t, time.Second)
	})
}

func awaitClose(t *testing.T, node *harness.Node, code int, reason string) {
	t.Helper()
	harness.Eventually(t, 2*time.Second, fmt.Sprintf("the server sees close %d %q", code, reason), func() bool {
		var closes []struct {
			Code   int
			Reason string
		}
		node.Ask(t, "/closes", &closes)
		for _, c := range closes {
			if c.Code == code && c.Reason == reason {
				return true
			}
		}
		return false
	})
}

func TestUpgradeTimeoutClosesTheSilentOnly(t *testing.T) {
	node := harness.StartNode(t, "test/node/ws.mjs")
	s := behind(t, ", upgrade_timeout: 1s", node.Address)
	silent := harness.OpenWebSocket(t, s.Address, "/")
	opened := time.Now()
	talking := harness.OpenWebSocket(t, s.Address, "/")
	closed := make(chan error, 1)
	go func() {
		code, _, err := silent.ReadClose()
		took := time.Since(opened)
		if err == nil && (code != 1001 || took < 900*time.Millisecond || took > 2500*time.Millisecond) {
			err = fmt.Errorf("it got close %d after %v; want 1001 after 1s", code, took)
		}
		closed <- err
	}()
	for time.Since(opened) < 3*time.Second {
		if err := talking.WriteFrame(harness.OpText, []byte("still here")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := talking.ReadFrame(); err != nil {
			t.Fatalf("the one that talks was closed after %v: %v", time.Since(opened), err)
		}
		time.Sleep(200 * time.Millisecond) // The rhythm of the one that talks, not a wait for anything.
	}
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("the silent one: %v", err)
		}
	default:
		t.Error("the silent one is still open after 3s; want 1s")
	}
	silent.End(t, 5*time.Second) // It never answers the Close frame, and is not waited for long.
}

func TestUpgradeTimeoutClosesOtherProtocolsToo(t *testing.T) {
	backend := upgrader(t, "", func(c *harness.Conn) {
		_, _ = io.Copy(io.Discard, c.R) // Until the end, however it comes.
	})
	s := behind(t, ", upgrade_timeout: 1s", backend)
	c := harness.Dial(t, s.Address)
	c.Exchange(t, upgradeRequest)
	began := time.Now()
	c.End(t, 2500*time.Millisecond)
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("closed after %v; want 1s", took)
	}
}

// upgrader is a backend that accepts any upgrade and then runs a function.
func upgrader(t *testing.T, first string, serve func(*harness.Conn)) (address string) {
	t.Helper()
	return harness.Backend(t, func(c *harness.Conn) {
		m, err := c.Head()
		if err != nil {
			return
		}
		answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + m.Value("Upgrade") + "\r\n\r\n"
		if _, err := io.WriteString(c, answer+first); err != nil {
			return
		}
		serve(c)
	})
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: steel/1\r\n\r\n"

func TestOtherProtocolsPassWithHalfClose(t *testing.T) {
	backend := upgrader(t, "", func(c *harness.Conn) {
		// Answers only once the client has said all it has to say.
		all, err := io.ReadAll(c.R)
		if err == nil {
			_, _ = fmt.Fprintf(c, "read %d bytes", len(all)) // The client notices what is missing.
		}
	})
	s := behind(t, "", backend)
	c := harness.Dial(t, s.Address)
	m := c.Exchange(t, upgradeRequest)
	if m.Status() != 101 || m.Value("Upgrade") != "steel/1" || !strings.EqualFold(m.Value("Connection"), "upgrade") {
		t.Fatalf("%s %q", m.First, m.Fields)
	}
	c.Send(t, strings.Repeat("x", 100_000))
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.End(t, patience); string(got) != "read 100000 bytes" {
		t.Errorf("after the half-close: %q", got)
	}
}

func TestNothingIsLostAroundTheUpgrade(t *testing.T) {
	backend := upgrader(t, "early from the server.", func(c *harness.Conn) {
		_, _ = io.CopyN(c, c.R, int64(len("early from the client."))) // The client notices what is missing.
	})
	s := behind(t, "", backend)
	c := harness.Dial(t, s.Address)
	// Both sides speak in the same write as their head.
	m := c.Exchange(t, upgradeRequest+"early from the client.")
	if m.Status() != 101 {
		t.Fatalf("%s %q", m.First, m.Fields)
	}
	if got := string(c.End(t, patience)); got != "early from the server.early from the client." {
		t.Errorf("got %q", got)
	}
}

func TestRefusedUpgradeIsAnOrdinaryResponse(t *testing.T) {
	backend, _ := harness.Scripted(t, func(*harness.Message) string {
		return "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
	})
	s := behind(t, "", backend)
	c := harness.Dial(t, s.Address)
	for range 2 { // The connection stays usable.
		if m := c.Exchange(t, upgradeRequest); m.Status() != 403 || string(m.Body) != "no" {
			t.Fatalf("%s %q", m.First, m.Body)
		}
	}
}

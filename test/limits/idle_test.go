package limits_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

const upgrade = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// switching answers, and keeps what it has switched open and silent.
func switching(c *harness.Conn) {
	for {
		m, err := c.Request()
		if err != nil {
			return
		}
		if m.Value("Upgrade") == "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			continue
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}
}

// TestIdleWebSocketsAreSmall: a WebSocket that is silent costs a few KiB, with both of
// its sockets. When this was written that was 12; with what its handshake needed held on
// to, 25.
func TestIdleWebSocketsAreSmall(t *testing.T) {
	const many, most = 2000, 13. // KiB
	s := harness.Start(t, fmt.Sprintf(behind, "max_connections_per_client: 100000", harness.Backend(t, switching)))
	open := func() {
		c := from(t, "127.0.0.1", s.Address)
		_ = c.SetDeadline(time.Now().Add(4 * patience))
		if got := ask(t, c, upgrade); !strings.HasPrefix(got, "HTTP/1.1 101") {
			t.Fatalf("got %q", got)
		}
	}
	for range 10 {
		open()
	}
	before, _ := s.Memory(t)
	for range many {
		open()
	}
	each := 0.0
	defer func() { t.Logf("%.1f KiB each", each) }()
	harness.Eventually(t, patience, fmt.Sprintf("%d idle WebSockets cost %v KiB each at most", many, most), func() bool {
		now, _ := s.Memory(t)
		each = float64(now-before) / many / 1024
		return each <= most
	})
}

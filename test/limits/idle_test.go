package limits_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
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

// TestIdleConnectionsAreSmall: a connection that has had its answer, and is silent
// now, costs a few KiB. When this was written that was 6, 18 and 12 KiB; with what a
// request needs held on to, 11, 27 and 25.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const many = 2000
	ca := certtest.NewCA(t, "Test CA")
	cert, key := ca.Issue(t, "ecdsa", []string{"a.test"}).Files(t, t.TempDir(), "a")
	for _, tt := range []struct {
		name, more, request, answer string
		most                        float64 // KiB
	}{
		{"keep-alive", "", hello, "HTTP/1.1 200", 7},
		{"keep-alive in TLS", fmt.Sprintf(", tls: {certificates: [{cert: %q, key: %q}]}", cert, key), hello, "HTTP/1.1 200", 22},
		{"websocket", "", upgrade, "HTTP/1.1 101", 13},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := harness.Start(t, fmt.Sprintf(behind, "max_connections_per_client: 100000"+tt.more, harness.Backend(t, switching)))
			open := func() {
				c := from(t, "127.0.0.1", s.Address)
				_ = c.SetDeadline(time.Now().Add(4 * patience))
				if tt.more != "" {
					c = tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
				}
				if got := ask(t, c, tt.request); !strings.HasPrefix(got, tt.answer) {
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
			harness.Eventually(t, 2*patience, fmt.Sprintf("%d idle connections cost %v KiB each at most", many, tt.most), func() bool {
				now, _ := s.Memory(t)
				each = float64(now-before) / many / 1024
				return each <= tt.most
			})
		})
	}
}

package admin_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// viewers is how many may watch at a time.
const viewers = 1000

// TestManyViewers: a thousand dashboards that nobody reads do not slow the
// traffic, take bounded memory, and end when Steelyard does.
func TestManyViewers(t *testing.T) {
	s := harness.Start(t, file(t, "admin: ADMIN\n"))
	s.Order(t, "web", "127.0.0.1:1", "disable", "")
	c := harness.Client(t)
	before := p99(t, c, s.URL)
	memory, _ := s.Memory(t)
	var events atomic.Int64
	ends := make(chan struct{}, viewers)
	for range viewers {
		conn := watch(t, s.Admin)
		go func() {
			defer func() { ends <- struct{}{} }()
			for lines := bufio.NewReader(conn); ; {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "event: live") {
					events.Add(1)
				}
			}
		}()
	}
	harness.Eventually(t, 20*time.Second, "all viewers have had events", func() bool { return events.Load() >= 2*viewers })
	status, text := api(t, c, "GET", "http://"+s.Admin+"/api/v1/stream", "")
	if status != 503 || !strings.Contains(text, "too many watch already") {
		t.Errorf("one viewer more: %d %.300s", status, text)
	}
	if status, _ := api(t, c, "GET", "http://"+s.Admin+"/api/v1/pools", ""); status != 200 {
		t.Errorf("another call: %d", status)
	}
	during := p99(t, c, s.URL)
	now, _ := s.Memory(t)
	t.Logf("p99 %v without viewers, %v with %d of them, who took %d KiB each", before, during, viewers, (now-memory)/viewers>>10)
	if limit := max(4*before, before+20*time.Millisecond); during > limit {
		t.Errorf("p99 %v with viewers, %v without, want at most %v", during, before, limit)
	}
	if now-memory > 128<<20 {
		t.Errorf("the viewers took %d MiB", (now-memory)>>20)
	}
	began := time.Now()
	s.Signal(t, syscall.SIGTERM)
	if code := s.ExitCode(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for range viewers {
		<-ends
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// watch opens a stream, and no more.
func watch(t *testing.T, admin string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// p99 asks one request after the other for two seconds, two whole beats of the
// stream, and returns the latency of the 99th of a hundred.
func p99(t *testing.T, c *http.Client, url string) time.Duration {
	t.Helper()
	var took []time.Duration
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		began := time.Now()
		harness.Get(t, c, url)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestAStuckViewerIsDropped: who opens a stream and reads nothing of it does not
// hold what is sent to others.
func TestAStuckViewerIsDropped(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: ADMIN\n"))
	watch(t, s.Admin) // reads nothing
	reader := watch(t, s.Admin)
	_ = reader.SetReadDeadline(time.Now().Add(20 * time.Second))
	events := 0
	for lines := bufio.NewScanner(reader); events < 3 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "event: live") {
			events++
		}
	}
	if events < 3 {
		t.Errorf("%d events beside a viewer that reads nothing", events)
	}
}

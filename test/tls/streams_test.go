package tls_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// openWebSocket opens a WebSocket inside TLS.
func openWebSocket(t *testing.T, c *harness.Conn) {
	t.Helper()
	m := c.Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if m.Status() != 101 {
		t.Fatalf("%s %q %q", m.First, m.Fields, m.Body)
	}
}

func TestWebSocketsOverTLS(t *testing.T) {
	l := newLab(t)
	node := harness.StartNode(t, "test/node/ws.mjs")
	s := l.front(l.plainTLS(), "", node.Address)
	var wg sync.WaitGroup
	for n := range 20 {
		c := dial(t, s, l.trust("app.test"))
		openWebSocket(t, c)
		wg.Go(func() {
			for i := range 100 {
				message := fmt.Appendf(nil, "%d.%d:%s", n, i, strings.Repeat("x", 6*i*i)) // up to a few records of TLS
				if len(message) > 60000 {
					message = message[:60000]
				}
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
	c := dial(t, s, l.trust("app.test"))
	openWebSocket(t, c)
	s.Signal(t, syscall.SIGTERM)
	if code, _, err := c.ReadClose(); err != nil || code != 1001 {
		t.Errorf("at the stop: %d %v", code, err)
	}
}

func TestEventsArriveAtOnce(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "", app.Address)
	res, err := client(t, s, l.trust("app.test")).Get("https://app.test/events?count=10&ms=50")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var late time.Duration
	events := 0
	for buf, rest := make([]byte, 4096), ""; ; {
		n, err := res.Body.Read(buf)
		now := float64(time.Now().UnixMicro()) / 1000
		rest += string(buf[:n])
		for {
			event, after, ok := strings.Cut(rest, "\n\n")
			if !ok {
				break
			}
			rest = after
			sent, convErr := strconv.ParseFloat(strings.TrimSpace(event[strings.Index(event, "data: ")+6:]), 64)
			if convErr != nil {
				t.Fatal(convErr)
			}
			events++
			late = max(late, time.Duration((now-sent)*float64(time.Millisecond)))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("at most %v late", late)
	if events != 10 || late > 40*time.Millisecond { // 50 ms would be the next event
		t.Errorf("%d events, at most %v late", events, late)
	}
}

// pattern reads as size bytes that repeat after a prime number of them, so that
// what is lost or sent twice shows.
type pattern struct{ left, at int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left)
	for i := range n {
		b[i] = byte((p.at + i) % 251)
	}
	p.at += n
	p.left -= n
	return n, nil
}

func TestAHundredMiBUpAndDown(t *testing.T) {
	const size = 100 << 20
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "", app.Address)
	c := client(t, s, l.trust("app.test"))
	harness.Get(t, c, "https://app.test/")
	for _, chunked := range []bool{false, true} {
		s.ResetPeak(t)
		before, _ := s.Memory(t)
		hash := sha256.New()
		req, err := http.NewRequest("POST", "https://app.test/upload", io.TeeReader(&pattern{left: size}, hash))
		if err != nil {
			t.Fatal(err)
		}
		if !chunked {
			req.ContentLength = size
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Size   int
			SHA256 string
		}
		err = json.NewDecoder(res.Body).Decode(&got)
		res.Body.Close()
		if err != nil || got.Size != size || got.SHA256 != hex.EncodeToString(hash.Sum(nil)) {
			t.Errorf("the app got %d bytes, %v", got.Size, err)
		}
		query := fmt.Sprintf("https://app.test/download?bytes=%d", size)
		if chunked {
			query += "&chunked"
		}
		if res, err = c.Get(query); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || n != size {
			t.Errorf("%d bytes came down, %v", n, err)
		}
		if _, peak := s.Memory(t); peak-before > 32<<20 {
			t.Errorf("memory grew from %d MiB to %d MiB", before>>20, peak>>20)
		}
	}
}

// A client that keeps its connection is served on it, whatever its TLS does.
func TestOneConnectionServesAThousandRequests(t *testing.T) {
	l := newLab(t)
	app := harness.App(t, "a")
	s := l.front(l.plainTLS(), "", app.Address)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := l.trust("app.test")
		conf.MaxVersion = version
		c := dial(t, s, conf)
		for i := range 500 {
			size := i * 40 // up to two records
			m := c.Exchange(t, fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
			if e := echo(t, m); len(e.Body) != size {
				t.Fatalf("request %d: %d bytes of %d", i, len(e.Body), size)
			}
		}
		pipelined := strings.Repeat(get, 10)
		c.Send(t, pipelined)
		for range 10 {
			if m := c.Response(t, "GET"); m.Status() != 200 {
				t.Fatal(m.First)
			}
		}
	}
}

// Package reload_test tells what clients notice of a reload: nothing; and what the
// operator is told.
package reload_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 15 * time.Second

// load asks until it is stopped, and keeps how long each answer took.
type load struct {
	wg     sync.WaitGroup
	stop   atomic.Bool
	during atomic.Bool
	mu     sync.Mutex
	calm   []time.Duration // between the reloads
	rough  []time.Duration // while they go on
	served atomic.Int64
}

// keep asks on one connection after the other, or on one for each request.
func (l *load) keep(t *testing.T, url string, fresh bool) {
	transport := &http.Transport{MaxIdleConnsPerHost: 10, DisableKeepAlives: fresh}
	client := &http.Client{Transport: transport, Timeout: patience}
	l.wg.Go(func() {
		defer transport.CloseIdleConnections()
		for !l.stop.Load() {
			began, rough := time.Now(), l.during.Load()
			status, body, err := harness.Do(client, "GET", url, "")
			if err != nil || status != http.StatusOK {
				t.Errorf("GET %s: %d %.200q %v", url, status, body, err)
				return
			}
			l.served.Add(1)
			l.mu.Lock()
			if took := time.Since(began); rough {
				l.rough = append(l.rough, took)
			} else {
				l.calm = append(l.calm, took)
			}
			l.mu.Unlock()
			time.Sleep(2 * time.Millisecond) // a constant load, not as much as there can be
		}
	})
}

// visit asks at an address where a listener comes and goes: it may refuse, or leave
// without an answer for a second, but whom it lets in gets an answer. late counts those
// whom the kernel let in and then reset, between the last look at who waits and the
// close of the socket.
func (l *load) visit(t *testing.T, address string, met, late *atomic.Int64) {
	l.wg.Go(func() {
		for !l.stop.Load() {
			c, err := harness.Connect(address)
			if errors.Is(err, syscall.ECONNREFUSED) {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			if errors.Is(err, syscall.ECONNRESET) {
				late.Add(1)
				continue
			}
			if err != nil {
				t.Errorf("connecting to %s: %v", address, err)
				return
			}
			if _, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")); err == nil {
				var m *harness.Message
				if m, err = c.Receive("GET"); err == nil && m.Status() != 200 {
					err = errors.New(m.First)
				}
			}
			c.Close()
			if errors.Is(err, syscall.ECONNRESET) {
				late.Add(1)
				continue
			}
			if err != nil {
				t.Errorf("accepted by %s and then: %v", address, err)
				return
			}
			met.Add(1)
			time.Sleep(2 * time.Millisecond)
		}
	})
}

func p99(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)*99/100]
}

// fds counts what a process has open.
func fds(t *testing.T, s *harness.Steelyard) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestTwoHundredReloadsUnderLoad: routes, pools, backends and listeners come, go
// and change. No request fails, WebSockets live through all of it, and nothing is
// left behind.
func TestTwoHundredReloadsUnderLoad(t *testing.T) {
	const reloads = 200
	apps := harness.Apps(t, "a", "b", "c")
	ws := harness.StartNode(t, "test/node/ws.mjs")
	side, moved := harness.FreeAddress(t), harness.FreeAddress(t)
	file := func(i int) string {
		backends := []string{apps[0].Address, apps[1].Address, apps[2].Address}
		if i > 0 {
			backends = slices.Delete(backends, i%3, i%3+1)
		}
		web := strings.Join(backends, ", ")
		var b strings.Builder
		fmt.Fprintf(&b, "admin: ADMIN\nlisteners:\n  web: {address: LISTEN, idle_timeout: %ds}\n", 60+i%2)
		switch i % 4 {
		case 1:
			fmt.Fprintf(&b, "  side: %s\n", side)
		case 2:
			fmt.Fprintf(&b, "  side: %s\n", moved)
		case 3: // the address of side under another name
			fmt.Fprintf(&b, "  other: %s\n", moved)
		}
		extra := "web"
		if i%2 == 1 {
			extra = fmt.Sprintf("extra%d", i)
		}
		fmt.Fprintf(&b, "routes:\n  - {match: {path: /ws}, pool: ws}\n  - {match: {path: /extra/*}, pool: %s, rewrite: {strip_prefix: /extra}}\n", extra)
		fmt.Fprintf(&b, "  - {match: {path: /v%d}, respond: 204}\n  - {match: {path: /*}, pool: web}\n", i%5)
		fmt.Fprintf(&b, "pools:\n  web: {backends: [%s], keepalive: {idle_timeout: 500ms}, policy: %s}\n  ws: {backends: [%s], keepalive: {idle_timeout: 500ms}}\n",
			web, []string{"round_robin", "least_connections", "power_of_two"}[i%3], ws.Address)
		if extra != "web" {
			fmt.Fprintf(&b, "  %s: {backends: [%s], keepalive: {idle_timeout: 500ms}}\n", extra, apps[i%3].Address)
		}
		return b.String()
	}
	s := harness.Start(t, file(0))
	var sockets []*harness.Conn
	for range 5 {
		sockets = append(sockets, harness.OpenWebSocket(t, s.Address, "/ws"))
	}
	talk := func(i int) {
		for n, c := range sockets {
			text := fmt.Sprintf("%d after %d reloads", n, i)
			if err := c.WriteFrame(harness.OpText, []byte(text)); err != nil {
				t.Fatalf("WebSocket %d after %d reloads: %v", n, i, err)
			}
			if _, got, err := c.ReadFrame(); err != nil || string(got) != text {
				t.Fatalf("WebSocket %d after %d reloads: %q %v", n, i, got, err)
			}
		}
	}
	talk(0)
	harness.Eventually(t, patience, "it is at rest", func() bool { return s.Backend(t, "ws", ws.Address).Connections == 5 })
	atRest := fds(t, s)

	var l load
	var visited, late atomic.Int64
	for i := range 8 {
		l.keep(t, s.URL+[]string{"/", "/extra/x", "/slow?ms=20", "/stream?count=5&ms=5"}[i%4], i >= 6)
	}
	l.visit(t, side, &visited, &late)
	l.visit(t, moved, &visited, &late)
	time.Sleep(time.Second) // warm
	l.mu.Lock()
	l.calm = nil
	l.mu.Unlock()
	for i := 1; i <= reloads && !t.Failed(); i++ {
		if i%10 == 1 { // in turn, so that a machine busy with other things slows both
			l.during.Store(false)
			time.Sleep(250 * time.Millisecond)
			l.during.Store(true)
		}
		g := s.Reload(t, file(i))
		if !g.LastOK || g.Reloads != int64(i) {
			t.Fatalf("reload %d: %+v", i, g)
		}
		if i%20 == 0 {
			talk(i)
		}
	}
	s.Reload(t, file(0))
	l.stop.Store(true)
	l.wg.Wait()
	talk(reloads)
	if t.Failed() {
		return
	}
	calm, rough := p99(l.calm), p99(l.rough)
	t.Logf("%d requests, %d of them at listeners that come and go; p99 %v between the reloads, %v during them", l.served.Load(), visited.Load(), calm, rough)
	if rough > 2*calm && rough > calm+20*time.Millisecond {
		t.Errorf("p99 %v during the reloads, %v between them", rough, calm)
	}
	if n := late.Load(); visited.Load() == 0 || n > 0 {
		t.Errorf("%d met the listeners that come and go, and %d came too late", visited.Load(), n)
	}
	open := 0
	defer func() { t.Logf("%d files open before, %d after", atRest, open) }()
	harness.Eventually(t, patience, "no more files are open than before", func() bool {
		open = fds(t, s)
		return open <= atRest
	})
}

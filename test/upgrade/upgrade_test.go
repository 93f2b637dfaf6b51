package upgrade_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestTwentyUpgradesUnderLoad: no request fails or is made twice, WebSockets are
// told to go, and nothing is left of the processes before.
func TestTwentyUpgradesUnderLoad(t *testing.T) {
	const upgrades = 20
	apps := harness.Apps(t, "a", "b")
	ws := harness.StartNode(t, "test/node/ws.mjs")
	yaml := fmt.Sprintf("listeners: {web: LISTEN, socket: \"unix:SOCKET\"}\nroutes:\n  - {match: {path: /ws}, pool: ws}\n  - {pool: web}\n"+
		"pools:\n  web: {backends: [%s, %s]}\n  ws: {backends: [%s]}\n", apps[0].Address, apps[1].Address, ws.Address)
	dir, err := os.MkdirTemp("", "steelyard-upgrade-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "front")
	s := begin(t, strings.ReplaceAll(yaml, "SOCKET", socket), nil)
	url := "http://" + s.address

	var wg sync.WaitGroup
	var stop atomic.Bool
	var served, posts atomic.Int64
	ask := func(method, path string, fresh bool, transport *http.Transport) {
		transport.DisableKeepAlives = fresh
		client := &http.Client{Transport: transport, Timeout: patience}
		wg.Go(func() {
			defer transport.CloseIdleConnections()
			for !stop.Load() {
				var headers []string
				if method == "POST" {
					headers = append(headers, fmt.Sprintf("X-Id: id%d", posts.Add(1)))
				}
				status, body, err := harness.Do(client, method, url+path, "", headers...)
				if err != nil || status != http.StatusOK {
					t.Errorf("%s %s: %d %.200q %v", method, path, status, body, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for i := range 4 {
		ask("GET", []string{"/", "/slow?ms=20"}[i%2], i < 2, &http.Transport{})
	}
	ask("POST", "/count", true, &http.Transport{})
	ask("POST", "/count", false, &http.Transport{})
	over := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	ask("GET", "/", true, over)

	first := 0
	for i := 1; i <= upgrades && !t.Failed(); i++ {
		c := harness.OpenWebSocket(t, s.address, "/ws")
		before := served.Load()
		old := s.upgrade(t)
		if code, _, err := c.ReadClose(); err != nil || code != 1001 {
			t.Fatalf("upgrade %d: the WebSocket was closed with %d %v", i, code, err)
		}
		_ = c.WriteClose(1001, "")
		c.Close()
		harness.Eventually(t, patience, "the process before has ended", func() bool { return gone(old) })
		harness.Eventually(t, patience, "the new one serves", func() bool { return t.Failed() || served.Load() > before+50 })
		if i == 1 {
			first = fds(s.main())
		}
	}
	stop.Store(true)
	wg.Wait()
	if t.Failed() {
		return
	}
	counts := map[string]int{}
	for _, app := range apps {
		app.IDs(t, counts)
	}
	for id, n := range counts {
		if n != 1 {
			t.Errorf("%s was counted %d times", id, n)
		}
	}
	if int64(len(counts)) != posts.Load() {
		t.Errorf("%d of %d posts arrived", len(counts), posts.Load())
	}
	last := 0
	harness.Eventually(t, patience, "no more files are open than before", func() bool { last = fds(s.main()); return last <= first })
	for _, pid := range s.pids() {
		if pid != s.main() && !gone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	t.Logf("%d requests over %d upgrades; %d files open after the first, %d in the end", served.Load(), upgrades, first, last)
	watched := s.heard("WATCHDOG=1")
	harness.Eventually(t, patience, "the watchdog hears of the last one", func() bool { return s.heard("WATCHDOG=1") > watched })
	s.signal(t, syscall.SIGTERM)
	harness.Eventually(t, patience, "the last one has ended", func() bool { return gone(s.main()) })
	if s.heard("STOPPING=1") != 1 {
		t.Errorf("systemd was told %d times that it stops", s.heard("STOPPING=1"))
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the file of the unix socket is left behind")
	}
}

// TestFailedUpgrade: a new process that does not start leaves all as it was.
func TestFailedUpgrade(t *testing.T) {
	dir, err := os.MkdirTemp("", "steelyard-upgrade-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "front")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := fmt.Sprintf("listeners: {web: LISTEN, socket: \"unix:%s\"}\nroutes: [{respond: 204}]\npools: {}\n", path)
	s := begin(t, good, nil)
	serves := func() {
		t.Helper()
		if status, _, err := harness.Do(harness.Client(t), "GET", "http://"+s.address+"/", ""); status != 204 {
			t.Fatalf("%d %v", status, err)
		}
	}
	serves()
	s.write(t, "listeners: nonsense\n")
	before := s.main()
	s.signal(t, syscall.SIGUSR2)
	harness.Eventually(t, patience, "the log says why", func() bool {
		return strings.Contains(s.output(), "upgrade failed") && strings.Contains(s.output(), "steelyard.yaml:1:")
	})
	serves()
	// One that fails with the sockets in its hands leaves the file of the unix socket.
	s.write(t, strings.Replace(good, "}", fmt.Sprintf(", taken: \"%s\"}", taken.Addr()), 1))
	s.signal(t, syscall.SIGUSR2)
	harness.Eventually(t, patience, "the log says why", func() bool {
		return strings.Contains(s.output(), "listener taken") && strings.Count(s.output(), "upgrade failed") == 2
	})
	serves()
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	// A backend that accepts and says nothing keeps the next one from being ready.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	s.write(t, fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{pool: web}]\n"+
		"pools: {web: {backends: [\"%s\"], check: {path: /, timeout: 8s, interval: 20s}}}\n", mute.Addr()))
	s.signal(t, syscall.SIGUSR2)
	harness.Eventually(t, patience, "it waits", func() bool { return strings.Contains(s.output(), "waiting for the first checks") })
	s.signal(t, syscall.SIGUSR2)
	harness.Eventually(t, patience, "the second signal is refused", func() bool { return strings.Contains(s.output(), "upgrade refused") })
	serves()
	s.signal(t, syscall.SIGTERM) // which ends the new one as well
	harness.Eventually(t, patience, "it has ended", func() bool { return gone(before) })
	if c, err := net.DialTimeout("tcp", s.address, time.Second); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

// TestReloadIsTold to systemd: its beginning with the time, and its end.
func TestReloadIsTold(t *testing.T) {
	s := begin(t, "listeners: {web: LISTEN}\nroutes: [{respond: 204}]\npools: {}\n", nil)
	s.signal(t, syscall.SIGHUP)
	harness.Eventually(t, patience, "the reload is told", func() bool {
		return s.heard("RELOADING=1") == 1 && s.heard("MONOTONIC_USEC=") == 1 && s.heard("READY=1") == 2
	})
}

// TestSocketActivation: sockets that systemd has opened are used, by an upgrade as
// well, and their files are left alone.
func TestSocketActivation(t *testing.T) {
	dir, err := os.MkdirTemp("", "steelyard-upgrade-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "front")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	a, _ := tcp.(*net.TCPListener).File()
	b, _ := unix.(*net.UnixListener).File()
	defer a.Close()
	defer b.Close()
	yaml := fmt.Sprintf("listeners: {web: \"%s\", socket: \"unix:%s\"}\nroutes: [{respond: 204}]\npools: {}\n", tcp.Addr(), path)
	s := begin(t, yaml, []*os.File{a, b}, "/bin/sh", "-c", `LISTEN_FDS=2 LISTEN_PID=$$ exec "$0" "$@"`)
	serves := func(network, address string) {
		t.Helper()
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, address) }}}
		if status, _, err := harness.Do(client, "GET", "http://a.test/", ""); status != 204 {
			t.Fatalf("%s: %d %v", address, status, err)
		}
	}
	for range 2 {
		serves("tcp", tcp.Addr().String())
		serves("unix", path)
		old := s.upgrade(t)
		harness.Eventually(t, patience, "the process before has ended", func() bool { return gone(old) })
	}
	serves("unix", path)
	s.signal(t, syscall.SIGTERM)
	harness.Eventually(t, patience, "it has ended", func() bool { return gone(s.main()) })
	if _, err := os.Stat(path); err != nil {
		t.Error("the file of systemd's socket is gone:", err)
	}
}

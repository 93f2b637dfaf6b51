package upgrade_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// over is a client whose connections all lead to one place.
func over(t *testing.T, network, address string) *http.Client {
	t.Helper()
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, address) }}}
}

// watch opens a stream of the admin API and waits for its first event; what it returns
// waits for the stream's end.
func watch(t *testing.T, client *http.Client) (ended func() error) {
	t.Helper()
	res, err := client.Get("http://localhost/api/v1/stream")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return func() error {
		for lines.Scan() {
		}
		return lines.Err()
	}
}

// TestUpgradeWithTheAdminAPIInUse: who watches is told to come again and then watches
// the new process, and the first order behind the upgrade is carried out by it.
func TestUpgradeWithTheAdminAPIInUse(t *testing.T) {
	dir := t.TempDir()
	app := harness.App(t, "a")
	for name, admin := range map[string]string{"port": "ADMIN", "path": "unix:" + filepath.Join(dir, "a")} {
		t.Run(name, func(t *testing.T) {
			yaml := fmt.Sprintf("listeners: {web: LISTEN}\nadmin: %q\nroutes: [{pool: web}]\npools: {web: {backends: [%s]}}\n", admin, app.Address)
			s := begin(t, yaml, nil)
			client := over(t, "tcp", s.admin)
			if path, ok := strings.CutPrefix(admin, "unix:"); ok {
				client = over(t, "unix", path)
			}
			for i := range 3 {
				ended := watch(t, client)
				old := s.upgrade(t)
				where := "http://localhost/api/v1/pools/web/backends/" + url.PathEscape(app.Address) + "/"
				status, body, err := harness.Do(client, "POST", where+"drain", `{"for": "1h"}`, "Content-Type: application/json")
				if err != nil || status != http.StatusOK {
					t.Fatalf("upgrade %d: an order right behind it: %d %s %v", i, status, body, err)
				}
				if err := ended(); err != nil {
					t.Errorf("upgrade %d: the stream was cut: %v", i, err)
				}
				harness.Eventually(t, patience, "the process before has ended", func() bool { return gone(old) })
				var pool harness.PoolView
				_, body, err = harness.Do(client, "GET", "http://localhost/api/v1/pools/web", "")
				if err := json.Unmarshal([]byte(body), &pool); err != nil {
					t.Fatal(err, body)
				}
				if err != nil || len(pool.Backends) != 1 || pool.Backends[0].State != "draining" {
					t.Fatalf("upgrade %d: the order is lost: %s %v", i, body, err)
				}
			}
			s.signal(t, 15)
			harness.Eventually(t, patience, "it has ended", func() bool { return gone(s.main()) })
			if path, ok := strings.CutPrefix(admin, "unix:"); ok {
				if _, err := os.Stat(path); err == nil {
					t.Error("the file of the admin API's socket is left behind")
				}
			}
		})
	}
}

// TestAdminSocketOfSystemd is used by its address, whatever it is named, over reloads
// and upgrades, and its file is left alone.
func TestAdminSocketOfSystemd(t *testing.T) {
	dir, err := os.MkdirTemp("", "steelyard-upgrade-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "admin")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	a, _ := unix.(*net.UnixListener).File()
	b, _ := tcp.(*net.TCPListener).File()
	defer a.Close()
	defer b.Close()
	yaml := fmt.Sprintf("listeners: {web: %q}\nroutes: [{respond: 204}]\nadmin: {address: \"unix:%s\", read_only: NO}\n", tcp.Addr(), path)
	s := begin(t, strings.Replace(yaml, "NO", "false", 1), []*os.File{a, b}, "/bin/sh", "-c", `LISTEN_FDS=2 LISTEN_FDNAMES=ops:front LISTEN_PID=$$ exec "$0" "$@"`)
	client := over(t, "unix", path)
	order := func() (status int) {
		t.Helper()
		status, _, err := harness.Do(client, "PUT", "http://localhost/api/v1/log", `{"level": "info"}`, "Content-Type: application/json")
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	for i := range 2 {
		if got := order(); got != http.StatusOK {
			t.Fatalf("%d", got)
		}
		s.write(t, strings.Replace(yaml, "NO", "true", 1))
		s.signal(t, 1)
		harness.Eventually(t, patience, "the admin API is exchanged", func() bool { return order() == http.StatusForbidden })
		old := s.upgrade(t)
		if got := order(); got != http.StatusForbidden {
			t.Errorf("after upgrade %d: %d", i, got)
		}
		harness.Eventually(t, patience, "the process before has ended", func() bool { return gone(old) })
		s.write(t, strings.Replace(yaml, "NO", "false", 1))
		s.signal(t, 1)
		harness.Eventually(t, patience, "the admin API is exchanged", func() bool { return order() == http.StatusOK })
	}
	if status, _, err := harness.Do(over(t, "tcp", tcp.Addr().String()), "GET", "http://a.test/", ""); status != 204 || err != nil {
		t.Errorf("%d %v", status, err)
	}
	s.signal(t, 15)
	harness.Eventually(t, patience, "it has ended", func() bool { return gone(s.main()) })
	if _, err := os.Stat(path); err != nil {
		t.Error("the file of systemd's socket is gone:", err)
	}
}

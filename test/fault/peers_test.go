package fault_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
	"steelyard/test/load"
)

// nginx as its documentation shows it for HTTP/1.1 to backends; it has no checks.
const nginx = `worker_processes 2; daemon off; pid DIR/pid; error_log DIR/error.log;
events { worker_connections 8192; }
http {
  access_log off; client_body_temp_path DIR/body; proxy_temp_path DIR/proxy;
  upstream web { server A; server B; server C; keepalive 64; }
  server {
    listen 127.0.0.1:PORT;
    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`

// HAProxy with the defaults of Debian's package, and checks.
const haproxy = `
global
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend web
  bind 127.0.0.1:PORT
  default_backend web
backend web
  balance roundrobin
  option redispatch
  option httpchk GET /healthz
  default-server check
  server a A
  server b B
  server c C
`

// TestPeers plays three of the scenarios with other balancers, for the table in
// docs/reliability.md. Nothing is asked of them but that they can be run.
func TestPeers(t *testing.T) {
	if os.Getenv("PEERS") == "" {
		t.Skip("PEERS=1 compares with nginx and HAProxy; tools/need nginx haproxy installs them")
	}
	for _, p := range []struct {
		name  string
		start func(*testing.T, []*load.App) (url string)
	}{
		{"Steelyard", func(t *testing.T, apps []*load.App) string { return harness.Start(t, usual(apps)).URL }},
		{"nginx", func(t *testing.T, apps []*load.App) string { return peer(t, "nginx", nginx, apps, "-c") }},
		{"HAProxy", func(t *testing.T, apps []*load.App) string { return peer(t, "haproxy", haproxy, apps, "-f") }},
	} {
		t.Run(p.name, func(t *testing.T) {
			for _, s := range []struct {
				name       string
				lasts      time.Duration
				begin, end func(*testing.T, []*load.App)
			}{
				{"killed", 4 * time.Second,
					func(t *testing.T, apps []*load.App) { apps[1].Kill(t) },
					func(t *testing.T, apps []*load.App) { apps[1].Again(t) }},
				{"stopped (SIGSTOP)", 15 * time.Second,
					func(t *testing.T, apps []*load.App) { apps[1].Signal(t, syscall.SIGSTOP) },
					func(t *testing.T, apps []*load.App) { apps[1].Signal(t, syscall.SIGCONT) }},
				{"all killed", 4 * time.Second,
					func(t *testing.T, apps []*load.App) { each(apps, func(a *load.App) { a.Kill(t) }) },
					func(t *testing.T, apps []*load.App) { each(apps, func(a *load.App) { a.Again(t) }) }},
			} {
				t.Run(s.name, func(t *testing.T) {
					apps := apps(t)
					url := p.start(t, apps)
					play(t, p.name+": "+s.name, url, apps, func() { s.begin(t, apps) }, s.lasts, func() { s.end(t, apps) })
				})
			}
		})
	}
}

// peer starts another balancer with a configuration in which DIR, PORT, A, B and
// C stand for its folder, its port and the apps.
func peer(t *testing.T, command, config string, apps []*load.App, flag string) (url string) {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		t.Fatalf("%s is not installed; run: tools/need %s", command, command)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // Its workers may be another user.
		t.Fatal(err)
	}
	address := harness.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, command+".conf")
	text := strings.NewReplacer("DIR", dir, "PORT", port, "server a A", "server a "+apps[0].Address, "server b B", "server b "+apps[1].Address,
		"server c C", "server c "+apps[2].Address, "server A", "server "+apps[0].Address, "server B", "server "+apps[1].Address,
		"server C", "server "+apps[2].Address).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.Run(t, command, exec.Command(path, flag, file))
	harness.Eventually(t, 10*time.Second, command+" listens", func() bool {
		if p.Ended() {
			t.Fatalf("%s ended instead of listening:\n%s", command, p.Output())
		}
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	return "http://" + address
}

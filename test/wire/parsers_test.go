package wire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestRealParsers sends every case through Steelyard to programs with parsers of
// their own. Each must see the very requests that Steelyard sent: as many, with
// these methods and targets, and bodies of these lengths. They may refuse one,
// which Steelyard let through because the RFCs allow it; they may not see one more.
func TestRealParsers(t *testing.T) {
	for _, p := range []struct {
		name  string
		start func(*testing.T) string
		// refuses is how many of the cases it may refuse: Go an Expect that it
		// does not know, the others methods and hosts that they do not like.
		refuses int
	}{
		{"net-http", goSeer, 10},
		{"node", func(t *testing.T) string { return harness.StartNode(t, "test/wire/testdata/seer.mjs").Address }, 10},
		{"nginx", startNginx, 20},
		{"apache", startApache, 20},
	} {
		t.Run(p.name, func(t *testing.T) {
			tp := newTap(t, p.start(t))
			s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: [%q], retry: {attempts: 1}, outlier: off}}
`, tp.address))
			requests, refused := 0, map[string]string{}
			for _, c := range allCases() {
				for _, r := range runs {
					n, status := c.compare(t, s.Address, tp, r)
					requests += n
					if status != "" {
						refused[c.name] = status
					}
				}
			}
			t.Logf("%d requests; refused by it: %v", requests, refused)
			if len(refused) > p.refuses {
				t.Errorf("it refuses %d of the cases", len(refused))
			}
			if requests < 1000 {
				t.Errorf("it got only %d requests", requests)
			}
		})
	}
}

// compare sends a case in one way and compares what was sent with what was seen.
func (c *wireCase) compare(t *testing.T, address string, tp *tap, r run) (requests int, refused string) {
	t.Helper()
	drain := func(r *bufio.Reader) error {
		_, err := r.WriteTo(io.Discard)
		if err == nil {
			err = io.EOF
		}
		return err
	}
	if err := converse(plain(address), c.stream(r), c.hangUp, r.step, drain); err != nil {
		t.Errorf("%s, %s: %v", c.name, r.name, err)
	}
	list, err := tp.take()
	if err != nil {
		t.Errorf("%s, %s: %v", c.name, r.name, err)
	}
	for _, tr := range list {
		q := &tr.request
		switch sent := fmt.Sprintf("%s %s %d", q.method, q.target, q.body); {
		case tr.refused == "200" && (q.target == "*" || q.method == "TRACE"): // answered by itself
		case tr.refused != "" && tr.refused[0] != '4' && tr.refused[0] != '5':
			t.Errorf("%s, %s: %q was answered %s by nobody", c.name, r.name, sent, tr.refused)
		case tr.refused != "":
			refused = tr.refused
		case tr.seen != sent:
			t.Errorf("%s, %s: sent was %q, seen was %q", c.name, r.name, sent, tr.seen)
		}
	}
	return len(list), refused
}

// goSeer says what Go's net/http made of each request.
func goSeer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{MaxHeaderBytes: 128 << 10, DisableGeneralOptionsHandler: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return // one that was broken off
		}
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %d", r.Method, r.RequestURI, n))
	})}
	go func() { _ = server.Serve(ln) }() // until Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	return ln.Addr().String()
}

// server writes a configuration for a program and starts it, as one process, so
// that it leaves no others behind when it is killed. In the configuration DIR, PORT
// and SEER stand for a folder of its own, its port and what it passes requests on to.
func server(t *testing.T, command, config string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + command) // Not everybody's path leads there.
	}
	if err != nil {
		t.Fatalf("%s is not installed; run: tools/need %s", command, command)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // Its workers are another user.
		t.Fatal(err)
	}
	address := harness.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer("DIR", dir, "PORT", port, "SEER", goSeer(t))
	file := filepath.Join(dir, command+".conf")
	if err := os.WriteFile(file, []byte(replace.Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = replace.Replace(args[i])
	}
	harness.Run(t, command, exec.Command(path, append(args, file)...))
	harness.Eventually(t, 20*time.Second, command+" listens", func() bool {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return address
}

// startNginx runs nginx, which passes on what it made of each request.
func startNginx(t *testing.T) string {
	return server(t, "nginx", `
daemon off;
master_process off;
pid DIR/nginx.pid;
error_log DIR/error.log;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  client_header_buffer_size 64k; large_client_header_buffers 8 64k; client_max_body_size 0; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
  keepalive_timeout 600; keepalive_requests 1000000;
  underscores_in_headers on; ignore_invalid_headers off;
  server {
    listen 127.0.0.1:PORT;
    location / { proxy_pass http://SEER; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; }
  }
}
`, "-p", "DIR", "-e", "DIR/error.log", "-c")
}

// startApache runs Apache's httpd in the same way.
func startApache(t *testing.T) string {
	modules := "/usr/lib/apache2/modules"
	if _, err := os.Stat(modules); err != nil {
		t.Fatalf("Apache's modules are not there: %v; run: tools/need apache2", err)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "User www-data\nGroup www-data"
	}
	var load strings.Builder
	for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http"} {
		fmt.Fprintf(&load, "LoadModule %s_module %s/mod_%s.so\n", m, modules, m)
	}
	return server(t, "apache2", load.String()+user+`
ServerRoot DIR
DefaultRuntimeDir DIR
PidFile DIR/apache2.pid
ErrorLog DIR/error.log
ServerName localhost
Listen 127.0.0.1:PORT
Mutex file:DIR default
KeepAliveTimeout 600
MaxKeepAliveRequests 0
TraceEnable extended
LimitRequestLine 65536
LimitRequestFieldSize 65536
LimitRequestFields 2000
AllowEncodedSlashes NoDecode
ProxyPreserveHost On
ProxyPass "/" "http://SEER/" nocanon
`, "-X", "-d", "DIR", "-f")
}

// Package proxyproto_test shows the PROXY protocol from a file to the wire: with raw
// sockets, and with real HAProxy and nginx on either side.
package proxyproto_test

import (
	"bufio"
	"crypto/tls"
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

func TestMain(m *testing.M) { harness.Main(m) }

// client is an HTTP client at another address of this machine.
func client(t *testing.T, from string) *http.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	tr := &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// get is the body of a response of 200.
func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %v %q", res.StatusCode, err, body)
	}
	return string(body)
}

// dial connects from an address of this machine.
func dial(t *testing.T, from, to string) *harness.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &harness.Conn{Conn: nc, R: bufio.NewReader(nc)}
}

// seer answers with who it is told the client is.
func seer(t *testing.T) string {
	address, _ := harness.Scripted(t, func(m *harness.Message) string {
		text := m.Value("X-Forwarded-For") + " " + m.Value("X-Client")
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	})
	return address
}

// server runs HAProxy or nginx with a configuration in which DIR, PORT and UP stand
// for a folder, its port, and up.
func server(t *testing.T, command, up, config string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + command); err != nil {
			t.Fatalf("%s is not installed; run: tools/need %s", command, command)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	address := harness.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(dir, command+".conf")
	text := strings.NewReplacer("DIR", dir, "PORT", port, "UP", up).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-db", "-f", file}
	if command == "nginx" {
		args = []string{"-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file}
	}
	harness.Run(t, command, exec.Command(path, args...))
	harness.Eventually(t, 20*time.Second, command+" listens", func() bool {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return address
}

// timeouts are what HAProxy warns of when they are missing.
const timeouts = `
global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
`

// nginxHTTP is nginx with the contents of its http block.
func nginxHTTP(http string) string {
	return `
daemon off;
worker_processes 1;
pid DIR/nginx.pid;
events { worker_connections 128; }
http {
  access_log off; error_log DIR/error.log;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
` + http + "\n}\n"
}

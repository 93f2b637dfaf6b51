package admin_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestPagesOfOthersAreRefused: what a browser sends for a page of another site
// changes nothing, whoever is asked for what.
func TestPagesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "ca")
	ours.issue(t, "server", false)
	ours.issue(t, "ops", false)
	tls := fmt.Sprintf("tls: {cert: %s, key: %s, client_ca: %s}", ours.path("server.pem"), ours.path("server.key"), ours.path("ca.pem"))
	for name, mode := range map[string]struct {
		admin, scheme string
		client        *http.Client
	}{
		"loopback":     {"address: ADMIN", "http", harness.Client(t)},
		"token":        {"address: ADMIN, token: " + token, "http", harness.Client(t)},
		"certificates": {"address: ADMIN, " + tls, "https", ours.client(t, ours, "ops")},
		"read_only":    {"address: ADMIN, read_only: true", "http", harness.Client(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, file(t, "admin: {"+mode.admin+"}\n"))
			url := mode.scheme + "://" + s.Admin
			order := url + "/api/v1/pools/web/backends/127.0.0.1:1/disable"
			authorised := "Authorization: Bearer " + token
			for _, headers := range [][]string{
				{"Origin: http://evil.example"}, {"Origin: null"}, {"Origin: http://127.0.0.1:1"},
				{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"},
			} {
				if status, text := api(t, mode.client, "POST", order, "", append(headers, authorised)...); status != 403 {
					t.Errorf("%v: %d %s", headers, status, text)
				}
			}
			if status, text, err := harness.Do(mode.client, "POST", order, "", "Content-Type: text/plain", authorised); err != nil || status != 415 {
				t.Errorf("a form: %d %s %v", status, text, err)
			}
			if _, text := api(t, mode.client, "GET", url+"/api/v1/pools/web", "", authorised); strings.Contains(text, "disabled") {
				t.Error("an order was carried out")
			}
		})
	}
}

// TestHostileRequests: large bodies, paths out of the dashboard, and clients that
// say nothing are turned away.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: ADMIN\n"))
	c, url := harness.Client(t), "http://"+s.Admin
	large := `{"for": "` + strings.Repeat("x", 1<<20) + `"}`
	for _, path := range []string{"/api/v1/pools/web/backends/127.0.0.1:1/drain", "/api/v1/explain"} {
		if status, text := api(t, c, "POST", url+path, large); status != 400 || !strings.Contains(text, "too large") {
			t.Errorf("a large body to %s: %d %.300s", path, status, text)
		}
	}
	// The answer may be lost when the connection is closed before all was read.
	if status, text, err := harness.Do(c, "GET", url+"/api/v1/pools", "", "X-Large: "+strings.Repeat("x", 100<<10)); err == nil && status != 431 {
		t.Errorf("a large head: %d %.300s", status, text)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("very secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	for _, path := range []string{
		"/ui/" + up + secret, "/ui/" + strings.ReplaceAll(up, "/", "%2f") + secret, "/ui/..%5c..%5c" + secret, "/ui/%2e%2e/%2e%2e/" + secret,
		"/ui/../admin.go", "/ui/..%2fui.go", "//etc/passwd", "/ui//etc/passwd", "/ui/", "/ui/static", "/ui/.", "/ui/%00", secret,
	} {
		answer := send(t, s.Admin, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if strings.HasPrefix(answer, "HTTP/1.1 200") || strings.Contains(answer, "very secret") || strings.Contains(answer, "root:") || strings.Contains(answer, "package ui") {
			t.Errorf("%s: %.300s", path, answer)
		}
	}
	began := time.Now()
	if answer := send(t, s.Admin, "GET / HTTP/1.1\r\nHost:"); strings.HasPrefix(answer, "HTTP/1.1 200") || time.Since(began) > 9*time.Second {
		t.Errorf("a client that says nothing more is answered after %v with %q", time.Since(began), answer)
	}
}

// send writes bytes as they are and reads until the other side closes.
func send(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

package admin_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

const token = "a-token-of-the-tests"

// calls are the reading calls of the API.
var calls = []string{
	"/api/v1/pools", "/api/v1/pools/web", "/api/v1/backends", "/api/v1/listeners", "/api/v1/routes", "/api/v1/errors", "/api/v1/generation",
	"/api/v1/audit", "/api/v1/log", "/api/v1/history", "/api/v1/openapi.json", "/api/v1/session", "/metrics",
}

// TestAnOpenAdminIsRefused: check finds an address that others can reach and that
// nothing guards, and says what to do; nor does Steelyard start by it.
func TestAnOpenAdminIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "steelyard.yaml")
	write(t, path, strings.Replace(file(t, `admin: "0.0.0.0:19400"`), "LISTEN", harness.FreeAddress(t), 1))
	for _, command := range []string{"check", "run"} {
		code, _, errOut := steelyard(t, command, "-c", path)
		for _, want := range []string{"nothing says who may use it", "token_file, token or tls.client_ca", `did you mean "127.0.0.1:19400"`} {
			if code != 1 || !strings.Contains(errOut, want) {
				t.Errorf("%s: %d, %q, want 1 and %q", command, code, errOut, want)
			}
		}
	}
}

// TestATokenIsNeeded: on an address of all the machine, nothing but /livez, /readyz
// and the files of the dashboard is had without the token.
func TestATokenIsNeeded(t *testing.T) {
	t.Parallel()
	_, port, _ := strings.Cut(harness.FreeAddress(t), ":")
	s := harness.Start(t, file(t, fmt.Sprintf("admin: {address: \"0.0.0.0:%s\", token: %s}\n", port, token)))
	c, url := harness.Client(t), "http://127.0.0.1:"+port
	for _, path := range append(calls, "/api/v1/stream", "/api/v1/none") {
		if status, text := api(t, c, "GET", url+path, ""); status != 401 || !strings.Contains(text, "Authorization: Bearer") {
			t.Errorf("%s without a token: %d %s", path, status, text)
		}
	}
	for _, path := range calls {
		if status, text := api(t, c, "GET", url+path, "", "Authorization: Bearer "+token); status != 200 {
			t.Errorf("%s with the token: %d %s", path, status, text)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/"} {
		if status, text := api(t, c, "GET", url+path, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	order := url + "/api/v1/pools/web/backends/127.0.0.1:1/disable"
	for _, headers := range [][]string{nil, {"Authorization: Bearer " + token + "x"}, {"Authorization: Basic " + token}, {"Authorization: Bearer"}} {
		if status, text := api(t, c, "POST", order, "", headers...); status != 401 {
			t.Errorf("an order with %v: %d %s", headers, status, text)
		}
	}
	if status, text := api(t, c, "POST", order, "", "Authorization: Bearer "+token); status != 200 || !strings.Contains(text, "disabled") {
		t.Errorf("an order with the token: %d %s", status, text)
	}
	if _, text := api(t, c, "GET", url+"/api/v1/audit", "", "Authorization: Bearer "+token); !strings.Contains(text, `"who": "token"`) || !strings.Contains(text, `"total": 1`) {
		t.Errorf("the audit does not have the one order that was carried out: %s", text)
	}
	harness.Eventually(t, 5*time.Second, "the wrong token is logged", func() bool {
		return strings.Contains(s.Output(), "a wrong admin token was refused") && !strings.Contains(s.Output(), token)
	})
}

// TestGuessingIsSlow: after ten wrong tokens an address has to wait.
func TestGuessingIsSlow(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: {address: ADMIN, token: "+token+"}\n"))
	statuses := map[int]int{}
	for i := range 30 {
		status, _ := api(t, harness.Client(t), "GET", "http://"+s.Admin+"/api/v1/pools", "", fmt.Sprintf("Authorization: Bearer wrong-%d", i))
		statuses[status]++
	}
	if statuses[401] < 10 || statuses[401] > 12 || statuses[429] != 30-statuses[401] {
		t.Errorf("%v, want 401 ten times and 429 then", statuses)
	}
	if status, text := api(t, harness.Client(t), "GET", "http://"+s.Admin+"/livez", ""); status != 200 {
		t.Errorf("/livez: %d %s", status, text)
	}
}

// TestATokenIsExchanged: a token_file that changes holds from then on, without a
// restart; a broken one leaves the token before.
func TestATokenIsExchanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.token")
	write(t, path, token+"\n")
	s := harness.Start(t, file(t, "admin: {address: ADMIN, token_file: "+path+"}\n"))
	c := harness.Client(t)
	status := func(token string) int {
		got, _ := api(t, c, "GET", "http://"+s.Admin+"/api/v1/pools", "", "Authorization: Bearer "+token)
		return got
	}
	if got := status(token); got != 200 {
		t.Fatalf("the first token: %d", got)
	}
	write(t, path, "another-token-of-the-tests")
	if old, fresh := status(token), status("another-token-of-the-tests"); old != 401 || fresh != 200 {
		t.Errorf("after the exchange the old token gets %d and the new one %d", old, fresh)
	}
	write(t, path, "short")
	if kept, short := status("another-token-of-the-tests"), status("short"); kept != 200 || short != 401 {
		t.Errorf("with a broken file the token before gets %d and the broken one %d", kept, short)
	}
	harness.Eventually(t, 5*time.Second, "the broken file is logged", func() bool {
		return strings.Contains(s.Output(), "the admin token cannot be read")
	})
}

// TestClientCertificates: with client_ca only who shows a certificate of it may
// connect, and the audit has its name. A cert that changes is served from then on.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "ca"), newAuthority(t, "ca")
	for _, name := range []string{"server", "ops"} {
		ours.issue(t, name, false)
	}
	others.issue(t, "ops", false)
	_, port, _ := strings.Cut(harness.FreeAddress(t), ":")
	harness.Start(t, file(t, fmt.Sprintf("admin: {address: \":%s\", tls: {cert: %s, key: %s, client_ca: %s}}\n",
		port, ours.path("server.pem"), ours.path("server.key"), ours.path("ca.pem"))))
	url := "https://127.0.0.1:" + port
	for name, c := range map[string]*http.Client{"no certificate": ours.client(t, nil, ""), "a certificate of others": ours.client(t, others, "ops")} {
		if status, text, err := harness.Do(c, "GET", url+"/livez", ""); err == nil {
			t.Errorf("with %s: %d %s", name, status, text)
		}
	}
	c := ours.client(t, ours, "ops")
	if status, text := api(t, c, "POST", url+"/api/v1/pools/web/backends/127.0.0.1:1/disable", ""); status != 200 {
		t.Errorf("with a certificate: %d %s", status, text)
	}
	if _, text := api(t, c, "GET", url+"/api/v1/audit", ""); !strings.Contains(text, `"who": "certificate ops"`) {
		t.Errorf("the audit does not name the certificate: %s", text)
	}
	if status, text := api(t, c, "GET", url+"/api/v1/pools", "", "Host: evil.example"); status != 403 {
		t.Errorf("a host that the certificate is not of: %d %s", status, text)
	}
	serial := func() string {
		res, err := ours.client(t, ours, "ops").Get(url + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	ours.issue(t, "server", false)
	harness.Eventually(t, 10*time.Second, "the certificate is read anew", func() bool { return serial() != before })
}

// TestReadOnly: with read_only everything can be read and nothing changed.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: {address: ADMIN, read_only: true}\n"))
	c, url := harness.Client(t), "http://"+s.Admin
	for _, order := range []string{"POST /api/v1/pools/web/backends/127.0.0.1:1/disable", "POST /api/v1/pools/web/release", "POST /api/v1/reload", "PUT /api/v1/log"} {
		method, path, _ := strings.Cut(order, " ")
		if status, text := api(t, c, method, url+path, `{}`); status != 403 || !strings.Contains(text, "read-only") {
			t.Errorf("%s: %d %s", order, status, text)
		}
	}
	for _, path := range calls {
		if status, text := api(t, c, "GET", url+path, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text := api(t, c, "POST", url+"/api/v1/explain", `{"path": "/"}`); status != 200 {
		t.Errorf("explain: %d %s", status, text)
	}
	if strings.Contains(fmt.Sprint(s.Pool(t, "web").Backends), "disabled") {
		t.Error("an order was carried out")
	}
}

// TestLogLevel: the key log holds from the start, and the API changes it.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, file(t, "admin: ADMIN\nlog: {level: error}\n"))
	c, url := harness.Client(t), "http://"+s.Admin
	order := func(action string) { s.Order(t, "web", "127.0.0.1:1", action, "") }
	order("disable")
	if status, text := api(t, c, "PUT", url+"/api/v1/log", `{"level": "info"}`); status != 200 || !strings.Contains(text, "info") {
		t.Fatalf("%d %s", status, text)
	}
	order("enable")
	harness.Eventually(t, 5*time.Second, "an order is logged", func() bool { return strings.Contains(s.Output(), "what=enable") })
	if strings.Contains(s.Output(), "what=disable") {
		t.Errorf("an order was logged at level error:\n%s", s.Output())
	}
	if status, text := api(t, c, "PUT", url+"/api/v1/log", `{"level": "loud"}`); status != 400 || !strings.Contains(text, "debug, info, warn, error") {
		t.Errorf("%d %s", status, text)
	}
}

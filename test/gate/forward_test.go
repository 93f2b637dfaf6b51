package gate_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

// asked is what the server saw that decides.
type asked struct {
	Asked, Sockets, Gone int
	Last                 map[string]any
}

func authServer(t *testing.T) *harness.Node {
	t.Helper()
	return harness.StartNode(t, "test/gate/testdata/auth.mjs")
}

func TestForwardAuth(t *testing.T) {
	t.Parallel()
	app, auth := harness.App(t, "A"), authServer(t)
	s := harness.Start(t, strings.NewReplacer("APP", app.Address, "AUTH", auth.Address).Replace(`
listeners: {web: {address: "LISTEN"}}
admin: {address: "ADMIN"}
routes:
  - match: {path: /echo}
    pool: web
    forward_auth: {url: "http://AUTH/verify?a=1", response_headers: [X-User, X-Roles, X-Missing]}
    cors: https://app.test
    response_headers: {set: {X-From: steelyard}}
  - {match: {path: /few}, pool: web, rewrite: {replace_prefix: {from: /few, to: /echo}}, forward_auth: {url: "pool:auth/verify", request_headers: [Cookie, Accept]}}
  - {match: {path: /ws}, pool: web, forward_auth: "pool:auth/verify"}
  - {match: {path: /fixed}, respond: 200, forward_auth: "http://AUTH/verify"}
pools: {web: {backends: [APP]}, auth: {backends: [AUTH], check: {tcp: {}}}}
`))
	c := harness.Dial(t, s.Address)
	question := func() asked {
		var a asked
		auth.Ask(t, "/_asked", &a)
		return a
	}
	const good = "Cookie: session=good"
	m := ask(t, c, "/echo?q=1", "192.0.2.1", good, "X-User: mallory", "x_user: mallory", "X-Missing: mallory", "X-Roles: root", "X-Forwarded-Uri: /evil", "X_Forwarded_Method: PUT",
		"If-None-Match: x", "Origin: https://app.test")
	if m.Status() != 200 || m.Value("X-From") != "steelyard" || m.Value("Access-Control-Allow-Origin") != "https://app.test" {
		t.Fatalf("%s %q", said(m), m.Fields)
	}
	got := string(m.Body)
	if strings.Contains(got, "mallory") || strings.Contains(got, "root") || !strings.Contains(got, `"X-User","alice"`) ||
		!strings.Contains(got, `"X-Roles","admin","X-Roles","dev"`) || strings.Contains(got, "secret") || !strings.Contains(got, "If-None-Match") {
		t.Errorf("the app got %s", got)
	}
	last := question().Last
	for name, want := range map[string]any{
		"method": "GET", "url": "/verify?a=1", "host": auth.Address, "x-forwarded-method": "GET", "x-forwarded-uri": "/echo?q=1", "x-forwarded-host": "app.test",
		"x-forwarded-proto": "http", "x-forwarded-for": "127.0.0.1", "cookie": "session=good", "if-none-match": nil, "x_forwarded_method": nil,
	} {
		if last[name] != want {
			t.Errorf("the server was told %s %v, want %v", name, last[name], want)
		}
	}
	// What it answers otherwise is the client's.
	m = ask(t, c, "/echo?q=1", "", "X-User: mallory", "Origin: https://app.test")
	if m.Status() != 302 || m.Value("Location") != "/login?rd=%2Fecho%3Fq%3D1" || strings.Join(m.Values("Set-Cookie"), "|") != "seen=1; Path=/|b=2" ||
		m.Value("X-From") != "steelyard" || m.Value("Access-Control-Allow-Origin") != "https://app.test" || m.Value("X-Steelyard-Cause") != "" {
		t.Errorf("somebody unknown: %s %q", m.First, m.Fields)
	}
	m = ask(t, c, "/few", "", "Accept: application/json", "X-Other: 1")
	if m.Status() != 401 || m.Value("WWW-Authenticate") != `Bearer realm="auth"` || string(m.Body) != `{"error":"who are you?"}` {
		t.Errorf("a program: %s %q %q", m.First, m.Fields, m.Body)
	}
	if last := question().Last; last["x-other"] != nil || last["x-forwarded-uri"] != "/few" {
		t.Errorf("the server was told %v", last)
	}
	if got := string(ask(t, c, "/few", "", good, "X-User: mallory").Body); !strings.Contains(got, "mallory") || strings.Contains(got, "alice") {
		t.Errorf("without response_headers the app got %s", got)
	}
	if m := ask(t, c, "/fixed", "", good); m.Status() != 200 {
		t.Errorf("a fixed response: %s", said(m))
	}
	before := question().Asked
	if m := c.Exchange(t, "OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n"); m.Status() != 204 || question().Asked != before {
		t.Errorf("a preflight: %s", said(m))
	}
	// Bodies and upgrades are not for it.
	m = c.Exchange(t, "POST /echo HTTP/1.1\r\nHost: a\r\n"+good+"\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
	for m.Status() == 100 {
		m = c.Response(t, "POST")
	}
	last = question().Last
	if !strings.Contains(string(m.Body), `"body":"body"`) || last["transfer-encoding"] != nil || last["expect"] != nil || last["x-forwarded-method"] != "POST" {
		t.Errorf("a POST: %s %s; the server was told %v", said(m), m.Body, last)
	}
	m = c.Exchange(t, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	if m.Status() != 302 {
		t.Errorf("an upload that may not: %s; want no 100 before", said(m))
	}
	c = harness.Dial(t, s.Address)
	ask(t, c, "/ws", "", good, "Connection: Upgrade, X-Z", "Upgrade: websocket", "X-Z: 1")
	if last = question().Last; last["upgrade"] != nil || last["x-z"] != nil {
		t.Errorf("of an upgrade the server was told %v", last)
	}
	if a := question(); a.Sockets > a.Asked/2+10 {
		t.Errorf("%d connections for %d questions", a.Sockets, a.Asked)
	}
	_, answer, err := harness.Do(harness.Client(t), "POST", "http://"+s.Admin+"/api/v1/explain", `{"path": "/echo"}`, "Content-Type: application/json")
	if err != nil || !strings.Contains(answer, `of pool forward_auth:`+auth.Address+` would be asked first, and decides`) {
		t.Errorf("explained as %v %s", err, answer)
	}
	metrics := harness.Get(t, harness.Client(t), "http://"+s.Admin+"/metrics")
	if !strings.Contains(metrics, `steelyard_route_refused_total{reason="unauthorized",route="/echo"} 2`) {
		t.Error("refusals are not counted")
	}
}

func TestForwardAuthThatFails(t *testing.T) {
	t.Parallel()
	app, auth := harness.App(t, "A"), authServer(t)
	var served atomic.Int64
	odd := harness.Backend(t, func(c *harness.Conn) {
		for {
			m, err := c.Request()
			if err != nil {
				return
			}
			answer := map[string]string{
				"/garbage": "what?\r\n\r\n", "/close": "", "/huge": fmt.Sprintf("HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s", 2<<20, strings.Repeat("x", 2<<20)),
				"/cut": "HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nhalf", "/switch": "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
				"/close-later": "HTTP/1.1 204 No\r\n\r\n", "/chunked": "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nno!\r\n0\r\nX-T: 1\r\n\r\n",
				"/interim": "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-User: bob\r\n\r\n",
			}[strings.Fields(m.First)[1]]
			if _, err := io.WriteString(c, answer); err != nil || answer == "" || strings.Contains(m.First, "/cut") {
				return
			}
			if strings.Contains(m.First, "/close-later") && served.Add(1)%2 == 1 {
				time.Sleep(20 * time.Millisecond) // so that it is given back first, and then found closed
				return
			}
		}
	})
	routes := ""
	for _, path := range []string{"garbage", "close", "huge", "cut", "switch", "close-later", "chunked", "interim"} {
		routes += fmt.Sprintf("  - {match: {path: /%s}, pool: web, forward_auth: {url: \"http://%s/%s\", response_headers: X-User}}\n", path, odd, path)
	}
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
%s  - {match: {path: /slow}, pool: web, forward_auth: {url: "http://%s/verify", timeout: 300ms}}
  - {match: {path: /patient}, pool: web, forward_auth: {url: "http://%s/verify", timeout: 30s}}
  - {match: {path: /down}, pool: web, forward_auth: "http://%s/"}
pools: {web: {backends: [%s]}}
`, routes, auth.Address, auth.Address, harness.FreeAddress(t), app.Address))
	c := harness.Dial(t, s.Address)
	for _, e := range []struct{ path, want, body string }{
		{"/garbage", "503 auth_unavailable", ""},
		{"/close", "503 auth_unavailable", ""},
		{"/huge", "503 auth_unavailable", ""},
		{"/cut", "503 auth_unavailable", ""},
		{"/switch", "503 auth_unavailable", ""},
		{"/down", "503 auth_unavailable", ""},
		{"/chunked", "403", "no!"},
		{"/interim", "200", "A"},
		{"/close-later", "200", "A"},
		{"/close-later", "200", "A"},
		{"/close-later", "200", "A"},
	} {
		m := ask(t, c, e.path, "")
		if said(m) != e.want || e.body != "" && string(m.Body) != e.body {
			t.Errorf("%s: %s %q, want %s", e.path, said(m), m.Body, e.want)
		}
		if m.Status() == 503 && (m.Value("Retry-After") == "" || strings.Contains(string(m.Body), "127.0.0.1")) {
			t.Errorf("%s tells %q %s", e.path, m.Fields, m.Body)
		}
	}
	harness.Eventually(t, patience, "the log says that the server is down", func() bool { return strings.Contains(s.Output(), "forward_auth: dial tcp") })
	var nothing map[string]any
	auth.Ask(t, "/_mood?ms=5000", &nothing)
	began := time.Now()
	if got := said(ask(t, c, "/slow", "")); got != "503 auth_unavailable" || time.Since(began) > 3*time.Second {
		t.Errorf("a slow server: %s after %v", got, time.Since(began))
	}
	gone, err := harness.Connect(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	gone.Send(t, "GET /patient HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\n\r\n")
	var before asked
	harness.Eventually(t, patience, "the question of one who leaves arrives", func() bool {
		auth.Ask(t, "/_asked", &before)
		return before.Last["x-gone"] != nil
	})
	gone.Close()
	harness.Eventually(t, 3*time.Second, "nobody waits for the answer any more", func() bool {
		var a asked
		auth.Ask(t, "/_asked", &a)
		return a.Gone > before.Gone
	})
	auth.Ask(t, "/_mood?ms=0", &nothing)
	if m := ask(t, c, "/patient", "", "Accept: application/json"); m.Status() != 401 {
		t.Errorf("afterwards: %s", said(m))
	}
	var e map[string]any
	if err := json.Unmarshal(ask(t, c, "/patient", "", "Accept: application/json").Body, &e); err != nil {
		t.Error(err)
	}
}

// TestForwardAuthUnderLoad: clients with and without a session, at the same time,
// on few connections to the server; nobody gets what is another's.
func TestForwardAuthUnderLoad(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "A")
	who, _ := harness.Scripted(t, func(m *harness.Message) string {
		user := m.Value("X-Token")
		if user == "" {
			return "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"
		}
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nX-User: %s\r\nContent-Length: 2\r\n\r\nok", user)
	})
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{pool: web, forward_auth: {url: "http://%s/", response_headers: X-User}}]
pools: {web: {backends: [%s]}}
`, who, app.Address))
	const clients, each = 8, 200
	errs := make(chan error, clients)
	for n := range clients {
		c := harness.Dial(t, s.Address)
		go func() {
			for i := range each {
				token, want := "", 401
				if i%3 != 0 {
					token, want = fmt.Sprintf("X-Token: user-%d-%d\r\n", n, i), 200
				}
				if _, err := fmt.Fprintf(c, "GET /echo HTTP/1.1\r\nHost: a\r\nX-User: mallory\r\n%s\r\n", token); err != nil {
					errs <- err
					return
				}
				m, err := c.Receive("GET")
				if err != nil {
					errs <- err
					return
				}
				if m.Status() != want || want == 200 && !strings.Contains(string(m.Body), fmt.Sprintf(`"X-User","user-%d-%d"`, n, i)) || strings.Contains(string(m.Body), "mallory") {
					errs <- fmt.Errorf("client %d, request %d: %s %s", n, i, m.First, m.Body)
					return
				}
			}
			errs <- nil
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestForwardAuthOverTLS: a server with a certificate is believed if the system
// trusts it, and only then.
func TestForwardAuthOverTLS(t *testing.T) {
	var host atomic.Value
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.Store(r.Host)
		w.WriteHeader(204)
	}))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{respond: 200, forward_auth: "%s/verify"}]
`, server.URL)
	s := harness.Start(t, yaml)
	if got := said(ask(t, harness.Dial(t, s.Address), "/", "")); got != "503 auth_unavailable" {
		t.Errorf("a certificate that nobody trusts: %s", got)
	}
	harness.Eventually(t, patience, "the log says why", func() bool { return strings.Contains(s.Output(), "certificate") })
	t.Setenv("SSL_CERT_FILE", ca)
	s = harness.Start(t, yaml)
	if got := said(ask(t, harness.Dial(t, s.Address), "/", "")); got != "200" || host.Load() != strings.TrimPrefix(server.URL, "https://") {
		t.Errorf("a certificate that the system trusts: %s, asked as %v", got, host.Load())
	}
}

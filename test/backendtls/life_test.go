package backendtls_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// TestConnectionsAreReused: a pooled TLS connection is used again, though session
// tickets come behind the handshake; a new one resumes the session.
func TestConnectionsAreReused(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		t.Run(version, func(t *testing.T) {
			w := &world{t: t, dir: w.dir, ca: w.ca}
			app := w.app("a", "good", "MAX_VERSION="+version)
			s := w.start(`backends: "` + app.Address + `", tls: {ca: DIR/ca.pem}`)
			for range 30 {
				a := ask(t, s, "POST", "/", "x")
				// A client has its answer a moment before the connection can be used again.
				if a.Version != version || a.Connections > 5 {
					t.Fatalf("the app sees %+v", a)
				}
			}
			s = w.start(`backends: "` + app.Address + `", keepalive: {max_idle: 0}, tls: {ca: DIR/ca.pem}`)
			resumed := 0
			for range 10 {
				if ask(t, s, "GET", "/", "").Resumed {
					resumed++
				}
			}
			if resumed < 8 {
				t.Errorf("%d of 10 connections resume a session", resumed)
			}
		})
	}
}

// TestIdleConnectionsThatEnd: an app that closes idle connections costs no POST.
func TestIdleConnectionsThatEnd(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	app := w.app("a", "good", "KEEPALIVE_MS=100")
	s := w.start(`backends: "` + app.Address + `", retry: off, tls: {ca: DIR/ca.pem}`)
	for i := range 40 {
		ask(t, s, "POST", "/", "x")
		time.Sleep(time.Duration(80+i) * time.Millisecond) // around the moment when the app closes
	}
}

// TestBodiesBothWays: large bodies, event streams and upgraded connections.
func TestBodiesBothWays(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	app := w.app("a", "good")
	s := w.start(`backends: "` + app.Address + `", tls: {ca: DIR/ca.pem}`)

	body := strings.Repeat("0123456789abcdef", 1<<19)
	sum := sha256.Sum256([]byte(body))
	if a := ask(t, s, "POST", "/upload", body); a.Received != int64(len(body)) || a.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("of %d bytes the app got %+v", len(body), a)
	}
	if got := harness.Get(t, harness.Client(t), s.URL+"/events"); got != "data: 1\n\ndata: 2\n\ndata: 3\n\n" {
		t.Errorf("events: %q", got)
	}

	c := harness.Dial(t, s.Address)
	c.Send(t, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if m, err := c.Head(); err != nil || m.Status() != 101 {
		t.Fatalf("upgrade: %v, %v", m, err)
	}
	c.Send(t, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Errorf("through the tunnel comes %q, %v", buf, err)
	}
}

// TestEndsThatAreNotSaid: a body that ends with its connection is whole only if TLS
// says so (RFC 9112, section 9.8).
func TestEndsThatAreNotSaid(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	app := w.app("a", "good")
	s := w.start(`backends: "` + app.Address + `", tls: {ca: DIR/ca.pem}`)
	if got := harness.Get(t, harness.Client(t), s.URL+"/until-close"); got != "part of it, and the rest" {
		t.Errorf("a whole body: %q", got)
	}
	res, err := harness.Client(t).Get(s.URL + "/until-close?cut")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("a body that was cut looks whole")
	}
	logged(t, s, "close_notify")
}

// TestFilesAreExchanged: a CA and a client certificate that change on disk are in
// force for new connections without a reload; files that cannot be used change
// nothing.
func TestFilesAreExchanged(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	w.issue("client", []string{"first"})
	app := w.app("a", "good", "CLIENT_CA="+w.path("ca.pem"))
	s := w.start(`backends: "` + app.Address + `", keepalive: {max_idle: 0}, tls: {ca: DIR/ca.pem, cert: DIR/client.pem, key: DIR/client.key}`)
	if a := ask(t, s, "GET", "/", ""); a.Client != "first" {
		t.Fatalf("the app sees %+v", a)
	}
	certtest.Write(t, w.path("client.pem"), []byte("nonsense"))
	logged(t, s, "cannot be used; those before stay in force")
	if a := ask(t, s, "GET", "/", ""); a.Client != "first" {
		t.Fatalf("with a file that cannot be used the app sees %+v", a)
	}
	w.issue("client", []string{"second"})
	harness.Eventually(t, 10*time.Second, "the next certificate is shown", func() bool { return ask(t, s, "GET", "/", "").Client == "second" })

	certtest.Write(t, w.path("ca.pem"), certtest.NewCA(t, "Next CA").PEM())
	harness.Eventually(t, 10*time.Second, "the CA before is not trusted any more", func() bool {
		status, _, _ := harness.Do(harness.Client(t), "GET", s.URL+"/", "")
		return status == http.StatusBadGateway
	})
}

// TestChecksSpeakTLSToo: the checks of a pool with TLS speak it, to http, tcp and
// grpc, unless they are told otherwise.
func TestChecksSpeakTLSToo(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	app := w.app("a", "good")
	for _, c := range []struct {
		name, check string
		healthy     bool
	}{
		{"http", "{path: /healthz, interval: 50ms}", true},
		{"tcp", `{tcp: {send: "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", expect: "200 OK"}, interval: 50ms}`, true},
		{"told to be plain", "{path: /healthz, interval: 50ms, tls: false}", false},
		{"TLS of its own, with other CAs", "{path: /healthz, interval: 50ms, tls: true}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{t: t, dir: w.dir, ca: w.ca}
			s := w.start(`backends: "` + app.Address + `", when_all_unhealthy: reject, tls: {ca: DIR/ca.pem}, check: ` + c.check)
			harness.Eventually(t, 10*time.Second, "the check has its result", func() bool {
				return (s.Backend(t, "web", app.Address).State == "healthy") == c.healthy
			})
			if status, _, _ := harness.Do(harness.Client(t), "GET", s.URL+"/", ""); (status == 200) != c.healthy {
				t.Errorf("a request is answered with %d", status)
			}
		})
	}
}

// TestTurnedOnByReload: connections made without TLS are not used any more when a
// reload turns it on, and backends of a file get it as well.
func TestTurnedOnByReload(t *testing.T) {
	w := newWorld(t)
	w.issue("good", []string{"127.0.0.1"})
	app := w.app("a", "good")
	if err := os.WriteFile(w.path("backends.yaml"), []byte("["+`"`+app.Address+`"`+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := w.start(`source: {file: DIR/backends.yaml}, retry: off`)
	if status, _, _ := harness.Do(harness.Client(t), "GET", s.URL+"/", ""); status == 200 {
		t.Fatal("an app with TLS answers without")
	}
	s.Reload(t, w.yaml(`source: {file: DIR/backends.yaml}, retry: off, tls: {ca: DIR/ca.pem}`))
	if a := ask(t, s, "GET", "/", ""); !a.Encrypted {
		t.Errorf("the app sees %+v", a)
	}
	logged(t, s, "tls on")

	plain := harness.App(t, "plain")
	s = w.start(`backends: "` + plain.Address + `"`)
	for range 3 {
		harness.Get(t, harness.Client(t), s.URL+"/")
	}
	s.Reload(t, w.yaml(`backends: "`+plain.Address+`", tls: {ca: DIR/ca.pem}`))
	if status, _, _ := harness.Do(harness.Client(t), "GET", s.URL+"/", ""); status != http.StatusBadGateway {
		t.Errorf("after tls was turned on, a plain connection is used still: %d", status)
	}
}

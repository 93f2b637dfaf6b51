package discovery

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// leader answers the probe, and wants a token.
func leader(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Consul-Token") != "secret" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	io.WriteString(w, `"10.0.0.1:8300"`)
}

// TestTransports reaches an agent in every way there is.
func TestTransports(t *testing.T) {
	unencrypted := httptest.NewServer(http.HandlerFunc(leader))
	defer unencrypted.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(leader))
	defer secure.Close()
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	socket := filepath.Join(t.TempDir(), "consul.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := httptest.NewUnstartedServer(http.HandlerFunc(leader))
	local.Listener.Close()
	local.Listener = ln
	local.Start()
	defer local.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	https := "https://" + strings.TrimPrefix(secure.URL, "https://")

	// Nothing of the environment may get in the way.
	t.Setenv("CONSUL_HTTP_SSL", "true")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", "/nonexistent")
	for _, tc := range []struct {
		name, address string
		tls           ConsulTLS
		problem       string
	}{
		{"plain", strings.TrimPrefix(unencrypted.URL, "http://"), ConsulTLS{}, ""},
		{"http", unencrypted.URL, ConsulTLS{}, ""},
		{"unix", "unix://" + socket, ConsulTLS{}, ""},
		{"https with CA", https, ConsulTLS{CAFile: ca}, ""},
		{"https without CA", https, ConsulTLS{}, "certificate"},
		{"https insecure", https, ConsulTLS{Insecure: true}, ""},
		{"https by another name", https, ConsulTLS{CAFile: ca, ServerName: "example.com"}, ""},
		{"https by a wrong name", https, ConsulTLS{CAFile: ca, ServerName: "consul.test"}, "consul.test"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := DefaultConsul()
			o.Token, o.TLS = "secret", tc.tls
			var requests atomic.Uint64
			a, err := newAgent(tc.address, o, newToken(o, slog.New(slog.DiscardHandler)), &requests, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			err = a.probe(context.Background())
			if (err == nil) != (tc.problem == "") || err != nil && !strings.Contains(plain(err), tc.problem) {
				t.Errorf("probe: %v, want %q", err, tc.problem)
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests counted", requests.Load())
			}
			if open := a.open.Load(); tc.problem == "" && open != 1 || tc.problem != "" && open != 0 {
				t.Errorf("%d connections counted", open)
			}
		})
	}
}

func TestBoundedBody(t *testing.T) {
	b := &boundedBody{ReadCloser: io.NopCloser(strings.NewReader("12345")), left: 4}
	got, err := io.ReadAll(b)
	if string(got) != "1234" || !errors.Is(err, errTooLong) {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestPlainErrorsHaveNoPorts makes the same failure twice and compares.
func TestPlainErrorsHaveNoPorts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0) // It resets.
			c.Close()
		}
	}()
	texts := map[string]bool{}
	for range 5 {
		o := DefaultConsul()
		var requests atomic.Uint64
		a, err := newAgent(ln.Addr().String(), o, newToken(o, slog.New(slog.DiscardHandler)), &requests, nil)
		if err != nil {
			t.Fatal(err)
		}
		text := plain(a.probe(context.Background()))
		texts[text] = true
		if strings.Contains(text, "127.0.0.1:") {
			t.Errorf("%q names a port", text)
		}
		a.close()
	}
	if len(texts) > 1 {
		t.Errorf("one failure has many names: %v", texts)
	}
}

func TestEditDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"api", "apii", 1}, {"api", "app", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := editDistance(tc.a, tc.b); got != tc.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestNoServiceNamesTheNearest(t *testing.T) {
	names := []string{"aaaa", "bbbb", "cccc", "consul", "dddd", "eeee", "ffff", "gggg", "hhhh", "payments", "payments-v2"}
	got := noService(ConsulQuery{Service: "payment", Datacenter: "dc2"}, names)
	want := `Consul in datacenter dc2 knows no service "payment"; it knows: payments, payments-v2, `
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " and 3 more") {
		t.Errorf("got %q, want %q…", got, want)
	}
}

package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// gate is an app whose checks and requests wait until they are let through.
type gate struct {
	*httptest.Server
	checks, requests chan struct{}
	asked            chan struct{} // a request has come
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{checks: make(chan struct{}), requests: make(chan struct{}), asked: make(chan struct{}, 16)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/check":
			wait(r, g.checks)
		case "/slow":
			g.asked <- struct{}{}
			wait(r, g.requests)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func wait(r *http.Request, open chan struct{}) {
	select {
	case <-open:
	case <-r.Context().Done():
	}
}

// TestReadinessEndsBeforeTheService: not ready before the first checks have ended,
// ready then, and not any more from the first moment of a stop; for shutdown_delay
// new connections are served all the same, and what is in flight finishes.
func TestReadinessEndsBeforeTheService(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	s := harness.Begin(t, fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{pool: web}]\nshutdown_delay: 2s\nadmin: ADMIN\n"+
		"pools: {web: {backends: [%s], check: {path: /check, interval: 100ms, timeout: 4s}}}\n", g.Listener.Addr()))
	ready := func() (int, string) {
		status, text, err := harness.Do(&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, "GET", "http://"+s.Admin+"/readyz", "")
		if err != nil {
			return 0, err.Error()
		}
		return status, text
	}
	if status, text := ready(); status != 503 || !strings.Contains(text, "pool web waits for its first checks") {
		t.Errorf("while it starts: %d %s", status, text)
	}
	close(g.checks)
	harness.Eventually(t, 5*time.Second, "it is ready", func() bool { status, text := ready(); return status == 200 && text == "ok\n" })

	var slow sync.WaitGroup
	defer slow.Wait()
	slow.Go(func() {
		if status, text, err := harness.Do(&http.Client{Timeout: 20 * time.Second}, "GET", s.URL+"/slow", ""); err != nil || status != 200 {
			t.Errorf("what was in flight: %d %s %v", status, text, err)
		}
	})
	<-g.asked
	began := time.Now()
	s.Signal(t, syscall.SIGTERM)
	harness.Eventually(t, 1500*time.Millisecond, "it is not ready", func() bool { status, text := ready(); return status == 503 && text == "stopping\n" })
	fresh := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	served := 0
	for time.Since(began) < time.Second { // half of the delay
		if status, text, err := harness.Do(fresh, "GET", s.URL+"/", ""); err != nil || status != 200 {
			t.Fatalf("a new connection within the delay: %d %s %v", status, text, err)
		}
		served++
	}
	harness.Eventually(t, 5*time.Second, "new connections are refused", func() bool {
		_, _, err := harness.Do(fresh, "GET", s.URL+"/", "")
		return err != nil
	})
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("connections were refused after %v", took)
	}
	if status, text := ready(); status != 503 || text != "stopping\n" {
		t.Errorf("while a request is in flight: %d %s", status, text)
	}
	close(g.requests)
	slow.Wait()
	if code := s.ExitCode(t, 10*time.Second); code != 0 || served == 0 {
		t.Errorf("exit code %d, %d requests served within the delay", code, served)
	}
}

// TestReadyWithoutAHealthyBackend: who fails open or explains errors is not taken
// away by whoever is in front; and who may not know the pools is told no names.
func TestReadyWithoutAHealthyBackend(t *testing.T) {
	t.Parallel()
	for name, admin := range map[string]string{"loopback": "ADMIN", "token": "{address: ADMIN, token: " + token + "}"} {
		g := newGate(t)
		s := harness.Begin(t, fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{pool: web}]\nadmin: %s\n"+
			"pools: {web: {backends: [%s, 127.0.0.1:1], check: {path: /check, interval: 100ms, timeout: 2s}}}\n", admin, g.Listener.Addr()))
		status, text := api(t, harness.Client(t), "GET", "http://"+s.Admin+"/readyz", "")
		if named := strings.Contains(text, "web"); status != 503 || named != (name == "loopback") {
			t.Errorf("%s: %d %s", name, status, text)
		}
		g.CloseClientConnections() // checks fail, and all that follow
		g.Close()
		harness.Eventually(t, 10*time.Second, name+": it is ready although nobody is healthy", func() bool {
			status, _ := api(t, harness.Client(t), "GET", "http://"+s.Admin+"/readyz", "")
			return status == 200
		})
	}
}

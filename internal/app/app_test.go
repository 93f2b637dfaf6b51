package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"steelyard/config"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// goroutinesEnd waits until there are no more goroutines than before.
func goroutinesEnd(t *testing.T, before int) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestStartServesAndStopLeavesNothing(t *testing.T) {
	warmUp(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "backend saw ", r.URL.Path)
	}))
	defer backend.Close()
	before := runtime.NumGoroutine()
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes:
  - {match: {path: /old/*}, redirect: "/new{path}"}
  - {match: {path: /hello}, respond: {status: 203, body: hi, headers: {x-b: "2", x-a: "1"}}}
  - {match: {path: /split}, split: [{pool: web, weight: 1}, {pool: other, weight: 0}]}
  - {match: {path: /*}, pool: web, rewrite: {strip_prefix: /v1}}
pools:
  web: {backends: ["%s"]}
  other: {backends: ["127.0.0.1:1"]}
`, address, backend.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + address
	for path, want := range map[string]string{"/v1/a": "backend saw /a", "/hello": "hi", "/split": "backend saw /split"} {
		if _, body := get(t, url+path); body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	a.Stop()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the address still accepts after Stop")
	}
	backend.CloseClientConnections()
	goroutinesEnd(t, before)
}

// warmUp starts what the process keeps for good: fasthttp's clock.
func warmUp(t *testing.T) {
	t.Helper()
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes: [{respond: 204}]
pools: {}
`, freeAddress(t))))
	if err != nil {
		t.Fatal(err)
	}
	get(t, "http://"+a.Listeners()[0].Addr().String())
	http.DefaultClient.CloseIdleConnections()
	a.Stop()
}

func TestAddressInUseIsExplainedAndNothingIsLeft(t *testing.T) {
	warmUp(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	before := runtime.NumGoroutine()
	free := freeAddress(t)
	_, err = Start(parse(t, fmt.Sprintf(`
listeners: {first: {address: "%s"}, second: {address: "%s"}}
routes: [{pool: web}]
pools: {web: {backends: [127.0.0.1:1]}}
`, free, ln.Addr())))
	if err == nil || !strings.Contains(err.Error(), "listener second: cannot listen on "+ln.Addr().String()+": another process listens there") {
		t.Fatalf("error %v", err)
	}
	again, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatalf("the first listener was left open: %v", err)
	}
	again.Close()
	goroutinesEnd(t, before)
}

func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	release := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer backend.Close()
	defer close(release)
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
shutdown_timeout: 200ms
listeners: {web: {address: "%s"}}
routes: [{pool: web}]
pools: {web: {backends: ["%s"]}}
`, address, backend.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		res, err := http.Get("http://" + address)
		if err == nil {
			res.Body.Close()
		}
		ended <- err
	}()
	for deadline := time.Now().Add(5 * time.Second); a.Pools()[0].Snapshot().Endpoints[0].Backend.InFlight() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the request did not reach the backend")
		}
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	a.Stop()
	if took := time.Since(began); took < 200*time.Millisecond || took > 3*time.Second {
		t.Errorf("Stop took %v, want a little over 200ms", took)
	}
	if err := <-ended; err == nil {
		t.Error("a request that was cut looked fine to its client")
	}
	if n := a.proxy.Errors(); n["shutdown"] != 1 || len(n) != 1 {
		t.Errorf("errors %v, want one of cause shutdown", n)
	}
}

// TestDrainedPrimariesLeaveTheBackup: weight 0 on all primaries is how a pool is
// taken over to its backup.
func TestDrainedPrimariesLeaveTheBackup(t *testing.T) {
	backup := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "backup") }))
	defer backup.Close()
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes: [{pool: web}]
pools: {web: {backends: [{address: "127.0.0.1:1", weight: 0}, {address: "%s", backup: true}]}}
`, address, backup.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	defer http.DefaultClient.CloseIdleConnections()
	for range 3 {
		if status, body := get(t, "http://"+address); status != 200 || body != "backup" {
			t.Errorf("%d %q", status, body)
		}
	}
}

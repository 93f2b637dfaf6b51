package app

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestChangesOfMembershipLeaveNoGoroutine: checks, connections and drains of
// backends that come and go by a file end with them. Two pools read it, one of
// which keeps who leaves for the sessions bound to him. test/health counts what
// the whole process keeps over 1,000 changes.
func TestChangesOfMembershipLeaveNoGoroutine(t *testing.T) {
	const changes = 100
	file := filepath.Join(t.TempDir(), "backends.yaml")
	var live []string
	for range 4 {
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
		defer backend.Close()
		live = append(live, backend.Listener.Addr().String())
	}
	exchange(t, file, live)
	address := freeAddress(t)
	settings := "source: {file: " + file + "}, check: {path: /, interval: 100ms}, drain_timeout: 1s, keepalive: {idle_timeout: 200ms}"
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes: [{match: {host: sticky.test}, pool: sticky}, {pool: web}]
pools:
  web: {%s}
  sticky: {%s, sticky: cookie}
`, address, settings, settings)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	before := atRest(t, a)

	var stop atomic.Bool
	ended := make(chan error, 2)
	for _, host := range []string{"web.test", "sticky.test"} {
		go func() { ended <- askOn("http://"+address, host, &stop) }()
	}
	for range changes {
		members := []string{live[0], "127.0.0.1:1"}
		for _, m := range live[1:] {
			if rand.IntN(2) == 0 {
				members = append(members, m)
			}
		}
		exchange(t, file, members)
		awaitMembers(t, a, members)
	}
	exchange(t, file, live)
	awaitMembers(t, a, live)
	stop.Store(true)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if after := atRest(t, a); after > before {
		t.Errorf("%d goroutines before %d changes, %d after", before, changes, after)
	}
}

// exchange puts a list in the place of the one there is, all at once.
func exchange(t *testing.T, file string, members []string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte("["+strings.Join(members, ", ")+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// askOn asks again and again.
func askOn(url, host string, stop *atomic.Bool) error {
	for !stop.Load() {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return err
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", host, res.Status)
		}
	}
	return nil
}

// awaitMembers waits until every pool has as many members as are named, beside
// those that leave.
func awaitMembers(t *testing.T, a *App, members []string) {
	t.Helper()
	for _, p := range a.Pools() {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			s, err := p.Status()
			if err != nil {
				t.Fatal(err)
			}
			have := map[string]bool{}
			for _, b := range s.Backends {
				if !b.Left {
					have[b.Address] = true
				}
			}
			same := len(have) == len(members)
			for _, m := range members {
				same = same && have[m]
			}
			if same {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("pool %s has %v; want %v", p.Name(), have, members)
			}
		}
	}
}

// atRest waits until the pools have no connections and nobody who has left, and
// counts the goroutines. Those of checks come and go, so the fewest of a
// second count; those that fasthttp keeps for its next connections do not.
func atRest(t *testing.T, a *App) int {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); busy(t, a); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("connections or backends that have left do not go")
		}
	}
	least := runtime.NumGoroutine()
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		ours := 0
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if !strings.Contains(stack, "valyala/fasthttp.") {
				ours++
			}
		}
		least = min(least, ours)
	}
	return least
}

func busy(t *testing.T, a *App) bool {
	t.Helper()
	for _, p := range a.Pools() {
		s, err := p.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.Backends {
			if b.Left || b.Open > 0 || b.Check == "checking" {
				return true
			}
		}
	}
	return false
}

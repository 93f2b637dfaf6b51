package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// lab is a Steelyard with a pool "shop" of real Node.js processes, which a file
// names, and a pool "help" without a living backend.
type lab struct {
	*harness.Steelyard
	apps  []*harness.Node
	names string // the file of the shop's backends
}

const labYAML = `
listeners:
  web: LISTEN
routes:
  - {name: help, match: {path: /help/*}, pool: help}
  - {name: old, match: {host: old.example.com}, redirect: {to: "https://shop.example.com{uri}", status: 301}}
  - {name: shop, match: {path: /*}, pool: shop}
pools:
  shop:
    source: {file: {path: FILE, max_removal: 40%%, guard_timeout: 5m}}
    check: {path: /healthz, interval: 250ms}
    sticky: cookie
    drain_timeout: 2m
    outlier: off
  help: {backends: ["127.0.0.1:1"], retry: {attempts: 1}, outlier: off}
admin: %s
`

func newLab(t *testing.T, admin string) *lab {
	t.Helper()
	l := &lab{apps: harness.Apps(t, "a", "b", "c", "d"), names: filepath.Join(t.TempDir(), "shop.yaml")}
	l.name(t, l.apps...)
	l.Steelyard = harness.Start(t, strings.Replace(fmt.Sprintf(labYAML, admin), "FILE", l.names, 1))
	harness.Eventually(t, patience, "all backends are healthy", func() bool {
		return admin != "ADMIN" || l.Pool(t, "shop").Healthy == len(l.apps)
	})
	return l
}

// name writes the file of the shop's backends.
func (l *lab) name(t *testing.T, apps ...*harness.Node) {
	t.Helper()
	var text strings.Builder
	for _, a := range apps {
		fmt.Fprintf(&text, "- %s\n", a.Address)
	}
	write(t, l.names, text.String())
}

// write replaces a file in one step.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) page(hash string) string { return "http://" + l.Admin + "/" + hash }

// tell reads an answer of the admin API.
func (l *lab) tell(t *testing.T, path string, into any) {
	t.Helper()
	status, text, err := harness.Do(harness.Client(t), "GET", "http://"+l.Admin+path, "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %s %v", path, status, text, err)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// visit sends requests all the time until the test ends.
func (l *lab) visit(t *testing.T, every time.Duration, paths ...string) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	client := harness.Client(t)
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(every):
			}
			_, _, _ = harness.Do(client, "GET", l.URL+paths[i%len(paths)], "") // What fails is what the dashboard shows.
		}
	})
	t.Cleanup(func() {
		close(done)
		wg.Wait()
	})
}

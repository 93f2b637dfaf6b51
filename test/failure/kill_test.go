// Package failure_test tells what clients notice when backends fail: nothing,
// where a request may be repeated, and never a request done twice.
package failure_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

func TestKillNineUnderLoadLosesNoGetAndRepeatsNoPost(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s, %s, %s]}
`, apps[0].Address, apps[1].Address, apps[2].Address))

	var (
		wg          sync.WaitGroup
		stop        atomic.Bool
		gets, posts atomic.Int64
		mu          sync.Mutex
		answered    = map[string]bool{} // by POST id: was it answered well
		refused     []error
	)
	c := harness.Client(t)
	for range 16 {
		wg.Go(func() {
			for !stop.Load() {
				if status, body, err := harness.Do(c, "GET", s.URL+"/slow?ms=3", ""); err != nil || status != 200 {
					t.Errorf("GET: %d %q %v", status, body, err)
					return
				}
				gets.Add(1)
			}
		})
	}
	for n := range 8 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				id := fmt.Sprintf("%d-%d", n, i)
				status, _, err := harness.Do(c, "POST", s.URL+"/count?ms=3", "body", "X-Id: "+id)
				mu.Lock()
				answered[id] = err == nil && status == 200
				if err != nil {
					refused = append(refused, err)
				}
				mu.Unlock()
				posts.Add(1)
			}
		})
	}
	busy := func(more int64) func() bool {
		g, p := gets.Load()+more, posts.Load()+more
		return func() bool { return t.Failed() || gets.Load() > g && posts.Load() > p }
	}
	harness.Eventually(t, patience, "the load flows", busy(500))
	apps[1].Kill(t)
	harness.Eventually(t, patience, "the load flows on after the kill", busy(1000))
	stop.Store(true)
	wg.Wait()

	counts := map[string]int{}
	for _, app := range apps {
		app.IDs(t, counts)
	}
	for id, ok := range answered {
		if counts[id] > 1 {
			t.Errorf("POST %s reached backends %d times", id, counts[id])
		}
		if ok && counts[id] == 0 {
			t.Errorf("POST %s was answered but reached no backend", id)
		}
	}
	// Those that were inside the killed backend cannot be saved, and no others.
	if len(refused) > 8 {
		t.Errorf("%d POSTs failed, but at most 8 were under way: %v", len(refused), refused[:8])
	}
	t.Logf("%d GETs, %d POSTs, of which %d failed: %v", gets.Load(), posts.Load(), len(refused), refused)
}

func TestARestartedBackendIsUsedAgain(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s, %s]}
`, apps[0].Address, apps[1].Address))
	c := harness.Client(t)
	harness.Shares(t, c, s.URL, 10)
	apps[0].Kill(t)
	if got := harness.Shares(t, c, s.URL, 20); got["b"] != 20 {
		t.Errorf("while a is gone: %v", got)
	}
	_, port, _ := strings.Cut(apps[0].Address, ":")
	harness.App(t, "a", "PORT="+port)
	harness.Eventually(t, 30*time.Second, "a serves again", func() bool { return harness.Get(t, c, s.URL) == "a" })
}

package overload_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestEveryRequestIsCountedOut: whatever becomes of requests (answered, refused,
// reset, repeated, left by their client, upgraded), none counts for a limit of
// its pool when it has ended.
func TestEveryRequestIsCountedOut(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	resets := harness.Backend(t, func(c *harness.Conn) { _, _ = c.Request() })
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools:
  web:
    backends: [%s, %s, %s, %s]
    max_in_flight: 40
    adaptive_limit: true
    queue: {size: 20, timeout: 1s}
    outlier: off
    timeouts: {response: 300ms}
admin: "ADMIN"
`, apps[0].Address, apps[1].Address, resets, harness.FreeAddress(t)))
	c := harness.Client(t)
	var wg sync.WaitGroup
	ask := func(path string, leaves time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), leaves)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", s.URL+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := c.Do(req); err == nil {
			_ = resp.Body.Close() // a download is left in its middle
		}
	}
	for i := range 300 {
		wg.Go(func() {
			switch i % 5 {
			case 0:
				ask("/slow?ms=10", time.Minute)
			case 1:
				ask("/slow?ms=1000", time.Minute) // longer than timeouts.response
			case 2:
				ask("/slow?ms=200", 50*time.Millisecond)
			case 3:
				ask("/download?bytes=10000000", time.Minute)
			case 4:
				ask("/status?code=500", time.Minute)
			}
		})
	}
	wg.Wait()
	harness.Eventually(t, 10*time.Second, "nothing to be counted any more", func() bool {
		for _, l := range s.Pool(t, "web").Limits {
			if l.InFlight != 0 {
				t.Logf("%+v", l)
				return false
			}
		}
		return true
	})
	harness.Get(t, c, s.URL+"/slow?ms=1")
}

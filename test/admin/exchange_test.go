package admin_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"steelyard/test/harness"
)

// TestAnExchangedAPIAnswersEverybody: a reload that changes who may use the admin
// API leaves nobody without an answer who asks meanwhile, although there are
// connections on which nothing is asked, as browsers make in advance.
func TestAnExchangedAPIAnswersEverybody(t *testing.T) {
	file := func(readOnly bool) string {
		return fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{respond: 200}]\nadmin: {address: ADMIN, read_only: %v}\n", readOnly)
	}
	s := harness.Start(t, file(false))
	var stop atomic.Bool
	var clients sync.WaitGroup
	var asked atomic.Int64
	for i := range 4 {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		clients.Go(func() {
			defer c.CloseIdleConnections()
			for !stop.Load() {
				status, text, err := harness.Do(c, "GET", "http://"+s.Admin+"/api/v1/generation", "")
				if err != nil || status != http.StatusOK {
					t.Errorf("%d %.100q %v", status, text, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for i := range 40 {
		if i%10 == 0 {
			harness.Dial(t, s.Admin)
		}
		if g := s.Reload(t, file(i%2 == 0)); !g.LastOK {
			t.Fatalf("%+v", g)
		}
	}
	stop.Store(true)
	clients.Wait()
	t.Logf("%d answers", asked.Load())
}

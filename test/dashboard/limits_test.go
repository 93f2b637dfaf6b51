package dashboard_test

import (
	"fmt"
	"testing"

	"steelyard/test/harness"
)

// A pool's page says how far the pool is from the limits of all its requests.
func TestLimitsOfAPool(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: LISTEN}
routes: [{pool: shop}]
pools:
  shop: {backends: [%s], max_in_flight: 50, adaptive_limit: {min: 40, max: 40}}
admin: ADMIN
`, app.Address))
	harness.Get(t, harness.Client(t), s.URL+"/")
	l := &lab{Steelyard: s}
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/pool/shop"))
	b.until("the limit of all requests", `document.querySelector('.pool-head .soft')?.innerText.includes('0 of at most 50 in flight')`)
	b.until("what it can work on", `document.querySelector('.pool-head .soft').innerText.includes('0 of at most 40 awaiting an answer (adaptive')`)
}

package dashboard_test

import (
	"fmt"
	"testing"
)

// A hundred pools of twenty backends are shown each second in a small part of
// it: the work of a page between two frames stays below a tenth of a second.
func TestAHundredPoolsAreNoLoad(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var backends []map[string]any
	for i := range 20 {
		backends = append(backends, liveBackend(fmt.Sprintf("10.0.0.%d:3000", i), "healthy"))
	}
	event := liveOf("pool-0", nil, backends...)
	for i := 1; i < 100; i++ {
		event["pools"] = append(event["pools"].([]any), liveOf(fmt.Sprintf("pool-%d", i), nil, backends...)["pools"].([]any)[0])
	}
	f.set("live", event)
	b := newBrowser(t, 1280, 900)
	b.open(f.URL)
	b.until("all cards are there", "document.querySelectorAll('.card.pool').length === 100")
	js[bool](b, `(window.work = [], new PerformanceObserver((l) => window.work.push(...l.getEntries().map((e) => e.duration))).observe({type: 'longtask'}), true)`)
	before := js[float64](b, "performance.now()")
	b.until("five seconds have passed", fmt.Sprintf("performance.now() > %f", before+5000))
	// The fake sends five events a second, so this is 25 times the work of one.
	total := js[float64](b, "window.work.reduce((a, d) => a + d, 0)")
	longest := js[float64](b, "Math.max(0, ...window.work)")
	t.Logf("tasks of 50 ms and more: %.0f ms in 25 events, the longest %.0f ms", total, longest)
	if total > 2500 {
		t.Errorf("25 events took %.0f ms in long tasks", total)
	}
}

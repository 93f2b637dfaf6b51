package dashboard_test

import (
	"fmt"
	"testing"

	"steelyard/test/harness"
)

// A browser opens six connections to one address at a time. Pages that it keeps
// for the way back, and tabs that nobody looks at, must not hold one each.
func TestOnlyWhatIsSeenHoldsAStream(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.set("live", liveOf("api", nil, liveBackend("127.0.0.1:3001", "healthy")))
	b := newBrowser(t, 1280, 900)
	for i := range 9 {
		b.open(fmt.Sprintf("%s/?%d", f.URL, i))
		b.sees(".card.pool", "1 of 1 healthy")
	}
	one := func() bool { return f.streams.Load() == 1 }
	harness.Eventually(t, patience, "nine pages later one stream is open", one)

	// The way back finds a page that goes on.
	js[bool](b, "(history.back(), true)")
	b.until("the page before is there", "location.search === '?7'")
	b.sees("#link", "live")
	harness.Eventually(t, patience, "and has a stream again", one)

	const hide = `(Object.defineProperty(document, 'hidden', {value: %v, configurable: true}), document.dispatchEvent(new Event('visibilitychange')), true)`
	js[bool](b, fmt.Sprintf(hide, true))
	harness.Eventually(t, patience, "nobody looks, and the stream ends", func() bool { return f.streams.Load() == 0 })
	if lost := js[string](b, "document.querySelector('#lost').innerText"); lost != "" {
		t.Errorf("who comes back reads %q", lost)
	}
	f.set("live", liveOf("api", map[string]any{"healthy": 0}, liveBackend("127.0.0.1:3001", "unhealthy")))
	js[bool](b, fmt.Sprintf(hide, false))
	b.sees(".card.pool", "0 of 1 healthy")
	harness.Eventually(t, patience, "the stream is back", one)
}

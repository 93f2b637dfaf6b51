package balance_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

func TestBackupServesOnlyWhenNoPrimaryCan(t *testing.T) {
	apps := harness.Apps(t, "primary", "backup")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends: [%s, {address: %s, backup: true}]
`, apps[0].Address, apps[1].Address))
	c := harness.Client(t)
	if got := harness.Shares(t, c, s.URL, 20); got["primary"] != 20 {
		t.Errorf("while the primary serves: %v", got)
	}
	apps[0].Kill(t)
	if got := harness.Shares(t, c, s.URL, 20); got["backup"] != 20 {
		t.Errorf("after the primary's end: %v", got)
	}
}

func TestMaxConnectionsIsNeverExceededAndTheQueueServesTheRest(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends: [{address: %s, max_connections: 3}]
    queue: {size: 100, timeout: 10s}
`, app.Address))
	c := harness.Client(t)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if status, body, err := harness.Do(c, "GET", s.URL+"/slow?ms=20", ""); err != nil || status != 200 {
				t.Errorf("%d %q %v", status, body, err)
			}
		})
	}
	wg.Wait()
	if stats := app.Stats(t); stats.Peak != 3 || stats.Begun != 40 {
		t.Errorf("of 40 requests %d arrived, %d at the same time; want all of them, 3 at a time", stats.Begun, stats.Peak)
	}
}

func TestFullQueueAnswers503WithRetryAfter(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    max_connections: 1
    backends: [%s]
    queue: {size: 1, timeout: 600ms}
`, app.Address))
	held := harness.Dial(t, s.Address)
	held.Send(t, "GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n")
	harness.Eventually(t, patience, "one request is held", func() bool { return app.Stats(t).Busy == 1 })

	// One of these waits in the queue until its time is over; the other is
	// turned away at once. Which is which is up to them.
	type answer struct {
		*harness.Message
		err  error
		took time.Duration
	}
	answers := make(chan answer, 2)
	for range 2 {
		c := harness.Dial(t, s.Address)
		began := time.Now()
		c.Send(t, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
		go func() {
			m, err := c.Receive("GET")
			answers <- answer{m, err, time.Since(began)}
		}()
	}
	first, second := <-answers, <-answers
	for _, a := range []answer{first, second} {
		if a.err != nil {
			t.Fatal(a.err)
		}
		if a.Status() != http.StatusServiceUnavailable || a.Value("Retry-After") == "" || a.Value("X-Steelyard-Cause") == "" {
			t.Errorf("got %s %q; want 503 with Retry-After and a cause", a.First, a.Fields)
		}
	}
	if first.took > 300*time.Millisecond {
		t.Errorf("a request was turned away from a full queue after %v; want at once", first.took)
	}
	if second.took < 500*time.Millisecond || second.took > 3*time.Second {
		t.Errorf("a request waited %v in the queue; want 600ms", second.took)
	}
	app.Ask(t, "/_release", new(int))
	if m := held.Response(t, "GET"); m.Status() != 200 {
		t.Errorf("the held request got %s", m.First)
	}
	if got := harness.Get(t, harness.Client(t), s.URL); got != "a" {
		t.Errorf("after the rush: %q", got)
	}
}

func TestNoBackendIsSaid(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
`, harness.FreeAddress(t)))
	status, _, err := harness.Do(harness.Client(t), "GET", s.URL, "")
	var cause *harness.CauseError
	if !errors.As(err, &cause) || cause.Cause != "connect_refused" || status != http.StatusBadGateway {
		t.Errorf("with nobody behind: %d %v; want 502 connect_refused", status, err)
	}
}

// Package sticky_test tells how a client stays where its session is.
package sticky_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"steelyard/test/harness"
)

// workers starts three workers of the example application, and a steelyard
// whose pool has the sticky setting given ("" for none).
func workers(t *testing.T, sticky string) *harness.Steelyard {
	t.Helper()
	var addresses []string
	for range 3 {
		addresses = append(addresses, harness.StartNode(t, "examples/node/server.js").Address)
	}
	if sticky != "" {
		sticky = "sticky: " + sticky
	}
	return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends: [%s]
    %s
`, strings.Join(addresses, ", "), sticky))
}

type socketIOResult struct {
	Completed  int
	Transports map[string]int
	Errors     map[string]int
}

func socketIOClients(t *testing.T, url string, count int, transports string) socketIOResult {
	t.Helper()
	cmd := harness.NodeCommand(t, "test/node/socketio-clients.mjs", url, fmt.Sprint(count), transports)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the Socket.IO clients: %v\n%s", err, stderr.String())
	}
	var result socketIOResult
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("the Socket.IO clients: %v in %q", err, out)
	}
	return result
}

func TestSocketIOSessionsStayTogether(t *testing.T) {
	s := workers(t, "{cookie: {name: sy}}")
	t.Run("with polling alone", func(t *testing.T) {
		got := socketIOClients(t, s.URL, 100, "polling")
		if got.Completed != 100 || got.Transports["polling"] != 100 {
			t.Errorf("of 100 sessions %d were completed; errors: %v", got.Completed, got.Errors)
		}
	})
	t.Run("with the upgrade to WebSocket", func(t *testing.T) {
		got := socketIOClients(t, s.URL, 30, "polling,websocket")
		if got.Completed != 30 || got.Transports["websocket"] != 30 {
			t.Errorf("of 30 sessions %d were completed, over %v; errors: %v", got.Completed, got.Transports, got.Errors)
		}
	})
}

// This is what the tests above would see if stickiness did nothing.
func TestSocketIOSessionsFallApartWithoutSticky(t *testing.T) {
	s := workers(t, "")
	got := socketIOClients(t, s.URL, 20, "polling")
	unknown := 0
	for text, n := range got.Errors {
		if strings.Contains(text, "Session ID unknown") {
			unknown += n
		}
	}
	if unknown == 0 {
		t.Errorf("without stickiness no session was unknown: %+v", got)
	}
}

// lostSteps lets browsers count in their sessions, all at the same time, and
// says how many answers were not one more than the one before.
func lostSteps(t *testing.T, url string, browsers, steps int) (lost int) {
	t.Helper()
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for range browsers {
		browser := harness.Browser(t)
		wg.Go(func() {
			for want := 1; want <= steps; want++ {
				_, body, err := harness.Do(browser, "GET", url+"/counter", "")
				var got struct{ Count int }
				if err == nil {
					err = json.Unmarshal([]byte(body), &got)
				}
				if err != nil {
					t.Errorf("%v in %q", err, body)
					return
				}
				if got.Count != want {
					mu.Lock()
					lost++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return lost
}

func TestSessionCounterNeverLosesAStep(t *testing.T) {
	s := workers(t, "{cookie: {name: sy}}")
	if lost := lostSteps(t, s.URL, 30, 30); lost != 0 {
		t.Errorf("%d of 900 steps were lost", lost)
	}
}

// This is what the test above would see if stickiness did nothing.
func TestSessionCounterLosesStepsWithoutSticky(t *testing.T) {
	s := workers(t, "")
	if lost := lostSteps(t, s.URL, 5, 10); lost == 0 {
		t.Error("without stickiness no step was lost")
	}
}

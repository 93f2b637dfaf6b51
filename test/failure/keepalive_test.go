package failure_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// Node.js closes a connection that was idle for its keepAliveTimeout, here 1 s.
// Fifty clients ask at the same moment, wait about as long, and ask again, so
// that every connection in the pool is at the edge of its life each time. In
// every other round the event loop is busy around that moment, so that requests
// are already on a connection when it is closed.
func TestRequestsThatRaceTheKeepAliveTimeoutAllSucceed(t *testing.T) {
	for _, c := range []struct{ name, header string }{
		{"announced in Keep-Alive", "on"},
		{"not announced", "off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const clients, rounds = 50, 40
			app := harness.App(t, "a", "KEEPALIVE_MS=1000", "KEEPALIVE_HEADER="+c.header)
			s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
`, app.Address))
			client := harness.Client(t)
			posted := race(t, app, client, s.URL, clients, rounds)
			counts := map[string]int{}
			app.IDs(t, counts)
			for _, id := range posted {
				if counts[id] != 1 {
					t.Errorf("POST %s reached the backend %d times", id, counts[id])
				}
			}
			if len(posted) != clients*rounds/2 {
				t.Errorf("%d POSTs were sent; want %d", len(posted), clients*rounds/2)
			}
		})
	}
}

// race lets clients send requests in rounds, half of them GET and half POST,
// each 980 to 1020 ms after the round before has ended. It returns the ids of the POSTs.
func race(t *testing.T, app *harness.Node, client *http.Client, url string, clients, rounds int) (posted []string) {
	t.Helper()
	direct := harness.Client(t)
	var wg sync.WaitGroup
	for round := range rounds {
		gap := 980*time.Millisecond + rand.N(40*time.Millisecond)
		for n := range clients {
			method, id := "GET", ""
			if (n+round)%2 == 0 {
				method, id = "POST", fmt.Sprintf("%d-%d", round, n)
				posted = append(posted, id)
			}
			wg.Go(func() {
				path, headers := "/", []string(nil)
				if id != "" {
					path, headers = "/count", []string{"X-Id: " + id}
				}
				if status, body, err := harness.Do(client, method, url+path, "", headers...); err != nil || status != 200 {
					t.Errorf("round %d, %v after the one before: %s: %d %q %v", round, gap, method, status, body, err)
				}
			})
		}
		wg.Wait()
		// The gap is what this test is about.
		const busy = 30 * time.Millisecond
		time.Sleep(gap - busy/2)
		if round%2 == 0 {
			wg.Go(func() {
				// Nobody waits for the answer: that it keeps the process busy is enough.
				_, _, _ = harness.Do(direct, "GET", fmt.Sprintf("http://%s/_block?ms=%d", app.Address, busy.Milliseconds()), "")
			})
		}
		time.Sleep(busy / 2)
	}
	return posted
}

// firstThenReset answers the first request of each connection and resets the
// connection after it has read the second.
func firstThenReset(t *testing.T) (address string, seen func() map[string]int) {
	t.Helper()
	var mu sync.Mutex
	ids := map[string]int{}
	address = harness.Backend(t, func(c *harness.Conn) {
		for n := 0; ; n++ {
			m, err := c.Request()
			if err != nil {
				return
			}
			mu.Lock()
			ids[m.Value("X-Id")]++
			mu.Unlock()
			if n == 1 {
				return
			}
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
			if !strings.HasPrefix(m.First, "HEAD ") {
				answer += "ok"
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
	return address, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return ids
	}
}

func TestOnlyWhatMayBeRepeatedIsRepeated(t *testing.T) {
	for _, c := range []struct {
		name, method, header, retry string
		repeated                    bool
	}{
		{"GET", "GET", "X-None: 1", "", true},
		{"HEAD", "HEAD", "X-None: 1", "", true},
		{"PUT", "PUT", "X-None: 1", "", true},
		{"DELETE", "DELETE", "X-None: 1", "", true},
		{"POST", "POST", "X-None: 1", "", false},
		{"PATCH", "PATCH", "X-None: 1", "", false},
		{"POST with Idempotency-Key", "POST", "Idempotency-Key: 7", "", true},
		{"POST where the pool says so", "POST", "X-None: 1", "methods: [POST]", true},
		{"GET with retries off", "GET", "X-None: 1", "attempts: 1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address, seen := firstThenReset(t)
			s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s], retry: {%s}}
`, address, strings.TrimPrefix("budget: 100%, "+c.retry, ", ")))
			client := harness.Client(t)
			harness.Get(t, client, s.URL, "X-Id: first")
			status, _, err := harness.Do(client, c.method, s.URL, "", "X-Id: second", c.header)
			times := seen()["second"]
			var cause *harness.CauseError
			switch {
			case c.repeated && (err != nil || status != 200 || times != 2):
				t.Errorf("%d %v after %d attempts; want 200 after two", status, err, times)
			case !c.repeated && (!errors.As(err, &cause) || cause.Cause != "reset_before_response" || status != 502 || times != 1):
				t.Errorf("%d %v after %d attempts; want 502 reset_before_response after one", status, err, times)
			}
		})
	}
}

// Package streaming_test tells how bodies pass: at once, in bounded memory, at
// the pace of whoever is slower, and no longer than both are there.
package streaming_test

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 10 * time.Second

// behind starts steelyard in front of one backend.
func behind(t *testing.T, backend string) *harness.Steelyard {
	t.Helper()
	return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web: {backends: [%s]}
`, backend))
}

// eventDelays opens streams of server-sent events, all at the same time, and
// returns how long each event was under way.
func eventDelays(t *testing.T, url string, streams, events int) []time.Duration {
	t.Helper()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		delays []time.Duration
	)
	c := harness.Client(t)
	for range streams {
		wg.Go(func() {
			res, err := c.Get(fmt.Sprintf("%s/events?count=%d&ms=100", url, events))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			seen := 0
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				data, ok := strings.CutPrefix(lines.Text(), "data: ")
				if !ok {
					continue
				}
				seen++
				now := time.Now()
				ms, err := strconv.ParseFloat(data, 64)
				if err != nil {
					t.Errorf("event %q: %v", data, err)
					return
				}
				delay := now.Sub(time.UnixMicro(int64(ms * 1000)))
				mu.Lock()
				delays = append(delays, delay)
				mu.Unlock()
			}
			if seen != events {
				t.Errorf("a stream ended after %d of %d events", seen, events)
			}
		})
	}
	wg.Wait()
	slices.Sort(delays)
	return delays
}

func TestEventsArriveAtOnceOnAHundredStreams(t *testing.T) {
	app := harness.App(t, "a")
	s := behind(t, app.Address)
	delays := eventDelays(t, s.URL, 100, 50)
	if len(delays) == 0 {
		t.Fatal("no event arrived")
	}
	p99, worst := delays[len(delays)*99/100], delays[len(delays)-1]
	t.Logf("%d events: median %v, p99 %v, worst %v", len(delays), delays[len(delays)/2], p99, worst)
	if p99 > 50*time.Millisecond || worst > 250*time.Millisecond {
		t.Errorf("99 of 100 events took up to %v and the slowest %v; want 50ms and 250ms", p99, worst)
	}
}

func TestWhatTricklesIsNotHeldBack(t *testing.T) {
	app := harness.App(t, "a")
	s := behind(t, app.Address)
	for _, framing := range []string{"length", "chunked"} {
		t.Run(framing, func(t *testing.T) {
			// Sixteen bytes every 100 ms: each piece must be here before the next is sent.
			res, err := harness.Client(t).Get(s.URL + "/stream?count=10&ms=100&" + framing)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if framing == "length" && res.ContentLength != 160 {
				t.Fatalf("Content-Length %d", res.ContentLength)
			}
			began := time.Now()
			var at []time.Duration
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				at = append(at, time.Since(began))
			}
			if len(at) != 10 {
				t.Fatalf("%d of 10 pieces arrived", len(at))
			}
			for i, d := range at {
				if d > time.Duration(i)*105*time.Millisecond+90*time.Millisecond {
					t.Errorf("the pieces arrived at %v; they were sent every 100ms", at)
					break
				}
			}
		})
	}
}

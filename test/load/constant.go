// Package load is constant traffic whose answers are checked byte for byte: for
// the scenarios that break something under it (test/fault), and for those that
// last (test/soak).
package load

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// most is how many requests may be under way at a time.
const most = 8192

// Constant is an open load: requests begin at a fixed rate, however long the
// answers take, as those of many clients do that know nothing of each other.
type Constant struct {
	t      testing.TB
	client *http.Client
	run    int64 // keeps the ids of two loads apart
	done   chan struct{}
	once   sync.Once // closes done
	wg     sync.WaitGroup

	mu      sync.Mutex
	answers []Answer
	under   int // way
}

// Begin asks url rate times a second until End or the end of the test; one
// request in three is a POST. Requests without an answer within timeout fail.
func Begin(t testing.TB, url string, rate int, timeout time.Duration) *Constant {
	t.Helper()
	l := &Constant{t: t, client: Client(timeout), run: time.Now().UnixNano() % 1e9, done: make(chan struct{})}
	l.wg.Go(func() { l.send(url, time.Second/time.Duration(rate)) })
	t.Cleanup(l.stop)
	return l
}

// send begins the requests. One that is late because this machine was busy is
// sent as soon as can be, so that the rate holds.
func (l *Constant) send(url string, every time.Duration) {
	next := time.NewTimer(0)
	defer next.Stop()
	due := time.Now()
	for n := 0; ; n++ {
		select {
		case <-l.done:
			return
		case <-next.C:
		}
		if !l.begin() {
			l.t.Errorf("%d requests are under way", most)
			return
		}
		id := fmt.Sprintf("%d-%d", l.run, n)
		// By chance, or a policy that takes turns would give all POSTs to one backend.
		post := rand.IntN(3) == 0
		l.wg.Go(func() { l.end(Ask(l.client, url, id, post)) })
		due = due.Add(every)
		next.Reset(time.Until(due))
	}
}

func (l *Constant) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under++
	return l.under <= most
}

func (l *Constant) end(a Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under--
	l.answers = append(l.answers, a)
}

func (l *Constant) stop() {
	l.once.Do(func() { close(l.done) })
	l.wg.Wait()
	l.client.CloseIdleConnections()
}

// End begins no more requests, waits for those under way, and returns what
// became of all of them.
func (l *Constant) End() []Answer {
	l.stop()
	return l.answers
}

// Since are the answers to requests that began after a moment, so far.
func (l *Constant) Since(begin time.Time) []Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	var recent []Answer
	for _, a := range slices.Backward(l.answers) {
		if time.Since(a.Began) > time.Since(begin)+time.Minute {
			break // Answers end in another order than they began, but not by that much.
		}
		if a.Began.After(begin) {
			recent = append(recent, a)
		}
	}
	return recent
}

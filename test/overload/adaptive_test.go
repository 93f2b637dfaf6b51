package overload_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

// outcome is what became of requests sent at a fixed rate.
type outcome struct {
	mu       sync.Mutex
	good     int
	shed     int
	unsaid   int // 503 without Retry-After or with another cause
	other    map[string]int
	took     []time.Duration // of the good ones
	duration time.Duration
}

// perSecond is how many good answers there were.
func (o *outcome) perSecond() float64 { return float64(o.good) / o.duration.Seconds() }

func (o *outcome) quantile(q float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	slices.Sort(o.took)
	return o.took[int(q*float64(len(o.took)-1))]
}

func (o *outcome) String() string {
	return fmt.Sprintf("%d good (%.0f/s, median %v, p95 %v), %d shed, others %v",
		o.good, o.perSecond(), o.quantile(0.5).Round(time.Millisecond), o.quantile(0.95).Round(time.Millisecond), o.shed, o.other)
}

func (o *outcome) add(resp *http.Response, err error, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		o.other[err.Error()]++
	case resp.StatusCode == 200:
		o.good++
		o.took = append(o.took, took)
	case resp.StatusCode == 503:
		o.shed++
		if resp.Header.Get("Retry-After") == "" || resp.Header.Get("X-Steelyard-Cause") != "overloaded" {
			o.unsaid++
		}
	default:
		o.other[resp.Status]++
	}
}

// load sends perSecond requests a second, however long the answers take, and
// waits for all of them.
func load(c *http.Client, url string, perSecond float64, lasts time.Duration) *outcome {
	o := &outcome{other: map[string]int{}}
	var wg sync.WaitGroup
	began := time.Now()
	for n := 0; ; n++ {
		at := began.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
		if at.Sub(began) >= lasts {
			break
		}
		time.Sleep(time.Until(at)) // this is the load's clock
		wg.Go(func() {
			sent := time.Now()
			resp, err := c.Get(url)
			if err == nil {
				_ = resp.Body.Close()
			}
			o.add(resp, err, time.Since(sent))
		})
	}
	wg.Wait()
	o.duration = time.Since(began)
	return o
}

// capacity is how many requests a second an app answers to a few clients that
// each wait for their answer.
func capacity(t *testing.T, c *http.Client, url string, clients int) float64 {
	t.Helper()
	var done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range clients {
		wg.Go(func() {
			for time.Since(began) < 3*time.Second {
				if status, body, err := harness.Do(c, "GET", url, ""); err != nil || status != 200 {
					t.Errorf("%d %q %v", status, body, err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// TestTwiceTheLoadIsAnsweredAsFarAsTheAppCan: an app that computes 10 ms for
// each request gets twice what it can do. With an adaptive limit it goes on
// doing all it can, soon, and the rest is told to come back; without one, every
// answer is late. When the overload ends nobody is turned away.
func TestTwiceTheLoadIsAnsweredAsFarAsTheAppCan(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /bare/*}, pool: bare, rewrite: {strip_prefix: /bare}}
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends: [%[1]s]
    adaptive_limit: true
  bare:
    backends: [%[1]s]
admin: "ADMIN"
`, app.Address))
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}, Timeout: 30 * time.Second}
	t.Cleanup(c.CloseIdleConnections)
	const work = "/_block?ms=10"
	can := capacity(t, c, s.URL+work, 2)
	load(c, s.URL+work, 2*can, 3*time.Second) // the limit finds out

	over := load(c, s.URL+work, 2*can, 8*time.Second)
	t.Logf("the app can answer %.0f/s; at twice that: %v", can, over)
	if got := over.perSecond() / can; got < 0.8 {
		t.Errorf("at twice its capacity the app answered %.2f of it", got)
	}
	if p95 := over.quantile(0.95); p95 > 500*time.Millisecond {
		t.Errorf("what was answered took %v (p95) for 10 ms of work", p95)
	}
	if over.shed == 0 || over.unsaid > 0 || len(over.other) > 0 {
		t.Errorf("of those turned away %d were not told how, when to come back: %v", over.unsaid, over)
	}

	end := time.Now()
	harness.Eventually(t, 5*time.Second, "the end of the overload to be noticed", func() bool {
		calm := load(c, s.URL+work, can/2, 500*time.Millisecond)
		return calm.shed == 0 && len(calm.other) == 0
	})
	t.Logf("nobody was turned away from %v after the overload on", time.Since(end).Round(time.Millisecond))
	if calm := load(c, s.URL+work, can/2, 2*time.Second); calm.shed > 0 || len(calm.other) > 0 {
		t.Errorf("at half of its capacity, after the overload: %v", calm)
	}

	bare := load(c, s.URL+"/bare"+work, 2*can, 4*time.Second)
	t.Logf("without a limit: %v", bare)
	if bare.quantile(0.95) < 2*over.quantile(0.95) {
		t.Errorf("without a limit answers took %v (p95), with one %v: this test shows nothing", bare.quantile(0.95), over.quantile(0.95))
	}
}

// TestMaxInFlight bounds what all backends of a pool have together; the rest is
// shed, or waits if there is a queue.
func TestMaxInFlight(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	yaml := `
listeners: {web: {address: "LISTEN"}}
routes: [{match: {path: /*}, pool: web}]
pools:
  web:
    backends: [%s, %s]
    max_in_flight: 3
    %s
admin: "ADMIN"
`
	s := harness.Start(t, fmt.Sprintf(yaml, apps[0].Address, apps[1].Address, ""))
	c := harness.Client(t)
	var held sync.WaitGroup
	for range 3 {
		held.Go(func() {
			if status, _, err := harness.Do(c, "GET", s.URL+"/hold", ""); err != nil || status != 200 {
				t.Errorf("a held request got %d, %v", status, err)
			}
		})
	}
	begun := func() int { return apps[0].Stats(t).Busy + apps[1].Stats(t).Busy }
	harness.Eventually(t, 10*time.Second, "three requests at the apps", func() bool { return begun() == 3 })
	resp, err := c.Get(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("X-Steelyard-Cause") != "overloaded" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the fourth got %s, %v", resp.Status, resp.Header)
	}

	// With a queue, taken over by a reload while three are held, it waits.
	s.Reload(t, fmt.Sprintf(yaml, apps[0].Address, apps[1].Address, "queue: {size: 10, timeout: 20s}"))
	var waited sync.WaitGroup
	waited.Go(func() {
		if status, body, err := harness.Do(c, "GET", s.URL+"/", ""); err != nil || status != 200 {
			t.Errorf("the one that waited got %d %q %v", status, body, err)
		}
	})
	harness.Eventually(t, 10*time.Second, "a request in the queue", func() bool { return s.Pool(t, "web").Waiting == 1 })
	for _, a := range apps {
		harness.Get(t, c, "http://"+a.Address+"/_release")
	}
	held.Wait()
	waited.Wait()
}

// TestAdaptiveLimitKeepsWithinItsBounds: with min and max alike there is nothing
// to find out; a low tolerance keeps away what a high one lets wait.
func TestAdaptiveLimitKeepsWithinItsBounds(t *testing.T) {
	app := harness.App(t, "a")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /fixed/*}, pool: fixed, rewrite: {strip_prefix: /fixed}}
  - {match: {path: /strict/*}, pool: strict, rewrite: {strip_prefix: /strict}}
  - {match: {path: /patient/*}, pool: patient, rewrite: {strip_prefix: /patient}}
pools:
  fixed: {backends: [%[1]s], adaptive_limit: {min: 5, max: 5}}
  strict: {backends: [%[1]s], adaptive_limit: {min: 1, tolerance: 1.5}}
  patient: {backends: [%[1]s], adaptive_limit: {min: 1, tolerance: 20}}
admin: "ADMIN"
`, app.Address))
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}, Timeout: 30 * time.Second}
	t.Cleanup(c.CloseIdleConnections)

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _, _ = harness.Do(c, "GET", s.URL+"/fixed/hold", "") })
	}
	harness.Eventually(t, 10*time.Second, "five requests at the app", func() bool { return app.Stats(t).Busy == 5 })
	harness.Get(t, c, "http://"+app.Address+"/_release")
	wg.Wait()
	if got := app.Stats(t).Peak; got != 5 {
		t.Errorf("with a limit of five %d came to the app at once", got)
	}

	took := map[string]time.Duration{}
	for _, pool := range []string{"strict", "patient"} {
		url := s.URL + "/" + pool + "/_block?ms=10"
		capacity(t, c, url, 1) // one at a time shows how long the work itself takes
		load(c, url, 200, 2*time.Second)
		o := load(c, url, 200, 3*time.Second)
		t.Logf("%s: %v, limit %+v", pool, o, s.Pool(t, pool).Limits)
		took[pool] = o.quantile(0.5)
	}
	if took["patient"] < 2*took["strict"] {
		t.Errorf("answers took %v with a tolerance of 20 and %v with 1.5", took["patient"], took["strict"])
	}
}

package fault_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
	"steelyard/test/load"
)

const (
	rate = 300 // requests a second, one in three a POST
	// think is how long an app takes for its answer, in ms.
	think = "5"
	// patience bounds the wait for a share that comes back.
	patience = 40 * time.Second
)

// scene is a balancer before three apps, under load.
type scene struct {
	t    *testing.T
	apps []*load.App
	load *load.Constant
}

// whatHappened is what clients saw of a fault.
type whatHappened struct {
	gets, posts int
	errors      map[string]int // by method and cause
	duplicated  []string       // POSTs that reached apps more than once
	lost        []string       // POSTs that were answered and reached no app
	wrong       []string
	lastError   time.Duration // after the fault began; 0: there was none
	recovered   time.Duration // after its end, until every app had its share and no request failed
	slowestGet  time.Duration
	slowestPost time.Duration
	typical     time.Duration // the median of answers by apps that had no fault, while it lasted
}

func apps(t *testing.T) []*load.App {
	t.Helper()
	return load.Apps(t, []string{"a", "b", "c"}, "DELAY_MS="+think)
}

// usual is a configuration as most have it: three backends, a check, and every
// default.
func usual(apps []*load.App) string {
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{pool: web}]
admin: ADMIN
pools:
  web: {backends: %s, check: /healthz}
`, load.Addresses(apps))
}

// play lets a fault begin under load, last for a while, and end, and waits until
// everything is as it was before. It fails on what may never happen.
func play(t *testing.T, name, url string, apps []*load.App, begin func(), lasts time.Duration, end func()) whatHappened {
	t.Helper()
	sc := &scene{t: t, apps: apps, load: load.Begin(t, url, rate, 70*time.Second)}
	sc.settled(time.Now())
	began := time.Now()
	begin()
	// How long it lasts is part of the scenario.
	time.Sleep(lasts - time.Since(began))
	end()
	ended := time.Now()
	recovered := sc.settled(ended)
	w := sc.judge(sc.load.End(), began, ended)
	w.recovered = recovered
	t.Log(w.row(name, lasts))
	for _, problem := range []struct {
		what string
		list []string
	}{{"POSTs done more than once", w.duplicated}, {"POSTs answered but never done", w.lost}, {"wrong answers", w.wrong}} {
		if n := len(problem.list); n > 0 {
			t.Errorf("%d %s: %q", n, problem.what, problem.list[:min(n, 5)])
		}
	}
	return w
}

// settled waits until, for half a second, every app has had at least three
// quarters of its share and no request has failed. It returns how long after
// since that half second began.
func (sc *scene) settled(since time.Time) time.Duration {
	sc.t.Helper()
	const look = 500 * time.Millisecond
	var from time.Time
	harness.Eventually(sc.t, patience, "every app has its share and nothing fails", func() bool {
		from = time.Now().Add(-look - 50*time.Millisecond) // The last ones are still under way.
		if from.Before(since) {
			return false
		}
		shares, all := map[string]int{}, 0
		for _, a := range sc.load.Since(from) {
			if !a.Well() {
				return false
			}
			shares[a.Backend]++
			all++
		}
		for _, app := range sc.apps {
			if shares[app.Name]*len(sc.apps)*4 < all*3 {
				return false
			}
		}
		return all > rate/4
	})
	return from.Sub(since)
}

// judge counts what became of the requests.
func (sc *scene) judge(answers []load.Answer, began, ended time.Time) whatHappened {
	sc.t.Helper()
	w := whatHappened{errors: map[string]int{}}
	arrived := load.Posts(sc.t, sc.apps)
	var during []time.Duration
	for _, a := range answers {
		method := "GET"
		if a.Post {
			method = "POST"
			w.posts++
			w.slowestPost = max(w.slowestPost, a.Took)
			if arrived[a.ID] > 1 {
				w.duplicated = append(w.duplicated, a.ID)
			}
			if a.Well() && arrived[a.ID] == 0 {
				w.lost = append(w.lost, a.ID)
			}
		} else {
			w.gets++
			w.slowestGet = max(w.slowestGet, a.Took)
		}
		if a.Wrong != "" {
			w.wrong = append(w.wrong, a.ID+": "+a.Wrong)
		}
		if a.Error != "" {
			w.errors[method+" "+a.Error]++
			w.lastError = max(w.lastError, a.Began.Add(a.Took).Sub(began))
		}
		if a.Well() && a.Backend != sc.apps[1].Name && a.Began.After(began) && a.Began.Before(ended) {
			during = append(during, a.Took)
		}
	}
	if len(during) > 0 {
		slices.Sort(during)
		w.typical = during[len(during)/2]
	}
	return w
}

// row is a row of the tables in docs/reliability.md.
func (w *whatHappened) row(name string, lasts time.Duration) string {
	round := func(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
	last := "–"
	if w.lastError > 0 {
		last = round(w.lastError)
	}
	return fmt.Sprintf("| %s, %v | %d + %d | %s | %d | %d | %s | %s | %s | %s | %s |", name, lasts, w.gets, w.posts, w.list(),
		len(w.duplicated), len(w.wrong), last, round(w.recovered), round(w.slowestGet), round(w.slowestPost),
		w.typical.Round(100*time.Microsecond))
}

func (w *whatHappened) list() string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(w.errors)) {
		all = append(all, fmt.Sprintf("%d %s", w.errors[what], what))
	}
	if len(all) == 0 {
		return "0"
	}
	return strings.Join(all, ", ")
}

// allow fails the test for errors that are not in the list, or are more than it
// allows; each entry is a number and what errors begin with.
func (w *whatHappened) allow(t *testing.T, allowed map[string]int) {
	t.Helper()
	for what, n := range w.errors {
		fits := false
		for begin, most := range allowed {
			fits = fits || strings.HasPrefix(what, begin) && n <= most
		}
		if !fits {
			t.Errorf("%d %s; allowed are %v", n, what, allowed)
		}
	}
}

// within fails the test for a time that is too long.
func within(t *testing.T, what string, took, most time.Duration) {
	t.Helper()
	if took > most {
		t.Errorf("%s: %v; want at most %v", what, took, most)
	}
}

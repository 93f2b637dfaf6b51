package app

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestOutlierKeys shows each key of outliers in who is ejected, and for how long.
func TestOutlierKeys(t *testing.T) { runKeyCases(t, outlierKeyCases()) }

func outlierKeyCases() []keyCase {
	// Requests take turns between A, which fails, and B.
	ask := func(n int) func(*side) { return func(s *side) { s.getMany(2*n, "/") } }
	after := func(n int, name string) func(*side) string {
		return func(s *side) string {
			if b := s.backend(name); b.Requests < n {
				return fmt.Sprintf("%d requests only", b.Requests)
			}
			return s.backend(name).State
		}
	}
	failing := func(status int) func(*side) { return twoBackends(func(int) int { return status }) }
	half := twoBackends(func(n int) int { return []int{502, 200}[n%2] })
	cases := []keyCase{
		{name: "outlier: off", keys: ofPool("outlier"), world: failing(502), act: ask(5), look: after(5, "A"),
			with: "outlier: off", want: "healthy", other: "ejected"},
		{name: "outlier.consecutive", keys: ofPool("outlier.consecutive"), world: failing(502), act: ask(4), look: after(4, "A"),
			with: "outlier: {consecutive: 4}", want: "ejected", other: "healthy"},
		{name: "outlier.consecutive: 0", keys: ofPool("outlier.consecutive"), world: failing(504), act: ask(10), look: after(5, "A"),
			with: "outlier: {consecutive: 0}", want: "healthy", other: "ejected"},
		{name: "outlier.on", keys: ofPool("outlier.on"), world: failing(500), act: ask(5), look: after(5, "A"),
			with: "outlier: {on: 5xx}", want: "ejected", other: "healthy"},
		{name: "outlier.failure_share", keys: ofPool("outlier.failure_share"), world: half, act: ask(20), look: after(20, "A"),
			with: "outlier: {failure_share: 40%}", want: "ejected", other: "healthy"},
		{name: "outlier.failure_share that is not reached", keys: ofPool("outlier.failure_share"), world: half, act: ask(20), look: after(20, "A"),
			with: "outlier: {failure_share: 60%}", without: "outlier: {failure_share: 50%}", want: "healthy", other: "ejected"},
		{name: "outlier.min_requests", keys: ofPool("outlier.min_requests"), world: half, act: ask(10), look: after(10, "A"),
			with: "outlier: {failure_share: 40%, min_requests: 10}", without: "outlier: {failure_share: 40%}", want: "ejected", other: "healthy"},
		{name: "outlier.window", keys: ofPool("outlier.window"), world: half,
			with: "outlier: {failure_share: 40%, window: 1s}", without: "outlier: {failure_share: 40%}", want: "healthy", other: "ejected",
			act: func(s *side) { ask(12)(s); s.began = time.Now() },
			look: func(s *side) string {
				if time.Since(s.began) < 3*time.Second { // Requests are counted when the pool looks, which may be late.
					return "the window has not passed"
				}
				if len(s.notes("A")) == 12 {
					ask(12)(s)
				}
				return after(24, "A")(s)
			}},
		{name: "outlier.ejection", keys: ofPool("outlier.ejection"), world: failing(502), act: ask(5),
			with: "outlier: {ejection: 100ms}", want: "healthy after 1 ejections", other: "ejected after 1 ejections",
			look: func(s *side) string {
				return fmt.Sprintf("%s after %d ejections", s.backend("A").State, s.view().Counters.Ejections)
			}},
		{name: "outlier.max_ejection", keys: ofPool("outlier.max_ejection"), world: failing(502), look: secondEjection,
			with: "outlier: {ejection: 1s, max_ejection: 1s}", without: "outlier: {ejection: 1s}", want: "1s", other: "2s"},
		{name: "outlier.max_ejected", keys: ofPool("outlier.max_ejected"), world: fourOfWhichThreeFail, act: ask(20),
			pool: `backends: ["${A}", "${B}", "${C}", "${D}"], KEY`, with: "outlier: {max_ejected: 25%}", want: "1 ejected", other: "2 ejected",
			look: func(s *side) string { return fmt.Sprint(s.view().Counters.Ejections, " ejected") }},
	}
	for i := range cases {
		if cases[i].pool == "" {
			cases[i].pool = `backends: ["${A}", "${B}"], retry: off, KEY`
		}
	}
	return cases
}

// twoBackends runs A, which answers its requests as status says, and B, which is well.
func twoBackends(status func(n int) int) func(*side) {
	return func(s *side) {
		s.serve("A", func(w http.ResponseWriter, _ *http.Request) {
			s.note("A", "")
			w.WriteHeader(status(len(s.notes("A")) - 1))
		})
		s.serve("B", func(http.ResponseWriter, *http.Request) {})
	}
}

func fourOfWhichThreeFail(s *side) {
	twoBackends(func(int) int { return 502 })(s)
	for _, name := range []string{"C", "D"} {
		s.serve(name, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	}
}

// secondEjection makes A fail until it is ejected for the second time, and
// looks at how long that lasts.
func secondEjection(s *side) string {
	if s.view().Counters.Ejections < 2 {
		s.get("/")
		return "not ejected twice"
	}
	b := s.backend("A")
	if b.EjectedUntil == nil {
		return "over"
	}
	return b.EjectedUntil.Sub(b.Since).Round(100 * time.Millisecond).String()
}

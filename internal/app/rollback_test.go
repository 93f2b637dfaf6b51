package app

import (
	"strings"
	"testing"
	"time"

	"steelyard/config"
	"steelyard/internal/proxy"
)

// TestVerdicts: what undoes a reload, and what does not.
func TestVerdicts(t *testing.T) {
	o := &config.Rollback{Window: 30 * time.Second, Errors: 0.05, MinRequests: 20}
	for _, tt := range []struct {
		name          string
		before, since counts
		ended         bool
		want          verdict
		why           string
	}{
		{"all is well", counts{1000, 0}, counts{1000, 0}, true, verdictKeep, ""},
		{"too early to say", counts{1000, 0}, counts{500, 0}, false, verdictOpen, ""},
		{"a dead pool", counts{1000, 0}, counts{20, 20}, false, verdictUndo, "100.0% of 20 responses were errors (5xx), 0.0% before; allowed: 5.0% more"},
		{"a dead pool with too few to say", counts{1000, 0}, counts{19, 19}, false, verdictOpen, ""},
		{"a dead pool nobody asked", counts{1000, 0}, counts{19, 19}, true, verdictKeep, "only 19 responses in the window"},
		{"a few errors early, which may be chance", counts{1000, 0}, counts{30, 4}, false, verdictOpen, ""},
		{"as many of them at the end", counts{1000, 0}, counts{30, 4}, true, verdictUndo, "13.3% of 30"},
		{"clearly too many, early", counts{1000, 0}, counts{1000, 130}, false, verdictUndo, "13.0% of 1000"},
		{"an outage that was there before", counts{1000, 1000}, counts{1000, 1000}, true, verdictKeep, ""},
		{"half an outage before, and as much now", counts{1000, 500}, counts{1000, 545}, true, verdictKeep, ""},
		{"half an outage before, and worse now", counts{1000, 500}, counts{1000, 560}, true, verdictUndo, "56.0% of 1000 responses were errors (5xx), 50.0% before"},
		{"exactly as much more as is allowed", counts{1000, 0}, counts{1000, 50}, true, verdictKeep, ""},
		{"better than before", counts{1000, 500}, counts{1000, 0}, true, verdictKeep, ""},
		{"nothing to compare with", counts{5, 0}, counts{1000, 1000}, false, verdictKeep, "only 5 responses in the window before"},
		{"no traffic at all", counts{}, counts{}, true, verdictKeep, "too few to compare"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, why := judge(o, tt.before, tt.since, tt.ended)
			if got != tt.want || !strings.Contains(why, tt.why) || tt.why == "" && why != "" {
				t.Errorf("%d %q; want %d %q", got, why, tt.want, tt.why)
			}
		})
	}
}

// TestTrialsOfReloadsThatFollowEachOther: the second is measured by what was good
// before the first, but not for ever.
func TestTrialsOfReloadsThatFollowEachOther(t *testing.T) {
	first, second := &config.Config{}, &config.Config{}
	ts := &trials{options: &config.Rollback{Window: time.Minute, Errors: 0.05, MinRequests: 20}}
	ts.begin(first, counts{100, 0}, counts{100, 0})
	one := ts.now
	ts.begin(second, counts{100, 100}, counts{300, 100})
	if ts.now.good != first || ts.now.before != (counts{100, 0}) || ts.now.start != (counts{300, 100}) {
		t.Errorf("%+v", ts.now)
	}
	if ts.drop(one) {
		t.Error("a trial that was followed by another was still going on")
	}
	ts.now.at = time.Now().Add(-3 * time.Minute)
	ts.begin(second, counts{100, 100}, counts{500, 100})
	if ts.now.good != second {
		t.Error("what was good long ago still counts")
	}
	if undo, _ := ts.look(time.Now(), counts{600, 200}); undo != nil {
		t.Error("as many errors as before undo it")
	}
	ts.begin(second, counts{100, 0}, counts{500, 100})
	ts.now.before = counts{100, 0}
	if undo, why := ts.look(time.Now(), counts{600, 200}); undo == nil || !strings.Contains(why, "100.0% of 100") || !ts.drop(undo) || ts.drop(undo) {
		t.Errorf("%v %q", undo, why)
	}
}

// TestTallyOnlyGrows over generations that have other routes.
func TestTallyOnlyGrows(t *testing.T) {
	var y tally
	enter := func(names ...string) map[string]*proxy.RouteStats {
		stats, made := y.stats(), map[string]*proxy.RouteStats{}
		g := &proxy.Generation{}
		for _, n := range names {
			made[n] = stats(n)
			g.Routes = append(g.Routes, &proxy.Route{Name: n, Stats: made[n]})
		}
		y.adopt(g)
		return made
	}
	one := enter("a", "b", "b")
	one["a"].Classes.Count(200)
	one["b"].Classes.Count(503)
	one["b"].Classes.Count(0) // its client left
	two := enter("a")
	if two["a"] != one["a"] {
		t.Error("a route does not keep its counters")
	}
	one["b"].Classes.Count(500) // was under way
	y.stats()                   // of a generation that is refused
	if got := y.total(); got != (counts{3, 2}) {
		t.Errorf("%+v", got)
	}
	enter("a")
	enter("c")
	if got := y.total(); got != (counts{3, 2}) {
		t.Errorf("%+v after more generations", got)
	}
	if len(y.routes)+len(y.former) != 2 {
		t.Errorf("%d routes are kept", len(y.routes)+len(y.former))
	}
}

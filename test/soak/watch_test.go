package soak_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// sample is what steelyard holds at a moment.
type sample struct {
	at                     time.Time
	rss, goroutines, files float64 // rss in MiB
}

// look may be called from any goroutine.
func look(s *harness.Steelyard) (sample, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.PID()))
	if err != nil {
		return sample{}, err
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(status), &size, &pages); err != nil {
		return sample{}, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		return sample{}, err
	}
	g, err := goroutines(s)
	return sample{time.Now(), pages * float64(os.Getpagesize()) / (1 << 20), g, float64(len(files))}, err
}

// goroutines asks the metrics.
func goroutines(s *harness.Steelyard) (float64, error) {
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	status, text, err := harness.Do(&c, http.MethodGet, "http://"+s.Admin+"/metrics", "")
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("metrics: %d %w", status, err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, errors.New("no go_goroutines in the metrics")
}

// watched is what is not to grow, and by how much it may seem to over the whole
// time: that much, or that share of its median.
var watched = []struct {
	name  string
	of    func(sample) float64
	most  float64
	share float64
}{
	{"memory in MiB", func(s sample) float64 { return s.rss }, 24, 0.2},
	{"goroutines", func(s sample) float64 { return s.goroutines }, 40, 0.2},
	{"files", func(s sample) float64 { return s.files }, 40, 0.2},
}

// growth is by how much a value grew over the samples: the median of the slopes
// between all pairs of them (Theil 1950, Sen 1968), times the time. Half of the
// pairs would have to lie for it to lie, so bursts do not count.
func growth(samples []sample, of func(sample) float64) float64 {
	step := max(1, len(samples)/400)
	var slopes []float64
	for i := 0; i < len(samples); i += step {
		for j := i + step; j < len(samples); j += step {
			seconds := samples[j].at.Sub(samples[i].at).Seconds()
			slopes = append(slopes, (of(samples[j])-of(samples[i]))/seconds)
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	return median(slopes) * samples[len(samples)-1].at.Sub(samples[0].at).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// judge fails the test for what grew, and logs all of it.
func judge(t *testing.T, samples []sample) {
	t.Helper()
	for _, w := range watched {
		var values []float64
		for _, s := range samples {
			values = append(values, w.of(s))
		}
		grew, m := growth(samples, w.of), median(values)
		t.Logf("%s: %.0f at least, %.0f in the median, %.0f at most; trend over the time: %+.1f", w.name, values[0], m, values[len(values)-1], grew)
		if grew > max(w.most, w.share*m) {
			t.Errorf("%s: a trend of %+.1f over %v; allowed are %.0f, or %.0f%% of %.0f", w.name, grew,
				samples[len(samples)-1].at.Sub(samples[0].at).Round(time.Second), w.most, 100*w.share, m)
		}
	}
}

// TestGrowth: leaks are found, bursts and noise are not.
func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name     string
		value    func(i int) float64
		from, to float64
	}{
		{"flat", func(int) float64 { return 50 }, 0, 0},
		{"noise", func(i int) float64 { return 50 + float64(i*7919%13) }, -1, 1},
		{"a burst in the end", func(i int) float64 { return 50 + 500*float64(i/260) }, 0, 1},
		{"a leak", func(i int) float64 { return 50 + 0.1*float64(i) }, 29, 31},
		{"a leak under noise", func(i int) float64 { return 50 + 0.1*float64(i) + float64(i*7919%13) }, 27, 33},
	} {
		t.Run(c.name, func(t *testing.T) {
			var samples []sample
			for i := range 300 {
				samples = append(samples, sample{at: time.Unix(int64(i), 0), rss: c.value(i)})
			}
			if g := growth(samples, watched[0].of); g < c.from || g > c.to {
				t.Errorf("grew by %v; want %v to %v", g, c.from, c.to)
			}
		})
	}
}

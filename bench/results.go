//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"
)

// results is what docs/performance.json holds: the last figures of each work.
type results struct {
	Machine  string            `json:"machine"`
	Kernel   string            `json:"kernel"`
	Cores    int               `json:"cores"`
	Versions map[string]string `json:"versions"`
	Works    []outcome         `json:"works"`
}

// outcome is the figures of one work.
type outcome struct {
	Work    string       `json:"work"`
	Title   string       `json:"title"`
	Kind    kind         `json:"kind"`
	Date    string       `json:"date"`
	Load    float64      `json:"load_average"` // when it began
	Rounds  int          `json:"rounds"`
	Seconds int          `json:"seconds"`
	Rate    float64      `json:"nginx_saturation,omitempty"` // latency and reload work with shares of it
	Aim     float64      `json:"aim,omitempty"`
	Goal    string       `json:"goal,omitempty"`
	Spread  float64      `json:"nginx_spread"` // of its first metric: most to least
	Peers   []peerFigure `json:"peers"`
}

type peerFigure struct {
	Name    string            `json:"name"`
	Metrics map[string]figure `json:"metrics"`
}

// figure is one metric of one candidate over all rounds. Ratio is the median of
// each round's ratio to nginx; Plain that to Steelyard without the feature.
type figure struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Ratio  float64 `json:"ratio,omitempty"`
	Plain  float64 `json:"ratio_to_plain,omitempty"`
}

// busy is the spread of nginx's own figure above which a run is repeated.
const busy = 1.25

func (o outcome) busy() bool { return o.Spread > busy }

// get is a candidate's figure; false if it was not measured.
func (o outcome) get(peer, metric string) (figure, bool) {
	for _, p := range o.Peers {
		if p.Name == peer {
			f, ok := p.Metrics[metric]
			return f, ok
		}
	}
	return figure{}, false
}

// toBetter is Steelyard's ratio to the better of nginx and HAProxy.
func (o outcome) toBetter(metric string, more bool) float64 {
	ours, ok := o.get(steelyard, metric)
	if !ok || ours.Ratio == 0 {
		return 0
	}
	best := 1.0
	if f, ok := o.get(haproxy, metric); ok && f.Ratio > 0 {
		if more {
			best = max(best, f.Ratio)
		} else {
			best = min(best, f.Ratio)
		}
	}
	return ours.Ratio / best
}

// newOutcome makes figures of samples.
func newOutcome(w work, names []string, got measured) outcome {
	o := outcome{Work: w.name, Title: w.title, Kind: w.kind, Date: time.Now().UTC().Format(time.DateOnly), Aim: w.aim, Goal: w.goal}
	for _, name := range names {
		samples := got[name]
		if len(samples) == 0 {
			continue
		}
		p := peerFigure{Name: name, Metrics: map[string]figure{}}
		for metric := range samples[0] {
			values := column(samples, metric)
			p.Metrics[metric] = figure{Median: tidy(median(values)), Min: tidy(slices.Min(values)), Max: tidy(slices.Max(values)),
				Ratio: tidy(ratio(values, column(got[nginx], metric))), Plain: tidy(ratio(values, column(got[plain], metric)))}
		}
		o.Peers = append(o.Peers, p)
	}
	if f, ok := o.get(nginx, metrics[w.kind][0].key); ok && f.Min > 0 {
		o.Spread = tidy(f.Max / f.Min)
	}
	return o
}

func column(samples []sample, metric string) []float64 {
	var values []float64
	for _, s := range samples {
		if v, ok := s[metric]; ok {
			values = append(values, v)
		}
	}
	return values
}

// ratio is the median of the ratios of each round; 0 if there are none.
func ratio(values, base []float64) float64 {
	var all []float64
	for i := range min(len(values), len(base)) {
		if base[i] > 0 {
			all = append(all, values[i]/base[i])
		}
	}
	if len(all) == 0 {
		return 0
	}
	return median(all)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// tidy keeps four digits: no figure here is worth more.
func tidy(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// readResults returns what was measured before; nothing if there is no file.
func readResults(file string) (results, error) {
	var r results
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// put keeps an outcome in the place of the one before, in the order of works.
func (r *results) put(o outcome) {
	order := map[string]int{}
	for i, w := range works() {
		order[w.name] = i
	}
	r.Works = slices.DeleteFunc(r.Works, func(old outcome) bool {
		_, known := order[old.Work]
		return old.Work == o.Work || !known
	})
	r.Works = append(r.Works, o)
	slices.SortFunc(r.Works, func(a, b outcome) int { return order[a.Work] - order[b.Work] })
}

func (r *results) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// of is the outcome of a work.
func (r *results) of(name string) (outcome, bool) {
	for _, o := range r.Works {
		if o.Work == name {
			return o, true
		}
	}
	return outcome{}, false
}

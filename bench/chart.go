//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// The measures of a chart, in its own units.
const (
	chartWidth, chartHeight         = 640, 360
	chartLeft, chartRight           = 56, 120
	chartTop, chartBottom           = 44, 48
	plotWidth               float64 = chartWidth - chartLeft - chartRight
	plotHeight              float64 = chartHeight - chartTop - chartBottom
)

// growths is the charts: what grows, and by which field of a work.
var growths = []struct {
	name, title string
	of          func(work) int
}{
	{"connections", "client connections", func(w work) int { return w.connections }},
	{"backends", "backends", func(w work) int { return w.backends }},
	{"routes", "routes", func(w work) int { return w.routes }},
}

// series is one line of a chart.
type series struct {
	name, class string
	x, y        []float64
}

// lines are what a chart shows; none if fewer than two points were measured.
func (r *results) lines(name string, of func(work) int) []series {
	lines := []series{{name: "nginx", class: "a"}, {name: "HAProxy", class: "b"}, {name: "Steelyard", class: "c"}}
	for i, peer := range []string{nginx, haproxy, steelyard} {
		for _, w := range works() {
			o, ok := r.of(w.name)
			if !ok || !strings.Contains(w.charts, name) {
				continue
			}
			if f, ok := o.get(peer, "cpu"); ok {
				lines[i].add(float64(of(w)), f.Median)
			}
		}
	}
	if len(lines[2].x) < 2 {
		return nil
	}
	return lines
}

// chart writes a chart of each growth.
func (r *results) chart(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, g := range growths {
		if lines := r.lines(g.name, g.of); lines != nil {
			if err := os.WriteFile(filepath.Join(dir, "bench-"+g.name+".svg"), []byte(drawing(g.title, lines)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// pictures refers to the charts.
func (r *results) pictures(b *strings.Builder) {
	for _, g := range growths {
		if r.lines(g.name, g.of) != nil {
			fmt.Fprintf(b, "![CPU per request against %s](img/bench-%s.svg)\n\n", g.title, g.name)
		}
	}
}

// add keeps the points in the order of x.
func (s *series) add(x, y float64) {
	i := 0
	for i < len(s.x) && s.x[i] < x {
		i++
	}
	s.x = append(s.x[:i], append([]float64{x}, s.x[i:]...)...)
	s.y = append(s.y[:i], append([]float64{y}, s.y[i:]...)...)
}

// drawing is an SVG: x in powers, y from zero, readable on light and dark.
func drawing(title string, lines []series) string {
	low, high, top := math.Inf(1), 0.0, 0.0
	for _, l := range lines {
		for i := range l.x {
			low, high, top = min(low, l.x[i]), max(high, l.x[i]), max(top, l.y[i])
		}
	}
	step := niceStep(top / 4)
	top = math.Ceil(top/step) * step
	px := func(x float64) float64 {
		return chartLeft + plotWidth*math.Log(x/low)/max(math.Log(high/low), 1e-9)
	}
	py := func(y float64) float64 { return chartTop + plotHeight*(1-y/top) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="CPU per request against %s">
<style>
  svg { font: 12px system-ui, sans-serif; background: #fff; }
  text { fill: #444; } .title { font-size: 14px; font-weight: 600; fill: #111; } .grid { stroke: #ddd; }
  polyline { fill: none; stroke-width: 2; } .a { stroke: #888; } .b { stroke: #d08020; } .c { stroke: #1565c0; }
  circle.a { fill: #888; } circle.b { fill: #d08020; } circle.c { fill: #1565c0; }
  @media (prefers-color-scheme: dark) { svg { background: #14171a; } text { fill: #b8bec4; } .title { fill: #f2f4f6; } .grid { stroke: #333a40; }
    .c { stroke: #64b5f6; } circle.c { fill: #64b5f6; } }
</style>
<text class="title" x="%d" y="24">CPU per request (µs) against %s</text>
`, chartWidth, chartHeight, title, chartLeft, title)
	for y := 0.0; y <= top+step/2; y += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%.1f" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			chartLeft, chartLeft+plotWidth, py(y), py(y), chartLeft-8, py(y)+4, tidy(y))
	}
	marks(&b, lines, px)
	for i, l := range lines {
		if len(l.x) == 0 {
			continue
		}
		fmt.Fprintf(&b, `<polyline class="%s" points="`, l.class)
		for i := range l.x {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(l.x[i]), py(l.y[i]))
		}
		b.WriteString("\"/>\n")
		for i := range l.x {
			fmt.Fprintf(&b, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"><title>%s: %s µs at %s</title></circle>`+"\n",
				l.class, px(l.x[i]), py(l.y[i]), l.name, number(l.y[i]), thousands(int(l.x[i])))
		}
		at := chartTop + 20*float64(i)
		fmt.Fprintf(&b, `<line class="%s" stroke-width="2" x1="%.0f" x2="%.0f" y1="%.0f" y2="%.0f"/><text x="%.0f" y="%.0f">%s</text>`+"\n",
			l.class, chartLeft+plotWidth+16, chartLeft+plotWidth+36, at, at, chartLeft+plotWidth+42, at+4, l.name)
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%s</text>`+"\n</svg>\n", chartLeft+plotWidth/2, chartHeight-8, title)
	return b.String()
}

// marks writes the values of x that were measured.
func marks(b *strings.Builder, lines []series, px func(float64) float64) {
	done := map[float64]bool{}
	for _, l := range lines {
		for _, x := range l.x {
			if !done[x] {
				fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", px(x), chartHeight-chartBottom+18, thousands(int(x)))
			}
			done[x] = true
		}
	}
}

// niceStep is the next of 1, 2 and 5 times a power of ten.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(max(v, 1e-9))))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// metric is one thing that is measured of a work.
type metric struct {
	key   string
	title string
	unit  string
	more  bool // is better
}

// metrics of each kind; nginx's spread of the first decides whether a run counts.
var metrics = map[kind][]metric{
	saturate: {{key: "cpu", title: "CPU per request", unit: "µs"}, {key: "user", title: "user", unit: "µs"}, {key: "kernel", title: "kernel", unit: "µs"},
		{key: "rate", title: "requests/s", more: true}, {key: "busy", title: "its core busy", unit: "%"}, {key: "failed", title: "failed"}},
	messages: {{key: "cpu", title: "CPU per message", unit: "µs"}, {key: "user", title: "user", unit: "µs"}, {key: "kernel", title: "kernel", unit: "µs"},
		{key: "rate", title: "messages/s", more: true}, {key: "busy", title: "its core busy", unit: "%"}, {key: "failed", title: "failed"}},
	latency: {{key: "cpu_70", title: "CPU per request", unit: "µs"},
		{key: "p50_30", title: "p50 at 30 %", unit: "µs"}, {key: "p99_30", title: "p99 at 30 %", unit: "µs"}, {key: "p999_30", title: "p99.9 at 30 %", unit: "µs"},
		{key: "p50_70", title: "p50 at 70 %", unit: "µs"}, {key: "p99_70", title: "p99 at 70 %", unit: "µs"}, {key: "p999_70", title: "p99.9 at 70 %", unit: "µs"},
		{key: "load_70", title: "the generator's CPU", unit: "µs"}, {key: "failed", title: "failed"}},
	idle:    {{key: "each", title: "memory each", unit: "KiB"}, {key: "empty", title: "without connections", unit: "MiB"}},
	startUp: {{key: "start", title: "to the first answer", unit: "ms"}},
	reload: {{key: "cpu", title: "CPU per request", unit: "µs"}, {key: "p50", title: "p50", unit: "µs"}, {key: "p99", title: "p99", unit: "µs"},
		{key: "p999", title: "p99.9", unit: "µs"}, {key: "max", title: "longest", unit: "µs"}, {key: "failed", title: "failed"}},
}

// number writes a figure with three digits.
func number(v float64) string {
	switch {
	case v >= 1000:
		return thousands(int(v + .5))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// ratioText writes a ratio; nothing where there was nothing to compare with.
func ratioText(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", v)
}

// beside is a ratio behind a figure.
func beside(v float64) string {
	if v == 0 {
		return ""
	}
	return " (" + ratioText(v) + ")"
}

// with appends a unit.
func with(text, unit string) string {
	if unit == "" {
		return text
	}
	return text + " " + unit
}

// print writes an outcome as a table for a terminal.
func (o outcome) print(to io.Writer) error {
	fmt.Fprintf(to, "\n%s: %s (%d rounds of %d s, load average %.1f)\n", o.Work, o.Title, o.Rounds, o.Seconds, o.Load)
	if o.Rate > 0 {
		fmt.Fprintf(to, "nginx at saturation: %s requests/s\n", number(o.Rate))
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := metrics[o.Kind][0]
	fmt.Fprintf(w, "\t%s\tfrom\tto\tto nginx\t", with(head.title, head.unit))
	for _, m := range metrics[o.Kind][1:] {
		fmt.Fprintf(w, "%s\t", with(m.title, m.unit))
	}
	fmt.Fprintln(w)
	for _, p := range o.Peers {
		f := p.Metrics[head.key]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t", p.Name, number(f.Median), number(f.Min), number(f.Max), ratioText(f.Ratio))
		for _, m := range metrics[o.Kind][1:] {
			fmt.Fprintf(w, "%s\t", number(p.Metrics[m.key].Median))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var said []string
	if r := o.toBetter(head.key, false); r > 0 {
		said = append(said, fmt.Sprintf("Steelyard to the better of nginx and HAProxy: %.2f%s", r, aimed(o)))
	}
	if f, ok := o.get(steelyard, head.key); ok && f.Plain > 0 {
		said = append(said, fmt.Sprintf("to Steelyard without the feature: %.2f", f.Plain))
	}
	if o.Goal != "" {
		said = append(said, "the aim: "+o.Goal)
	}
	fmt.Fprintln(to, strings.Join(said, "; "))
	if o.busy() {
		fmt.Fprintf(to, "nginx's own figure spreads by %.0f %%: the machine was busy, do not trust these.\n", (o.Spread-1)*100)
	}
	return nil
}

func aimed(o outcome) string {
	if o.Aim == 0 {
		return ""
	}
	return fmt.Sprintf(" (aim %.2f)", o.Aim)
}

// markdown is what stands between the markers of docs/performance.md.
func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, kernel %s; nginx %s, HAProxy %s, caddy %s, wrk %s.\n\n", r.Machine, r.Cores, r.Kernel,
		r.Versions[nginx], r.Versions[haproxy], r.Versions[caddy], r.Versions["wrk"])
	r.table(&b, "CPU per request", metrics[saturate][0], saturate, messages)
	r.table(&b, "Requests per second at saturation", metrics[saturate][3], saturate, messages)
	r.pictures(&b)
	for _, k := range []kind{latency, idle, startUp, reload} {
		for _, o := range r.Works {
			if o.Kind == k {
				o.markdown(&b)
			}
		}
	}
	r.notes(&b)
	return b.String()
}

// table has a line for each work and a column for each candidate.
func (r *results) table(b *strings.Builder, title string, m metric, kinds ...kind) {
	fmt.Fprintf(b, "### %s\n\n| work | nginx | HAProxy | caddy | Steelyard | to the better of nginx and HAProxy | aim | to Steelyard without it |\n", title)
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, o := range r.Works {
		if o.Kind != kinds[0] && o.Kind != kinds[1] {
			continue
		}
		fmt.Fprintf(b, "| %s%s |", o.Title, o.mark())
		for _, name := range []string{nginx, haproxy, caddy, steelyard} {
			f, ok := o.get(name, m.key)
			if !ok {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(b, " %s", with(number(f.Median), m.unit))
			if name == nginx {
				fmt.Fprintf(b, ", %s to %s |", number(f.Min), number(f.Max))
			} else {
				b.WriteString(beside(f.Ratio) + " |")
			}
		}
		aim, without := "", ""
		if o.Aim > 0 && m.key == "cpu" {
			aim = fmt.Sprintf("%.2f", o.Aim)
		}
		if m.key == "cpu" && o.Goal == withinPlain {
			aim = withinPlain
		}
		if m.key == "rate" && o.Goal != withinPlain {
			aim = o.Goal
		}
		if f, ok := o.get(steelyard, m.key); ok && f.Plain > 0 {
			without = fmt.Sprintf("%.2f", f.Plain)
		}
		fmt.Fprintf(b, " %s | %s | %s |\n", ratioText(o.toBetter(m.key, m.more)), aim, without)
	}
	b.WriteString("\n")
}

// mark refers to the note about works that were disturbed.
func (o outcome) mark() string {
	if o.busy() {
		return " (!)"
	}
	return ""
}

// markdown writes one work with all of its metrics.
func (o outcome) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "### %s%s%s\n\n", strings.ToUpper(o.Title[:1]), o.Title[1:], o.mark())
	if o.Rate > 0 {
		fmt.Fprintf(b, "nginx at saturation: %s requests/s.\n\n", number(o.Rate))
	}
	if o.Goal != "" {
		fmt.Fprintf(b, "The aim: %s.\n\n", o.Goal)
	}
	b.WriteString("| |")
	for _, m := range metrics[o.Kind] {
		fmt.Fprintf(b, " %s |", m.title)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(metrics[o.Kind])) + "\n")
	for _, p := range o.Peers {
		fmt.Fprintf(b, "| %s |", p.Name)
		for _, m := range metrics[o.Kind] {
			f, ok := p.Metrics[m.key]
			if !ok {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(b, " %s", with(number(f.Median), m.unit))
			if p.Name != nginx && p.Name != bare && m.unit != "" {
				b.WriteString(beside(f.Ratio))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// notes say under which load the figures were taken.
func (r *results) notes(b *strings.Builder) {
	disturbed, low, high := 0, 0.0, 0.0
	first, last := "", ""
	for i, o := range r.Works {
		if o.busy() {
			disturbed++
		}
		if i == 0 {
			low, first = o.Load, o.Date
		}
		low, high = min(low, o.Load), max(high, o.Load)
		first, last = min(first, o.Date), max(last, o.Date)
	}
	fmt.Fprintf(b, "Measured %s to %s, the machine's load average before each work %.1f to %.1f (the works themselves make about 2).\n", first, last, low, high)
	if disturbed > 0 {
		fmt.Fprintf(b, "(!): in %d works nginx's own figure spread by more than 25 %%, in a repetition too; they were disturbed and are not to be trusted.\n", disturbed)
	}
}

const (
	beginMark = "<!-- bench: begin (make bench writes this) -->\n"
	endMark   = "<!-- bench: end -->\n"
)

// document puts the figures into a page, between the markers.
func (r *results) document(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := bytes.Cut(b, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok1 || !ok2 {
		return errors.New(file + " has no place for the figures: two lines, " + strings.TrimSpace(beginMark) + " and " + strings.TrimSpace(endMark))
	}
	text := string(before) + beginMark + "\n" + r.markdown() + "\n" + endMark + string(after)
	return os.WriteFile(file, []byte(text), 0o644)
}

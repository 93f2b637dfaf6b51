package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// live is what the command reads of an event.
type live struct {
	At    time.Time
	Total struct {
		rates
		Connections int64
	}
	Pools []struct {
		rates
		Name, Why                     string
		Healthy, Total, Waiting, Held int
		FailOpen                      bool `json:"fail_open"`
		Backends                      []struct {
			rates
			Address, State, Reason string
			Weight, Percent        int
			Share                  *float64
			FirstByte              *float64 `json:"first_byte_ms"`
			InFlight               int64    `json:"in_flight"`
		}
	}
}

// rates are null where they are not known.
type rates struct {
	Rate   *float64 `json:"rps"`
	Errors *float64 `json:"error_share"`
	P50    *float64 `json:"p50_ms"`
	P99    *float64 `json:"p99_ms"`
}

func printLive(out io.Writer, text []byte) error {
	lines, err := liveLines(text, coloured(out), 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

// liveLines draws an event, not wider than a terminal; 0 is of any width.
func liveLines(text []byte, colours bool, width int) ([]string, error) {
	var l live
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("an event of the stream is not what it should be: %w", err)
	}
	lines := []string{fmt.Sprintf("%s  %s requests/s, %s errors, p50 %s ms, p99 %s ms, %d connections", l.At.Local().Format(time.TimeOnly),
		figure(l.Total.Rate, 1), share(l.Total.Errors), figure(l.Total.P50, 1), figure(l.Total.P99, 1), l.Total.Connections), ""}
	t := table{right: map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true}, colour: map[int]func(string) string{1: stateColour}}
	t.add("POOL, BACKEND", "STATE", "REQ/S", "SHARE", "ERRORS", "MS", "IN FLIGHT", "WHY")
	for _, p := range l.Pools {
		state := fmt.Sprintf("%d/%d healthy", p.Healthy, p.Total)
		waiting := ""
		if p.Waiting > 0 {
			waiting = fmt.Sprintf("%d waiting", p.Waiting)
		}
		t.add(p.Name, state, figure(p.Rate, 1), "", share(p.Errors), figure(p.P50, 1), waiting, p.Why)
		for _, b := range p.Backends {
			t.add("  "+b.Address, b.State, figure(b.Rate, 1), share(b.Share), share(b.Errors), figure(b.FirstByte, 1), b.InFlight, b.Reason)
		}
	}
	if width > 0 {
		t.fit(width)
	}
	return append(lines, t.lines(colours)...), nil
}

// figure is a number, or – where it is not known.
func figure(f *float64, decimals int) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, *f)
}

func share(f *float64) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f%%", 100**f)
}

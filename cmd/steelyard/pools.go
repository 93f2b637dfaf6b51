package main

import (
	"fmt"
	"io"
	"net/url"
	"time"
)

const poolsHelp = `Usage: steelyard pools [POOL]

Lists the pools with their backends, or one of them with more about it.
` + remoteHelp + `
Example:
  steelyard pools
`

// poolView is what the commands read of a pool.
type poolView struct {
	Name, Policy, Why       string
	Healthy, Total, Waiting int
	FailOpen                *time.Time `json:"fail_open_since"`
	Counters                struct{ Requests, Retries int64 }
	Backends                []backendView
	Sources                 []struct {
		Name, Error, Alarm string
		Members            int
		Held               []string
	}
}

// backendView is what the commands read of a backend.
type backendView struct {
	Address, State, Reason string
	Weight                 int
	Percent                int   `json:"percent_of_weight"`
	DrainLeft              int64 `json:"drain_left_ms"`
	InFlight               int64 `json:"in_flight"`
	Requests, Failures     int64
	Held, Left             bool
}

func poolsCommand(args []string, out, _ io.Writer) error {
	r, err := parseRemote("pools", poolsHelp, args, out, []string{"[POOL]"}, nil)
	if err != nil {
		return err
	}
	if len(r.args) == 1 {
		var p poolView
		if done, err := r.ask("GET", "/api/v1/pools/"+url.PathEscape(r.args[0]), nil, &p); done || err != nil {
			return err
		}
		printPool(out, &p)
		return nil
	}
	var all struct{ Pools []poolView }
	if done, err := r.ask("GET", "/api/v1/pools", nil, &all); done || err != nil {
		return err
	}
	for i := range all.Pools {
		if i > 0 {
			fmt.Fprintln(out)
		}
		printPool(out, &all.Pools[i])
	}
	if len(all.Pools) == 0 {
		fmt.Fprintln(out, "There are no pools.")
	}
	return nil
}

// printPool prints a pool with its backends.
func printPool(out io.Writer, p *poolView) {
	fmt.Fprintf(out, "%s: %d of %d healthy, %s, %d requests, %d retries", plain(p.Name), p.Healthy, p.Total, p.Policy, p.Counters.Requests, p.Counters.Retries)
	if p.Waiting > 0 {
		fmt.Fprintf(out, ", %d waiting", p.Waiting)
	}
	fmt.Fprintln(out)
	if p.Why != "" {
		fmt.Fprintf(out, "  ! %s\n", plain(p.Why))
	}
	if p.FailOpen != nil {
		fmt.Fprintf(out, "  ! all backends are used since %s although none is healthy\n", p.FailOpen.Local().Format(time.TimeOnly))
	}
	for _, s := range p.Sources {
		switch {
		case s.Alarm != "":
			fmt.Fprintf(out, "  ! %s: %s\n    steelyard release %s carries it out\n", plain(s.Name), plain(s.Alarm), plain(p.Name))
		case s.Error != "":
			fmt.Fprintf(out, "  ! %s: %s\n", plain(s.Name), plain(s.Error))
		}
	}
	t := table{right: map[int]bool{2: true, 3: true, 4: true, 5: true}, colour: map[int]func(string) string{1: stateColour}}
	t.add("  BACKEND", "STATE", "WEIGHT", "IN FLIGHT", "REQUESTS", "FAILURES", "WHY")
	for _, b := range p.Backends {
		t.add("  "+b.Address, b.state(), b.Weight, b.InFlight, b.Requests, b.Failures, b.Reason)
	}
	t.print(out)
}

// state is the state of a backend with what belongs to it.
func (b *backendView) state() string {
	switch {
	case b.State == "draining" && b.DrainLeft > 0:
		return "draining " + (time.Duration(b.DrainLeft) * time.Millisecond).Round(time.Second).String()
	case b.State == "slow_start":
		return fmt.Sprintf("slow_start %d%%", b.Percent)
	case b.Held:
		return b.State + " (held)"
	}
	return b.State
}

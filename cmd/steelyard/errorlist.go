package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const errorsHelp = `Usage: steelyard errors [-n COUNT] [--pool POOL] [--cause CAUSE]

Lists the last errors that clients got, newest last: those that Steelyard made,
and 5xx that backends answered.

  -n COUNT            at most so many, the newest (default 20, at most 200)
  --pool POOL         those of a pool alone
  --cause CAUSE       those of a cause alone
` + remoteHelp + `
Example:
  steelyard errors -n 50 --pool web
`

// errorRecord is what the command reads of an error.
type errorRecord struct {
	At                                      time.Time
	Cause, Hint, Detail, Method, Host, Path string
	Route, Pool, Backend                    string
	Status                                  int
	RequestID                               string  `json:"request_id"`
	Total                                   float64 `json:"total_ms"`
	Attempts                                []struct {
		Backend, Cause string
		Status         int
		Took           float64 `json:"took_ms"`
	}
}

func errorsCommand(args []string, out, _ io.Writer) error {
	n, pool, cause := 20, "", ""
	r, err := parseRemote("errors", errorsHelp, args, out, nil, func(fs *flag.FlagSet) {
		fs.IntVar(&n, "n", n, "")
		fs.StringVar(&pool, "pool", "", "")
		fs.StringVar(&cause, "cause", "", "")
	})
	if err != nil {
		return err
	}
	if n < 1 {
		return usageError{fmt.Errorf("-n %d is not 1 or more", n)}
	}
	var list struct {
		Total  int64
		Errors []errorRecord
	}
	if done, err := r.ask("GET", "/api/v1/errors", nil, &list); done || err != nil {
		return err
	}
	var shown []*errorRecord // newest first
	for i := range list.Errors {
		e := &list.Errors[i]
		if (pool == "" || e.Pool == pool) && (cause == "" || e.Cause == cause) && len(shown) < n {
			shown = append(shown, e)
		}
	}
	for i := len(shown) - 1; i >= 0; i-- {
		shown[i].print(out)
	}
	switch {
	case list.Total == 0:
		fmt.Fprintln(out, "There were no errors since the start.")
	case len(shown) == 0:
		fmt.Fprintf(out, "None of the last %s match. They are of %s.\n", count(len(list.Errors), "error"), kinds(list.Errors))
	default:
		fmt.Fprintf(out, "%d shown of %d that there were since the start; the last %d are kept.\n", len(shown), list.Total, len(list.Errors))
	}
	return nil
}

// kinds are the causes and pools of errors, for who has asked for others.
func kinds(all []errorRecord) string {
	var causes, pools []string
	for i := range all {
		if c := plain(all[i].Cause); c != "" && !slices.Contains(causes, c) {
			causes = append(causes, c)
		}
		if p := plain(all[i].Pool); p != "" && !slices.Contains(pools, p) {
			pools = append(pools, p)
		}
	}
	slices.Sort(causes)
	slices.Sort(pools)
	var said []string
	if len(causes) > 0 {
		said = append(said, "cause "+strings.Join(causes, ", "))
	}
	if len(pools) > 0 {
		said = append(said, "pool "+strings.Join(pools, ", "))
	}
	return strings.Join(said, "; ")
}

func (e *errorRecord) print(out io.Writer) {
	cause, status := e.Cause, fmt.Sprint(e.Status)
	if cause == "" {
		cause = "answered by the backend"
	}
	if e.Status == 0 {
		status = "cut"
	}
	fmt.Fprintf(out, "%s  %s  %s  %s %s%s\n", e.At.Local().Format(time.TimeOnly), status, cause, plain(e.Method), plain(e.Host), plain(e.Path))
	var where []string
	for _, p := range [][2]string{{"route", e.Route}, {"pool", e.Pool}, {"backend", e.Backend}, {"request", e.RequestID}} {
		if p[1] != "" {
			where = append(where, p[0]+" "+plain(p[1]))
		}
	}
	fmt.Fprintf(out, "    %s, %.1f ms\n", strings.Join(where, ", "), e.Total)
	if e.Detail != "" {
		fmt.Fprintf(out, "    %s\n", plain(e.Detail))
	}
	if len(e.Attempts) > 1 {
		for i, a := range e.Attempts {
			what := a.Cause
			if what == "" {
				what = fmt.Sprint(a.Status)
			}
			fmt.Fprintf(out, "    attempt %d: %s: %s after %.1f ms\n", i+1, plain(a.Backend), plain(what), a.Took)
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(out, "    hint: %s\n", plain(e.Hint))
	}
}

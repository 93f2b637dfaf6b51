package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"

	"steelyard/config"
	"steelyard/internal/app"
	"steelyard/internal/explain"
)

const explainHelp = `Usage: steelyard explain [-X METHOD] [-H "NAME: VALUE"]... URL

Says what would become of a request, without sending it: which route takes it,
which pool and backend it gets, and why. URL is http://host/path, or /path.

With -c FILE and without --admin it goes by that file alone; nothing has to run.
Otherwise it asks the running Steelyard, which knows the state of its backends.

  -X METHOD           the method (default GET)
  -H "NAME: VALUE"    a header; may be there more than once
  --client-ip IP      where the request comes from (default 127.0.0.1)
` + remoteHelp + `
Example:
  steelyard explain -c examples/full.yaml -H "Cookie: a=b" http://shop.example.com/cart
`

// headers collects -H.
type headers map[string]string

// String implements flag.Value.
func (h headers) String() string { return "" }

// Set implements flag.Value.
func (h headers) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok {
		return errors.New(`a header is written "Name: value"`)
	}
	h[strings.TrimSpace(name)] = strings.TrimSpace(value)
	return nil
}

func explainCommand(args []string, out, _ io.Writer) error {
	q := explain.Question{Headers: headers{}}
	r, err := parseRemote("explain", explainHelp, args, out, []string{"URL"}, func(fs *flag.FlagSet) {
		fs.StringVar(&q.Method, "X", "GET", "")
		fs.Var(headers(q.Headers), "H", "")
		fs.StringVar(&q.ClientIP, "client-ip", "", "")
	})
	if err != nil {
		return err
	}
	if err := target(r.args[0], &q); err != nil {
		return err
	}
	var a explain.Answer
	if r.file == "" || r.admin != "" {
		if done, err := r.ask("POST", "/api/v1/explain", q, &a); done || err != nil {
			return err
		}
		printAnswer(out, &a)
		return nil
	}
	cfg, err := config.Load(r.file)
	if err != nil {
		return err
	}
	if a, err = app.ExplainFile(cfg, q); err != nil {
		return err
	}
	if !r.json {
		printAnswer(out, &a)
		return nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return r.print(text)
}

// target reads host and path of the URL.
func target(text string, q *explain.Question) error {
	switch {
	case strings.HasPrefix(text, "/"):
		q.Path = text
		return nil
	case !strings.Contains(text, "://"):
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return usageError{fmt.Errorf("%q is neither http://host/path nor /path", text)}
	}
	q.Host, q.Path = u.Host, u.RequestURI()
	return nil
}

func printAnswer(out io.Writer, a *explain.Answer) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(out, "%-9s %s\n", name, plain(text))
		}
	}
	for _, step := range a.Tried {
		line("looked at", fmt.Sprintf("%s (line %d): %s", step.Route, step.Line, step.Why))
	}
	line("route", a.Route)
	line("action", a.Action)
	if a.Status != 0 {
		line("status", fmt.Sprint(a.Status))
	}
	line("redirect", a.Redirect)
	line("split", a.Split)
	line("pool", a.Pool)
	line("policy", a.Policy)
	line("key", a.Key)
	line("affinity", a.Affinity)
	line("sends", a.Sends)
	line("backend", a.Backend)
	line("error", a.Cause)
	line("because", a.Why)
	for _, note := range a.Notes {
		line("note", note)
	}
	if len(a.Candidates) == 0 {
		return
	}
	t := table{right: map[int]bool{3: true}, colour: map[int]func(string) string{2: stateColour}}
	t.add(" ", "CANDIDATE", "STATE", "SHARE", "WHY")
	for _, c := range a.Candidates {
		mark := " "
		if c.Chosen {
			mark = "*"
		}
		t.add(mark, c.Address, c.State, fmt.Sprintf("%.1f%%", 100*c.Share), c.Why)
	}
	fmt.Fprintln(out)
	t.print(out)
}

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
  -H "NAME: VALUE"    a header; may be there more than once; lines of one name are
                      joined
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
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	for known, before := range h {
		if strings.EqualFold(known, name) { // two lines of one header are one list
			sep := ", "
			if strings.EqualFold(name, "Cookie") {
				sep = "; "
			}
			h[known] = before + sep + value
			return nil
		}
	}
	h[name] = value
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

// target reads host and path of the URL. The path stays as it is written, because
// how it is encoded may be what is asked about.
func target(text string, q *explain.Question) error {
	if text == "*" || strings.HasPrefix(text, "/") {
		q.Path = withoutFragment(text)
		return nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || strings.ContainsAny(scheme, "/?#") { // what looks like one stands in the query
		scheme, rest = "http", text
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], withoutFragment(rest[i:])
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	switch strings.ToLower(scheme) {
	case "http", "https", "ws", "wss":
	default:
		host = ""
	}
	if host == "" || strings.Contains(host, "@") {
		return usageError{fmt.Errorf("%q is neither http://host/path nor /path", text)}
	}
	q.Host, q.Path = host, path
	return nil
}

// withoutFragment leaves out what no client sends.
func withoutFragment(path string) string {
	path, _, _ = strings.Cut(path, "#")
	return path
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
	for _, gate := range a.Gates {
		line("gate", gate)
	}
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

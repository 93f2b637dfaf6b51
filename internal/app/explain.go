package app

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"steelyard/config"
	"steelyard/internal/admin"
	"steelyard/internal/auth"
	"steelyard/internal/explain"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
	"steelyard/internal/ratelimit"
	"steelyard/internal/router"
)

// explainTries is how often a question is asked again because a reload has put
// another generation in the place of the one that was asked.
const explainTries = 3

// Explain says what would become of a request, by the generation in force. The
// error says what about the question makes no sense.
func (a *App) Explain(q explain.Question) (answer explain.Answer, err error) {
	for range explainTries {
		f := a.now()
		answer, err = f.generation.Explain(q)
		if err == nil || f == a.now() {
			noteRedirects(f.cfg, &answer)
			refuseBySize(f.cfg, q, &answer)
			break
		}
	}
	return answer, err
}

// refuseBySize does what listeners do before a route is looked for: they refuse
// what is larger than they accept. A question does not say which of them it comes
// to; if not all refuse it, a note says who does.
func refuseBySize(cfg *config.Config, q explain.Question, answer *explain.Answer) {
	head, _, err := q.Head()
	if err != nil || answer.Status == 400 || answer.Status == 501 { // it is no request that is accepted
		return
	}
	length := int64(0)
	for name, value := range q.Headers {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && strings.EqualFold(name, "Content-Length") {
			length = n
		}
	}
	var causes, notes []string
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		switch {
		case len(head) > l.MaxHeaderSize:
			causes = append(causes, "head_too_large")
			notes = append(notes, fmt.Sprintf("the listener %s would refuse it: its head has %d bytes, max_header_size is %d", l.Name, len(head), l.MaxHeaderSize))
		case l.MaxBodySize > 0 && length > l.MaxBodySize:
			causes = append(causes, "body_too_large")
			notes = append(notes, fmt.Sprintf("the listener %s would refuse it: its body has %d bytes, max_body_size is %d", l.Name, length, l.MaxBodySize))
		}
	}
	if len(causes) == 0 || len(causes) < len(cfg.Listeners) {
		answer.Notes = append(answer.Notes, notes...)
		return
	}
	status := map[string]int{"head_too_large": 431, "body_too_large": 413}[causes[0]]
	*answer = explain.Answer{Cause: causes[0], Status: status, Why: strings.Join(notes, "; ")}
}

// noteRedirects says which listeners send the request to https before a route is
// looked for.
func noteRedirects(cfg *config.Config, answer *explain.Answer) {
	for i := range cfg.Routes {
		if r := &cfg.Routes[i]; r.Line == answer.RouteLine && r.Name == answer.Route && namesACME(r.Match.Path) {
			return
		}
	}
	for i := range cfg.Listeners {
		if l := &cfg.Listeners[i]; l.HTTPSPort != 0 {
			answer.Notes = append(answer.Notes, fmt.Sprintf("the listener %s sends it to https before that (redirect_to_https)", l.Name))
		}
	}
}

// Routes are those in force, in the order in which they are tried.
func (a *App) Routes() []admin.RouteView {
	f := a.now()
	views := make([]admin.RouteView, 0, len(f.cfg.Routes))
	for _, i := range f.generation.Table.Order() {
		v := routeView(&f.cfg.Routes[i])
		if s := f.generation.Routes[i].Stats; s != nil {
			for _, n := range s.Classes.Read() {
				v.Requests += n
			}
		}
		views = append(views, v)
	}
	return views
}

func routeView(c *config.Route) admin.RouteView {
	v := admin.RouteView{Name: c.Name, Line: c.Line, Match: matchView(&c.Match)}
	switch {
	case c.Redirect != nil:
		v.Action, v.To = "redirect", []string{c.Redirect.To}
	case c.Respond != nil:
		v.Action = "respond"
	case c.Split != nil:
		v.Action = "split"
		for _, w := range c.Split.To {
			v.To = append(v.To, fmt.Sprintf("%s: %d", w.Pool, w.Weight))
		}
	default:
		v.Action, v.To = "pool", []string{c.Pool}
	}
	return v
}

// matchView is a match with the keys that it has in the file.
func matchView(m *router.Match) map[string]any {
	view := map[string]any{}
	if m.Host != "" {
		view["host"] = m.Host
	}
	if m.Path != "" {
		view["path"] = m.Path
	}
	if len(m.Methods) > 0 {
		view["method"] = m.Methods
	}
	for name, fields := range map[string][]router.Field{"headers": m.Headers, "query": m.Query} {
		if len(fields) == 0 {
			continue
		}
		values := make(map[string]string, len(fields))
		for _, f := range fields {
			values[f.Name] = f.Value
		}
		view[name] = values
	}
	return view
}

// ExplainFile says what would become of a request by a configuration that does
// not run: no check, source or listener is started. The answer's notes say what
// it cannot know.
func ExplainFile(cfg *config.Config, q explain.Question) (answer explain.Answer, err error) {
	b := &builder{cfg: cfg, targets: map[string]*proxy.Target{}, stats: func(string) *proxy.RouteStats { return nil },
		gates: newGateBuilder(ratelimit.NewStore(), auth.NewGuard(), &kept{})}
	for i := range cfg.Pools {
		c := &cfg.Pools[i]
		o := b.poolOptions(c)
		o.Check, o.Checks, o.Log = nil, nil, slog.New(slog.DiscardHandler)
		p, err := pool.New(c.Name, o)
		if err != nil {
			return answer, err
		}
		defer p.Close()
		b.targets[c.Name] = &proxy.Target{Pool: p, Key: c.Policy.Key, Sticky: c.Sticky, Retry: retryOptions(&c.Retry)}
	}
	g, err := b.generation()
	if err != nil {
		return answer, err
	}
	if answer, err = g.Explain(q); err != nil {
		return answer, err
	}
	forgiveSources(cfg, &answer)
	noteRedirects(cfg, &answer)
	refuseBySize(cfg, q, &answer)
	answer.Notes = append(answer.Notes, fileNotes(cfg, answer.Pool)...)
	return answer, nil
}

// forgiveSources takes back that there is no backend where sources may know some.
func forgiveSources(cfg *config.Config, answer *explain.Answer) {
	if answer.Cause != proxy.CauseNoBackend.String() {
		return
	}
	for i := range cfg.Pools {
		if c := &cfg.Pools[i]; c.Name == answer.Pool && len(c.Sources) > 0 {
			answer.Cause, answer.Status = "", 0
			answer.Why = "which backend gets it is known to a running Steelyard only: the pool has backends from " + sourceName(&c.Sources[0])
		}
	}
}

// fileNotes say what is not known of a pool that does not run.
func fileNotes(cfg *config.Config, name string) (notes []string) {
	for i := range cfg.Pools {
		c := &cfg.Pools[i]
		if c.Name != name {
			continue
		}
		notes = append(notes, "asked of the file alone: its backends count as healthy, with nothing in flight and no turn taken")
		for j := range c.Sources {
			notes = append(notes, "backends of "+sourceName(&c.Sources[j])+" are not known: sources are asked by a running Steelyard only")
		}
		if c.Sticky != nil && c.Sticky.Cookie == nil {
			notes = append(notes, "which clients are bound by header or address is known to a running Steelyard only")
		}
	}
	return notes
}

func sourceName(s *config.Source) string {
	switch {
	case s.Consul != nil:
		return "the Consul service " + s.Consul.Service
	case s.DNS != nil:
		return "the DNS name " + s.DNS.Name
	}
	return "the file " + s.File.Path
}

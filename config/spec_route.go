package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"steelyard/balancer"
	"steelyard/internal/rewrite"
	"steelyard/internal/router"
	"steelyard/internal/sticky"
)

// routeDraft is one item of routes; lists of hosts and paths make several
// routes of it.
type routeDraft struct {
	Route
	match matchDraft
	pool  placed[string]
	split *splitDraft
	// forward_auth, whose pool may be one of its own.
	forward *forwardDraft
	at      value
	whole   bool // its match was read without an error, and it has one action
}

type matchDraft struct {
	hosts, paths []placed[string]
	methods      []string
	headers      []router.Field
	query        []router.Field
}

type splitDraft struct {
	to     []branchDraft
	sticky *sticky.Options
	at     value
}

type branchDraft struct {
	pool   placed[string]
	weight int
}

func routeMapping() mapping[routeDraft] {
	m := mapping[routeDraft]{
		noun:  "a route",
		fresh: func() routeDraft { return routeDraft{Route: Route{Host: "preserve", AccessLog: true}} },
		fields: []field[routeDraft]{
			key("name", anyText("1 to 200 characters, no control characters", checkRouteName), func(r *routeDraft) *string { return &r.Name },
				"Shown in logs and in the variable {route}.").defaults("host and path of the match"),
			key("match", matchMapping().kind(), func(r *routeDraft) *matchDraft { return &r.match },
				"Which requests the route takes; without it, every one.").defaults("every request"),
			key("pool", placedAt(poolName()), func(r *routeDraft) *placed[string] { return &r.pool },
				"Sends the requests to this pool.").defaults("none"),
			key("split", optional(splitMapping().kind()), func(r *routeDraft) **splitDraft { return &r.split },
				"Spreads the requests over several pools by weight.").defaults("none"),
			key("redirect", optional(redirectMapping().kind()), func(r *routeDraft) **Redirect { return &r.Redirect },
				"Answers with a redirect.").defaults("none"),
			key("respond", optional(respondMapping().kind()), func(r *routeDraft) **Respond { return &r.Respond },
				"Answers with a fixed response.").defaults("none"),
			key("rewrite", rewriteMapping().kind(), func(r *routeDraft) *rewrite.Path { return &r.Rewrite },
				"Changes the path that the backend sees; the query is kept. At most one of its keys.").defaults("none"),
			key("host", anyText("preserve, backend, or a host name", checkHostHeader), func(r *routeDraft) *string { return &r.Host },
				"The `Host` header the backend gets: `preserve` keeps the client's, `backend` sends the backend's address, anything else is sent as it is."),
			key("request_headers", headersMapping().kind(), func(r *routeDraft) *rewrite.Headers { return &r.RequestHeaders },
				"Changes the headers that the backend gets: first remove, then set, then add.").defaults("none"),
			key("response_headers", headersMapping().kind(), func(r *routeDraft) *rewrite.Headers { return &r.ResponseHeaders },
				"Changes the headers that the client gets, in the same way.").defaults("none"),
			key("access_log", boolean(), func(r *routeDraft) *bool { return &r.AccessLog },
				"Whether its requests get a line in the access log; with `false` only those that failed do, unless `access_log.errors` is `sampled`."),
		},
		check: checkRoute,
	}
	m.fields = append(m.fields, gateKeys()...)
	return m
}

// checkRoute looks at the keys of one route together.
func checkRoute(w *walker, s section, r *routeDraft) {
	checkGate(w, s, r)
	r.whole = s.good("match") && s.oneOf(w, "pool", "split", "redirect", "respond")
	if !s.has("redirect") && !s.has("respond") || s.has("pool") || s.has("split") {
		return
	}
	for _, name := range []string{"rewrite", "host", "request_headers"} {
		if s.has(name) {
			w.failf(s.at[name], "has no effect: this route sends nothing to a backend")
		}
	}
}

func checkRouteName(s string) *wrong {
	switch {
	case s == "" || len(s) > 200:
		return &wrong{msg: fmt.Sprintf("a name of %d bytes", len(s))}
	case hasControl(s):
		return &wrong{msg: fmt.Sprintf("%q has a control character", clip(s))}
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func checkHostHeader(s string) *wrong {
	host, port := s, "80"
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
		if strings.HasPrefix(s, "[") {
			host = "[" + h + "]"
		}
	}
	_, badPort := strconv.ParseUint(port, 10, 16)
	inner, bracketed := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if badPort == nil && (bracketed && closed && isIP(inner) || hostPattern.MatchString(host)) {
		return nil // preserve and backend look like names as well
	}
	return &wrong{msg: fmt.Sprintf("%q is not a host name", clip(s))}
}

// poolName names a pool; whether there is one is seen when all have been read.
func poolName() kind[string] {
	return kind[string]{
		typ: "text", allowed: "the name of a pool",
		read: func(w *walker, v value, to *string) (ok bool) {
			*to, ok = w.text(v, "the name of a pool")
			return ok
		},
	}
}

func matchMapping() mapping[matchDraft] {
	host := checked("text", "a name, *.example.com, or * for any", func(s string) error { return router.Match{Host: s}.Validate() })
	path := checked("text", "exact /login, prefix /v1/*, regular expression ~^/u/[0-9]+$, or /* for any", func(s string) error { return router.Match{Path: s}.Validate() })
	method := checked("text", "a method in capitals: GET, POST, …", checkMethod)
	newField := func(name, val string) router.Field { return router.Field{Name: name, Value: val} }
	return mapping[matchDraft]{
		noun: "a match",
		fields: []field[matchDraft]{
			key("host", oneOrMore(placedAt(host)), func(m *matchDraft) *[]placed[string] { return &m.hosts },
				"The host that was asked for, without port. A list makes one route for each.").defaults("any"),
			key("path", oneOrMore(placedAt(path)), func(m *matchDraft) *[]placed[string] { return &m.paths },
				"The path without query, after `paths`. A list makes one route for each.").defaults("any"),
			key("method", oneOrMore(method), func(m *matchDraft) *[]string { return &m.methods },
				"The methods taken.").defaults("any"),
			key("headers", pairs("name to value", "exact text, * for any value, or ~regex", newField, func(f router.Field) error {
				return router.Match{Headers: []router.Field{f}}.Validate()
			}), func(m *matchDraft) *[]router.Field { return &m.headers },
				"Request headers that all must match.").defaults("any"),
			key("query", pairs("name to value", "exact text, * for any value, or ~regex", newField, func(f router.Field) error {
				return router.Match{Query: []router.Field{f}}.Validate()
			}), func(m *matchDraft) *[]router.Field { return &m.query },
				"Query parameters that all must match.").defaults("any"),
		},
		validate: func(m *matchDraft) error {
			return router.Match{Methods: m.methods, Headers: m.headers, Query: m.query}.Validate()
		},
	}
}

func splitMapping() mapping[splitDraft] {
	branches := list(branchMapping().kind())
	return mapping[splitDraft]{
		noun:    "a split",
		shortIs: "the list under to",
		short: func(w *walker, v value, s *splitDraft) bool {
			return v.node.Kind == yamlSequence && (branches.read(w, v, &s.to) || true)
		},
		fields: []field[splitDraft]{
			key("to", branches, func(s *splitDraft) *[]branchDraft { return &s.to }, "The pools.").needed(),
			key("sticky", optional(stickyMapping("sy_pool", true).kind()), func(s *splitDraft) **sticky.Options { return &s.sticky },
				"Keeps a client in the pool it was first sent to. As `sticky` of a pool, but headers and addresses are hashed and not remembered.").defaults("none"),
		},
		check: checkSplit,
	}
}

func checkSplit(w *walker, s section, d *splitDraft) {
	d.at = s.value
	lines, sum := map[string]int{}, 0
	for _, b := range d.to {
		if line, dup := lines[b.pool.val]; dup {
			w.failf(b.pool.at, "pool %q stands already in line %d of this split", clip(b.pool.val), line)
		}
		lines[b.pool.val] = b.pool.at.line
		sum += b.weight
	}
	switch {
	case !s.good("to") || s.at != nil && !s.has("to"):
	case len(d.to) == 0:
		w.fail(s.where("to"), Error{Msg: "is empty", Allowed: "a list of {pool, weight}"})
	case sum == 0:
		w.failf(s.where("to"), "every weight is 0, so no pool would get a request")
	}
}

func branchMapping() mapping[branchDraft] {
	return mapping[branchDraft]{
		noun:  "a branch of a split",
		fresh: func() branchDraft { return branchDraft{weight: 1} },
		fields: []field[branchDraft]{
			key("pool", placedAt(poolName()), func(b *branchDraft) *placed[string] { return &b.pool }, "The pool.").needed(),
			key("weight", integer(0, balancer.MaxWeight), func(b *branchDraft) *int { return &b.weight },
				"Its share, relative to the other weights of the split. Not all may be 0."),
		},
	}
}

func redirectMapping() mapping[Redirect] {
	to := checked("template", "a URL or path, see Templates", checkLocation)
	return mapping[Redirect]{
		noun:    "a redirect",
		shortIs: "the location alone",
		short: func(w *walker, v value, r *Redirect) bool {
			return isText(v.node) && (to.read(w, v, &r.To) || true)
		},
		fresh: func() Redirect { return Redirect{Status: 308} },
		fields: []field[Redirect]{
			key("to", to, func(r *Redirect) *string { return &r.To }, "The `Location`.").needed(),
			key("status", oneOfNumbers(301, 302, 303, 307, 308), func(r *Redirect) *int { return &r.Status },
				"307 and 308 keep method and body; 301 and 308 may be cached for good."),
		},
	}
}

func checkLocation(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	_, err := rewrite.Parse(s)
	return err
}

func respondMapping() mapping[Respond] {
	status := integer(200, 599)
	return mapping[Respond]{
		noun:    "a response",
		shortIs: "the status alone",
		short: func(w *walker, v value, r *Respond) bool {
			return isText(v.node) && (status.read(w, v, &r.Status) || true)
		},
		fresh: func() Respond { return Respond{Status: 200} },
		fields: []field[Respond]{
			key("status", status, func(r *Respond) *int { return &r.Status }, "The status of the response."),
			key("body", anyText("any text", nil), func(r *Respond) *string { return &r.Body },
				"The body of the response, as it is.").defaults("empty"),
			key("headers", headerMap(), func(r *Respond) *map[string]string { return &r.Headers },
				"Headers of the response, as they are.").defaults("none"),
		},
		check: func(w *walker, s section, r *Respond) {
			if s.good("status", "body") && r.Body != "" && (r.Status == 204 || r.Status == 304) {
				w.failf(s.where("body"), "a %d response has no body", r.Status)
			}
		},
	}
}

// headerMap is a mapping of header names to plain values.
func headerMap() kind[map[string]string] {
	type pair = [2]string
	inner := pairs("name to text", "header names and their values",
		func(name, val string) pair { return pair{name, val} },
		func(p pair) error { return checkHeader(p[0], p[1]) })
	return kind[map[string]string]{
		typ: inner.typ, allowed: inner.allowed,
		read: func(w *walker, v value, to *map[string]string) bool {
			var got []pair
			if !inner.read(w, v, &got) {
				return false
			}
			*to = make(map[string]string, len(got))
			seen := map[string]bool{}
			for _, p := range got {
				if seen[strings.ToLower(p[0])] {
					w.failf(v, "the header %s is named twice", p[0])
					return false
				}
				seen[strings.ToLower(p[0])] = true
				(*to)[p[0]] = p[1]
			}
			return true
		},
	}
}

func rewriteMapping() mapping[rewrite.Path] {
	text := anyText("a path that begins with /", nil)
	return mapping[rewrite.Path]{
		noun: "a rewrite",
		fields: []field[rewrite.Path]{
			key("strip_prefix", text, func(p *rewrite.Path) *string { return &p.StripPrefix },
				"Removes these leading segments: `/v1` turns `/v1/a` into `/a`.").defaults("none"),
			key("replace_prefix", optional(replaceMapping("leading segments", "what to put there instead").kind()), func(p *rewrite.Path) **rewrite.Replace { return &p.ReplacePrefix },
				"Puts other leading segments in the place of these.").defaults("none"),
			key("regex", optional(replaceMapping("a regular expression (RE2)", "text with $1 or ${1} for groups, $${name} for named groups").kind()), func(p *rewrite.Path) **rewrite.Replace { return &p.Regex },
				"Replaces the first match of a regular expression.").defaults("none"),
		},
		check: func(w *walker, s section, _ *rewrite.Path) {
			if len(s.at) > 1 {
				s.oneOf(w, "strip_prefix", "replace_prefix", "regex")
			}
		},
		validate: func(p *rewrite.Path) error { return p.Validate() },
	}
}

func replaceMapping(from, to string) mapping[rewrite.Replace] {
	return mapping[rewrite.Replace]{
		noun: "a replacement",
		fields: []field[rewrite.Replace]{
			key("from", anyText(from, nil), func(r *rewrite.Replace) *string { return &r.From }, "What is replaced.").needed(),
			key("to", anyText(to, nil), func(r *rewrite.Replace) *string { return &r.To }, "What it is replaced by.").needed(),
		},
	}
}

func headersMapping() mapping[rewrite.Headers] {
	newHeader := func(name, val string) rewrite.Header { return rewrite.Header{Name: name, Value: val} }
	set := pairs("name to template", "header names and their values, see Templates", newHeader, func(h rewrite.Header) error {
		return rewrite.Headers{Set: []rewrite.Header{h}}.Validate()
	})
	add := pairs("name to template", "header names and their values, see Templates", newHeader, func(h rewrite.Header) error {
		return rewrite.Headers{Add: []rewrite.Header{h}}.Validate()
	})
	remove := checked("text", "header names", func(s string) error { return rewrite.Headers{Remove: []string{s}}.Validate() })
	return mapping[rewrite.Headers]{
		noun: "changes of headers",
		fields: []field[rewrite.Headers]{
			key("set", set, func(h *rewrite.Headers) *[]rewrite.Header { return &h.Set },
				"Replaces all headers of a name by one.").defaults("none"),
			key("add", listOfPairs(add), func(h *rewrite.Headers) *[]rewrite.Header { return &h.Add },
				"Adds one more header. The list form adds several of one name.").defaults("none"),
			key("remove", oneOrMore(remove), func(h *rewrite.Headers) *[]string { return &h.Remove },
				"Removes all headers of these names.").defaults("none"),
		},
		validate: func(h *rewrite.Headers) error { return h.Validate() },
	}
}

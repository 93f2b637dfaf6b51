package router

import (
	"cmp"
	"errors"
	"slices"
)

// Validate reports everything that is wrong with m, joined by errors.Join. Each
// error names the part (host, path, method, header, query), its value, what is
// wrong with it and what is allowed.
func (m Match) Validate() error {
	_, err := compile(0, m)
	return err
}

// route is a compiled Match.
type route struct {
	index   int   // in the slice given to New
	rank    int32 // in match order
	host    hostKey
	path    pathKey
	methods []string
	conds   []condition
	exacts  int // conditions with an exact value
	regexes int // conditions with an expression
}

func compile(index int, m Match) (*route, error) {
	host, errHost := parseHost(m.Host)
	path, errPath := parsePath(m.Path)
	headers, errHeaders := parseFields(m.Headers, false)
	query, errQuery := parseFields(m.Query, true)
	err := errors.Join(errHost, errPath, parseMethods(m.Methods), errHeaders, errQuery)
	if err != nil {
		return nil, err
	}
	r := &route{index: index, host: host, path: path, methods: slices.Clone(m.Methods), conds: append(headers, query...)}
	for _, c := range r.conds {
		switch c.kind {
		case valueExact:
			r.exacts++
		case valueRegex:
			r.regexes++
		}
	}
	return r, nil
}

// takes reports whether everything but host and a literal path fits. The
// expression for the path is the dearest and comes last.
func (r *route) takes(q *Request) bool {
	if len(r.methods) > 0 && !r.takesMethod(q.Method) {
		return false
	}
	for i := range r.conds {
		if !r.conds[i].holds(q) {
			return false
		}
	}
	return r.path.re == nil || r.path.re.Match(q.Path)
}

func (r *route) takesMethod(method []byte) bool {
	for _, m := range r.methods {
		if string(method) == m {
			return true
		}
	}
	return false
}

// conditions counts for rule 3 of the package comment.
func (r *route) conditions() int {
	n := len(r.conds)
	if len(r.methods) > 0 {
		n++
	}
	return n
}

// compare orders routes as the package comment says. Between hosts or paths
// that never compete it goes by the text, to keep them together.
func compare(a, b *route) int {
	return cmp.Or(
		cmp.Compare(a.host.kind, b.host.kind),
		cmp.Compare(len(b.host.text), len(a.host.text)),
		cmp.Compare(a.host.text, b.host.text),
		comparePaths(&a.path, &b.path),
		cmp.Compare(b.conditions(), a.conditions()),
		cmp.Compare(b.exacts, a.exacts),
		cmp.Compare(b.regexes, a.regexes),
		cmp.Compare(len(a.methods), len(b.methods)),
		cmp.Compare(a.index, b.index),
	)
}

func comparePaths(a, b *pathKey) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	if a.kind == pathRegex {
		// Not by the expression: between these the file decides.
		return cmp.Or(cmp.Compare(len(b.literal), len(a.literal)), cmp.Compare(a.literal, b.literal))
	}
	return cmp.Or(cmp.Compare(len(b.text), len(a.text)), cmp.Compare(a.text, b.text))
}

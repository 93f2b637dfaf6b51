package router

import (
	"fmt"
	"slices"
	"strings"
)

// Shadow says that the route Index can never match, because the route By comes
// before it and takes everything it could take.
type Shadow struct{ Index, By int }

// Shadowed lists the routes that can never match because one other route takes
// all their requests, in the order of Index. What it lists is certain. It does
// not find everything: routes that are covered only by several others together,
// or by a regular expression that covers another in a way that would take a
// proof, are not listed.
func (t *Table) Shadowed() []Shadow {
	var shadows []Shadow
	for _, group := range t.byHost() {
		shadows = append(shadows, shadowedIn(group)...)
	}
	slices.SortFunc(shadows, func(a, b Shadow) int { return a.Index - b.Index })
	return shadows
}

// shadowedIn looks at the routes of one host, in match order. Routes of other
// hosts cannot shadow: what is more exact comes first and takes less.
//
// Within a host there are two ways. Routes with the same path and the same
// conditions: between two routes with the same path, one that covers the other
// without being equal always ranks behind it. And expressions that take all
// that begins with their literal ("~^/v1/"), which rank before prefixes.
func shadowedIn(group []*route) []Shadow {
	var shadows []Shadow
	var wide []*route
	seen := make(map[string]int)
	for _, r := range group {
		key := r.key()
		by, ok := seen[key]
		if !ok {
			if i := slices.IndexFunc(wide, func(w *route) bool { return w.covers(r) }); i >= 0 {
				by, ok = wide[i].index, true
			}
		}
		if ok {
			shadows = append(shadows, Shadow{Index: r.index, By: by})
			continue
		}
		seen[key] = r.index
		if r.path.whole {
			wide = append(wide, r)
		}
	}
	return shadows
}

// key is equal for two routes of one host exactly if they take the same
// requests for the same reasons.
func (r *route) key() string {
	methods := slices.Sorted(slices.Values(r.methods))
	conds := make([]string, len(r.conds))
	for i, c := range r.conds {
		conds[i] = fmt.Sprintf("%t %q %d %q", c.query, c.name, c.kind, c.value)
	}
	slices.Sort(conds)
	return fmt.Sprintf("%d %q %q %q", r.path.kind, r.path.text, methods, conds)
}

// covers reports whether w, whose path takes all that begins with its literal,
// certainly takes every request that r of the same host takes.
func (w *route) covers(r *route) bool {
	begin := r.path.text
	switch r.path.kind {
	case pathRegex:
		begin = r.path.literal
	case pathAny:
		begin = ""
	}
	return strings.HasPrefix(begin, w.path.literal) && w.coversMethods(r) && w.coversConditions(r)
}

func (w *route) coversMethods(r *route) bool {
	if len(w.methods) == 0 {
		return true
	}
	for _, m := range r.methods {
		if !slices.Contains(w.methods, m) {
			return false
		}
	}
	return len(r.methods) > 0
}

// coversConditions reports whether each condition of w follows from one of r.
func (w *route) coversConditions(r *route) bool {
	for i := range w.conds {
		c := &w.conds[i]
		if !slices.ContainsFunc(r.conds, func(o condition) bool { return o.field == c.field && c.follows(&o) }) {
			return false
		}
	}
	return true
}

// follows reports whether c holds whenever o, on the same field, does.
func (c *condition) follows(o *condition) bool {
	switch {
	case c.kind == valuePresent:
		return true
	case c.kind == valueRegex && o.kind == valueExact:
		return c.re.MatchString(o.value)
	}
	return c.kind == o.kind && c.value == o.value
}

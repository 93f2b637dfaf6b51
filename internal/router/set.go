package router

import (
	"math"
	"strings"
)

// worstRank is behind every route.
const worstRank = math.MaxInt32

// leafSize is up to how many routes a set tries one by one.
const leafSize = 4

// set holds the routes of one host and path pattern, which differ in their
// conditions only. It is either a list in match order or, for many routes, an
// index over the values of the field that tells them apart best: a thousand
// tenants told apart by a header cost one look-up.
type set struct {
	first int32 // rank of the best route
	list  []*route

	by      field
	byValue map[string]*set // routes that want exactly this value
	rest    *set            // routes that do not say which exact value they want
}

// newSet builds a set of routes in match order. used lists the fields that are
// already known to be equal.
func newSet(routes []*route, used ...field) *set {
	if len(routes) == 0 {
		return nil
	}
	s := &set{first: routes[0].rank}
	by, ok := bestField(routes, used)
	if !ok {
		s.list = routes
		return s
	}
	groups := make(map[string][]*route)
	var rest []*route
	for _, r := range routes {
		if v, ok := r.exactValue(by); ok {
			groups[v] = append(groups[v], r)
		} else {
			rest = append(rest, r)
		}
	}
	s.by, s.rest = by, newSet(rest, used...)
	s.byValue = make(map[string]*set, len(groups))
	used = append(used[:len(used):len(used)], by)
	for v, group := range groups {
		s.byValue[v] = newSet(group, used...)
	}
	return s
}

// bestField chooses the field with the most distinct exact values, if an index
// over it is worth having.
func bestField(routes []*route, used []field) (best field, ok bool) {
	if len(routes) <= leafSize {
		return field{}, false
	}
	values := make(map[field]map[string]bool)
	for _, r := range routes {
		for _, c := range r.conds {
			if c.kind != valueExact {
				continue
			}
			if values[c.field] == nil {
				values[c.field] = make(map[string]bool)
			}
			values[c.field][c.value] = true
		}
	}
	for _, f := range used {
		delete(values, f)
	}
	most := leafSize - 1
	for f, v := range values {
		if len(v) > most || ok && len(v) == most && lessField(f, best) {
			best, most, ok = f, len(v), true
		}
	}
	return best, ok
}

func lessField(a, b field) bool {
	if a.query != b.query {
		return !a.query
	}
	return strings.Compare(a.name, b.name) < 0
}

func (r *route) exactValue(f field) (string, bool) {
	for _, c := range r.conds {
		if c.field == f && c.kind == valueExact {
			return c.value, true
		}
	}
	return "", false
}

// find returns the best route that takes q and ranks before limit, or nil. A
// nil set has none.
func (s *set) find(q *Request, limit int32) *route {
	var best *route
	for ; s != nil && s.first < limit; s = s.rest {
		if s.byValue == nil {
			for _, r := range s.list {
				if r.rank >= limit {
					break
				}
				if r.takes(q) {
					return r
				}
			}
			return best
		}
		v := s.by.peek(q)
		if v == nil {
			continue
		}
		if found := s.byValue[string(v)].find(q, limit); found != nil {
			best, limit = found, found.rank
		}
	}
	return best
}

package router

import (
	"errors"
	"fmt"
	"slices"
)

// Request is the part of a request that routes look at. Its bytes are only
// read, and only during Match.
type Request struct {
	// Host is the raw value of Host or :authority, with or without port.
	Host []byte
	// Path is what the client sent, without query.
	Path []byte
	// Method is compared with case.
	Method []byte
	// Header and Query may be nil: nothing is present.
	Header, Query Peeker
}

// Peeker shows the fields of a request. Peek returns nil for a field that is
// absent and an empty, non-nil slice for one that is present and empty. For
// headers name comes in lower case and the Peeker compares without case.
type Peeker interface {
	Peek(name string) []byte
}

// Table is an immutable set of routes. It is safe for concurrent use.
type Table struct {
	exact    map[string]*paths
	wildcard map[string]*paths // by what stands behind "*."
	suffixes [4]uint64         // bit n: there is a wildcard with a suffix of n bytes
	any      *paths

	ranked []*route // in match order
	rank   []int32  // of the routes by their index
}

// New builds the table of matches. It fails if one of them is not valid; the
// error then joins everything Validate reports, with the index in front.
func New(matches []Match) (*Table, error) {
	t := &Table{exact: make(map[string]*paths), wildcard: make(map[string]*paths)}
	var errs []error
	for i, m := range matches {
		r, err := compile(i, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("route %d: %w", i, err))
			continue
		}
		t.ranked = append(t.ranked, r)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	slices.SortFunc(t.ranked, compare)
	t.rank = make([]int32, len(matches))
	for i, r := range t.ranked {
		r.rank = int32(i)
		t.rank[r.index] = r.rank
	}
	for _, group := range t.byHost() {
		p := newPaths(group)
		switch host := group[0].host; host.kind {
		case hostExact:
			t.exact[host.text] = p
		case hostWildcard:
			t.wildcard[host.text] = p
			t.suffixes[len(host.text)/64] |= 1 << (len(host.text) % 64)
		case hostAny:
			t.any = p
		}
	}
	return t, nil
}

// byHost cuts the ranked routes into one run per host pattern.
func (t *Table) byHost() [][]*route {
	var groups [][]*route
	for start := 0; start < len(t.ranked); {
		end := start + 1
		for end < len(t.ranked) && t.ranked[end].host == t.ranked[start].host {
			end++
		}
		groups = append(groups, t.ranked[start:end:end])
		start = end
	}
	return groups
}

// Match returns the index, in the slice given to New, of the route that takes
// q, or -1 if there is none. It takes no lock and allocates nothing. The time
// depends on the length of host and path, not on the number of routes, except
// that regular expressions of one host with the same literal beginning, and
// routes of one host and path told apart by other than exact values, are tried
// one by one.
func (t *Table) Match(q *Request) int {
	var buf [maxHost]byte
	host := normalHost(q.Host, &buf)
	if len(host) > 0 {
		if r := t.exact[string(host)].find(q); r != nil {
			return r.index
		}
		if r := t.matchWildcard(host, q); r != nil {
			return r.index
		}
	}
	if r := t.any.find(q); r != nil {
		return r.index
	}
	return -1
}

// Before reports whether route a comes before route b in match order; both are
// indexes that Match returned.
func (t *Table) Before(a, b int) bool { return t.rank[a] < t.rank[b] }

// matchWildcard tries the suffixes of host, longest first. Only lengths that
// occur are looked up, so a host of many labels costs little.
func (t *Table) matchWildcard(host []byte, q *Request) *route {
	if len(t.wildcard) == 0 {
		return nil
	}
	for i := 1; i < len(host)-1; i++ {
		if host[i] != '.' {
			continue
		}
		suffix := host[i+1:]
		if t.suffixes[len(suffix)/64]&(1<<(len(suffix)%64)) == 0 {
			continue
		}
		if r := t.wildcard[string(suffix)].find(q); r != nil {
			return r
		}
	}
	return nil
}

// Order returns the indexes of all routes in match order: of the routes that
// take a request, the one that comes first here wins. Routes of one host and of
// one path stand together. The caller owns the slice.
func (t *Table) Order() []int {
	order := make([]int, len(t.ranked))
	for i, r := range t.ranked {
		order[i] = r.index
	}
	return order
}

package router

import (
	"fmt"
	"testing"
)

// shape is a table of n routes and the requests that are asked of it; request i
// must be taken by route i.
type shape struct {
	name    string
	route   func(i int) Match
	request func(i int) *Request
}

func shapes() []shape {
	return []shape{
		{"exact_hosts",
			func(i int) Match { return Match{Host: fmt.Sprintf("app%d.example.com", i)} },
			func(i int) *Request {
				return request(fmt.Sprintf("App%d.example.com:8080", i), "/static/app.js", "GET", nil, nil)
			}},
		{"wildcard_hosts",
			func(i int) Match { return Match{Host: fmt.Sprintf("*.t%d.example.com", i)} },
			func(i int) *Request {
				return request(fmt.Sprintf("a.b.c.t%d.example.com", i), "/static/app.js", "GET", nil, nil)
			}},
		{"prefixes_one_host",
			func(i int) Match { return Match{Host: "api.example.com", Path: fmt.Sprintf("/v1/service-%d/*", i)} },
			func(i int) *Request {
				return request("api.example.com", fmt.Sprintf("/v1/service-%d/items/42", i), "GET", nil, nil)
			}},
		{"nested_prefixes_and_exact",
			func(i int) Match {
				if i%2 == 0 {
					return Match{Path: fmt.Sprintf("/t%d/*", i/2)}
				}
				return Match{Path: fmt.Sprintf("/t%d/a/b/login", i/2)}
			},
			func(i int) *Request {
				if i%2 == 0 {
					return request("h", fmt.Sprintf("/t%d/a/b/logout", i/2), "GET", nil, nil)
				}
				return request("h", fmt.Sprintf("/t%d/a/b/login", i/2), "GET", nil, nil)
			}},
		{"header_values_one_path",
			func(i int) Match {
				return Match{Path: "/api/*", Headers: []Field{{"X-Tenant", fmt.Sprint("tenant-", i)}}}
			},
			func(i int) *Request {
				return request("h", "/api/items", "GET", fields{"accept", "*/*", "x-tenant", fmt.Sprint("tenant-", i)}, nil)
			}},
		{"regex_anchored",
			func(i int) Match { return Match{Path: fmt.Sprintf("~^/u%d/[0-9]+$", i)} },
			func(i int) *Request { return request("h", fmt.Sprintf("/u%d/42", i), "GET", nil, nil) }},
	}
}

func (s shape) build(t testing.TB, n int) (*Table, []*Request) {
	matches := make([]Match, n)
	for i := range matches {
		matches[i] = s.route(i)
	}
	// Spread over the table, as many as fit a small cache badly.
	requests := make([]*Request, min(n, 1024))
	for i := range requests {
		requests[i] = cached(s.request(i * (n / len(requests))))
	}
	return mustNew(t, matches...), requests
}

// cached replaces the test's Peeker, which allocates, by one that does not.
func cached(q *Request) *Request {
	if f, ok := q.Header.(fields); ok {
		var c peeked
		for i := 0; i < len(f); i += 2 {
			c = append(c, peekedField{f[i], []byte(f[i+1])})
		}
		q.Header = c
	}
	q.Query = nil
	return q
}

type peeked []peekedField

type peekedField struct {
	name  string
	value []byte
}

func (p peeked) Peek(name string) []byte {
	for i := range p {
		if p[i].name == name {
			return p[i].value
		}
	}
	return nil
}

func TestMatchAllocatesNothing(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			table, requests := s.build(t, 1000)
			for i, q := range requests {
				if got := table.Match(q); got != i*(1000/len(requests)) {
					t.Fatalf("request %d: Match = %d", i, got)
				}
			}
			i := 0
			if n := testing.AllocsPerRun(1000, func() { table.Match(requests[i%len(requests)]); i++ }); n != 0 {
				t.Errorf("%v allocations per match", n)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, s := range shapes() {
		for _, n := range []int{10, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				table, requests := s.build(b, n)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if table.Match(requests[i]) < 0 {
						b.Fatal("no match")
					}
					if i++; i == len(requests) {
						i = 0
					}
				}
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, s := range shapes() {
		b.Run(s.name, func(b *testing.B) {
			matches := make([]Match, 10000)
			for i := range matches {
				matches[i] = s.route(i)
			}
			for b.Loop() {
				table, err := New(matches)
				if err != nil {
					b.Fatal(err)
				}
				if len(table.Shadowed()) != 0 {
					b.Fatal("shadowed")
				}
			}
		})
	}
}

package router

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestShadowed(t *testing.T) {
	x := func(v string) []Field { return []Field{{"X", v}} }
	for _, tc := range []struct {
		name   string
		routes []Match
		want   []Shadow
	}{
		{"none", []Match{{Path: "/a"}, {Path: "/b"}}, nil},
		{"equal", []Match{{Path: "/a/*"}, {Path: "/a/*"}, {Path: "/a/*"}}, []Shadow{{1, 0}, {2, 0}}},
		{"any in three spellings", []Match{{}, {Host: "*", Path: "/*"}}, []Shadow{{1, 0}}},
		{"host without case and dot", []Match{{Host: "A.b."}, {Host: "a.B"}}, []Shadow{{1, 0}}},
		{"IPv6 in two spellings", []Match{{Host: "[0::1]"}, {Host: "[::1]"}}, []Shadow{{1, 0}}},
		{"header name without case", []Match{{Headers: x("1")}, {Headers: []Field{{"x", "1"}}}}, []Shadow{{1, 0}}},
		{"conditions in another order", []Match{{Methods: []string{"GET", "PUT"}}, {Methods: []string{"PUT", "GET"}}}, []Shadow{{1, 0}}},
		{"fewer conditions come later", []Match{{}, {Headers: x("1")}}, nil},
		{"other values", []Match{{Headers: x("1")}, {Headers: x("2")}, {Headers: x("*")}}, nil},
		{"header and query of one name", []Match{{Headers: x("1")}, {Query: x("1")}}, nil},
		{"overlapping methods", []Match{{Methods: []string{"GET", "PUT"}}, {Methods: []string{"GET", "POST"}}}, nil},
		{"other host", []Match{{}, {Host: "a"}, {Host: "*.a"}}, nil},
		{"wide host before", []Match{{Path: "~.*"}, {Host: "a", Path: "/a"}}, nil},
		{"prefix below prefix", []Match{{Path: "/a/*"}, {Path: "/a/b/*"}}, nil},
		{"equal expressions", []Match{{Path: "~a"}, {Path: "~a"}}, []Shadow{{1, 0}}},
		{"expression takes every path", []Match{{}, {Path: "~.*"}, {Path: "/a/*"}, {Path: "/a"}}, []Shadow{{0, 1}, {2, 1}}},
		{"expression takes a prefix", []Match{{Path: "/a/b/*"}, {Path: "~^/a/"}, {Path: "/a/*"}, {Path: "/c/*"}}, []Shadow{{0, 1}}},
		{"expression with conditions", []Match{{Path: "~^/a/", Methods: []string{"GET"}}, {Path: "/a/b/*"}}, nil},
		{"expression covers more conditions", []Match{{Path: "~^/a/", Headers: x("*")}, {Path: "/a/b/*", Headers: x("1"), Methods: []string{"GET"}}}, []Shadow{{1, 0}}},
		{"expression covers by value", []Match{{Path: "~^/a/", Headers: x("~^1")}, {Path: "/a/b/*", Headers: x("12")}, {Path: "/a/c/*", Headers: x("2")}}, []Shadow{{1, 0}}},
		{"expression covers by methods", []Match{{Path: "~^/a/", Methods: []string{"GET", "PUT"}}, {Path: "/a/b/*", Methods: []string{"PUT"}}}, []Shadow{{1, 0}}},
		{"first of two expressions", []Match{{Path: "~^/a/"}, {Path: "~^/a/[0-9]"}}, []Shadow{{1, 0}}},
		{"narrow expression first", []Match{{Path: "~^/a/[0-9]"}, {Path: "~^/a/"}}, nil},
		{"anchored at the end", []Match{{Path: "~^/a/.*$"}, {Path: "/a/b/*"}}, nil},
		{"asterisk form remains", []Match{{Path: "~^/"}, {Path: "/*"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := mustNew(t, tc.routes...).Shadowed(); !slices.Equal(got, tc.want) {
				t.Errorf("Shadowed() = %v, want %v", got, tc.want)
			}
		})
	}
}

// A shadowed route must never win, whatever is asked; and whenever it would
// take a request the route that shadows it must take it too.
func TestShadowedIsNeverWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	found := 0
	for range 200 {
		matches := make([]Match, 1+r.IntN(60))
		for i := range matches {
			matches[i] = randomMatch(r)
		}
		table := mustNew(t, matches...)
		shadows := table.Shadowed()
		found += len(shadows)
		for range 100 {
			q := randomRequest(r)
			got := table.Match(q)
			for _, s := range shadows {
				if s.Index == got {
					t.Fatalf("%s wins %s%s but is said to be shadowed by %s", show(matches, got), q.Host, q.Path, show(matches, s.By))
				}
				if refTakes(matches[s.Index], q) && !refTakes(matches[s.By], q) {
					t.Fatalf("%s takes %s%s, %s does not", show(matches, s.Index), q.Host, q.Path, show(matches, s.By))
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d shadows in all tables: the test shows little", found)
	}
}

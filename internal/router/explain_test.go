package router

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Whatever the table and the request: the explanation comes to what Match
// returns, its steps are in match order and only the last takes the request.
func TestExplainAgreesWithMatch(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 400 {
		matches := make([]Match, 1+r.IntN(80))
		same := pick(r, "", "", "/a/*")
		for i := range matches {
			matches[i] = randomMatch(r)
			if same != "" {
				matches[i].Host, matches[i].Path = "", same
			}
		}
		table := mustNew(t, matches...)
		for range 50 {
			q := randomRequest(r)
			wantExplained(t, table, matches, q)
		}
	}
}

func wantExplained(t *testing.T, table *Table, matches []Match, q *Request) {
	t.Helper()
	e, want := table.Explain(q), table.Match(q)
	if e.Index != want {
		t.Fatalf("Explain(%s %q%q header %q query %q) = %s, but Match = %s", q.Method, q.Host, q.Path, q.Header, q.Query, show(matches, e.Index), show(matches, want))
	}
	rank := make(map[int]int)
	for i, index := range table.Order() {
		rank[index] = i
	}
	for i, s := range e.Steps {
		last := i == len(e.Steps)-1 && want >= 0
		if (s.Why == "takes it") != last || last && s.Index != want || s.Why == "" {
			t.Fatalf("step %d of %d, of route %d: %q; Match = %d", i, len(e.Steps), s.Index, s.Why, want)
		}
		if i > 0 && rank[s.Index] <= rank[e.Steps[i-1].Index] {
			t.Fatalf("step %d is not in match order: %v", i, e.Steps)
		}
	}
	looked := len(table.Order())
	if want >= 0 {
		looked = rank[want] + 1
	}
	if len(e.Steps)+e.Left != looked || len(e.Steps) > maxSteps {
		t.Fatalf("%d steps and %d left out; %d routes were looked at", len(e.Steps), e.Left, looked)
	}
}

func FuzzExplain(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	matches := make([]Match, 120)
	for i := range matches {
		matches[i] = randomMatch(r)
	}
	table := mustNew(f, matches...)
	for _, seed := range [][3]string{{"a.x.y", "/a/b", "GET"}, {"A.x.Y.:80", "/a//", "PUT"}, {"[::1]:8", "/", ""}, {strings.Repeat("a.", 130) + "x.y", "/a/1", "POST"}, {".y", "/\xff", "GET"}} {
		f.Add([]byte(seed[0]), []byte(seed[1]), []byte(seed[2]))
	}
	f.Fuzz(func(t *testing.T, host, path, method []byte) {
		for _, h := range []fields{nil, {"x-a", "1", "x-b", "4"}} {
			wantExplained(t, table, matches, &Request{Host: host, Path: path, Method: method, Header: h, Query: fields{"q", "2"}})
		}
	})
}

func TestExplainSaysWhyNot(t *testing.T) {
	q := request("www.x.test:80", "/a/b", "PUT", fields{"x", "1"}, fields{"q", strings.Repeat("v", 100)})
	for _, tc := range []struct {
		name string
		m    Match
		want string
	}{
		{"host", Match{Host: "x.test"}, "host differs: it is not x.test"},
		{"wildcard", Match{Host: "*.www.x.test", Path: "/no"}, "host differs: it is not *.www.x.test"},
		{"path", Match{Path: "/a"}, "path differs: it is not /a"},
		{"prefix", Match{Path: "/a/bc/*"}, "path differs: it is not /a/bc/*"},
		{"expression", Match{Path: "~^/b"}, "path differs: it is not ~^/b"},
		{"method", Match{Methods: []string{"GET", "HEAD"}}, "method is not GET, HEAD"},
		{"header missing", Match{Headers: []Field{{"Y", "*"}}}, "header y is missing"},
		{"header differs", Match{Headers: []Field{{"X", "2"}}}, `header x is "1", not "2"`},
		{"header not by expression", Match{Headers: []Field{{"X", "~^a"}}}, `header x is "1", which ~^a does not match`},
		{"query missing", Match{Query: []Field{{"Q", "*"}}}, "query parameter Q is missing"},
		{"a long value", Match{Query: []Field{{"q", "2"}}}, `query parameter q is "` + strings.Repeat("v", 80) + `"…, not "2"`},
		{"all at once", Match{Methods: []string{"GET"}, Headers: []Field{{"Y", "1"}}}, "method is not GET; header y is missing"},
		{"nothing", Match{Host: "*.x.test", Path: "/a/*"}, "takes it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := mustNew(t, tc.m).Explain(q)
			if len(e.Steps) != 1 || e.Steps[0].Why != tc.want {
				t.Errorf("got %v, want %q", e.Steps, tc.want)
			}
		})
	}
}

// Of many routes those are shown that came nearest, and the one that takes it
// is the last.
func TestExplainShowsWhatIsRelevant(t *testing.T) {
	var matches []Match
	for i := range 200 {
		matches = append(matches, Match{Host: fmt.Sprintf("h%03d.test", i)})
	}
	matches = append(matches, Match{Host: "app.test", Methods: []string{"PUT"}}, Match{Path: "/other"}, Match{})
	e := mustNew(t, matches...).Explain(request("app.test", "/", "GET", nil, nil))
	n := len(e.Steps)
	if n != maxSteps || e.Left != len(matches)-n || e.Steps[n-1] != (Step{202, "takes it"}) {
		t.Fatalf("%d steps, %d left out, the last %v", n, e.Left, e.Steps[n-1])
	}
	found := false
	for _, s := range e.Steps {
		found = found || s.Index == 200 && s.Why == "method is not PUT"
	}
	if !found {
		t.Errorf("the route of the same host is not among %v", e.Steps)
	}
}

package router

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reference is the package comment written down a second time, one route after
// the other, without any of the table's structures.
func reference(matches []Match, q *Request) int {
	best, bestScore := -1, []int(nil)
	for i, m := range matches {
		if !refTakes(m, q) {
			continue
		}
		if s := refScore(m); best < 0 || slices.Compare(s, bestScore) > 0 {
			best, bestScore = i, s
		}
	}
	return best
}

func refTakes(m Match, q *Request) bool {
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, string(q.Method)) {
		return false
	}
	for _, f := range m.Headers {
		if !refValue(f.Value, q.Header.Peek(strings.ToLower(f.Name))) {
			return false
		}
	}
	for _, f := range m.Query {
		if !refValue(f.Value, q.Query.Peek(f.Name)) {
			return false
		}
	}
	return refHost(m.Host, string(q.Host)) && refPath(m.Path, string(q.Path))
}

func refValue(want string, have []byte) bool {
	switch {
	case have == nil:
		return false
	case want == "*":
		return true
	case strings.HasPrefix(want, "~"):
		return regexp.MustCompile(want[1:]).Match(have)
	}
	return want == string(have)
}

func refHost(want, have string) bool {
	if want == "" || want == "*" {
		return true
	}
	if strings.HasPrefix(have, "[") {
		before, _, ok := strings.Cut(have, "]")
		if !ok {
			return false
		}
		have = before + "]"
	} else {
		have, _, _ = strings.Cut(have, ":")
		have = strings.TrimSuffix(have, ".")
	}
	if len(have) > 253 {
		return false
	}
	have = asciiLower(have)
	if suffix, ok := strings.CutPrefix(want, "*"); ok {
		return strings.HasSuffix(have, suffix) && len(have) > len(suffix)
	}
	return have == want
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 32
		}
		return r
	}, s)
}

func refPath(want, have string) bool {
	switch {
	case want == "" || want == "/*":
		return true
	case want[0] == '~':
		return regexp.MustCompile(want[1:]).MatchString(have)
	case strings.HasSuffix(want, "/*"):
		p := strings.TrimSuffix(want, "/*")
		return have == p || strings.HasPrefix(have, p+"/")
	}
	return have == want
}

// refLiteral holds the literal beginnings of the expressions that the tests use.
var refLiteral = map[string]string{
	"~^/a/[0-9]+$": "/a/", "~^/a/b": "/a/b", "~b$": "", "~^/": "/", "~^/(a|b)/": "/", "~^/a/.*": "/a/", "~(?i)^/A": "", "~": "",
	"~^/.*c$": "/", "~.*": "",
}

func refScore(m Match) []int {
	score := []int{0, 0, 0, 0, 0, 0, 0, 0}
	switch {
	case m.Host == "" || m.Host == "*":
	case strings.HasPrefix(m.Host, "*."):
		score[0], score[1] = 1, len(m.Host)
	default:
		score[0] = 2
	}
	switch {
	case m.Path == "" || m.Path == "/*":
	case m.Path[0] == '~':
		literal, ok := refLiteral[m.Path]
		if !ok {
			panic("no literal known for " + m.Path)
		}
		score[2], score[3] = 2, len(literal)
	case strings.HasSuffix(m.Path, "/*"):
		score[2], score[3] = 1, len(m.Path)
	default:
		score[2] = 3
	}
	score[4] = len(m.Headers) + len(m.Query)
	if len(m.Methods) > 0 {
		score[4]++
	}
	for _, f := range append(slices.Clone(m.Headers), m.Query...) {
		switch {
		case f.Value == "*":
		case strings.HasPrefix(f.Value, "~"):
			score[6]++
		default:
			score[5]++
		}
	}
	score[7] = -len(m.Methods)
	return score
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomMatch(r *rand.Rand) Match {
	m := Match{
		Host: pick(r, "", "", "*", "a.x.y", "b.x.y", "x.y", "*.x.y", "*.y", "*.a.x.y", "[::1]"),
		Path: pick(r, "", "/*", "/a/*", "/a/b/*", "/ab/*", "/a/b/c/*", "/a", "/a/b", "/a/b/c", "/a/", "/a//*", "/b/*", "/abc", "/",
			"~^/a/[0-9]+$", "~^/a/b", "~b$", "~^/", "~^/(a|b)/", "~^/a/.*", "~(?i)^/A", "~^/.*c$", "~.*"),
	}
	for _, method := range []string{"GET", "PUT", "POST"} {
		if r.IntN(8) == 0 {
			m.Methods = append(m.Methods, method)
		}
	}
	m.Headers = randomFields(r, "X-A", "X-B", "X-C")
	m.Query = randomFields(r, "q", "Q")
	return m
}

func randomFields(r *rand.Rand, names ...string) []Field {
	var fs []Field
	for _, n := range names {
		if r.IntN(4) == 0 {
			fs = append(fs, Field{n, pick(r, "", "1", "2", "3", "4", "5", "6", "*", "~^[1-3]$", "~4|1")})
		}
	}
	return fs
}

func randomRequest(r *rand.Rand) *Request {
	value := func(names ...string) fields {
		var f fields
		for _, n := range names {
			if r.IntN(2) == 0 {
				f = append(f, n, pick(r, "", "1", "2", "3", "4", "5", "6", "7"))
			}
		}
		return f
	}
	path := pick(r, "", "*", "/", "/a", "/a/", "/A/b")
	if r.IntN(2) == 0 {
		path = ""
		for range 1 + r.IntN(4) {
			path += "/" + pick(r, "a", "b", "c", "ab", "abc", "", "12")
		}
	}
	return request(
		pick(r, "", "a.x.y", "A.X.Y.:80", "b.x.y", "x.y", "c.x.y", "d.a.x.y", "e.y", "y", ".y", "[::1]:80", "z"),
		path, pick(r, "GET", "PUT", "POST", "HEAD"), value("x-a", "x-b", "x-c"), value("q", "Q"))
}

func TestMatchesReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		// Sizes from one route to many on the same host and path.
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
			if got, want := table.Match(q), reference(matches, q); got != want {
				t.Fatalf("Match(%s %s%s header %q query %q) = %s, want %s", q.Method, q.Host, q.Path, q.Header, q.Query, show(matches, got), show(matches, want))
			}
		}
	}
}

func show(matches []Match, i int) string {
	if i < 0 {
		return "none"
	}
	return fmt.Sprintf("%d %+v", i, matches[i])
}

// Shuffling a table must not change which match wins, unless equals meet.
func TestOrderDoesNotDependOnFile(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		matches := make([]Match, 30)
		for i := range matches {
			matches[i] = randomMatch(r)
		}
		shuffled := slices.Clone(matches)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		a, b := mustNew(t, matches...), mustNew(t, shuffled...)
		for range 50 {
			q := randomRequest(r)
			i, j := a.Match(q), b.Match(q)
			if (i < 0) != (j < 0) || i >= 0 && slices.Compare(refScore(matches[i]), refScore(shuffled[j])) != 0 {
				t.Fatalf("%s%s: %s, shuffled %s", q.Host, q.Path, show(matches, i), show(shuffled, j))
			}
		}
	}
}

func FuzzMatch(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	matches := make([]Match, 120)
	for i := range matches {
		matches[i] = randomMatch(r)
	}
	table := mustNew(f, matches...)
	for _, seed := range [][2]string{{"a.x.y", "/a/b"}, {"A.x.Y.:80", "/a//"}, {"[::1]:8", "/"}, {"[", "*"}, {strings.Repeat("a.", 130) + "x.y", "/a/1"}, {".y", "/\xff"}, {":", ""}} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, host, path []byte) {
		q := &Request{Host: host, Path: path, Method: []byte("GET"), Header: fields{"x-a", "1"}, Query: fields{}}
		if got, want := table.Match(q), reference(matches, q); got != want {
			t.Fatalf("Match(%q, %q) = %s, want %s", host, path, show(matches, got), show(matches, want))
		}
	})
}

// FuzzRegex checks that what is derived from an expression is true: each path
// that it takes begins with the literal, and "whole" takes all that do.
func FuzzRegex(f *testing.F) {
	for _, seed := range []string{"^/a/[0-9]+$", "^/a", "a*", "^", "", "(?i)^/a", "(?m)^/a", "^/a.*", "^/a|^/b", "(^/a)", "^(/a)?", `^/\x{FFFD}`, "^/é", "^/a$", "^/a\\b", "^\\b/a", "^(?:/a)*"} {
		f.Add(seed, []byte("/a/12"))
		f.Add(seed, []byte("/\xff"))
		f.Add(seed, []byte("x\n/a"))
	}
	f.Fuzz(func(t *testing.T, expr string, path []byte) {
		key, err := parsePath("~" + expr)
		if err != nil {
			return
		}
		begins := strings.HasPrefix(string(path), key.literal)
		takes := key.re.Match(path)
		if takes && !begins {
			t.Fatalf("%q takes %q, which does not begin with %q", expr, path, key.literal)
		}
		if key.whole && !key.re.Match(append([]byte(key.literal), path...)) {
			t.Fatalf("%q is said to take all of %q..., but not %q", expr, key.literal, path)
		}
	})
}

package router

import (
	"strings"
	"testing"
)

// fields is a Peeker over name, value pairs; names are compared as they come.
type fields []string

func (f fields) Peek(name string) []byte {
	for i := 0; i < len(f); i += 2 {
		if f[i] == name {
			return []byte(f[i+1])
		}
	}
	return nil
}

func request(host, path, method string, header, query fields) *Request {
	return &Request{Host: []byte(host), Path: []byte(path), Method: []byte(method), Header: header, Query: query}
}

func mustNew(t testing.TB, matches ...Match) *Table {
	t.Helper()
	table, err := New(matches)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestMatchHost(t *testing.T) {
	hosts := []string{"*", "*.example.com", "*.a.example.com", "www.example.com", "[::1]", "10.0.0.1", "Upper.Example.ORG.", "*.com"}
	matches := make([]Match, len(hosts))
	for i, h := range hosts {
		matches[i] = Match{Host: h}
	}
	long := strings.Repeat("b.", 121) + "example.com" // 253 bytes
	table := mustNew(t, matches...)
	for _, tc := range []struct{ name, host, want string }{
		{"exact", "www.example.com", "www.example.com"},
		{"exact with port", "www.example.com:8080", "www.example.com"},
		{"exact upper case", "WWW.Example.COM", "www.example.com"},
		{"exact trailing dot", "www.example.com.", "www.example.com"},
		{"exact trailing dot and port", "WWW.example.com.:443", "www.example.com"},
		{"two trailing dots are another name", "www.example.com..", "*"},
		{"route written in upper case with a dot", "upper.example.org", "Upper.Example.ORG."},
		{"wildcard one label", "x.example.com", "*.example.com"},
		{"wildcard long labels", "abc.defg.example.com", "*.example.com"},
		{"wildcard more labels", "x.y.example.com:80", "*.example.com"},
		{"longest wildcard", "x.y.a.example.com", "*.a.example.com"},
		{"wildcard does not take its own suffix", "a.example.com", "*.example.com"},
		{"wildcard bare suffix falls to a shorter one", "example.com", "*.com"},
		{"wildcard wants a label", ".com", "*"},
		{"wildcard wants a boundary", "xcom", "*"},
		{"IPv6", "[::1]", "[::1]"},
		{"IPv6 with port", "[::1]:8080", "[::1]"},
		{"IPv6 compared as text", "[0::1]", "*"},
		{"IPv6 not closed", "[::1", "*"},
		{"IPv6 without brackets", "::1", "*"},
		{"IPv4", "10.0.0.1:9", "10.0.0.1"},
		{"none", "", "*"},
		{"port alone", ":80", "*"},
		{"longest name", long, "*.example.com"},
		{"longest name with dot and port", strings.ToUpper(long) + ".:80", "*.example.com"},
		{"too long for a name", "a" + long, "*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := table.Match(request(tc.host, "/", "GET", nil, nil))
			if got < 0 || hosts[got] != tc.want {
				t.Errorf("Match(%q) = %d, want %q", tc.host, got, tc.want)
			}
		})
	}
}

func TestMatchPath(t *testing.T) {
	routes := []string{"/*", "/v1/*", "/v1/users/*", "/v1/users", "/v1/users/me", "~^/v1/users/[0-9]+$", "~[.]png$", "~^/v1/.*[.]png$", "/slash/", "/deep//*"}
	matches := make([]Match, len(routes))
	for i, p := range routes {
		matches[i] = Match{Path: p}
	}
	table := mustNew(t, matches...)
	for _, tc := range []struct{ name, path, want string }{
		{"any", "/", "/*"},
		{"any takes the asterisk form", "*", "/*"},
		{"any takes nothing", "", "/*"},
		{"prefix itself", "/v1", "/v1/*"},
		{"prefix with slash", "/v1/", "/v1/*"},
		{"below prefix", "/v1/x/y", "/v1/*"},
		{"prefix ends at a segment", "/v10", "/*"},
		{"longest prefix", "/v1/users/x/y", "/v1/users/*"},
		{"longer prefix ends at a segment", "/v1/usersx", "/v1/*"},
		{"exact before prefix", "/v1/users", "/v1/users"},
		{"exact below prefix", "/v1/users/me", "/v1/users/me"},
		{"exact is not a prefix", "/v1/users/me/", "/v1/users/*"},
		{"part of an exact path", "/v1/users/m", "/v1/users/*"},
		{"regex before prefix", "/v1/users/42", "~^/v1/users/[0-9]+$"},
		{"unanchored regex", "/img/a.png", "~[.]png$"},
		{"longer literal before shorter", "/v1/a.png", "~^/v1/.*[.]png$"},
		{"literal fits, expression does not", "/v1/users/4x", "/v1/users/*"},
		{"case counts", "/V1/users", "/*"},
		{"no decoding", "/v1%2Fusers", "/*"},
		{"no cleaning", "/v1/../x", "/v1/*"},
		{"exact with slash", "/slash/", "/slash/"},
		{"exact without slash", "/slash", "/*"},
		{"prefix ending in a slash itself", "/deep/", "/deep//*"},
		{"prefix ending in a slash below", "/deep//x", "/deep//*"},
		{"prefix ending in a slash, not below", "/deep/x", "/*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := table.Match(request("h", tc.path, "GET", nil, nil))
			if got < 0 || routes[got] != tc.want {
				t.Errorf("Match(%q) = %d, want %q", tc.path, got, tc.want)
			}
		})
	}
}

func TestMatchConditions(t *testing.T) {
	x := func(v string) []Field { return []Field{{"X", v}} }
	for _, tc := range []struct {
		name   string
		routes []Match
		q      *Request
		want   int
	}{
		{"no routes", nil, request("h", "/", "GET", nil, nil), -1},
		{"none takes it", []Match{{Host: "other"}}, request("h", "/", "GET", nil, nil), -1},
		{"method", []Match{{}, {Methods: []string{"PUT", "POST"}}}, request("h", "/", "POST", nil, nil), 1},
		{"method not listed", []Match{{}, {Methods: []string{"PUT", "POST"}}}, request("h", "/", "GET", nil, nil), 0},
		{"method case counts", []Match{{Methods: []string{"GET"}}}, request("h", "/", "get", nil, nil), -1},
		{"GET does not include HEAD", []Match{{Methods: []string{"GET"}}}, request("h", "/", "HEAD", nil, nil), -1},
		{"fewer methods first", []Match{{Methods: []string{"GET", "POST"}}, {Methods: []string{"GET"}}}, request("h", "/", "GET", nil, nil), 1},
		{"header name without case", []Match{{Headers: x("1")}}, request("h", "/", "GET", fields{"x", "1"}, nil), 0},
		{"header differs", []Match{{Headers: x("1")}}, request("h", "/", "GET", fields{"x", "2"}, nil), -1},
		{"header absent", []Match{{Headers: x("1")}}, request("h", "/", "GET", nil, nil), -1},
		{"header value with case", []Match{{Headers: x("a")}}, request("h", "/", "GET", fields{"x", "A"}, nil), -1},
		{"header present and empty", []Match{{Headers: x("*")}}, request("h", "/", "GET", fields{"x", ""}, nil), 0},
		{"header empty wanted", []Match{{Headers: x("")}}, request("h", "/", "GET", fields{"x", ""}, nil), 0},
		{"header empty is not absent", []Match{{Headers: x("")}}, request("h", "/", "GET", nil, nil), -1},
		{"header regex", []Match{{Headers: x("~^a+$")}}, request("h", "/", "GET", fields{"x", "aa"}, nil), 0},
		{"header regex differs", []Match{{Headers: x("~^a+$")}}, request("h", "/", "GET", fields{"x", "ab"}, nil), -1},
		{"exact value before regex before present", []Match{{Headers: x("*")}, {Headers: x("~1")}, {Headers: x("1")}}, request("h", "/", "GET", fields{"x", "1"}, nil), 2},
		{"regex before present", []Match{{Headers: x("*")}, {Headers: x("~1")}, {Headers: x("1")}}, request("h", "/", "GET", fields{"x", "12"}, nil), 1},
		{"query name with case", []Match{{Query: []Field{{"Q", "1"}}}}, request("h", "/", "GET", nil, fields{"q", "1"}), -1},
		{"query", []Match{{Query: []Field{{"q", "1"}}}}, request("h", "/", "GET", nil, fields{"q", "1"}), 0},
		{"query is not header", []Match{{Query: []Field{{"q", "1"}}}}, request("h", "/", "GET", fields{"q", "1"}, nil), -1},
		{"all must hold", []Match{{Headers: x("1"), Query: []Field{{"q", "1"}}}}, request("h", "/", "GET", fields{"x", "1"}, nil), -1},
		{"nil peekers", []Match{{Headers: x("1")}, {Query: x("1")}, {}}, &Request{Path: []byte("/")}, 2},
		{"more conditions first", []Match{{}, {Headers: x("1")}, {Methods: []string{"GET"}, Headers: x("1")}}, request("h", "/", "GET", fields{"x", "1"}, nil), 2},
		{"equals: first in file", []Match{{Headers: x("1")}, {Headers: []Field{{"Y", "1"}}}}, request("h", "/", "GET", fields{"y", "1", "x", "1"}, nil), 0},
		{"equal expressions: first in file", []Match{{Path: "~b"}, {Path: "~a"}}, request("h", "/ab", "GET", nil, nil), 0},
		{"longer path before more conditions", []Match{{Path: "/a/*", Headers: x("1")}, {Path: "/a/b/*"}}, request("h", "/a/b", "GET", fields{"x", "1"}, nil), 1},
		{"host before path", []Match{{Path: "/a"}, {Host: "h"}}, request("h", "/a", "GET", nil, nil), 1},
		{"falls from exact path to prefix", []Match{{Path: "/a/b", Methods: []string{"PUT"}}, {Path: "/a/*"}}, request("h", "/a/b", "GET", nil, nil), 1},
		{"falls from prefix to prefix", []Match{{Path: "/a/b/*", Methods: []string{"PUT"}}, {Path: "/a/*"}}, request("h", "/a/b/c", "GET", nil, nil), 1},
		{"falls over a prefix that ends within a segment", []Match{{Path: "/a/*"}, {Path: "/a/b/*"}, {Path: "/a/bc/*", Methods: []string{"PUT"}}}, request("h", "/a/bc/d", "GET", nil, nil), 0},
		{"falls from regex to shorter regex", []Match{{Path: "~^/a"}, {Path: "~^/ab", Methods: []string{"PUT"}}}, request("h", "/abc", "GET", nil, nil), 0},
		{"falls from exact host to wildcard", []Match{{Host: "a.b.c", Methods: []string{"PUT"}}, {Host: "*.b.c"}}, request("a.b.c", "/", "GET", nil, nil), 1},
		{"falls from host to shorter wildcard to any", []Match{{Host: "*.b.c", Path: "/x"}, {Host: "*.c", Path: "/y"}, {Path: "/z"}}, request("a.b.c", "/z", "GET", nil, nil), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := mustNew(t, tc.routes...).Match(tc.q); got != tc.want {
				t.Errorf("Match = %d, want %d", got, tc.want)
			}
		})
	}
}

// Many routes on one path are indexed by a field; each way through the index
// must still respect the order.
func TestMatchIndexedConditions(t *testing.T) {
	tenant := func(v string, more ...Field) Match {
		return Match{Path: "/p", Headers: append([]Field{{"X-Tenant", v}}, more...)}
	}
	table := mustNew(t,
		tenant("a"), tenant("b"), tenant("c"), tenant("d"), tenant("e"), tenant("f"),
		tenant("a", Field{"X-Canary", "1"}),
		Match{Path: "/p", Headers: []Field{{"X-Canary", "1"}, {"X-Debug", "*"}}},
		tenant("*"),
		Match{Path: "/p"},
	)
	for _, tc := range []struct {
		name   string
		header fields
		want   int
	}{
		{"plain value", fields{"x-tenant", "d"}, 3},
		{"more conditions within a value", fields{"x-tenant", "a", "x-canary", "1"}, 6},
		{"outside the index beats inside", fields{"x-tenant", "b", "x-canary", "1", "x-debug", "y"}, 7},
		{"inside beats outside by exact values", fields{"x-tenant", "a", "x-canary", "1", "x-debug", "y"}, 6},
		{"unknown value", fields{"x-tenant", "zz"}, 8},
		{"empty value", fields{"x-tenant", ""}, 8},
		{"absent", nil, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := table.Match(request("h", "/p", "GET", tc.header, nil)); got != tc.want {
				t.Errorf("Match = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	matches := []Match{{}, {Path: "/a/*"}, {Path: "~^/a"}, {Path: "/a"}, {Host: "*.x.y"}, {Host: "a.y"}, {Path: "/a", Methods: []string{"GET"}}, {Host: "*.y"}, {Path: "/a/b/*"}}
	want := []int{5, 4, 7, 6, 3, 2, 8, 1, 0}
	got := mustNew(t, matches...).Order()
	if len(got) != len(want) {
		t.Fatalf("Order() = %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("Order() = %v, want %v", got, want)
		}
	}
}

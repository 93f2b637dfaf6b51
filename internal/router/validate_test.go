package router

import (
	"strings"
	"testing"
)

func TestValidateGood(t *testing.T) {
	for _, m := range []Match{
		{},
		{Host: "*", Path: "/*"},
		{Host: "example.com", Path: "/"},
		{Host: "Example.COM.", Path: "/a"},
		{Host: "*.com", Path: "/v1/*"},
		{Host: "my_app", Path: "/a/b/"},
		{Host: "10.0.0.1", Path: "~^/u/[0-9]+$"},
		{Host: "[2001:DB8::1]", Path: "/%C3%A9"},
		{Methods: []string{"GET", "PURGE", "x-custom"}},
		{Headers: []Field{{"X-A", ""}, {"x-b", "*"}, {"x-c", "~^a"}}, Query: []Field{{"a[]", "*"}, {"A[]", "1"}}},
	} {
		if err := m.Validate(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestValidateBad(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    Match
		want []string // all must be in the error
	}{
		{"host with port", Match{Host: "example.com:80"}, []string{`host "example.com:80"`, "port"}},
		{"host with scheme", Match{Host: "http://example.com"}, []string{"scheme"}},
		{"host with space", Match{Host: "a b"}, []string{"white space"}},
		{"host with path", Match{Host: "a/b"}, []string{"path"}},
		{"host star in the middle", Match{Host: "a.*.com"}, []string{"*"}},
		{"host star within a label", Match{Host: "*a.com"}, []string{"first label"}},
		{"host star alone with dot", Match{Host: "*."}, []string{"*"}},
		{"host empty label", Match{Host: "a..b"}, []string{"empty label"}},
		{"host dot", Match{Host: "."}, []string{"empty label"}},
		{"host regex", Match{Host: "~^a"}, []string{"regular expression"}},
		{"host not ASCII", Match{Host: "bücher.example"}, []string{"Punycode"}},
		{"host other character", Match{Host: "a!b"}, []string{`'!'`}},
		{"host too long", Match{Host: strings.Repeat("a.", 128)}, []string{"253"}},
		{"host long label", Match{Host: strings.Repeat("a", 64)}, []string{"63"}},
		{"IPv6 without brackets", Match{Host: "::1"}, []string{"brackets"}},
		{"IPv6 with port", Match{Host: "[::1]:80"}, []string{"port"}},
		{"IPv6 bad", Match{Host: "[::g]"}, []string{"IPv6"}},
		{"IPv4 in brackets", Match{Host: "[10.0.0.1]"}, []string{"IPv6"}},
		{"IPv6 zone", Match{Host: "[fe80::1%eth0]"}, []string{"zone"}},
		{"path without slash", Match{Path: "v1"}, []string{`path "v1"`, "begin with / or ~", "/v1/*"}},
		{"path star alone", Match{Path: "*"}, []string{"begin with"}},
		{"path star in the middle", Match{Path: "/a/*/b"}, []string{"*"}},
		{"path star within a segment", Match{Path: "/v1*"}, []string{"segment"}},
		{"path two stars", Match{Path: "/*/*"}, []string{"*"}},
		{"path with query", Match{Path: "/a?b"}, []string{"query"}},
		{"path with fragment", Match{Path: "/a#b"}, []string{"fragment"}},
		{"path with space", Match{Path: "/a b"}, []string{"percent"}},
		{"path not ASCII", Match{Path: "/é"}, []string{"ASCII"}},
		{"path bad regex", Match{Path: "~("}, []string{"missing closing )"}},
		{"path empty regex", Match{Path: "~"}, []string{"behind ~"}},
		{"method not a token", Match{Methods: []string{"GET POST"}}, []string{`method "GET POST"`}},
		{"method empty", Match{Methods: []string{""}}, []string{"method"}},
		{"method lower case", Match{Methods: []string{"get"}}, []string{"did you mean GET"}},
		{"method twice", Match{Methods: []string{"GET", "GET"}}, []string{"twice"}},
		{"header without name", Match{Headers: []Field{{"", "1"}}}, []string{`header ""`, "no name"}},
		{"header not a token", Match{Headers: []Field{{"a b", "1"}}}, []string{"header name"}},
		{"header bad regex", Match{Headers: []Field{{"a", "~["}}}, []string{"missing closing ]"}},
		{"header empty regex", Match{Headers: []Field{{"a", "~"}}}, []string{"behind ~"}},
		{"header twice", Match{Headers: []Field{{"a", "1"}, {"A", "2"}}}, []string{"twice"}},
		{"header control", Match{Headers: []Field{{"a", "x\r\ny"}}}, []string{"control"}},
		{"query without name", Match{Query: []Field{{"", "1"}}}, []string{`query ""`}},
		{"query twice", Match{Query: []Field{{"a", "1"}, {"a", "2"}}}, []string{"twice"}},
		{"all at once", Match{Host: "a:1", Path: "x", Methods: []string{"get"}}, []string{"host", "path", "method"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.m.Validate()
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not mention %q", err, w)
				}
			}
		})
	}
}

func TestNewReportsEveryBadRoute(t *testing.T) {
	table, err := New([]Match{{Path: "x"}, {}, {Host: "a:1"}})
	if table != nil || err == nil {
		t.Fatalf("New = %v, %v", table, err)
	}
	for _, w := range []string{"route 0: path", "route 2: host"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not mention %q", err, w)
		}
	}
}

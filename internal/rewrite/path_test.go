package rewrite

import (
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	strip := Path{StripPrefix: "/v1"}
	replace := Path{ReplacePrefix: &Replace{"/v1", "/api"}}
	regex := func(from, to string) Path { return Path{Regex: &Replace{from, to}} }
	for _, tc := range []struct {
		name     string
		p        Path
		in, want string
	}{
		{"nothing", Path{}, "/a", "/a"},
		{"nothing, empty", Path{}, "", "/"},
		{"nothing keeps two slashes", Path{}, "//a", "//a"},
		{"strip", strip, "/v1/a", "/a"},
		{"strip all", strip, "/v1", "/"},
		{"strip all but the slash", strip, "/v1/", "/"},
		{"strip ends at a segment", strip, "/v10", "/v10"},
		{"strip ends at a segment below", strip, "/v10/a", "/v10/a"},
		{"strip something else", strip, "/a/v1/b", "/a/v1/b"},
		{"strip case", strip, "/V1/a", "/V1/a"},
		{"strip never leaves two slashes", strip, "/v1//evil.example", "/evil.example"},
		{"strip slashes only", strip, "/v1///", "/"},
		{"strip leaves others alone", strip, "//v1/a", "//v1/a"},
		{"strip keeps slashes within", strip, "/v1/a//b/", "/a//b/"},
		{"strip keeps encoding", strip, "/v1/%2F%41", "/%2F%41"},
		{"strip encoded slash is no boundary", strip, "/v1%2Fa", "/v1%2Fa"},
		{"strip two segments", Path{StripPrefix: "/a/b"}, "/a/b/c", "/c"},
		{"strip empty", strip, "", "/"},
		{"strip asterisk", strip, "*", "*"},
		{"replace", replace, "/v1/a", "/api/a"},
		{"replace all", replace, "/v1", "/api"},
		{"replace slash", replace, "/v1/", "/api/"},
		{"replace ends at a segment", replace, "/v10/a", "/v10/a"},
		{"replace root", Path{ReplacePrefix: &Replace{"/", "/app"}}, "/a", "/app/a"},
		{"replace root itself", Path{ReplacePrefix: &Replace{"/", "/app"}}, "/", "/app/"},
		{"replace root, asterisk", Path{ReplacePrefix: &Replace{"/", "/app"}}, "*", "*"},
		{"replace by root", Path{ReplacePrefix: &Replace{"/v1", "/"}}, "/v1//a", "/a"},
		{"replace root by root", Path{ReplacePrefix: &Replace{"/", "/"}}, "/a", "/a"},
		{"regex", regex(`^/u/([0-9]+)$`, "/users/$1"), "/u/42", "/users/42"},
		{"regex does not match", regex(`^/u/([0-9]+)$`, "/users/$1"), "/u/x", "/u/x"},
		{"regex first match only", regex("a", "b"), "/aa", "/ba"},
		{"regex named group", regex(`^/(?P<id>[0-9]+)`, "/${id}x"), "/42/y", "/42x/y"},
		{"regex literal dollar", regex("a", "$$"), "/a", "/$"},
		{"regex removes", regex("[.]html$", ""), "/a.html", "/a"},
		{"regex removes all", regex(".*", ""), "/a", "/"},
		{"regex without slash", regex("^/", ""), "/a", "/a"},
		{"regex never leaves two slashes", regex("^/x", ""), "/x//evil.example", "/evil.example"},
		{"regex asterisk", regex(".*", "/x"), "*", "*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := CompilePath(tc.p)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.Append([]byte("+//"), []byte(tc.in))); got != "+//"+tc.want {
				t.Errorf("Append(%q) = %q, want %q", tc.in, got, "+//"+tc.want)
			}
		})
	}
}

func TestPathNilForNothing(t *testing.T) {
	if r, err := CompilePath(Path{}); r != nil || err != nil {
		t.Errorf("CompilePath = %v, %v, want nil, nil", r, err)
	}
}

func TestPathValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    Path
		want string
	}{
		{"two at once", Path{StripPrefix: "/a", Regex: &Replace{"a", "b"}}, "only one of"},
		{"strip without slash", Path{StripPrefix: "v1"}, "begin with /"},
		{"strip nothing", Path{StripPrefix: "/"}, "strips nothing"},
		{"strip ending in a slash", Path{StripPrefix: "/v1/"}, "ends with a slash"},
		{"strip written like a match", Path{StripPrefix: "/v1/*"}, "ends with /*"},
		{"strip with two slashes", Path{StripPrefix: "//v1"}, "two slashes"},
		{"strip with query", Path{StripPrefix: "/v1?a"}, "query"},
		{"strip with space", Path{StripPrefix: "/v 1"}, "percent"},
		{"replace without from", Path{ReplacePrefix: &Replace{"", "/a"}}, "replace_prefix from"},
		{"replace without to", Path{ReplacePrefix: &Replace{"/a", ""}}, "replace_prefix to"},
		{"replace to another host", Path{ReplacePrefix: &Replace{"/a", "//evil"}}, "two slashes"},
		{"regex without from", Path{Regex: &Replace{"", "a"}}, "no regular expression"},
		{"regex bad", Path{Regex: &Replace{"(", "a"}}, "missing closing )"},
		{"regex to query", Path{Regex: &Replace{"a", "b?c"}}, "query"},
		{"regex unknown number", Path{Regex: &Replace{"(a)", "$2"}}, "group 2 of an expression with 1"},
		{"regex unknown name", Path{Regex: &Replace{"(a)", "${x}"}}, `group "x"`},
		{"regex leading zero", Path{Regex: &Replace{"(a)", "$01"}}, `group "01"`},
		{"regex number runs on", Path{Regex: &Replace{"(a)", "$1x"}}, "${1} ends it"},
		{"regex lonely dollar", Path{Regex: &Replace{"a", "b$"}}, "literal one is $$"},
		{"regex open brace", Path{Regex: &Replace{"(a)", "${1"}}, "literal one is $$"},
		{"regex empty brace", Path{Regex: &Replace{"(a)", "${}"}}, "literal one is $$"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.p.Validate()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Validate() = %v, want %q in it", err, tc.want)
			}
		})
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "/", "*", "/v1", "/v10", "/v1//x", "//v1/", "/v1/%2f", "x"} {
		f.Add([]byte(s))
	}
	var rewriters []*PathRewriter
	for _, p := range []Path{{}, {StripPrefix: "/v1"}, {ReplacePrefix: &Replace{"/v1", "/api"}}, {ReplacePrefix: &Replace{"/v1", "/"}}, {ReplacePrefix: &Replace{"/", "/app"}}, {Regex: &Replace{"v(.)", "$1"}}, {Regex: &Replace{"^/", ""}}} {
		r, err := CompilePath(p)
		if err != nil {
			f.Fatal(err)
		}
		rewriters = append(rewriters, r)
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		for i, r := range rewriters {
			got := r.Append(nil, path)
			isPath := len(path) == 0 || path[0] == '/'
			if isPath != strings.HasPrefix(string(got), "/") {
				t.Fatalf("rewriter %d: Append(%q) = %q", i, path, got)
			}
			if strings.HasPrefix(string(got), "//") && string(got) != string(path) {
				t.Fatalf("rewriter %d: Append(%q) = %q", i, path, got)
			}
		}
	})
}

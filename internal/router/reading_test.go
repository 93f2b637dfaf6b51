package router

import (
	"bytes"
	"strings"
	"testing"
)

// TestReading: how each policy reads a path, and why it refuses it.
func TestReading(t *testing.T) {
	const same = "="
	for _, c := range []struct{ name, path, normalize, reject string }{
		{"nothing odd", "/a/b.c/..d/e..", same, same},
		{"a hidden file", "/.well-known/acme", same, same},
		{"three dots", "/a/.../b", same, same},
		{"a parameter", "/a;v=1/b", same, same},
		{"an escaped space", "/a%20b", same, same},
		{"an escaped octet beyond ASCII", "/%C3%A9", same, same},
		{"the same in small letters (3986 6.2.2.1)", "/%c3%a9", "/%C3%A9", "/%C3%A9"},
		{"an escaped percent", "/100%25", same, same},
		{"an escaped percent before letters", "/100%25zz", same, same},
		{"an escaped letter (3986 6.2.2.2)", "/%61dmin", "/admin", whyEscaped},
		{"all unreserved marks", "/%2D%2e%5f%7E", "/-._~", whyEscaped},
		{"an escaped slash in an id", "/id/a%2Fb", same, whySeparator},
		{"the same in small letters", "/id/a%2fb", "/id/a%2Fb", whySeparator},
		{"an escaped backslash", "/a%5Cb", same, whySeparator},
		{"an escaped slash, twice", "/id/a%252Fb", same, whyDouble},
		{"empty segments", "/a//b/", same, whyEmpty},
		{"slashes at the beginning", "///a", "/a", whyEmpty},
		{"nothing but slashes", "//", "/", whyEmpty},

		{"dot (3986 5.2.4)", "/a/./b", "/a/b", whyDots},
		{"dot at the end", "/a/.", "/a/", whyDots},
		{"only a dot", "/.", "/", whyDots},
		{"dot dot", "/a/b/../c", "/a/c", whyDots},
		{"dot dot at the end", "/a/b/..", "/a/", whyDots},
		{"back to the beginning", "/a/..", "/", whyDots},
		{"back to the beginning and on", "/a/../b/", "/b/", whyDots},
		{"dot dot behind an empty segment", "/a//../b", "/a/b", whyDots},
		{"no host behind what is left", "/a/..//evil/x", "/evil/x", whyDots},
		{"the example of 3986 5.2.4", "/a/b/c/./../../g", "/a/g", whyDots},
		{"escaped dot", "/a/%2e/b", "/a/b", whyDots},
		{"escaped dot dot", "/a/%2e%2E/b", "/b", whyDots},
		{"half escaped", "/a/.%2e/b", "/b", whyDots},
		{"above the beginning", "/../a", whyAbove, whyAbove},
		{"above the beginning, later", "/a/../../b", whyAbove, whyAbove},
		{"above the beginning, escaped", "/%2e%2e/a", whyAbove, whyAbove},

		{"dots before an escaped slash", "/a/..%2Fb", whyDisguised, whyDisguised},
		{"dots behind an escaped slash", "/a%2f..", whyDisguised, whyDisguised},
		{"dots between escaped slashes", "/a%2F%2e%2e%2Fb", whyDisguised, whyDisguised},
		{"dots before an escaped backslash", "/a/..%5cb", whyDisguised, whyDisguised},
		{"dots that were escaped twice", "/a/%252e%252e/b", whyDisguised, whyDisguised},
		{"dots that were escaped often", "/a/%25252525252e./b", whyDisguised, whyDisguised},
		{"dots and slash that were escaped twice", "/a/..%252fb", whyDisguised, whyDisguised},
		{"an escape in an escape", "/a/%%32e./b", whyEscape, whyEscape},
		{"dots with a parameter", "/a/..;x=1/b", whyDisguised, whyDisguised},
		{"a dot with a parameter", "/a/.;/b", whyDisguised, whyDisguised},
		{"dots with an escaped parameter", "/a/..%3Bx/b", whyDisguised, whyDisguised},
		{"NUL", "/a%00b", whyNUL, whyNUL},
		{"NUL, escaped twice", "/a%2500", whyNUL, whyNUL},
		{"backslash", `/a\b`, whyBackslash, whyBackslash},
		{"dots between backslashes", `/a\..\b`, whyBackslash, whyBackslash},
		{"half an escape", "/a%2", whyEscape, whyEscape},
		{"a percent alone", "/100%", whyEscape, whyEscape},
		{"not hexadecimal", "/%zz", whyEscape, whyEscape},
		{"what Microsoft once had", "/%u002e", whyEscape, whyEscape},
	} {
		t.Run(c.name, func(t *testing.T) {
			for p, want := range map[Paths]string{PathsNormalize: c.normalize, PathsReject: c.reject, PathsPass: same} {
				if want == same {
					want = c.path
				}
				got, why := p.Read([]byte("x"), []byte(c.path))
				if why != "" {
					got = []byte("x" + why)
				}
				if string(got) != "x"+want {
					t.Errorf("%s: %q is %q, want %q", p, c.path, got[1:], want)
				}
			}
		})
	}
}

func TestLoosest(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b":                  "/a/b",
		"/a%2Fb":                "/a/b",
		"/a%252Fb":              "/a/b",
		"/a%25252525252Fb":      "/a/b",
		"/a%2%35%32%46b":        "/a/b",
		"/a%5Cb":                "/a/b",
		"/a//b///":              "/a/b/",
		"/a;x=1/b;y":            "/a/b",
		"/;x/a":                 "/a",
		"/a%3Bx/b":              "/a/b",
		"/%40me":                "/@me",
		"/caf%C3%A9%20x":        "/caf%C3%A9%20x",
		"/%2F%2Fadmin/%2F/x":    "/admin/x",
		"/100%25":               "/100%",
		"/a%5C%5Cb%2F;%2F%3B/c": "/a/b/c",
	} {
		if got := Loosest([]byte("x"), []byte(path)); string(got) != "x"+want {
			t.Errorf("%s: %s, want %s", path, got[1:], want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, c := range []struct {
		paths                Paths
		pattern, why, writes string
	}{
		{PathsNormalize, "/a/*", "", ""},
		{PathsNormalize, "/*", "", ""},
		{PathsNormalize, "~^/%2e", "", ""},
		{PathsNormalize, "/a%2Fb", "", ""},
		{PathsNormalize, "/a//b", "", ""},
		{PathsNormalize, "/a;b/*", "", ""},
		{PathsNormalize, "/a%2fb", "normal form", "/a%2Fb"},
		{PathsNormalize, "/%7Eme/*", "normal form", "/~me/*"},
		{PathsNormalize, "//a", "normal form", "/a"},
		{PathsNormalize, "/a/../b/*", "normal form", "/b/*"},
		{PathsNormalize, "/../b", "above", ""},
		{PathsNormalize, `/a\b`, "backslash", ""},
		{PathsReject, "/a%2Fb", "escaped slash", ""},
		{PathsReject, "/a//b", "empty segment", ""},
		{PathsPass, "/a/../b/*", "", ""},
	} {
		why, write := c.paths.Unreachable(c.pattern)
		if !strings.Contains(why, c.why) || (why == "") != (c.why == "") || write != c.writes {
			t.Errorf("%s, %s: %q, %q", c.paths, c.pattern, why, write)
		}
	}
}

func TestPathsNames(t *testing.T) {
	for i, name := range PathsNames() {
		if p, ok := ParsePaths(name); !ok || p != Paths(i) {
			t.Errorf("%s is %v, %v", name, p, ok)
		}
	}
	if _, ok := ParsePaths("Normalize"); ok {
		t.Error("another spelling is taken")
	}
}

// TestReadingAllocations: a path that is plain costs no allocation and a few
// nanoseconds; an odd one of any kind costs time by its length alone.
func TestReadingAllocations(t *testing.T) {
	plain := []byte("/api/v1/users/12345/orders.json")
	if n := testing.AllocsPerRun(1000, func() {
		if !Plain(plain) {
			t.Fatal("not plain")
		}
	}); n != 0 {
		t.Errorf("a plain path costs %v allocations", n)
	}
	deep := []byte("/" + strings.Repeat("%25", 10) + strings.Repeat("25", 10_000) + "2e")
	if _, why := PathsNormalize.Read(nil, deep); why != "" {
		t.Errorf("a deep path: %s", why)
	}
	if got := Loosest(nil, deep); len(got) > len(deep)/2 {
		t.Errorf("a deep path is %d octets long", len(got))
	}
}

func BenchmarkPlain(b *testing.B) {
	path := []byte("/api/v1/users/12345/orders.json")
	b.ReportAllocs()
	for b.Loop() {
		if !Plain(path) {
			b.Fatal("not plain")
		}
	}
}

// FuzzReading holds that what is read is unambiguous: it is read the same when it
// is read again, and in no reading of it is there a dot segment or a NUL.
func FuzzReading(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/a/..%2f", "/%252e%252e%252f", "//a//./", "/a;x/..;/", "/%00", `/\..`, "/%%32%65", "/.%2e/%5c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		if len(path) == 0 || path[0] != '/' || bytes.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return // no request target
		}
		read, why := PathsNormalize.Read(nil, path)
		strict, whyNot := PathsReject.Read(nil, path)
		if why != "" && whyNot == "" || whyNot == "" && !bytes.Equal(read, strict) {
			t.Fatalf("%q is %q (%s) and, where more is refused, %q (%s)", path, read, why, strict, whyNot)
		}
		if Plain(path) && (why != "" || !bytes.Equal(read, path)) {
			t.Fatalf("%q is plain and read as %q, %s", path, read, why)
		}
		if why != "" {
			return
		}
		if again, why := PathsNormalize.Read(nil, read); why != "" || !bytes.Equal(again, read) {
			t.Fatalf("%q is read as %q, and that as %q, %s", path, read, again, why)
		}
		if len(read) > 1 && read[1] == '/' || read[0] != '/' {
			t.Fatalf("%q is read as %q, which begins like a host", path, read)
		}
		loose := Loosest(nil, read)
		for _, p := range [][]byte{read, loose, bytes.ReplaceAll(loose, []byte{'\\'}, []byte{'/'})} {
			for _, segment := range bytes.Split(p, []byte{'/'}) {
				if s := string(segment); s == "." || s == ".." || strings.Contains(s, "\x00") {
					t.Fatalf("%q is read as %q, in which there is %q", path, p, s)
				}
			}
		}
	})
}

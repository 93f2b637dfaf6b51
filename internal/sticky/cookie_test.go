package sticky

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestID(t *testing.T) {
	// Fixed for ever: a change of these would break every client's binding.
	if got, want := ID("secret", "web", "127.0.0.1:3001"), "P3WaBWMHwRvdcElE"; got != want {
		t.Errorf("ID = %q, want %q", got, want)
	}
	if got, want := ID("", "web", "127.0.0.1:3001"), "x9-1d6NpWOofN5M4"; got != want {
		t.Errorf("ID without secret = %q, want %q", got, want)
	}
	seen := make(map[string]string)
	for _, in := range [][3]string{
		{"", "web", "a:1"}, {"s", "web", "a:1"}, {"t", "web", "a:1"}, {"s", "api", "a:1"}, {"s", "web", "a:2"},
		{"s", "weba", ":1"}, {"s", "we", "ba:1"}, {"s", "", "weba:1"},
	} {
		id := ID(in[0], in[1], in[2])
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{16}$`).MatchString(id) {
			t.Errorf("ID%q = %q, want 16 characters of base64url", in, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("ID%q is the same as of %s", in, other)
		}
		seen[id] = strings.Join(in[:], " ")
	}
}

func TestFindCookie(t *testing.T) {
	for _, tc := range []struct {
		name, header, want string
		found              bool
	}{
		{"alone", "sy=abc", "abc", true},
		{"first", "sy=abc; b=c", "abc", true},
		{"last", "a=b; sy=abc", "abc", true},
		{"middle", "a=b; sy=abc; c=d", "abc", true},
		{"first wins", "sy=1; sy=2", "1", true},
		{"first wins though empty", "sy=; sy=2", "", true},
		{"empty at the end", "a=b; sy=", "", true},
		{"empty header", "", "", false},
		{"absent", "a=b; c=d", "", false},
		{"name with case", "SY=1; Sy=2", "", false},
		{"suffix of a name", "xsy=1", "", false},
		{"prefix of a name", "syx=1", "", false},
		{"in a value", "a=sy=1", "", false},
		{"equals in the value", "sy=a=b==", "a=b==", true},
		{"without equals", "sy; sy=1", "1", true},
		{"no space", "a=b;sy=1;c=d", "1", true},
		{"more space", "a=b ;\t sy \t=\t 1  ; c=d", "1", true},
		{"space within", "sy=a b", "a b", true},
		{"quotes stay", `sy="1"`, `"1"`, true},
		{"semicolon ends a quoted value", `a="x; sy=1"`, `1"`, true},
		{"empty pairs", ";; ; sy=1;", "1", true},
		{"nameless", "=x; sy=1", "1", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := FindCookie([]byte(tc.header), "sy")
			if string(got) != tc.want || (got != nil) != tc.found {
				t.Errorf("FindCookie(%q) = %q (nil: %v), want %q", tc.header, got, got == nil, tc.want)
			}
		})
	}
	if FindCookie([]byte("=x"), "") != nil {
		t.Error("found a cookie without a name")
	}
}

func FuzzFindCookie(f *testing.F) {
	for _, s := range []string{"", "sy=1", "a=b; sy=1", ";;=", "sy", " sy = ", "a=\"sy=1\"; sy=\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		want, found := "", false
		for pair := range strings.SplitSeq(string(header), ";") {
			name, value, ok := strings.Cut(pair, "=")
			if ok && strings.Trim(name, " \t") == "sy" {
				want, found = strings.Trim(value, " \t"), true
				break
			}
		}
		before := string(header)
		got := FindCookie(header, "sy")
		if string(got) != want || (got != nil) != found {
			t.Fatalf("FindCookie(%q) = %q (nil: %v), want %q, %v", header, got, got == nil, want, found)
		}
		if string(header) != before {
			t.Fatal("the header was changed")
		}
	})
}

func TestAppendSetCookie(t *testing.T) {
	with := func(change func(*Cookie)) Cookie {
		c := DefaultCookie()
		change(&c)
		return c
	}
	for _, tc := range []struct {
		name string
		c    Cookie
		tls  bool
		want string
	}{
		{"default", DefaultCookie(), false, "sy=ID; Path=/; HttpOnly; SameSite=Lax"},
		{"default over TLS", DefaultCookie(), true, "sy=ID; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"everything", Cookie{Name: "b", TTL: 90 * time.Minute, Path: "/app", Domain: "example.com", Secure: "true", SameSite: "strict"}, false,
			"b=ID; Path=/app; Domain=example.com; Max-Age=5400; Secure; SameSite=Strict"},
		{"never secure", with(func(c *Cookie) { c.Secure = "false" }), true, "sy=ID; Path=/; HttpOnly; SameSite=Lax"},
		{"none is always secure", with(func(c *Cookie) { c.SameSite = "none" }), false, "sy=ID; Path=/; Secure; HttpOnly; SameSite=None"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.c.Validate(); err != nil {
				t.Fatal(err)
			}
			got := string(tc.c.AppendSetCookie([]byte("+"), "ID", tc.tls))
			if got != "+"+tc.want {
				t.Errorf("got  %q\nwant %q", got, "+"+tc.want)
			}
			if _, err := http.ParseSetCookie(got[1:]); err != nil {
				t.Errorf("net/http: %v", err)
			}
		})
	}
	c := DefaultCookie()
	if c.Renews() {
		t.Error("a session cookie renews")
	}
	if c.TTL = time.Hour; !c.Renews() {
		t.Error("a cookie with a TTL does not renew")
	}
}

func TestCookiesAllocateNothing(t *testing.T) {
	c := DefaultCookie()
	c.TTL = time.Hour
	header, dst := []byte("a=b; sid=123456789; sy=abcdefghijklmnop"), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { FindCookie(header, c.Name) }); n != 0 {
		t.Errorf("FindCookie: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.AppendSetCookie(dst, "abcdefghijklmnop", true) }); n != 0 {
		t.Errorf("AppendSetCookie: %v allocations", n)
	}
}

func BenchmarkFindCookie(b *testing.B) {
	header := []byte("_ga=GA1.2.1234567890.1234567890; theme=dark; sid=s%3Aabcdefghijklmnop.qrstuvwxyz; sy=abcdefghijklmnop")
	b.ReportAllocs()
	for b.Loop() {
		if FindCookie(header, "sy") == nil {
			b.Fatal("not found")
		}
	}
}

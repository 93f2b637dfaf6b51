package rewrite

import (
	"strings"
	"testing"
)

func mustCompile(t testing.TB, h Headers) *HeaderRewriter {
	t.Helper()
	r, err := CompileHeaders(h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHeaders(t *testing.T) {
	r := mustCompile(t, Headers{
		Remove: []string{"Server", "X-Again"},
		Set:    []Header{{"X-Id", "{request_id}"}, {"X-User", "{header.v}"}},
		Add:    []Header{{"x-again", "1"}, {"Via", "a {{b}}"}, {"X-Id", "second"}, {"X-None", "{cookie.none}"}},
	})
	got := string(r.Append([]byte("A: b\r\n"), values{"header.v": "u\r\nEvil: 1"}))
	want := "A: b\r\nX-Id: <request_id>\r\nX-User: u  Evil: 1\r\nx-again: 1\r\nVia: a {b}\r\nX-Id: second\r\n"
	if got != want {
		t.Errorf("Append = %q, want %q", got, want)
	}
	if got := string(r.Append(nil, values{})); strings.Contains(got, "X-User") {
		t.Errorf("Append sends an empty header: %q", got)
	}
	for name, want := range map[string]bool{
		"Server": true, "sERVER": true, "X-AGAIN": true, "x-id": true, "X-User": true, // removed or set
		"Via": false, "X-None": false, "Serves": false, "X-Ix": false, "": false, "Serve": false, "Content-Type": false,
		"X_USER": true, "X\rUser": false,
	} {
		if got := r.Drops([]byte(name)); got != want {
			t.Errorf("Drops(%q) = %v, want %v", name, got, want)
		}
	}
	if r.Empty() {
		t.Error("Empty() = true")
	}
}

func TestHeadersNilForNothing(t *testing.T) {
	r := mustCompile(t, Headers{})
	if r != nil || !r.Empty() || r.Drops([]byte("A")) || string(r.Append([]byte("x"), nil)) != "x" {
		t.Errorf("CompileHeaders of nothing = %+v, want a nil that does nothing", r)
	}
}

func TestHeadersValidate(t *testing.T) {
	set := func(name, value string) Headers { return Headers{Set: []Header{{name, value}}} }
	for _, tc := range []struct {
		name string
		h    Headers
		want []string
	}{
		{"no name", set("", "a"), []string{`set ""`, "no name"}},
		{"not a token", set("X A", "a"), []string{"header name"}},
		{"colon", Headers{Add: []Header{{"X:", "a"}}}, []string{`add "X:"`, "header name"}},
		{"host", set("host", "a"), []string{"`host:`"}},
		{"connection", Headers{Remove: []string{"Connection"}}, []string{`remove "Connection"`, "one connection"}},
		{"keep-alive", set("Keep-Alive", "a"), []string{"one connection"}},
		{"proxy-connection", set("Proxy-Connection", "a"), []string{"one connection"}},
		{"te", set("TE", "a"), []string{"one connection"}},
		{"trailer", set("Trailer", "a"), []string{"one connection"}},
		{"upgrade", set("upgrade", "a"), []string{"one connection"}},
		{"transfer-encoding", set("Transfer-Encoding", "a"), []string{"one connection"}},
		{"content-length", set("Content-Length", "1"), []string{"frames"}},
		{"expect", set("Expect", "1"), []string{"frames"}},
		{"bad template", set("X", "{nope}"), []string{`set "X"`, "unknown variable {nope}"}},
		{"control in literal", set("X", "a\r\nb"), []string{"control"}},
		{"empty", set("X", " "), []string{"use remove"}},
		{"set twice", Headers{Set: []Header{{"X", "1"}, {"x", "2"}}}, []string{"twice", "add"}},
		{"remove twice", Headers{Remove: []string{"X", "x"}}, []string{"twice"}},
		{"set and removed", Headers{Set: []Header{{"X", "1"}}, Remove: []string{"x"}}, []string{"removed as well"}},
		{"all at once", Headers{Set: []Header{{"Host", "1"}}, Add: []Header{{"TE", "1"}}, Remove: []string{""}}, []string{"set", "add", "remove"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.h.Validate()
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

package proxy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/internal/pool"
	"steelyard/internal/router"
	"steelyard/internal/wire"
)

func TestPreferred(t *testing.T) {
	for accept, want := range map[string]pageKind{
		"":    pageText,
		"*/*": pageText,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": pageHTML,
		"application/json":                       pageJSON,
		"application/json, text/plain, */*":      pageJSON,
		"text/plain, application/json":           pageText,
		"text/*":                                 pageText,
		"text/*, text/plain;q=0":                 pageHTML,
		"*/*, text/plain;q=0.5":                  pageHTML,
		"text/html;q=0.2, application/json;q=.3": pageJSON,
		"text/html;q=0, */*":                     pageText,
		"TEXT/HTML ; level=1 ; Q=1":              pageHTML,
		"text/html;q=nonsense, */*;q=0.1":        pageText,
		"image/png":                              pageText,
		"text/html;q=0,*/*;q=0":                  pageText,
		"text/html;q=2, application/json;q=0.1":  pageJSON,
		"text, /, ;;q, */*":                      pageText,
	} {
		var r wire.Request
		head := "GET / HTTP/1.1\r\nHost: x\r\n"
		if accept != "" {
			head += "Accept: " + accept + "\r\n"
		}
		if err := r.Parse([]byte(head + "\r\n")); err != nil {
			t.Fatal(err)
		}
		all := wishes(&r)
		if got := preferred(&all); got != want {
			t.Errorf("%s: got %v, want %v", accept, got, want)
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("text/html;q=0.1, */*")
	f.Fuzz(func(t *testing.T, accept string) {
		var r wire.Request
		if r.Parse([]byte("GET / HTTP/1.1\r\nHost: x\r\nAccept: "+accept+"\r\n\r\n")) != nil {
			return
		}
		all := wishes(&r)
		best := all[preferred(&all)]
		for _, w := range all {
			if w.quality > best.quality || w.quality < 0 || w.quality > 1 {
				t.Errorf("%+v is chosen of %+v", best, all)
			}
		}
	})
}

// pageFile writes a page and reads it.
func pageFile(t testing.TB, name, text string) *ErrorPage {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadErrorPage(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestErrorPages: which page a client gets, by status, listener and Accept.
func TestErrorPages(t *testing.T) {
	t.Parallel()
	const all = "{status} {cause} {hint} {request_id} {other} {"
	e := &ErrorPages{
		HideCause: true,
		Pages:     PageSet{"404": pageFile(t, "a.html", "<b>"+all), "5xx": pageFile(t, "b.json", `["{cause}"]`), "default": pageFile(t, "c.txt", "any {status}")},
		Listeners: map[string]PageSet{"test": {"503": pageFile(t, "d.txt", "mine {status}")}, "other": {"404": pageFile(t, "e.txt", "no")}},
	}
	cases := []struct{ name, path, fields, status, contentType, body string }{
		{"by status", "/none", "", "404", "text/html; charset=utf-8", "<b>404 no_route no route matches this host and path ID {other} {"},
		{"by class", "/refused", "", "502", "application/json", `["connect_refused"]`},
		{"of the listener", "/empty", "", "503", "text/plain; charset=utf-8", "mine 503"},
		{"default", "/empty", "Content-Length: 9999999\r\n", "413", "text/plain; charset=utf-8", "any 413"},
		{"not what is wanted", "/none", "Accept: application/json\r\n", "404", "application/json",
			`{"status":404,"cause":"no_route","hint":"no route matches this host and path","request_id":"ID"}` + "\n"},
		{"as good as what is wanted", "/none", "Accept: application/json, text/html\r\n", "404", "text/html; charset=utf-8", "<b>404 no_route no route matches this host and path ID {other} {"},
	}
	empty, err := pool.New("empty", pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(empty.Close)
	f := newFixture(t, []string{refused(t)}, func(f *fixture, _ *pool.Options, g *Generation, lim *Limits) {
		g.Errors = e
		g.Routes = append(g.Routes, &Route{Name: "empty", Pool: &Target{Pool: empty}})
		g.Table, _ = router.New([]router.Match{{Path: "/refused"}, {Path: "/empty"}})
		lim.MaxBodySize = 1000
	})
	for _, tc := range cases {
		resp, body := f.do(t, "GET "+tc.path+" HTTP/1.1\r\nHost: x\r\n"+tc.fields+"\r\n")
		body = strings.Replace(body, resp.Header.Get("X-Request-Id"), "ID", 1)
		if resp.Status[:3] != tc.status || resp.Header.Get("Content-Type") != tc.contentType || body != tc.body {
			t.Errorf("%s: got %s %s %q", tc.name, resp.Status, resp.Header.Get("Content-Type"), body)
		}
		if resp.Header.Get("Vary") != "Accept" || resp.Header.Get("X-Steelyard-Cause") != "" {
			t.Errorf("%s: %v", tc.name, resp.Header)
		}
	}
}

// TestPagesAreEscaped: what stands in a page's place is text, whatever it is.
func TestPagesAreEscaped(t *testing.T) {
	evil := &trouble{status: 400, cause: "c", hint: "<script>\"'&\\\x00\n{cause}\xff", id: "i"}
	if got := ownPages[pageHTML].fill(evil); strings.Contains(got, "<script") || !strings.Contains(got, "&lt;script&gt;") {
		t.Errorf("got %s", got)
	}
	var back struct{ Hint string }
	if got := ownPages[pageJSON].fill(evil); json.Unmarshal([]byte(got), &back) != nil || back.Hint != strings.ToValidUTF8(evil.hint, "\uFFFD") {
		t.Errorf("got %s", got)
	}
	if _, err := ReadErrorPage(filepath.Join(t.TempDir(), "none.html")); err == nil {
		t.Error("a page that is not there could be read")
	}
}

package ui

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(name string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r.URL.Path = name
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestEachFileHasItsTypePolicyAndTag(t *testing.T) {
	for _, c := range []struct {
		path, kind string
		status     int
	}{
		{"/", "text/html; charset=utf-8", 200},
		{"/ui/index.html", "text/html; charset=utf-8", 200},
		{"/ui/app.js", "text/javascript; charset=utf-8", 200},
		{"/ui/style.css", "text/css; charset=utf-8", 200},
		{"/ui/icon.svg", "image/svg+xml", 200},
		{"/ui/", "text/plain; charset=utf-8", 404},
		{"/ui/../ui.go", "text/plain; charset=utf-8", 404},
		{"/ui/static/app.js", "text/plain; charset=utf-8", 404},
		{"/ui/../../../../etc/passwd", "text/plain; charset=utf-8", 404},
	} {
		w := get(c.path)
		h := w.Header()
		if w.Code != c.status || h.Get("Content-Type") != c.kind || h.Get("Content-Security-Policy") != Policy || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", c.path, w.Code, h)
		}
		if c.status != 200 {
			continue
		}
		tag := h.Get("ETag")
		if tag == "" || h.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: tag %q, Cache-Control %q", c.path, tag, h.Get("Cache-Control"))
		}
		if again := get(c.path, "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s with its own tag: %d with %d bytes", c.path, again.Code, again.Body.Len())
		}
	}
}

// What the policy would stop, and what could make text into markup, must not be
// in the files.
func TestFilesKeepThePolicy(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		".html": regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|\son\w+=|\sstyle=|<style|https?://`),
		".js":   regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|'style'|"style"|cssText|https?://[^w]`),
		".css":  regexp.MustCompile(`(?i)@import|url\(|expression\(`),
	}
	for name := range read() {
		content, err := fs.ReadFile(static, path.Join("static", name))
		if err != nil {
			t.Fatal(err)
		}
		if bad := forbidden[path.Ext(name)]; bad != nil {
			if found := bad.FindString(string(content)); found != "" {
				t.Errorf("%s has %q", name, found)
			}
		}
	}
}

// A module that is named and not there shows an empty page.
func TestEveryImportIsThere(t *testing.T) {
	files := read()
	named := regexp.MustCompile(`(?:from|import) '(\./)([^']+)'|(?:src|href)="/ui/([^"]+)"`)
	count := 0
	for name, f := range files {
		for _, m := range named.FindAllStringSubmatch(string(f.content), -1) {
			count++
			if want := m[2] + m[3]; files[want].content == nil {
				t.Errorf("%s names %s, which is not there", name, want)
			}
		}
		if strings.HasSuffix(name, ".js") && len(f.content) > 20<<10 {
			t.Errorf("%s has %d bytes; split it", name, len(f.content))
		}
	}
	if count < 10 {
		t.Errorf("only %d references were found", count)
	}
}

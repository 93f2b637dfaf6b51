// Package ui serves the dashboard: the files of its folder static, as they stand
// there, under a policy that lets a browser run and load nothing else. It knows
// HTTP and nothing of pools; what the pages show they ask of the admin API.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// Policy is the Content-Security-Policy of every page: own scripts and styles
// from files alone, requests to this server alone, no frames around it.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is one file with what is said of it.
type file struct {
	content []byte
	kind    string
	tag     string
}

// Handler serves the page at / and its parts at /ui/. Each file has an ETag and
// is asked for anew, so that a page never runs with parts of another release.
func Handler() http.Handler {
	files := read()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/ui/")
		if r.URL.Path == "/" {
			name = "index.html"
		}
		head := w.Header()
		head.Set("Content-Security-Policy", Policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		f, known := files[name]
		if !known {
			head.Set("Cache-Control", "no-store")
			http.Error(w, "the dashboard has no file "+r.URL.Path+"; it begins at /", http.StatusNotFound)
			return
		}
		head.Set("Content-Type", f.kind)
		head.Set("ETag", f.tag)
		head.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

// read takes the embedded files, which were there when this was compiled.
func read() map[string]file {
	files := make(map[string]file)
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		content, err := fs.ReadFile(static, path.Join("static", e.Name()))
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		files[e.Name()] = file{content: content, kind: kind(e.Name()), tag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return files
}

// kind is the Content-Type of a file. It does not ask the machine, whose tables
// may differ.
func kind(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

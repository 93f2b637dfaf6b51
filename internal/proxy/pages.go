package proxy

import (
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrorPages says how the errors look that Steelyard makes. It is immutable.
type ErrorPages struct {
	// HideCause leaves X-Steelyard-Cause out.
	HideCause bool
	// Pages go in place of Steelyard's own; those of a listener, by its name, go
	// before them.
	Pages     PageSet
	Listeners map[string]PageSet
}

// PageSet has pages by what they are for: a status (404), a class of them (5xx),
// or default.
type PageSet map[string]*ErrorPage

// ErrorPage is a page with places for what happened.
type ErrorPage struct {
	kind pageKind
	text string
}

// maxPage is the most bytes of an error page.
const maxPage = 1 << 20

// ReadErrorPage reads a page from a file; its ending says what it is.
func ReadErrorPage(file string) (*ErrorPage, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading an error page: %w", err)
	}
	p := &ErrorPage{text: string(b)}
	switch filepath.Ext(file) {
	case ".html":
		p.kind = pageHTML
	case ".json":
		p.kind = pageJSON
	}
	if len(b) > maxPage {
		return nil, fmt.Errorf("the error page %s is larger than 1 MiB", file)
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("the error page %s is not UTF-8", file)
	}
	return p, nil
}

// find is the page for a status, nil if there is none.
func (s PageSet) find(status int) *ErrorPage {
	text := strconv.Itoa(status)
	for _, key := range [...]string{text, text[:1] + "xx", "default"} {
		if p := s[key]; p != nil {
			return p
		}
	}
	return nil
}

// trouble is what an error page has to say.
type trouble struct {
	status          int
	cause, hint, id string
}

// errorBody makes the body for the client that asked.
func (x *exchange) errorBody(t *trouble) (contentType string, body []byte) {
	all := [pageKinds]wish{{1, 1, 0}, {1, 1, 0}, {1, 1, 0}}
	if x.req != nil {
		all = wishes(x.req)
	}
	kind := preferred(&all)
	if p := x.errorPage(t.status); p != nil && all[p.kind].quality > 0 && all[p.kind].quality >= all[kind].quality {
		return pageTypes[p.kind].field, []byte(p.fill(t))
	}
	return pageTypes[kind].field, []byte(ownPages[kind].fill(t))
}

// errorPage is the configured page for a status, nil if there is none.
func (x *exchange) errorPage(status int) *ErrorPage {
	e := x.gen.Errors
	if e == nil {
		return nil
	}
	if p := e.Listeners[x.c.listener.Name()].find(status); p != nil {
		return p
	}
	return e.Pages.find(status)
}

// ownPages are used where none is configured.
var ownPages = [pageKinds]ErrorPage{
	pageText: {pageText, "{status} {reason}\n{cause}: {hint}\nrequest id: {request_id}\n"},
	pageHTML: {pageHTML, `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{status} {reason}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;margin:15vh auto;max-width:36rem;padding:0 1rem}small{opacity:.7}</style>
<h1>{status} {reason}</h1>
<p>{hint}</p>
<p><small>{cause}<br>request id: {request_id}</small></p>
</html>
`},
	pageJSON: {pageJSON, `{"status":{status},"cause":"{cause}","hint":"{hint}","request_id":"{request_id}"}` + "\n"},
}

// fill puts what happened into the page, escaped for it. Braces around anything
// else are the page's own.
func (p *ErrorPage) fill(t *trouble) string {
	return strings.NewReplacer(
		"{status}", strconv.Itoa(t.status), "{reason}", p.escape(statusText(t.status)),
		"{cause}", p.escape(t.cause), "{hint}", p.escape(t.hint), "{request_id}", p.escape(t.id),
	).Replace(p.text)
}

// escape makes s harmless in the page.
func (p *ErrorPage) escape(s string) string {
	switch p.kind {
	case pageHTML:
		return html.EscapeString(strings.ToValidUTF8(s, "\uFFFD"))
	case pageJSON:
		b, err := json.Marshal(s)
		if err != nil {
			return ""
		}
		return string(b[1 : len(b)-1])
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

package config

import (
	"fmt"
	"path/filepath"
	"regexp"
)

// ErrorPages says how errors that Steelyard makes look.
type ErrorPages struct {
	// CauseHeader sends X-Steelyard-Cause; default true.
	CauseHeader bool
	Pages       []ErrorPage // in file order
}

// ErrorPage is a file in place of Steelyard's own page.
type ErrorPage struct {
	// Status is a status (404), a class of them (5xx), or default.
	Status string
	// File is the path of the page; its ending says what it is.
	File string
}

func errorsMapping() mapping[ErrorPages] {
	m := listenerErrorsMapping()
	m.fields = append([]field[ErrorPages]{
		key("cause_header", boolean(), func(e *ErrorPages) *bool { return &e.CauseHeader },
			"Send `X-Steelyard-Cause` with the errors that Steelyard makes."),
	}, m.fields...)
	return m
}

// listenerErrorsMapping is for the errors of one listener.
func listenerErrorsMapping() mapping[ErrorPages] {
	return mapping[ErrorPages]{
		noun:  "settings of errors",
		fresh: func() ErrorPages { return ErrorPages{CauseHeader: true} },
		fields: []field[ErrorPages]{
			key("pages", named("page", errorPage(), func(p *ErrorPage, name string, _ value) { p.Status = name }), func(e *ErrorPages) *[]ErrorPage { return &e.Pages },
				"Files (`.html`, `.json` or `.txt`) in place of Steelyard's own pages, by status: `404`, `5xx`, `default`; the closest counts. "+
					"In them {status}, {cause}, {hint} and {request_id} stand for what happened.").defaults("none"),
		},
	}
}

var pageStatus = regexp.MustCompile(`^([45]([0-9][0-9]|xx)|default)$`)

// errorPage is the path of a page, by a status that is in Status already.
func errorPage() kind[ErrorPage] {
	const ending = "a path that ends with .html, .json or .txt"
	k := filePath()
	return kind[ErrorPage]{
		typ: k.typ, allowed: ending,
		read: func(w *walker, v value, to *ErrorPage) bool {
			if !pageStatus.MatchString(to.Status) {
				w.fail(v, Error{Msg: fmt.Sprintf("%q is not a status of errors", clip(to.Status)), Allowed: "400 to 599, 4xx, 5xx, default"})
				return false
			}
			if !k.read(w, v, &to.File) {
				return false
			}
			switch filepath.Ext(to.File) {
			case ".html", ".json", ".txt":
			default:
				w.fail(v, Error{Msg: fmt.Sprintf("%q does not say what kind of page it is", clip(to.File)), Allowed: ending})
				return false
			}
			if w.missing(to.File) {
				w.warnf(v, "there is no file %s; Steelyard does not start without it", to.File)
			}
			return true
		},
		keys: func(string, *ErrorPage) []Key { return nil },
	}
}

package config

import (
	"fmt"
	"strings"

	"steelyard/internal/accesslog"
	"steelyard/internal/rewrite"
)

// AccessLog says which requests get a line in the access log, and how it reads.
type AccessLog struct {
	// Format is json (default) or combined.
	Format string
	// Template is a form of its own in place of Format; see package rewrite and
	// accesslog.Names.
	Template string
	// Fields are those of a JSON line; default all.
	Fields []string
	// To is stdout (default), stderr or the path of a file.
	To string
	// Sample is the share of requests that get a line, 0 to 1; default 1.
	Sample float64
	// Errors is always (default: those that failed get a line in any case) or
	// sampled.
	Errors string
	// Buffer is the most bytes of lines that wait to be written; default 4MiB.
	Buffer int
	// Off says that there is none.
	Off bool
}

func accessLogMapping() mapping[AccessLog] {
	formats := []string{"json", "combined"}
	return mapping[AccessLog]{
		noun:    "an access log",
		shortIs: "json, combined, or off",
		empty:   true,
		fresh: func() AccessLog {
			return AccessLog{Format: "json", Fields: accesslog.Names(), To: "stdout", Sample: 1, Errors: "always", Buffer: 4 << 20}
		},
		short: func(w *walker, v value, a *AccessLog) bool {
			if !isText(v.node) {
				return false
			}
			if enum([]string{"json", "combined", "off"}).read(w, v, &a.Format) && a.Format == "off" {
				a.Off = true
			}
			return true
		},
		fields: []field[AccessLog]{
			key("format", enum(formats), func(a *AccessLog) *string { return &a.Format },
				"`json` has everything that is known; `combined` is the format of Apache and NCSA that many tools read."),
			key("template", anyText("a template of one line", checkLogTemplate), func(a *AccessLog) *string { return &a.Template },
				"A form of its own, in place of `format`.").defaults("none"),
			key("fields", list(enum(accesslog.Names())), func(a *AccessLog) *[]string { return &a.Fields },
				"Fields of a `json` line, in this order.").defaults("all of them"),
			key("to", logTarget(), func(a *AccessLog) *string { return &a.To },
				"Where lines go. A file is appended to, and opened anew on SIGUSR1."),
			key("sample", share(), func(a *AccessLog) *float64 { return &a.Sample },
				"Share of the requests that get a line, drawn by their id: who passes the id on finds the same requests in the log behind."),
			key("errors", enum([]string{"always", "sampled"}), func(a *AccessLog) *string { return &a.Errors },
				"Whether requests that ended in an error of Steelyard's, or in a status from 500 on, get a line whatever `sample` says."),
			key("buffer", size[int](1<<20, 1<<30, ""), func(a *AccessLog) *int { return &a.Buffer },
				"Most bytes of lines that wait to be written. Beyond that lines are dropped and counted; requests are never held up."),
		},
		check: func(w *walker, s section, a *AccessLog) {
			switch {
			case s.has("template") && s.has("format"):
				w.fail(s.at["template"], Error{Msg: "cannot stand beside format", Allowed: "one of format, template"})
			case s.has("fields") && (s.has("template") || a.Format != "json"):
				w.failf(s.at["fields"], "has no effect: only lines in the format json have fields")
			case s.has("fields") && s.good("fields") && len(a.Fields) == 0:
				w.fail(s.at["fields"], Error{Msg: "names no field", Allowed: "at least one of " + strings.Join(accesslog.Names(), ", ")})
			}
		},
	}
}

func checkLogTemplate(s string) *wrong {
	if strings.TrimSpace(s) == "" || hasControl(s) {
		return &wrong{msg: fmt.Sprintf("%q is not one line of text", clip(s))}
	}
	if _, err := rewrite.ParseWith(s, accesslog.Names()); err != nil {
		return &wrong{msg: err.Error()}
	}
	return nil
}

// logTarget is stdout, stderr or a path.
func logTarget() kind[string] {
	k := filePath()
	path := k.read
	k.typ, k.allowed = "stdout, stderr, or a path", "stdout, stderr, or "+k.allowed
	k.show = func(s string) string { return s }
	k.read = func(w *walker, v value, to *string) bool {
		if s := v.node.Value; isText(v.node) && (s == "stdout" || s == "stderr") {
			*to = s
			return true
		}
		return path(w, v, to)
	}
	return k
}

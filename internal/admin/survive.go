package admin

import (
	"log/slog"
	"net/http"
	"runtime/debug"
)

// answered notes whether an answer has begun.
type answered struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (a *answered) WriteHeader(status int) {
	a.begun = a.begun || status >= http.StatusOK
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answered) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// survive is deferred around each call: a panic in one is told in the log, with
// where it was, and to who called; all else goes on. What was being answered is
// cut off, so that nobody takes half of it for the whole.
func (s *Server) survive(w *answered, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v) // meant for net/http
	}
	stack := string(debug.Stack())
	s.access.failed.note(func(more int) {
		slog.Error("a call of the admin API failed inside", "method", r.Method, "path", clip(r.URL.Path, 200), "panic", v, "stack", stack, "not_logged_before", more)
	})
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	(&failure{
		status: http.StatusInternalServerError, why: "this call failed inside Steelyard; its log says where, at level error",
		cure: "the traffic goes on; please report it with these lines of the log",
	}).write(w)
}

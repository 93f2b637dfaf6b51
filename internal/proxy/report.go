package proxy

import (
	"log/slog"
	"sync"
	"time"

	"steelyard/internal/transport"
)

// reportsPerSecond bounds the log lines about failed requests: an outage must
// not turn into a flood of the log, and what was left out is counted.
const reportsPerSecond = 20

// recordsPerSecond bounds the records of failed requests in the same way; they
// cost less, and only the last are kept.
const recordsPerSecond = 1000

// reporter bounds how often something is told.
type reporter struct {
	mu      sync.Mutex
	second  time.Duration
	lines   int
	dropped int
}

// allow reports whether a line may be written now, and how many were not since
// the last one.
func (r *reporter) allow(perSecond int) (ok bool, dropped int) {
	second := transport.Now().Truncate(time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	if second != r.second {
		r.second, r.lines = second, 0
	}
	if r.lines >= perSecond {
		r.dropped++
		return false, 0
	}
	r.lines++
	dropped, r.dropped = r.dropped, 0
	return true, dropped
}

// report logs an error that Steelyard made for a request.
func (x *exchange) report(cause Cause, detail string) {
	p := x.p
	if cause == CauseClientGone && x.c.wasCut.Load() {
		cause = CauseShutdown // it was not the client who left
	}
	p.errors[cause].Add(1)
	if x.target != nil {
		x.target.Pool.Stats.Errors[cause].Add(1)
	} else {
		p.unpooled[cause].Add(1)
	}
	x.cause, x.detail = cause, detail
	if cause == CauseClientGone || cause.refusal() {
		return // the client's own doing
	}
	ok, dropped := p.reports.allow(reportsPerSecond)
	if !ok {
		return
	}
	attrs := []any{"cause", cause.String(), "listener", x.c.listener.Name(), "client", string(x.c.peerText),
		"request_id", string(x.requestID())}
	if x.req != nil {
		attrs = append(attrs, "method", string(x.req.Method),
			"host", string(x.req.Host), "path", string(x.req.Path))
	}
	if x.route != nil {
		attrs = append(attrs, "route", x.route.Name)
	}
	if x.target != nil {
		attrs = append(attrs, "pool", x.target.Pool.Name(), "attempts", x.attempts)
	}
	if x.index >= 0 && x.snap != nil {
		attrs = append(attrs, "backend", x.snap.Endpoints[x.index].Address)
	}
	if detail != "" {
		attrs = append(attrs, "detail", detail)
	}
	if dropped > 0 {
		attrs = append(attrs, "lines_left_out", dropped)
	}
	slog.Warn("request failed", attrs...)
}

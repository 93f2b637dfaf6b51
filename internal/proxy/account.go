package proxy

import (
	"strings"
	"sync/atomic"
	"time"

	"steelyard/internal/errorlog"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
	"steelyard/internal/transport"
)

// RouteStats counts what the requests of one route got. It outlives generations.
type RouteStats struct {
	// Classes counts responses, errors that Steelyard made included.
	Classes metrics.Classes
	refused [causeCount]atomic.Int64 // by the gate
}

// account is what an exchange has to remember of itself for those who count.
type account struct {
	status    int           // of the head that the client got; 0: none
	cause     Cause         // of the error that Steelyard made
	detail    string        // of that error
	delivered bool          // the response is, or was to be, that of a backend
	cut       bool          // the response did not reach the client whole
	tryAt     time.Duration // when the last attempt began
	queued    time.Duration // in the pool's queue
	dialed    time.Duration // making connections to backends
	bytesOut  int64         // of the body that the client got
	bytesIn   int64         // that came through a tunnel
	firstByte time.Duration // from the request sent to the response's first byte
}

// try is an attempt that failed.
type try struct {
	ep     *pool.Endpoint
	reason string
	class  retryClass
	status int // of its response, which was given up
	took   time.Duration
}

// maxTries bounds how many failed attempts a request remembers.
const maxTries = 16

// noteFailed remembers an attempt that failed.
func (x *exchange) noteFailed(ep *pool.Endpoint, f *failure) {
	x.c.at = transport.Now()
	if len(x.tries) == maxTries {
		return
	}
	t := try{ep: ep, reason: f.cause.String(), class: f.class, took: x.c.at - x.tryAt}
	if f.granted {
		t.reason, t.status = retryReason(causeCount), f.status
	}
	x.tries = append(x.tries, t)
}

// settleAccount counts the request, once, when everything has been done about it.
// Its client may have the response already.
func (x *exchange) settleAccount() {
	class := x.status
	if x.cut {
		class = 0
	}
	if x.route != nil && x.route.Stats != nil {
		x.route.Stats.Classes.Count(class)
	}
	if x.target != nil {
		s := &x.target.Pool.Stats
		s.Classes.Count(class)
		if class >= 500 && x.cause == CauseNone {
			s.PassedOn.Add(1)
		}
		if class != 0 && class != 101 {
			s.Latency.Observe(x.c.at - x.c.started)
		}
	}
	if (x.cause != CauseNone || x.status >= 500) && x.cause != CauseClientGone && !x.cause.refusal() {
		x.keepRecord()
	}
	if log := x.gen.AccessLog; log != nil {
		log.write(x)
	}
}

// settleSafely is settleAccount where nobody is left to catch a panic.
func (x *exchange) settleSafely() {
	defer func() {
		if r := recover(); r != nil {
			logPanic(r)
		}
	}()
	x.settleAccount()
}

// keepRecord puts the error that the client got into the error log, unless there
// are too many of them.
func (x *exchange) keepRecord() {
	log := &x.p.errorLog
	if ok, _ := x.p.records.allow(recordsPerSecond); !ok {
		log.Skip()
		return
	}
	r := errorlog.Record{
		At: time.Now(), Status: x.status, Detail: clipped(x.detail, 1024), RequestID: string(x.requestID()),
		Listener: x.c.listener.Name(), Client: string(x.c.peerText), Total: transport.Now() - x.c.started,
	}
	if x.cut {
		r.Status = 0
	}
	if x.cause != CauseNone {
		r.Cause, r.Hint = x.cause.String(), causes[x.cause].hint
	}
	if x.req != nil {
		r.Client = string(x.clientIP())
		r.Method, r.Host, r.Path = clipped(x.req.Method, 64), clipped(x.req.Host, 256), clipped(x.req.Path, 512)
	}
	if x.route != nil {
		r.Route = x.route.Name
	}
	if x.target != nil {
		r.Pool, r.Attempts = x.target.Pool.Name(), x.attemptList()
	}
	if n := len(r.Attempts); n > 0 {
		r.Backend = r.Attempts[n-1].Backend
	}
	log.Add(r)
}

// attemptList has every attempt of the request, in order.
func (x *exchange) attemptList() []errorlog.Attempt {
	list := make([]errorlog.Attempt, 0, len(x.tries)+1)
	for i := range x.tries {
		t := &x.tries[i]
		a := errorlog.Attempt{Backend: t.ep.Address, Cause: t.reason, Status: t.status, Took: t.took}
		if t.class != classNever {
			a.Class = t.class.String()
		}
		list = append(list, a)
	}
	if x.answered() {
		a := errorlog.Attempt{Backend: x.endpoint().Address, Status: x.resp.Status, Took: x.c.at - x.tryAt}
		if x.cause != CauseNone { // its response was broken off
			a.Cause, a.Class = x.cause.String(), classPossible.String()
		}
		list = append(list, a)
	}
	return list
}

// answered reports whether the last attempt gave the client a response, or the
// beginning of one.
func (x *exchange) answered() bool { return x.delivered && x.index >= 0 }

// clipped is a copy of s with at most n bytes, in valid UTF-8.
func clipped[T string | []byte](s T, n int) string {
	return strings.ToValidUTF8(string(s[:min(len(s), n)]), "\uFFFD")
}

package proxy

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"steelyard/internal/accesslog"
	"steelyard/internal/rewrite"
	"steelyard/internal/transport"
)

// AccessLog says which requests get a line in the access log, and how it reads.
// It is immutable.
type AccessLog struct {
	Log *accesslog.Log
	// Combined and Template are other forms than JSON; at most one is set.
	Combined bool
	Template *rewrite.Template
	Fields   []accesslog.Field // of JSON
	// Sample is the share of requests that get a line, 0 to 1, drawn by their id.
	Sample float64
	// Errors gives one to all that ended in an error of Steelyard's or in a
	// status of 500 and above.
	Errors bool
}

// write writes the line of a request that has ended.
func (l *AccessLog) write(x *exchange) {
	failed := x.cause != CauseNone || x.status >= 500
	unlogged := x.route != nil && x.route.Unlogged
	if !(failed && l.Errors) && (unlogged || l.Sample < 1 && !l.draws(x.requestID())) {
		return
	}
	e := &x.entry
	x.fillEntry(e)
	x.out = x.out[:0]
	switch {
	case l.Template != nil:
		x.out = append(l.Template.Append(x.out, logValues{x}), '\n')
	case l.Combined:
		x.out = e.AppendCombined(x.out)
	default:
		x.out = e.AppendJSON(x.out, l.Fields)
	}
	l.Log.Write(x.out)
	clear(e.Attempts)
	*e = accesslog.Entry{Attempts: e.Attempts[:0]}
}

// draws reports whether a request is in the sample. Its id decides: who passes an
// id on to the next Steelyard finds a line of it in both logs or in none, and a
// larger sample has all that a smaller one has.
func (l *AccessLog) draws(id []byte) bool {
	return float64(xxhash.Sum64(id)>>11)/(1<<53) < l.Sample
}

// fillEntry says of the request what a line may have.
func (x *exchange) fillEntry(e *accesslog.Entry) {
	now := time.Now()
	e.Total = now.Sub(transport.Deadline(x.c.started))
	e.Time = now.Add(-e.Total)
	e.RequestID, e.Client, e.Listener = x.requestID(), x.c.peerText, x.c.listener.Name()
	e.User = x.gate.user
	e.Status, e.Affinity = x.status, x.affinityWord()
	if x.cause != CauseNone {
		e.Cause = x.cause.String()
		if e.Status == 0 {
			e.Status = causes[x.cause].status
		}
	}
	if r := x.req; r != nil {
		e.Client, e.Method, e.Host, e.Path, e.Query, e.Minor = x.clientIP(), r.Method, r.Host, r.Path, r.Query, r.Minor
		e.UserAgent, e.Referer = r.Peek("user-agent"), r.Peek("referer")
		e.BytesIn = x.up.body.Received() + x.bytesIn
	}
	e.TLSVersion, e.TLSSNI, e.TLSClient = x.c.tlsVersion(), x.c.tlsSNI(), x.c.tlsClient().Subject
	if x.route != nil {
		e.Route = x.route.Name
	}
	if x.target != nil {
		e.Pool = x.target.Pool.Name()
	}
	if x.index >= 0 && x.snap != nil {
		e.Backend = x.endpoint().Address
	}
	for i := range x.tries {
		t := &x.tries[i]
		a := accesslog.Attempt{Backend: t.ep.Address, Reason: t.reason, Took: t.took}
		if t.class != classNever {
			a.Class = t.class.String()
		}
		e.Attempts = append(e.Attempts, a)
	}
	e.Retries = len(x.tries)
	if !x.delivered {
		e.Retries = max(e.Retries-1, 0)
	}
	e.BytesOut, e.Queue, e.Connect, e.FirstByte = x.bytesOut, x.queued, x.dialed, x.firstByte
}

// affinityWord says what has become of the client's binding.
func (x *exchange) affinityWord() string {
	a := &x.affine
	switch {
	case !x.delivered || x.target == nil || x.target.Sticky == nil || !a.looked || a.keep:
		return "none"
	case a.bound == x.index:
		return "bound"
	case a.keyed || x.target.Sticky.Cookie != nil:
		return "new"
	}
	return "none"
}

// logValues gives the access log's template its values, escaped.
type logValues struct{ x *exchange }

func (v logValues) AppendVar(dst []byte, name rewrite.Var, of string) []byte {
	start := len(dst)
	switch {
	case name >= rewrite.VarMore:
		dst = v.x.entry.AppendField(dst, accesslog.Field(name-rewrite.VarMore))
	case name == rewrite.VarRequestID:
		dst = append(dst, v.x.entry.RequestID...)
	case name == rewrite.VarListener:
		dst = append(dst, v.x.entry.Listener...)
	case v.x.req == nil: // there was no valid head
		if name == rewrite.VarClientIP {
			dst = append(dst, v.x.entry.Client...)
		}
	case name == rewrite.VarRoute && v.x.route == nil:
	case name == rewrite.VarQueryParam:
		q := queryPeeker{v.x.req.Query}
		dst = append(dst, q.Peek(of)...)
	default:
		dst = v.x.AppendVar(dst, name, of)
	}
	return accesslog.Escape(dst, start)
}

package proxy

import (
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"steelyard/internal/errorlog"
	"steelyard/internal/metrics"
)

// Proxy serves requests by the generation in force.
type Proxy struct {
	generation atomic.Pointer[Generation]
	admission  admission
	reports    reporter
	records    reporter
	errorLog   errorlog.Log
	// errors counts the errors Steelyard made, by cause; unpooled those of them
	// that came before a pool was found.
	errors, unpooled [causeCount]atomic.Int64
	// retries counts repeated attempts by what had become of the one before.
	// The last place of each class is for responses whose status is repeated.
	retries [classCount][causeCount + 1]atomic.Int64
}

// New makes a proxy that serves g.
func New(g *Generation) *Proxy {
	p := &Proxy{}
	p.admission.init()
	p.generation.Store(g)
	return p
}

// SetGeneration swaps the generation; requests under way keep theirs.
func (p *Proxy) SetGeneration(g *Generation) { p.generation.Store(g) }

// Errors returns how many errors of each cause were made.
func (p *Proxy) Errors() map[string]int64 {
	m := map[string]int64{}
	for c := CauseNoRoute; c < causeCount; c++ {
		if n := p.errors[c].Load(); n > 0 {
			m[c.String()] = n
		}
	}
	return m
}

// ErrorLog has the last errors that clients got: those Steelyard made, and the
// responses of 500 and above that backends gave.
func (p *Proxy) ErrorLog() *errorlog.Log { return &p.errorLog }

func (p *Proxy) countRetry(f *failure) {
	reason := f.cause
	if f.granted {
		reason = causeCount
	}
	p.retries[f.class][reason].Add(1)
}

// Retries returns how often attempts were repeated, by class and reason:
// "stale/reset_before_response"; the reason "status" is a response that was
// given up for its status.
func (p *Proxy) Retries() map[string]int64 {
	m := map[string]int64{}
	for class := range p.retries {
		for cause := range p.retries[class] {
			if n := p.retries[class][cause].Load(); n > 0 {
				m[retryClass(class).String()+"/"+retryReason(Cause(cause))] = n
			}
		}
	}
	return m
}

// ErrorCounts returns how many errors of each cause were made, of all causes in
// the order of the list, so that none appears out of nothing.
func (p *Proxy) ErrorCounts() []metrics.CauseCount { return allCounts(&p.errors) }

// UnpooledErrorCounts is ErrorCounts of the errors that came before a pool was
// found. Pools count the others, see AppendErrorCounts.
func (p *Proxy) UnpooledErrorCounts() []metrics.CauseCount { return allCounts(&p.unpooled) }

func allCounts(of *[causeCount]atomic.Int64) []metrics.CauseCount {
	counts := make([]metrics.CauseCount, 0, causeCount-CauseNoRoute)
	for c := CauseNoRoute; c < causeCount; c++ {
		counts = append(counts, metrics.CauseCount{Cause: c.String(), Count: of[c].Load()})
	}
	return counts
}

// AppendErrorCounts appends how many errors of each cause were made for requests
// of a pool, of the causes there were, in the order of the list.
func AppendErrorCounts(to []metrics.CauseCount, of *metrics.Causes) []metrics.CauseCount {
	for c := CauseNoRoute; c < causeCount; c++ {
		if n := of[c].Load(); n > 0 {
			to = append(to, metrics.CauseCount{Cause: c.String(), Count: n})
		}
	}
	return to
}

// A pool has a counter for each cause: this does not compile without.
var _ [metrics.MaxCauses - int(causeCount)]struct{}

// RetryCounts returns how often attempts were repeated, by class and reason as
// in Retries, in a fixed order and without those that never happened.
func (p *Proxy) RetryCounts() []metrics.RetryCount {
	var counts []metrics.RetryCount
	for class := range p.retries {
		for cause := range p.retries[class] {
			if n := p.retries[class][cause].Load(); n > 0 {
				counts = append(counts, metrics.RetryCount{Class: retryClass(class).String(), Reason: retryReason(Cause(cause)), Count: n})
			}
		}
	}
	return counts
}

// retryReason names a place of Proxy.retries.
func retryReason(cause Cause) string {
	if cause < causeCount {
		return cause.String()
	}
	return "status"
}

// finish ends an exchange whatever happened in it, unless a tunnel goes on with it.
func (x *exchange) finish() {
	if r := recover(); r != nil {
		logPanic(r)
		x.afterPanic()
	}
	if x.tunnel == nil {
		x.settleSafely()
		x.release()
	}
}

func logPanic(r any) {
	slog.Error("a request failed inside the balancer", "panic", r, "stack", string(debug.Stack()))
}

// cutUnix takes the path out of unix:/path.
func cutUnix(address string) (string, bool) { return strings.CutPrefix(address, "unix:") }

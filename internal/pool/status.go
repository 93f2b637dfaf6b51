package pool

import (
	"slices"
	"strings"
	"time"

	"steelyard/healthcheck"
	"steelyard/internal/sticky"
)

// Status is a pool as the operator sees it, at one moment.
type Status struct {
	Name   string
	Policy string
	// FailOpenSince is when the pool began to use backends of which none is
	// healthy; zero: it does not.
	FailOpenSince time.Time
	// Why says why no backend is healthy; "" while one is.
	Why string
	// Affinity is cookie, header, client_ip, or "".
	Affinity string
	Waiting  int // requests in the queue
	Limits   Admission
	Backends []BackendStatus
	Sources  []SourceStatus
}

// BackendStatus is one backend in a Status.
type BackendStatus struct {
	Address string
	Backup  bool
	// State is healthy, slow_start, unreachable, ejected, checking, unhealthy,
	// draining or disabled; Reason says why; Since is when it began.
	State  string
	Reason string
	Since  time.Time
	// Weight is what was wanted, Percent how much of it the backend gets now.
	Weight  int
	Percent int
	// DrainUntil and EjectedUntil are zero when that is not so or has no bound.
	DrainUntil   time.Time
	EjectedUntil time.Time
	Left         bool // it is not named any more and finishes what it has
	Held         bool // the registry guard keeps it

	InFlight  int64
	Tunnels   int
	Bound     int   // clients bound to it; -1: that is not known
	Requests  int64 // attempts that ended, and of them
	Failures  int64 // those that spoke against the backend
	FirstByte time.Duration
	Open      int64 // connections
	Idle      int

	Source string // "" is the configuration
	Name   string
	Tags   []string
	Meta   map[string]string

	Check    string // checking, healthy, unhealthy; "" without checks
	Progress string // how far the check is from a change
	Results  []healthcheck.Result
}

// SourceStatus is one source in a Status.
type SourceStatus struct {
	Name     string
	Members  int
	Answered bool
	Updated  time.Time // of the last answer
	Err      string    // since then
	ErrSince time.Time
	// Alarm is what the guard holds; Held are the addresses.
	Alarm      string
	AlarmUntil time.Time
	Held       []string
}

// Status describes the pool. It asks the writer, so it is for people and not
// for the request path.
func (p *Pool) Status() (s Status, err error) {
	err = p.command(func(w *writer) error {
		s = w.status(time.Now())
		return nil
	})
	by := p.recentlyBound()
	for i := range s.Backends {
		b := &s.Backends[i]
		if b.Bound = -1; by != nil {
			b.Bound = by[b.Address]
		}
	}
	return s, err
}

func (w *writer) status(now time.Time) Status {
	s := Status{
		Name:          w.pool.name,
		Policy:        w.opts.Policy.Policy,
		FailOpenSince: w.failOpen,
		Affinity:      affinityOf(w.opts.Sticky),
		Waiting:       int(w.pool.queue.waiting.Load()),
		Limits:        w.admission(),
	}
	if snap := w.pool.Snapshot(); snap.FailOpen || snap.why != "" {
		s.Why = w.why() // as it is now: the texts of checks go on changing
	}
	listed := make(map[*Endpoint]bool, len(w.endpoints))
	for _, e := range w.roster.Endpoints {
		listed[e] = true
		s.Backends = append(s.Backends, w.backendStatus(e, now))
	}
	first := len(s.Backends)
	for _, e := range w.endpoints { // those that have left and finish what they have
		if !listed[e] {
			s.Backends = append(s.Backends, w.backendStatus(e, now))
		}
	}
	slices.SortFunc(s.Backends[first:], func(a, b BackendStatus) int { return strings.Compare(a.Address, b.Address) })
	for _, f := range w.feeds {
		s.Sources = append(s.Sources, f.status())
	}
	return s
}

func affinityOf(o *sticky.Options) string {
	switch {
	case o == nil:
		return ""
	case o.Cookie != nil:
		return "cookie"
	case o.Header != nil:
		return "header"
	}
	return "client_ip"
}

func (w *writer) backendStatus(e *Endpoint, now time.Time) BackendStatus {
	b := BackendStatus{
		Address: e.Address, Backup: e.backup, State: e.verdict.String(), Reason: e.explain(), Since: e.since,
		Weight: e.currentWeight(), EjectedUntil: e.record.Until(), Left: !e.leftAt.IsZero(), Held: e.kept,
		InFlight: e.Backend.InFlight(), Tunnels: e.Tunnels(), Requests: e.outcomes.Requests(), Failures: e.outcomes.Failures(),
		FirstByte: e.Backend.FirstByte(), Open: e.Conns.Open(), Idle: e.Conns.Idle(),
		Source: e.source, Name: e.name, Tags: e.tags, Meta: e.meta,
	}
	if e.verdict.usable() {
		b.Percent = e.ramp(now, w.opts.SlowStart)
	}
	if e.drain != nil {
		b.DrainUntil = e.drain.until
	}
	if e.checked.Check != nil {
		b.Check, b.Progress, b.Results = e.checked.State().String(), e.checked.Progress(), e.checked.Results()
	}
	return b
}

func (f *feed) status() SourceStatus {
	s := SourceStatus{Name: f.name, Members: len(f.members), Answered: f.answered, Updated: f.updated}
	if f.err != nil {
		s.Err, s.ErrSince = f.err.Error(), f.errSince
	}
	if text, until, on := f.guard.Alarm(); on {
		s.Alarm, s.AlarmUntil = text, until
		for _, h := range f.guard.Held() {
			s.Held = append(s.Held, h.Member.Address)
		}
	}
	return s
}

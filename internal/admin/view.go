package admin

import (
	"time"

	"steelyard/discovery"
	"steelyard/internal/pool"
)

// The views are the JSON of the API. Times are RFC 3339, durations milliseconds.

type poolView struct {
	Name     string        `json:"name"`
	Policy   string        `json:"policy"`
	Healthy  int           `json:"healthy"`
	Total    int           `json:"total"`
	FailOpen *time.Time    `json:"fail_open_since,omitempty"`
	Why      string        `json:"why,omitempty"`
	Affinity string        `json:"affinity,omitempty"`
	Waiting  int           `json:"waiting"`
	Limits   []limitView   `json:"limits,omitempty"`
	Counters counters      `json:"counters"`
	Sources  []sourceView  `json:"sources,omitempty"`
	Backends []backendView `json:"backends"`
}

// limitView is a limit of the requests of the whole pool.
type limitView struct {
	Name     string  `json:"name"` // max_in_flight or adaptive
	Limit    int64   `json:"limit"`
	InFlight int64   `json:"in_flight"`
	Base     float64 `json:"base_ms,omitempty"` // an answer without a queue
}

func viewLimits(a *pool.Admission) (all []limitView) {
	if a.MaxInFlight > 0 {
		all = append(all, limitView{Name: "max_in_flight", Limit: a.MaxInFlight, InFlight: a.InFlight})
	}
	if a.AdaptiveLimit > 0 {
		all = append(all, limitView{Name: "adaptive", Limit: a.AdaptiveLimit, InFlight: a.Pending, Base: milliseconds(a.Base)})
	}
	return all
}

type counters struct {
	Requests         int64 `json:"requests"`
	Attempts         int64 `json:"attempts"`
	Retries          int64 `json:"retries"`
	RetriesDenied    int64 `json:"retries_denied"`
	Ejections        int64 `json:"ejections"`
	FailOpens        int64 `json:"fail_opens"`
	FailOpenRequests int64 `json:"fail_open_requests"`
}

type backendView struct {
	Address      string            `json:"address"`
	State        string            `json:"state"`
	Reason       string            `json:"reason,omitempty"`
	Since        time.Time         `json:"since"`
	Backup       bool              `json:"backup,omitempty"`
	Weight       int               `json:"weight"`
	Percent      int               `json:"percent_of_weight"`
	DrainUntil   *time.Time        `json:"drain_until,omitempty"`
	DrainLeft    int64             `json:"drain_left_ms,omitempty"`
	EjectedUntil *time.Time        `json:"ejected_until,omitempty"`
	Left         bool              `json:"left,omitempty"`
	Held         bool              `json:"held,omitempty"`
	InFlight     int64             `json:"in_flight"`
	Tunnels      int               `json:"upgraded"`
	Bound        *int              `json:"bound,omitempty"`
	Requests     int64             `json:"requests"`
	Failures     int64             `json:"failures"`
	FirstByte    float64           `json:"first_byte_ms,omitempty"`
	Open         int64             `json:"connections"`
	Idle         int               `json:"connections_idle"`
	Source       string            `json:"source,omitempty"`
	Name         string            `json:"name,omitempty"`
	Tags         []string          `json:"tags,omitempty"`
	Meta         map[string]string `json:"meta,omitempty"`
	Check        *checkView        `json:"check,omitempty"`
}

type checkView struct {
	State    string       `json:"state"`
	Progress string       `json:"progress,omitempty"`
	Results  []resultView `json:"results,omitempty"`
}

type resultView struct {
	At      time.Time `json:"at"`
	Latency float64   `json:"latency_ms"`
	OK      bool      `json:"ok"`
	Status  int       `json:"status,omitempty"`
	Error   string    `json:"error,omitempty"`
}

type sourceView struct {
	Name       string     `json:"name"`
	Members    int        `json:"members"`
	Updated    *time.Time `json:"updated,omitempty"`
	Error      string     `json:"error,omitempty"`
	ErrorSince *time.Time `json:"error_since,omitempty"`
	Alarm      string     `json:"alarm,omitempty"`
	AlarmUntil *time.Time `json:"alarm_until,omitempty"`
	Held       []string   `json:"held,omitempty"`
}

type consulView struct {
	Agent          string     `json:"agent"`
	Error          string     `json:"error,omitempty"`
	LastContact    *time.Time `json:"last_contact,omitempty"`
	Watches        int        `json:"watches"`
	Failing        int        `json:"watches_failing"`
	Connections    int        `json:"connections"`
	MaxConnections int        `json:"max_connections"`
	Requests       uint64     `json:"requests"`
	Errors         uint64     `json:"errors"`
	Moves          uint64     `json:"moves"`
	Registered     bool       `json:"registered"`
	RegisterError  string     `json:"register_error,omitempty"`
}

func viewConsul(s *discovery.ConsulStats) consulView {
	return consulView{
		Agent: s.Agent, Error: s.Error, LastContact: when(s.LastContact), Watches: s.Watches, Failing: s.Failing,
		Connections: s.Connections, MaxConnections: s.MaxConnections, Requests: s.Requests, Errors: s.Errors, Moves: s.Moves,
		Registered: s.Registered, RegisterError: s.RegisterError,
	}
}

// viewPool makes the view of a pool; whole includes the results of checks.
func viewPool(p *pool.Pool, s *pool.Status, whole bool) poolView {
	c := &p.Stats
	v := poolView{
		Name: s.Name, Policy: s.Policy, FailOpen: when(s.FailOpenSince), Why: s.Why, Affinity: s.Affinity, Waiting: s.Waiting, Limits: viewLimits(&s.Limits),
		Backends: make([]backendView, 0, len(s.Backends)),
		Counters: counters{
			Requests: c.Requests.Load(), Attempts: c.Attempts.Load(), Retries: c.Retries.Load(), RetriesDenied: c.RetriesDenied.Load(),
			Ejections: c.Ejections.Load(), FailOpens: c.FailOpens.Load(), FailOpenRequests: c.FailOpenRequests.Load(),
		},
	}
	for i := range s.Backends {
		b := viewBackend(&s.Backends[i], whole)
		if !b.Left {
			v.Total++
			if b.Percent > 0 {
				v.Healthy++
			}
		}
		v.Backends = append(v.Backends, b)
	}
	for i := range s.Sources {
		src := &s.Sources[i]
		v.Sources = append(v.Sources, sourceView{
			Name: src.Name, Members: src.Members, Updated: when(src.Updated), Error: src.Err, ErrorSince: when(src.ErrSince),
			Alarm: src.Alarm, AlarmUntil: when(src.AlarmUntil), Held: src.Held,
		})
	}
	return v
}

func viewBackend(b *pool.BackendStatus, whole bool) backendView {
	v := backendView{
		Address: b.Address, State: b.State, Reason: b.Reason, Since: b.Since, Backup: b.Backup, Weight: b.Weight, Percent: b.Percent,
		DrainUntil: when(b.DrainUntil), EjectedUntil: when(b.EjectedUntil), Left: b.Left, Held: b.Held,
		InFlight: b.InFlight, Tunnels: b.Tunnels, Requests: b.Requests, Failures: b.Failures, FirstByte: milliseconds(b.FirstByte),
		Open: b.Open, Idle: b.Idle, Source: b.Source, Name: b.Name, Tags: b.Tags, Meta: b.Meta,
	}
	if b.Bound >= 0 {
		v.Bound = &b.Bound
	}
	if !b.DrainUntil.IsZero() {
		v.DrainLeft = max(time.Until(b.DrainUntil).Milliseconds(), 0)
	}
	if b.Check == "" {
		return v
	}
	v.Check = &checkView{State: b.Check, Progress: b.Progress}
	results := b.Results
	if !whole && len(results) > 1 {
		results = results[len(results)-1:]
	}
	for _, r := range results {
		v.Check.Results = append(v.Check.Results, resultView{At: r.At, Latency: milliseconds(r.Latency), OK: r.OK, Status: r.Status, Error: r.Err})
	}
	return v
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

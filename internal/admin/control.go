package admin

import (
	"time"

	"steelyard/discovery"
	"steelyard/internal/errorlog"
	"steelyard/internal/explain"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
)

// Control is what the admin API knows of the process it belongs to, and what it
// may tell it. It is safe for concurrent use. What it returns is of one moment
// and belongs to the caller, but the pools, which may be closed by a reload.
type Control interface {
	// Sample fills into with everything that is counted. The caller keeps into and
	// passes it again, so that its slices are used anew.
	Sample(into *metrics.Sample)
	// Pools are those now in force, in the order of the file.
	Pools() []*pool.Pool
	// Consul is the connection to Consul; nil when nothing asks for it.
	Consul() *discovery.Consul
	// ListenerSamples are the listeners now in force, in the order of the file.
	ListenerSamples() []metrics.ListenerSample
	// Routes are those now in force, in the order in which they are tried.
	Routes() []RouteView
	// Explain says what would become of a request. An error means that the
	// question makes no sense.
	Explain(explain.Question) (explain.Answer, error)
	// Errors are the last errors that clients got, newest first, and how many there
	// ever were.
	Errors() ([]errorlog.Record, int64)
	// Generation is the configuration in force, and what became of reloads.
	Generation() GenerationView
	// Reload reads the configuration file anew. On error the generation in force
	// goes on.
	Reload() error
	// Stopping reports whether the process has begun to stop, so that nothing new
	// is to be sent to it.
	Stopping() bool
	// SetLogLevel sets what is logged: debug, info, warn or error.
	SetLogLevel(level string) error
	LogLevel() string
}

// GenerationView is the configuration in force, and what became of reloads.
type GenerationView struct {
	ID      uint64    // 1 is that of the start
	Since   time.Time // when it was taken over
	File    string    // "" when the configuration is not from a file
	Reloads int64     // that were taken over
	Failed  int64     // that were refused
	LastOK  bool      // how the last reload ended; true at the start
	LastAt  time.Time // of the last reload; zero: none
	// Errors are those of the last reload if it failed, one line each.
	Errors []string
	// Changes says in words what the last reload that was taken over changed.
	Changes []string
	// RolledBack says why the last reload was undone; "" if it was not.
	RolledBack string
}

// RouteView is one route.
type RouteView struct {
	Name string
	Line int // in the file
	// Match has host, path, method, headers and query as they stand in the file.
	Match    map[string]any
	Action   string   // pool, split, redirect, respond
	To       []string // pools, those of a split with their weights; or where a redirect leads
	Requests int64
}

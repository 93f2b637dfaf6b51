// Package healthcheck finds out whether backends are alive: probes (http, tcp,
// grpc, exec), the rise and fall of a backend's state, and the scheduler that
// runs many checks evenly. It knows nothing of pools or of the rest of
// Steelyard.
package healthcheck

import "time"

// State is what checks say of a backend.
type State uint8

// The states of a check.
const (
	// Checking is before the first check has ended.
	Checking State = iota
	Healthy
	Unhealthy
)

// String is the state's name for people and metrics.
func (s State) String() string { return [...]string{"checking", "healthy", "unhealthy"}[s] }

// Result is one check that has ended.
type Result struct {
	At      time.Time     // when it began
	Latency time.Duration // how long it took
	OK      bool
	Status  int    // of the HTTP or gRPC response, or the exit status; 0 if there was none
	Err     string // what went wrong and what was expected; "" if OK; at most 200 bytes
}

// HistorySize is how many results are kept of each check.
const HistorySize = 60

// Package outlier decides from what real traffic saw which backends of a pool
// are left alone for a while. It counts on the request path and decides on the
// pool's; it knows neither.
package outlier

import "time"

// Options says when a backend is ejected. Start from DefaultOptions.
type Options struct {
	// Off ejects nobody.
	Off bool
	// Consecutive gateway failures eject, 1 to 1000, 0 never; default 5.
	Consecutive int
	// On is which failures count: gateway (default: connect, reset, timeout,
	// invalid responses, 502, 503, 504) or 5xx (any 5xx as well).
	On string
	// FailureShare of the requests in Window ejects, above 0 to 1, if there were
	// at least MinRequests; 0 (default) never.
	FailureShare float64
	// Window is 1s to 10m; default 10s.
	Window time.Duration
	// MinRequests is 1 to 1000000; default 20.
	MinRequests int
	// Ejection is how long the first lasts, 100ms to 1h; default 10s. It
	// doubles with each that follows, up to MaxEjection, at least Ejection and at
	// most 24h; default 5m; and is forgotten by halves while the backend behaves.
	Ejection    time.Duration
	MaxEjection time.Duration
	// MaxEjected is the most of a pool's backends that may be ejected at a
	// time, 0 to 1; default 0.5. One may be ejected whatever it says, if it is
	// above 0 and another backend is left.
	MaxEjected float64
}

// OptionError is one thing that is wrong with Options, by the option's name in
// the configuration ("consecutive", "max_ejected").
type OptionError struct {
	Option  string
	Problem string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }

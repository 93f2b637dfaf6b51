// Package outlier decides from what real traffic saw which backends of a pool
// are left alone for a while. It counts on the request path and decides on the
// pool's; it knows neither.
package outlier

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

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

// Values of Options.On.
const (
	OnGateway = "gateway"
	On5xx     = "5xx"
)

// Limits of Options, as their comments have them.
const (
	maxConsecutive                   = 1000
	maxMinRequests                   = 1_000_000
	minWindow, maxWindow             = time.Second, 10 * time.Minute
	minEjection, maxEjection         = 100 * time.Millisecond, time.Hour
	maxMaxEjection                   = 24 * time.Hour
	defaultEjection                  = 10 * time.Second
	defaultMaxEjection               = 5 * time.Minute
	defaultWindow                    = 10 * time.Second
	defaultConsecutive               = 5
	defaultMinRequests               = 20
	defaultMaxEjected        float64 = 0.5
)

// DefaultOptions ejects a backend after five gateway failures in a row.
func DefaultOptions() Options {
	return Options{
		Consecutive: defaultConsecutive,
		On:          OnGateway,
		Window:      defaultWindow,
		MinRequests: defaultMinRequests,
		Ejection:    defaultEjection,
		MaxEjection: defaultMaxEjection,
		MaxEjected:  defaultMaxEjected,
	}
}

// Validate reports everything that is wrong with o, as *OptionError values
// joined into one error, or nil. It does so whether o is Off or not.
func (o Options) Validate() error {
	var errs []error
	report := func(option, format string, args ...any) {
		errs = append(errs, &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)})
	}
	if o.Consecutive < 0 || o.Consecutive > maxConsecutive {
		report("consecutive", "%d is out of range; allowed are 1 to %d failures in a row, or 0 for never", o.Consecutive, maxConsecutive)
	}
	if o.On != OnGateway && o.On != On5xx {
		report("on", "unknown kind of failure %q; allowed are %s (connect, reset, timeout, invalid responses, 502, 503, 504) and %s (any 5xx as well)", o.On, OnGateway, On5xx)
	}
	// Written so that NaN is refused.
	if !(o.FailureShare >= 0 && o.FailureShare <= 1) {
		report("failure_share", "%v is out of range; allowed are shares above 0 to 1, or 0 for never", o.FailureShare)
	}
	if o.Window < minWindow || o.Window > maxWindow {
		report("window", "%s is out of range; allowed are %s to %s", brief(o.Window), brief(minWindow), brief(maxWindow))
	}
	if o.MinRequests < 1 || o.MinRequests > maxMinRequests {
		report("min_requests", "%d is out of range; allowed are 1 to %d", o.MinRequests, maxMinRequests)
	}
	if o.Ejection < minEjection || o.Ejection > maxEjection {
		report("ejection", "%s is out of range; allowed are %s to %s", brief(o.Ejection), brief(minEjection), brief(maxEjection))
	}
	switch {
	case o.MaxEjection > maxMaxEjection:
		report("max_ejection", "%s is out of range; allowed are the value of ejection to %s", brief(o.MaxEjection), brief(maxMaxEjection))
	case o.MaxEjection < o.Ejection:
		report("max_ejection", "%s is less than the first ejection, %s; raise it to that or more, or lower ejection", brief(o.MaxEjection), brief(o.Ejection))
	}
	if !(o.MaxEjected >= 0 && o.MaxEjected <= 1) {
		report("max_ejected", "%v is out of range; allowed are shares of the pool from 0 (none) to 1", o.MaxEjected)
	}
	return errors.Join(errs...)
}

// brief is the text of d without the zeros that Duration.String ends with: 5m
// instead of 5m0s.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

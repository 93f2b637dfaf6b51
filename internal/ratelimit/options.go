package ratelimit

import (
	"errors"
	"fmt"
	"time"
)

// The bounds of Options.
const (
	MaxRequests = 1_000_000
	MaxPer      = 24 * time.Hour
)

// Options says how many requests a key may make.
type Options struct {
	// Requests per Per is the rate in the long run, 1 to MaxRequests.
	Requests int
	// Per is whole seconds, 1s to MaxPer; default 1s.
	Per time.Duration
	// Burst is how many may come at once, 1 to MaxRequests; default Requests.
	Burst int
}

// Validate reports everything that is out of range.
func (o Options) Validate() error {
	var errs []error
	check := func(name string, n int) {
		if n < 1 || n > MaxRequests {
			errs = append(errs, fmt.Errorf("ratelimit: %s %d is not within 1 to %d", name, n, MaxRequests))
		}
	}
	check("requests", o.Requests)
	check("burst", o.Burst)
	if o.Per < time.Second || o.Per > MaxPer || o.Per%time.Second != 0 {
		errs = append(errs, fmt.Errorf("ratelimit: per %v is not in whole seconds from 1s to 24h, which is what clients can be told", o.Per))
	}
	return errors.Join(errs...)
}

package transport

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxIdleConns = 65535
	shortest     = time.Millisecond
	longest      = 24 * time.Hour
)

// DefaultOptions are the options of a pool that says nothing.
func DefaultOptions() Options {
	return Options{
		MaxIdle:         256,
		IdleTimeout:     time.Minute,
		ConnectTimeout:  2 * time.Second,
		ResponseTimeout: time.Minute,
	}
}

// Validate reports every value that is out of range: MaxIdle 0 (keep none) to
// 65535, the timeouts 1ms to 24h, ResponseTimeout and BodyTimeout also 0.
func (o Options) Validate() error {
	var errs []error
	if o.MaxIdle < 0 || o.MaxIdle > maxIdleConns {
		errs = append(errs, fmt.Errorf("transport: max_idle %d is not within 0 to %d", o.MaxIdle, maxIdleConns))
	}
	check := func(name string, d time.Duration, zero bool) {
		if d == 0 && zero || d >= shortest && d <= longest {
			return
		}
		errs = append(errs, fmt.Errorf("transport: %s %v is not within %v to %v", name, d, shortest, longest))
	}
	check("idle_timeout", o.IdleTimeout, false)
	check("connect_timeout", o.ConnectTimeout, false)
	check("response_timeout", o.ResponseTimeout, true)
	check("body_timeout", o.BodyTimeout, true)
	return errors.Join(errs...)
}

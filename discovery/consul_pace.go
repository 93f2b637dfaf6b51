package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// A query is repeated at once a few times, so that a change arrives at
	// once; on average not more often than once in paceInterval.
	paceBurst    = 5
	paceInterval = 50 * time.Millisecond

	// Between failures of one query, while the agent answers others.
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
)

// pace keeps a query from being repeated in a busy loop, whatever the agent
// answers: a bucket of paceBurst tokens that gets one each paceInterval.
type pace struct {
	tokens float64
	at     time.Time
}

// next is how long to wait before the next repetition.
func (p *pace) next(now time.Time) time.Duration {
	if p.at.IsZero() {
		p.tokens = paceBurst
	} else {
		p.tokens = min(paceBurst, p.tokens+float64(now.Sub(p.at))/float64(paceInterval))
	}
	p.at = now
	p.tokens--
	if p.tokens >= 0 {
		return 0
	}
	return time.Duration(-p.tokens * float64(paceInterval))
}

// backoff is the wait after so many failures in a row, at least 1.
func backoff(failures int, first, last time.Duration) time.Duration {
	d := last
	if shift := failures - 1; shift < 20 {
		d = min(last, first<<max(shift, 0))
	}
	return jitter(d, 0.25)
}

// jitter is d, give or take a share of it.
func jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 - share + 2*share*rand.Float64()))
}

// sleep waits, and reports whether it was not ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

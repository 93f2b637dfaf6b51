package proxy

import (
	"time"

	"steelyard/internal/metrics"
)

// RouteStats counts what the requests of one route got. It outlives generations.
type RouteStats struct {
	// Classes counts responses, errors that Steelyard made included.
	Classes metrics.Classes
}

// account is what an exchange has to remember of itself for those who count.
type account struct {
	status    int           // of the head that the client got; 0: none
	cause     Cause         // of the error that Steelyard made
	cut       bool          // the response did not reach the client whole
	queued    time.Duration // in the pool's queue
	firstByte time.Duration // from the request sent to the response's first byte
}

// settleAccount counts the request, once, when everything has been done about it.
// Its client may have the response already.
func (x *exchange) settleAccount() {
	class := x.status
	if x.cut {
		class = 0
	}
	if x.route != nil && x.route.Stats != nil {
		x.route.Stats.Classes.Count(class)
	}
	if x.target != nil {
		s := &x.target.Pool.Stats
		s.Classes.Count(class)
		if class != 0 && class != 101 {
			s.Latency.Observe(x.c.at - x.c.started)
		}
	}
}

package outlier

import "sync/atomic"

// cacheLine is the distance in bytes that keeps two hot fields from sharing a
// cache line on the processors Steelyard runs on.
const cacheLine = 64

// Counter counts what requests saw of one backend. The zero value is ready. All
// methods are safe for concurrent use; none takes a lock or allocates. It must
// not be copied once it is in use.
type Counter struct {
	// Padded on both sides, so that a Counter inside of another struct shares
	// its line with nothing either, wherever it begins.
	_         [cacheLine - 8]byte
	successes atomic.Int64
	failures  atomic.Int64
	run       atomic.Int64 // failures since the last success, or since Record cleared it.
	reached   atomic.Int64 // how often a run has reached its threshold.
	_         [cacheLine - 8]byte
}

// Success counts a request that did not fail. It ends the run of failures; the
// run is written only if there is one, so that a healthy backend costs one
// addition.
func (c *Counter) Success() {
	c.successes.Add(1)
	c.endRun()
}

func (c *Counter) endRun() {
	if c.run.Load() != 0 {
		c.run.Store(0)
	}
}

// Failure counts a request that failed. It reports whether this failure makes
// the run reach consecutive, which happens once in a run; never if consecutive
// is 0. The caller then has the backend's Record take a Step at once.
func (c *Counter) Failure(consecutive int) (reached bool) {
	c.failures.Add(1)
	if c.run.Add(1) != int64(consecutive) {
		return false
	}
	// A success may end the run before Record looks; this remains.
	c.reached.Add(1)
	return true
}

// Requests is the number of requests ever counted.
func (c *Counter) Requests() int64 { return c.successes.Load() + c.failures.Load() }

// Failures is the number of failures ever counted.
func (c *Counter) Failures() int64 { return c.failures.Load() }

package balancer

import (
	"math"
	"sync/atomic"
	"time"
)

// cacheLine is the distance in bytes that keeps two hot fields from sharing a
// cache line on the processors Steelyard runs on.
const cacheLine = 64

// halfLife is how long it takes for half of what least_time knows of a backend
// to be replaced: by newer samples while there are some, by oblivion while the
// backend is silent. Half a second of silence per factor of two means that a
// backend a hundred times slower than the rest is tried again after 3.3 s.
const halfLife = 500 * time.Millisecond

// firstGuess is what least_time expects of a backend that has been given a
// request but has not answered one yet. It is pessimistic on purpose: a new
// backend gets one request at once and the next when that one is answered.
const firstGuess = time.Second

// Backend is the runtime identity of one app server in one pool. It outlives
// memberships and configurations and carries the counters that policies and
// limits read. Make it with NewBackend; all methods are safe for concurrent
// use, none takes a lock or allocates.
type Backend struct {
	// ID names the backend towards policies: hash tables place it by ID, so
	// that the same ID gets the same keys in every Steelyard. Unique within a
	// pool; must not change.
	ID string
	// Address is where the backend is reached; this package does not read it.
	Address string

	clock func() int64 // monotonic nanoseconds, replaced by tests.
	_     [24]byte

	// The hot line: one request writes several of these and one least_time
	// pick reads several, so they share a line and share it with nothing else.
	inFlight  atomic.Int64
	tally     atomic.Pointer[tally] // nil unless a bounded ring counts this backend.
	firstByte atomic.Uint64         // float64 bits of nanoseconds; 0 is no sample.
	sampledAt atomic.Int64          // clock of the last sample; 0 is never.
	pickedAt  atomic.Int64          // clock of the last pick by least_time; 0 is never.
	_         [24]byte
}

// NewBackend returns a backend with nothing in flight and no samples.
func NewBackend(id, address string) *Backend {
	return &Backend{ID: id, Address: address, clock: monotonic}
}

// processStart anchors monotonic; it is never written again.
var processStart = time.Now()

// monotonic is the number of nanoseconds since the process started, never 0.
func monotonic() int64 { return int64(time.Since(processStart)) + 1 }

// Acquire counts one more request in flight. With limit above 0 it refuses,
// atomically, when limit requests already are. Every Acquire that returned true
// must be followed by exactly one Release.
func (b *Backend) Acquire(limit int64) bool {
	if limit <= 0 {
		b.inFlight.Add(1)
	} else {
		for {
			n := b.inFlight.Load()
			if n >= limit {
				return false
			}
			if b.inFlight.CompareAndSwap(n, n+1) {
				break
			}
		}
	}
	if t := b.tally.Load(); t != nil {
		t.sync(&b.inFlight)
	}
	return true
}

// Release ends what Acquire began. It panics when nothing is in flight: a
// counter below zero would draw all traffic to this backend without a trace.
func (b *Backend) Release() {
	if b.inFlight.Add(-1) < 0 {
		panic("balancer: Release without Acquire on backend " + b.ID)
	}
	if t := b.tally.Load(); t != nil {
		t.sync(&b.inFlight)
	}
}

// InFlight is the number of requests acquired and not yet released.
func (b *Backend) InFlight() int64 { return b.inFlight.Load() }

// ObserveFirstByte adds a sample of the time between sending a request and the
// first byte of its response to the moving average that least_time reads. It is
// worth calling, with the time waited, for a request that ran into its response
// timeout too: otherwise a backend that hangs is never seen to be slow. It
// reads the clock once.
//
// Samples are weighted by the time since the sample before, so that the average
// spans about a second whatever the rate of requests is.
func (b *Backend) ObserveFirstByte(d time.Duration) {
	sample := float64(max(d, 1))
	now := b.clock()
	// Swap hands every stretch of time to exactly one sample.
	silence := max(0, now-b.sampledAt.Swap(now))
	keep := math.Exp2(-float64(silence) / float64(halfLife))
	for {
		old := b.firstByte.Load()
		next := sample
		if old != 0 {
			next = sample + keep*(math.Float64frombits(old)-sample)
		}
		if b.firstByte.CompareAndSwap(old, math.Float64bits(next)) {
			return
		}
	}
}

// FirstByte is the moving average of the time to first byte, for display; 0
// means no sample yet.
func (b *Backend) FirstByte() time.Duration {
	return time.Duration(math.Float64frombits(b.firstByte.Load()))
}

// expectedWait is the time to first byte, in nanoseconds, that least_time
// counts with at clock now. It is 0 for a backend that was never tried, and
// halves with every halfLife in which the backend was neither picked nor heard
// of: silence ends in a trial. Being picked ends the silence, so that a trial
// is one request, and its answer decides.
func (b *Backend) expectedWait(now int64) float64 {
	last := max(b.sampledAt.Load(), b.pickedAt.Load())
	if last == 0 {
		return 0
	}
	wait := float64(firstGuess)
	if bits := b.firstByte.Load(); bits != 0 {
		wait = math.Float64frombits(bits)
	}
	return wait * halved(now-last)
}

// halved approximates 2^(-age/halfLife): exact at whole half-lives and linear
// between them (at most 6 % high), because a pick computes it for every member.
func halved(age int64) float64 {
	if age <= 0 {
		return 1
	}
	whole := min(age/int64(halfLife), 512)
	part := float64(age%int64(halfLife)) / float64(halfLife)
	return (1 - part/2) * math.Float64frombits(uint64(1023-whole)<<52)
}

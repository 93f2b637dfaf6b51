package admin

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"steelyard/internal/metrics"
)

const (
	// historySteps is how many seconds are kept.
	historySteps = 900
	// maxTracks bounds how many pools and backends have a history: it bounds the
	// memory to 70 MB if all of them are busy. Those beyond are seen in Live alone
	// until others have gone.
	maxTracks = 2500
	// maxCauseTracks bounds how many causes of errors have one, all pools
	// together: 7 MB, because of a cause the rate alone is kept. They have a bound
	// of their own, so that an outage of many pools takes no place from backends.
	maxCauseTracks = 2000
)

// PassedOn stands among the causes of a pool for the responses of 500 and above
// that backends gave themselves.
const PassedOn = "passed_on"

// The figures that are kept of each second. Of a backend the latencies are the
// times to the first byte.
const (
	colRate = iota // always kept; NaN: nothing is known of that second
	colErrors
	colP50
	colP95
	colP99
	colInFlight
	colConnections
	colFirstByte // of pools: the median
	colWaiting
	columns
)

var columnNames = [columns]string{"rps", "errors", "p50_ms", "p95_ms", "p99_ms", "in_flight", "connections", "first_byte_ms", "waiting"}

// row is one second.
type row [columns]float32

// usual is the value of a column while nothing happens; a column that never had
// another costs no memory.
func usual(column int) float32 {
	switch column {
	case colP50, colP95, colP99, colFirstByte:
		return nan32
	}
	return 0
}

var nan32 = float32(math.NaN())

// same reports equality where NaN is NaN.
func same(a, b float32) bool { return a == b || a != a && b != b }

// trackKey names what has a history: the process (all ""), a pool, a backend.
type trackKey struct{ pool, backend string }

// causeKey names a cause of errors, of the process or of a pool.
type causeKey struct{ pool, cause string }

// track is the history of one of them: a ring for each column, with the second n
// at n modulo historySteps.
type track struct {
	rings [columns][]float32
	first int64 // the second it begins with
	last  int64 // the newest that is in it
	busy  int64 // of causes: the last with an error
}

func newTrack(step int64) *track {
	t := &track{first: step, last: step - 1}
	t.rings[colRate] = newRing(nan32)
	return t
}

func newRing(value float32) []float32 {
	r := make([]float32, historySteps)
	for i := range r {
		r[i] = value
	}
	return r
}

// put takes the second step, after t.last; those between are not known.
func (t *track) put(step int64, v *row) {
	for gap := max(t.last+1, step-historySteps+1); gap < step; gap++ {
		t.rings[colRate][gap%historySteps] = nan32
	}
	at := step % historySteps
	for c, value := range v {
		if t.rings[c] == nil {
			if same(value, usual(c)) {
				continue
			}
			t.rings[c] = newRing(usual(c))
		}
		t.rings[c][at] = value
	}
	t.last = step
}

// get is column c in the second step; NaN if that is not known.
func (t *track) get(c int, step int64) float32 {
	at := step % historySteps
	if step < t.first || step > t.last || same(t.rings[colRate][at], nan32) {
		return nan32
	}
	if t.rings[c] == nil {
		return usual(c)
	}
	return t.rings[c][at]
}

func (t *track) size() (bytes int) {
	for _, r := range t.rings {
		bytes += 4 * len(r)
	}
	return bytes
}

// History keeps the last 15 minutes of the process, and of each pool, backend and
// cause of errors, in steps of a second. What is gone is forgotten 15 minutes
// later. It is safe for concurrent use.
type History struct {
	read    func(*metrics.Sample)
	origin  time.Time // when step 0 ended
	stop    chan struct{}
	stopped chan struct{}
	live    atomic.Pointer[Live]

	// Of the goroutine alone.
	now, before metrics.Sample
	begun       bool

	mu      sync.RWMutex // guards what follows
	step    int64
	tracks  map[trackKey]*track
	causes  map[causeKey]*track
	changed chan struct{} // closed with the next second
}

// NewHistory begins to sample read once a second, now for the first time. Close
// must be called to end it.
func NewHistory(read func(*metrics.Sample)) *History {
	h := &History{
		read: read, origin: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{}),
		tracks: map[trackKey]*track{}, causes: map[causeKey]*track{}, changed: make(chan struct{}),
	}
	go h.run()
	return h
}

// Close stops sampling and waits for the end of it. It must be called once.
func (h *History) Close() {
	close(h.stop)
	<-h.stopped
}

func (h *History) run() {
	defer close(h.stopped)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		h.sample()
		select {
		case <-tick.C:
		case <-h.stop:
			return
		}
	}
}

// sample takes a second. One that comes late leaves a gap; of two that fall into
// the same second the later one counts for Live alone.
func (h *History) sample() {
	h.now, h.before = h.before, h.now
	h.read(&h.now)
	step := int64(math.Round(h.now.At.Sub(h.origin).Seconds()))
	l := &second{h: h, step: step, elapsed: h.now.At.Sub(h.before.At).Seconds(), known: h.begun}
	h.begun = true
	h.mu.Lock()
	l.keep = l.known && step > h.step
	h.step = max(step, h.step)
	live := l.run(&h.now, &h.before)
	for key, t := range h.tracks {
		if h.step-t.last >= historySteps {
			delete(h.tracks, key)
		}
	}
	for key, t := range h.causes {
		if h.step-t.busy >= historySteps {
			delete(h.causes, key)
		}
	}
	changed := h.changed
	h.changed = make(chan struct{})
	h.live.Store(live)
	h.mu.Unlock()
	close(changed)
}

// put keeps a row of a second. h.mu is held.
func (h *History) put(key trackKey, step int64, v *row) {
	t := h.tracks[key]
	if t == nil {
		if len(h.tracks) >= maxTracks {
			return
		}
		t = newTrack(step)
		h.tracks[key] = t
	}
	t.put(step, v)
}

// putCause keeps the errors per second of one cause. Seconds without any are only
// kept where there were some. h.mu is held.
func (h *History) putCause(key causeKey, step int64, rate float32) {
	t := h.causes[key]
	if t == nil {
		if rate == 0 || len(h.causes) >= maxCauseTracks {
			return
		}
		t = newTrack(step)
		h.causes[key] = t
	}
	if rate > 0 {
		t.busy = step
	}
	t.put(step, &row{colRate: rate, colP50: nan32, colP95: nan32, colP99: nan32, colFirstByte: nan32})
}

// Now is the view of the newest second; nil before the first sample.
func (h *History) Now() *Live { return h.live.Load() }

// Changed is closed when there is a newer view than that of this moment.
func (h *History) Changed() <-chan struct{} {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.changed
}

// Size is how many bytes the kept figures take.
func (h *History) Size() (bytes int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.tracks {
		bytes += t.size()
	}
	for _, t := range h.causes {
		bytes += t.size()
	}
	return bytes
}

// Series is a part of the history: each column has one figure a step, oldest
// first, NaN (in JSON null) where it is not known.
type Series struct {
	Step    int64               `json:"step_ms"`
	From    time.Time           `json:"from"` // the end of the first step
	Columns map[string][]Number `json:"columns"`
	// Causes are the errors of a pool per second, with one row for each cause that
	// there was and one for PassedOn.
	Causes map[string][]Number `json:"causes,omitempty"`
}

// Read returns the last seconds (1 to 900) of a backend, of a pool if backend is
// "", of the process if pool is "" too. Before the start of the process there is
// nothing, so there may be fewer. Columns is empty if there is no such history.
func (h *History) Read(pool, backend string, seconds int) Series {
	h.mu.RLock()
	defer h.mu.RUnlock()
	s, from := h.series(seconds)
	t := h.tracks[trackKey{pool: pool, backend: backend}]
	if t == nil {
		return s
	}
	for c, name := range columnNames {
		if backend != "" && c == colWaiting {
			continue
		}
		source := c
		if backend != "" && c == colFirstByte {
			source = colP50 // that is what the latency of a backend is
		}
		s.Columns[name] = h.column(t, source, from)
	}
	if pool != "" && backend == "" {
		s.Causes = h.causesOf(pool, from)
	}
	return s
}

// Causes returns the last seconds (1 to 900) of the errors that Steelyard made,
// per second, with one column for each cause that there was.
func (h *History) Causes(seconds int) Series {
	h.mu.RLock()
	defer h.mu.RUnlock()
	s, from := h.series(seconds)
	s.Columns = h.causesOf("", from)
	return s
}

// causesOf lists the errors of a pool, or of the process, since a second. Where the
// pool is known and a cause is not, there was none of it.
func (h *History) causesOf(pool string, from int64) map[string][]Number {
	all, base := map[string][]Number{}, h.tracks[trackKey{pool: pool}]
	for key, t := range h.causes {
		if key.pool != pool || t.busy < from {
			continue
		}
		values := h.column(t, colRate, from)
		for i, v := range values {
			if v != v && base != nil {
				if known := base.get(colRate, from+int64(i)); known == known {
					values[i] = 0
				}
			}
		}
		all[key.cause] = values
	}
	return all
}

func (h *History) series(seconds int) (s Series, from int64) {
	from = max(h.step-int64(min(max(seconds, 1), historySteps))+1, 0)
	return Series{
		Step: 1000, From: h.origin.Add(time.Duration(from) * time.Second).Round(0), Columns: map[string][]Number{},
	}, from
}

func (h *History) column(t *track, c int, from int64) []Number {
	values := make([]Number, 0, h.step-from+1)
	for step := from; step <= h.step; step++ {
		values = append(values, Number(t.get(c, step)))
	}
	return values
}

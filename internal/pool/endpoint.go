package pool

import (
	"sync"
	"sync/atomic"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/internal/metrics"
	"steelyard/internal/outlier"
	"steelyard/internal/transport"
)

// Endpoint is one backend of a pool with its runtime state.
type Endpoint struct {
	Address string
	Backend *balancer.Backend
	Conns   *transport.Endpoint

	outcomes  outlier.Counter
	classes   metrics.Classes   // of its final responses
	firstByte metrics.Histogram // from a request sent to the first byte of its response
	failing   atomic.Bool       // the last dial failed
	refusals  atomic.Int64      // dials that failed, ever
	heldOff   atomic.Bool       // the writer leaves it alone, so it need not hear of more failed dials
	cut       atomic.Bool       // draining is over: what is in flight has to end
	silent    atomic.Bool       // its check takes it out, and hears nothing of it

	mu      sync.Mutex
	tunnels map[Tunnel]struct{}

	member // of the writer
}

// member is what the writer, and nobody else, knows of a backend.
type member struct {
	claim
	here    bool // named by the configuration or a source now, or lingers
	lingers bool // it has left, but its successors have not been checked yet
	checked checkOf
	since   time.Time // when it became what it is
	upSince time.Time // when it began to start slowly; zero: it has its weight
	verdict verdict
	early   bool // it is there since the pool started and was nothing but checked yet
	lost    bool // more than unreachable since it was last used
	proven  bool // it served before it was checked, so its check has to speak first

	seenRefusals int64
	held         bool // it is left alone because dials to it failed
	hold         time.Duration
	heldSince    time.Time
	heldUntil    time.Time
	toldHeld     time.Time // when its being held was logged the last time
	quiet        bool      // this time it is not logged

	record     outlier.Record
	judged     int64  // of its failures, those that record has taken in
	ejectedFor string // why the last time
	rejected   string // an ejection that the pool could not afford

	leftAt     time.Time // when it left all sources; zero: it has not
	drain      *drain    // ordered by the operator, or begun by leaving
	disabled   bool
	weightSet  bool // by the operator
	operWeight int

	id      string // in affinity cookies
	binding uint64 // in the table of bindings
}

// claim is what the configuration or a source says of a backend.
type claim struct {
	weight int
	backup bool
	limit  int64
	state  discovery.State
	reason string
	source string // its name; "" is the configuration
	name   string
	tags   []string
	meta   map[string]string
	kept   bool // the guard keeps it although its source does not name it
}

// drain is the end of a backend's work.
type drain struct {
	since time.Time
	until time.Time // zero: no bound
	over  bool      // until has passed
}

// Tunnel is an upgraded connection, which a drain has to end by itself.
type Tunnel interface {
	// Leave ends the tunnel soon, in the manner of its protocol; it does not
	// wait, and may be called more than once.
	Leave()
}

// Attach registers an upgraded connection to the backend; Detach must follow.
func (e *Endpoint) Attach(t Tunnel) {
	e.mu.Lock()
	if e.tunnels == nil {
		e.tunnels = map[Tunnel]struct{}{}
	}
	e.tunnels[t] = struct{}{}
	e.mu.Unlock()
	if e.cut.Load() {
		t.Leave()
	}
}

// Detach forgets an upgraded connection that has ended.
func (e *Endpoint) Detach(t Tunnel) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tunnels, t)
}

// Tunnels is the number of upgraded connections to the backend.
func (e *Endpoint) Tunnels() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.tunnels)
}

// Classes is how many responses of each class the backend has given, those that
// were given up for another attempt included; see metrics.Classes.
func (e *Endpoint) Classes() [6]int64 { return e.classes.Read() }

// FirstByte reads how long the backend took to the first byte of its responses.
func (e *Endpoint) FirstByte(into *metrics.Distribution) { e.firstByte.Read(into) }

// ObserveFirstByte counts the time from a request that has been sent to the
// first byte of its response.
func (e *Endpoint) ObserveFirstByte(d time.Duration) { e.firstByte.Observe(d) }

// Cut reports whether the backend was drained and its time is over: what is
// still in flight on it has to end.
func (e *Endpoint) Cut() bool { return e.cut.Load() }

// Silent reports that the backend is out because its checks wait for it in vain:
// what waits for its answer had better ask another one. The pool's snapshot has
// known that the backend is out before.
func (e *Endpoint) Silent() bool { return e.silent.Load() }

// hush brings Silent up to date.
func (e *Endpoint) hush() {
	silent := e.verdict == verdictUnhealthy && e.checked.Check != nil && e.checked.Silent()
	if silent != e.silent.Load() {
		e.silent.Store(silent)
	}
}

// cutAll ends what is in flight. Exchanges ask Cut several times a second;
// upgraded connections have to be told.
func (e *Endpoint) cutAll() {
	e.cut.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	for t := range e.tunnels {
		t.Leave()
	}
}

// ConnectFailed tells the pool that a dial to e failed, so that the next
// requests go elsewhere for a while. It never blocks.
func (p *Pool) ConnectFailed(e *Endpoint) {
	e.failing.Store(true)
	e.refusals.Add(1)
	p.Failed(e)
	if !e.heldOff.Load() { // or the storm of an outage would keep the writer busy
		p.poke()
	}
}

// Connected tells the pool that a dial to e succeeded.
func (p *Pool) Connected(e *Endpoint) {
	if e.failing.Load() {
		e.failing.Store(false)
		p.poke()
	}
}

// Failed tells the pool that an attempt on e failed in a way that speaks
// against the backend. It never blocks.
func (p *Pool) Failed(e *Endpoint) {
	o := p.outlier.Load()
	threshold := o.Consecutive
	if o.Off {
		threshold = 0
	}
	if e.outcomes.Failure(threshold) {
		p.poke()
	}
}

// Broke tells the pool that e answered with a status, and ended that answer
// before it was complete.
func (p *Pool) Broke(e *Endpoint, status int) {
	e.classes.Count(status)
	p.Failed(e)
}

// Answered tells the pool with which status e answered. It is called once for
// each answer, at its end.
func (p *Pool) Answered(e *Endpoint, status int) {
	e.classes.Count(status)
	if status < 500 || !p.failure(status) {
		e.outcomes.Success()
		return
	}
	p.Failed(e)
}

// failure reports whether a status of 500 or more speaks against the backend.
func (p *Pool) failure(status int) bool {
	return status >= 502 && status <= 504 || p.outlier.Load().On == "5xx"
}

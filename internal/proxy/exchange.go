package proxy

import (
	"errors"
	"sync"
	"time"

	"steelyard/internal/accesslog"
	"steelyard/internal/pool"
	"steelyard/internal/router"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// exchange is one request and its response. It is pooled; its buffers keep
// their size within bounds.
type exchange struct {
	p   *Proxy
	c   *clientConn
	req *wire.Request // nil while there is no valid head
	gen *Generation

	route  *Route
	target *Target
	snap   *pool.Snapshot
	ticket pool.Ticket // what the pool has counted the attempt in with
	index  int         // of the backend in snap, -1 if none
	conn   *transport.Conn

	match   router.Request
	query   queryPeeker
	key     uint64
	tried   pool.Tried
	affine  affinity
	splitTo *Target // the branch of a split that a cookie has to name

	attempts   int
	repeatable bool // may be sent again although a backend may have seen it
	freshOnly  bool // use no connection that was idle
	again      bool // the next attempt is for the same backend
	interim    bool // this attempt has brought a 1xx response
	continued  bool // 100 (Continue) has been passed on
	begun      bool // the response has begun to reach the client

	account
	gate   gated
	tries  []try         // attempts that failed
	waitBy time.Duration // when waiting for the backend ends; 0: not at all
	tunnel *tunnel       // to whom the connection has been handed over
	*scratch
	// read is path and query as they were read, readLen the length of the path;
	// empty when that is as they were sent.
	read    []byte
	readLen int
	id      [maxRequestID]byte
	idLen   int
}

// scratch is the part of an exchange that serves while a request is answered. A
// tunnel, which may be there for days, does without.
type scratch struct {
	out   []byte // what is sent next, to either side
	resp  wire.Response
	body  wire.Body // of the response
	pipe  transport.Pipe
	up    upload
	entry accesslog.Entry
}

// maxKeptOut is the largest out buffer kept with a pooled exchange, in bytes.
const maxKeptOut = 64 << 10

var (
	exchanges = sync.Pool{New: func() any { return &exchange{scratch: acquireScratch()} }}
	scratches = sync.Pool{New: func() any { return newScratch() }}
)

func newScratch() *scratch {
	s := &scratch{out: make([]byte, 0, wire.SmallBuffer)}
	s.up.init()
	return s
}

func acquireScratch() *scratch { return scratches.Get().(*scratch) }

// forget makes it fit for another request.
func (s *scratch) forget() {
	if s.out = s.out[:0]; cap(s.out) > maxKeptOut {
		s.out = make([]byte, 0, wire.SmallBuffer)
	}
	s.up.reset()
	s.pipe.Drop()
}

func acquireExchange(c *clientConn) *exchange {
	x := exchanges.Get().(*exchange)
	x.c, x.p, x.req = c, c.listener.proxy, &c.req
	x.gen = x.p.generation.Load()
	x.index = -1
	return x
}

// release forgets everything about the request.
func (x *exchange) release() {
	x.forget()
	x.p, x.c, x.req, x.gen = nil, nil, nil, nil
	x.route, x.target, x.snap, x.conn, x.splitTo, x.tunnel = nil, nil, nil, nil, nil, nil
	x.ticket = 0
	x.match = router.Request{}
	x.query = queryPeeker{}
	x.tried.Reset()
	x.affine = affinity{}
	x.attempts, x.idLen, x.waitBy = 0, 0, 0
	x.repeatable, x.freshOnly, x.again, x.interim = false, false, false, false
	x.continued, x.begun = false, false
	x.account = account{}
	x.gate = x.gate.cleared()
	clear(x.tries)
	x.tries = x.tries[:0]
	if x.read = x.read[:0]; cap(x.read) > maxKeptOut {
		x.read = nil
	}
	exchanges.Put(x)
}

// serve answers the request, one way or another.
func (x *exchange) serve() {
	c := x.c
	if !x.req.KeepAlive {
		c.closing = true
	}
	x.up.start(x)
	lim := c.listener.limits.Load()
	if limit := lim.MaxBodySize; limit > 0 && x.req.Length > limit {
		x.answerCause(CauseBodyTooLarge, 0, "")
		return
	}
	if c.tls != nil && c.misdirected(x.req.Host) {
		x.answerCause(CauseMisdirected, 0, "")
		return
	}
	i, why := x.findRoute()
	if why != "" {
		c.closing, c.linger = true, true
		x.answerCause(CauseBadRequest, 0, why)
		return
	}
	if lim.HTTPSPort != 0 && (i < 0 || !x.gen.Routes[i].ACME) {
		x.answerToHTTPS(lim.HTTPSPort)
		return
	}
	if i < 0 {
		x.answerCause(CauseNoRoute, 0, "")
		return
	}
	x.route = x.gen.Routes[i]
	if g := x.route.Gate; g != nil && !x.pass(g) {
		return
	}
	switch {
	case x.route.Redirect != nil:
		x.answerRedirect(x.route.Redirect)
	case x.route.Respond != nil:
		x.answerFixed(x.route.Respond)
	default:
		x.forward()
	}
}

// A failure is an attempt that did not give the client a response.
type failure struct {
	cause   Cause
	class   retryClass
	detail  string
	status  int  // answered instead of the cause's own; 0: that one
	granted bool // the retry has been allowed already
	moved   bool // allowed as well, because the backend has fallen silent
}

// retryClass says what a backend can know of a failed attempt.
type retryClass uint8

const (
	classNever    retryClass = iota // never to be repeated
	classUnsent                     // nothing of the request left this machine
	classStale                      // sent on a reused connection that closed before one byte came
	classPossible                   // possibly processed
	classCount
)

// String is the class's name in logs and counters.
func (c retryClass) String() string {
	return [classCount]string{"never", "unsent", "stale", "possibly_processed"}[c]
}

// forward sends the request to a backend, and to another if that may help.
func (x *exchange) forward() {
	x.target = x.chooseTarget()
	x.target.Pool.Stats.Requests.Add(1)
	x.repeatable = x.isRepeatable()
	x.key = x.hashKey()
	x.snap = x.target.Pool.Snapshot()
	if x.snap.FailOpen {
		x.target.Pool.Stats.FailOpenRequests.Add(1)
	}
	x.up.keep(x.repeatable && x.target.Retry.Attempts > 1, x.target.Retry.BodyLimit)
	var last *failure
	for {
		if f := x.acquireBackend(); f != nil {
			if last != nil && (f.cause == CauseNoBackend || f.cause == CauseOverloaded) {
				f = last // what happened to the attempts says more
			}
			x.giveUp(f)
			return
		}
		if last != nil {
			x.target.Pool.Stats.Retries.Add(1)
			x.p.countRetry(last)
		}
		if last = x.attemptAndRelease(); last == nil {
			return
		}
		if !x.mayRetry(last) {
			x.giveUp(last)
			return
		}
	}
}

// attemptAndRelease counts the request out again when the attempt is over,
// which is when the response has been streamed, or a tunnel has ended.
func (x *exchange) attemptAndRelease() *failure {
	snap, i := x.snap, x.index
	defer func() {
		if x.tunnel == nil {
			x.discharge(snap, i)
		}
	}()
	x.attempts++
	x.target.Pool.Stats.Attempts.Add(1)
	ep := snap.Endpoints[i]
	x.tryAt = x.c.at
	f := x.attempt(ep)
	if f != nil {
		x.noteFailed(ep, f)
	}
	return f
}

// discharge counts the attempt out of its pool and of backend i.
func (x *exchange) discharge(snap *pool.Snapshot, i int) {
	x.target.Pool.Discharge(&x.ticket)
	x.target.Pool.Release(snap, i)
}

// giveUp answers the client for a request that no backend answered.
func (x *exchange) giveUp(f *failure) {
	if f.cause == CauseClientGone {
		x.report(f.cause, "")
		x.cut, x.c.closing = true, true
		return
	}
	x.answerCause(f.cause, f.status, f.detail)
}

// acquireBackend finds a backend for the next attempt and counts the request
// in on it.
func (x *exchange) acquireBackend() *failure {
	if !x.target.Pool.Crowded() {
		if ok, f := x.tryAcquire(); ok || f != nil {
			return f
		}
	}
	return x.queue()
}

// tryAcquire reports true with a backend acquired, or a failure that waiting
// would not mend; neither when waiting may help.
func (x *exchange) tryAcquire() (bool, *failure) {
	p := x.target.Pool
	if !p.Admit(&x.ticket) {
		if p.Queues() {
			return false, nil
		}
		return false, &failure{cause: CauseOverloaded}
	}
	ok, f := x.tryBackend()
	if !ok {
		p.Discharge(&x.ticket)
	}
	return ok, f
}

// tryBackend is tryAcquire for a request that the pool has admitted.
func (x *exchange) tryBackend() (bool, *failure) {
	for {
		i := x.choose()
		if i < 0 && x.freshOnly && !x.mayWait() {
			// The connection was stale, not the backend: with no other left,
			// the same one gets a new connection.
			x.tried.Reset()
			i = x.choose()
		}
		if i < 0 {
			if x.mayWait() {
				return false, nil
			}
			return false, &failure{cause: CauseNoBackend, detail: x.snap.Why()}
		}
		if x.snap.Acquire(i) {
			x.index = i
			return true, nil
		}
	}
}

// mayWait reports whether a backend would have been chosen but for its limit.
func (x *exchange) mayWait() bool { return x.affine.full || x.snap.Full(&x.tried) }

// queue waits for a backend to fall below its limit.
func (x *exchange) queue() *failure {
	p := x.target.Pool
	w, first, err := p.Enqueue()
	if err != nil {
		return &failure{cause: CauseQueueFull}
	}
	defer x.leaveQueue(w, transport.Now())
	for {
		if first {
			x.c.at = transport.Now()
			if x.attempts == 0 { // tried knows backends by their index in snap
				x.snap, x.affine = p.Snapshot(), affinity{}
			}
			if ok, f := x.tryAcquire(); ok || f != nil {
				return f
			}
		}
		first = true
		switch err := p.Wait(w, x.clientGone); {
		case errors.Is(err, pool.ErrQueueTimeout):
			return &failure{cause: CauseQueueTimeout}
		case err != nil:
			return &failure{cause: CauseClientGone}
		}
	}
}

// leaveQueue gives the place in the queue up.
func (x *exchange) leaveQueue(w *pool.Waiter, since time.Duration) {
	p := x.target.Pool
	p.Leave(w)
	waited := transport.Now() - since
	p.Stats.Queued.Observe(waited)
	x.queued += waited
}

var errClientGone = errors.New("the client left")

func (x *exchange) clientGone() error {
	if x.c.gone() {
		return errClientGone
	}
	return nil
}

// afterPanic leaves nothing behind of an exchange that was interrupted.
func (x *exchange) afterPanic() {
	defer func() {
		if r := recover(); r != nil { // even the answer did not work out
			x.c.abort, x.c.closing = true, true
		}
	}()
	x.up.stop()
	if x.conn != nil {
		x.conn.Close()
		x.conn = nil
	}
	if x.begun {
		x.cutShort(CauseInternal, "")
		return
	}
	x.c.closing, x.c.linger = true, true
	x.answerCause(CauseInternal, 0, "")
}

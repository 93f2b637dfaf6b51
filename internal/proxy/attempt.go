package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"steelyard/internal/pool"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

const (
	// maxResponseHead is the most bytes of a response head.
	maxResponseHead = 256 << 10
	// maxInformational is the most 1xx responses before the final one.
	maxInformational = 32
)

var (
	errResponseTimeout = errors.New("no response in time")
	errUpload          = errors.New("the request body could not be read")
	errDrained         = errors.New("the backend was drained")
	errSilent          = fmt.Errorf("%w, and the checks of the backend wait in vain too", errResponseTimeout)
)

// attempt sends the request to one backend and streams its response back. A
// failure means that the client has got nothing yet.
func (x *exchange) attempt(ep *pool.Endpoint) *failure {
	f := x.connect(ep)
	if f == nil {
		f = x.sendRequest(ep)
	}
	if f == nil {
		f = x.readHead()
		x.measure(f)
	}
	if f == nil {
		if f = x.retryStatus(); f != nil {
			x.target.Pool.Answered(ep, x.resp.Status)
		}
	}
	if f == nil {
		if f = x.deliver(ep); f == nil {
			return nil
		}
	}
	x.up.stop()
	if uf := x.up.failed.Load(); uf != nil {
		f = uf
	}
	stale := x.conn != nil && x.conn.Reused() && (f.class == classStale || f.class == classUnsent)
	if f.blames() && !stale {
		x.target.Pool.Failed(ep)
	}
	if x.conn != nil {
		x.conn.Close()
		x.conn = nil
	}
	x.markTried(f, stale)
	return f
}

// measure tells an adaptive limit how long the app took, as far as that was the
// app: not a client that sent its body slowly, nor an answer that was an error.
func (x *exchange) measure(f *failure) {
	p := x.target.Pool
	answered := f == nil && x.resp.Status < 500 || f != nil && f.cause == CauseResponseTimeout
	if answered && x.up.sentAtOnce() {
		p.Measured(&x.ticket, x.c.at-x.tryAt)
	} else {
		p.Unmeasured(&x.ticket)
	}
}

// blames reports whether a failure speaks against its backend. Failed dials and
// statuses have been counted where they were seen.
func (f *failure) blames() bool {
	switch f.cause {
	case CauseReset:
		return true
	case CauseResponseTimeout:
		return !f.moved // its check has spoken, and may take it back at once
	case CauseBadResponse:
		return !f.granted
	}
	return false
}

// markTried keeps the next attempt away from the backend that failed. A
// connection that was stale says nothing of its backend: a client that is bound
// to it is not torn away, but gets a new connection to the same one.
func (x *exchange) markTried(f *failure, stale bool) {
	if x.again && f.class == classUnsent {
		x.attempts-- // it took two connections to learn that the backend is gone
	}
	if f.moved {
		// It has waited for long: who can take it is another question by now. In
		// this snapshot the silent one cannot.
		x.snap, x.index, x.affine, x.again = x.target.Pool.Snapshot(), -1, affinity{}, false
		x.tried.Reset()
		return
	}
	x.again = stale && !x.freshOnly && x.affine.looked && x.affine.bound == x.index
	x.freshOnly = x.freshOnly || stale
	if !x.again {
		x.tried.Add(x.snap, x.index)
	}
}

// connect takes a pooled connection or dials.
func (x *exchange) connect(ep *pool.Endpoint) *failure {
	if x.attempts > 1 {
		x.c.at = transport.Now()
	}
	preface := ""
	if v := x.target.ProxyProtocol; v != 0 {
		preface = x.preface(ep, v)
	}
	if !x.freshOnly {
		x.conn = ep.Conns.Take(preface, x.outlivesStale(), x.c.at)
	}
	if x.conn == nil {
		var err error
		if x.conn, err = ep.Conns.DialWith(preface); err != nil {
			x.conn = nil
			f := &failure{cause: dialCause(err), class: classUnsent, detail: err.Error()}
			if f.cause != CauseNoFiles { // that says nothing of the backend
				x.target.Pool.ConnectFailed(ep)
			}
			return f
		}
		began := x.c.at
		x.c.at = transport.Now()
		x.dialed += x.c.at - began
		x.target.Pool.Connected(ep)
	}
	x.conn.Watcher = x
	return nil
}

// outlivesStale reports whether the request would be sent again if it met a
// connection that has just been closed.
func (x *exchange) outlivesStale() bool {
	r := &x.target.Retry
	return x.repeatable && r.Reset && x.attempts < r.Attempts && x.up.repeatableSize()
}

func dialCause(err error) Cause {
	var ne net.Error
	var te *transport.TLSError
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return CauseNoFiles
	case errors.As(err, &te) && !te.Timeout():
		return CauseTLSFailed
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return CauseConnectRefused
	case errors.As(err, &ne) && ne.Timeout():
		return CauseConnectTimeout
	}
	return CauseConnectFailed
}

// sendRequest writes the head and what there is of the body in one piece. A pooled
// connection that turns out to be closed before is nobody's failure: the next one is
// taken.
func (x *exchange) sendRequest(ep *pool.Endpoint) *failure {
	x.out = x.appendRequestHead(x.out[:0], ep)
	var f *failure
	if x.out, f = x.up.appendReady(x.out); f != nil {
		return f
	}
	for {
		f, gone := x.send()
		if !gone {
			return f
		}
		x.conn.Close()
		x.conn = nil
		if f = x.connect(ep); f != nil {
			return f
		}
	}
}

// send writes x.out to the connection and begins to wait. It reports a connection that
// is gone, to which nothing was written.
func (x *exchange) send() (f *failure, gone bool) {
	whole := x.up.body.Done()
	if whole && len(x.out) <= wire.LargeBuffer && !x.conn.Looked() {
		if err := x.armResponse(); err != nil {
			return x.resetFailure(classUnsent), false
		}
		n, err := x.conn.Ask(x.out)
		if err == transport.ErrGone {
			return nil, true
		}
		return x.sent(n, err), false
	}
	if !x.conn.Looked() && x.conn.Look() != nil {
		return nil, true
	}
	if f = x.sent(x.conn.Send(x.out, x.c.at)); f != nil {
		return f, false
	}
	if len(x.out) > wire.LargeBuffer {
		x.c.at = transport.Now() // writing may have waited
	}
	if !whole {
		x.up.launch(x.conn)
	}
	if err := x.armResponse(); err != nil {
		return x.resetFailure(classPossible), false
	}
	return nil, false
}

// sent judges the writing of a request, of which n bytes have been written.
func (x *exchange) sent(n int, err error) *failure {
	switch {
	case err == nil:
		return nil
	case n == 0:
		return x.resetFailure(classUnsent)
	}
	return x.resetFailure(x.sentClass())
}

// armResponse bounds the wait for the response.
func (x *exchange) armResponse() error {
	x.waitBy = 0
	wait := x.responseTimeout()
	if wait > 0 {
		x.waitBy = x.c.at + wait
	} else {
		wait = time.Hour
	}
	return x.conn.Arm(x.c.at, wait)
}

func (x *exchange) responseTimeout() time.Duration {
	return x.endpoint().Conns.Options().ResponseTimeout
}

// sentClass is the class of a request that has been written and got no byte back.
func (x *exchange) sentClass() retryClass {
	if x.conn.Reused() {
		return classStale
	}
	return classPossible
}

func (x *exchange) resetFailure(class retryClass) *failure {
	f := &failure{cause: CauseReset, class: class}
	if why := x.conn.Suspicion(); why != "" {
		f.detail = "the backend closed a new connection; " + why
	}
	if idle := x.conn.IdleFor(); x.conn.Reused() && class != classPossible {
		f.detail = fmt.Sprintf("the backend closed a connection that had been idle for %.1f s", idle.Seconds())
		if limit := x.conn.SaidLimit(); limit > 0 {
			f.detail += fmt.Sprintf("; its keep-alive timeout is %.0f s", limit.Seconds())
		}
	}
	return f
}

// Tick decides whether to go on waiting for the backend; it is called while
// nothing comes from it.
func (x *exchange) Tick() (time.Duration, error) {
	if x.up.failed.Load() != nil {
		return 0, errUpload
	}
	at, by := transport.Now(), x.waitBy
	if x.up.running && !x.begun && by > 0 && !x.awaitsContinue() {
		// The wait for the response begins when the request has been sent.
		by = 0
		if ended := time.Duration(x.up.endedAt.Load()); ended > 0 {
			by = ended + x.responseTimeout()
		}
	}
	if by > 0 && at >= by || x.up.stalled.Load() && !x.begun {
		return 0, errResponseTimeout
	}
	if x.c.gone() {
		return 0, errClientGone
	}
	if x.endpoint().Cut() {
		return 0, errDrained
	}
	if x.endpoint().Silent() && (x.mayMove() || x.hangs(at)) {
		return 0, errSilent
	}
	if by > 0 {
		return by - at, nil
	}
	return time.Hour, nil
}

// mayMove reports whether a request whose backend has fallen silent may be sent to
// another one now: a process that hangs, or a machine that is gone, may never
// answer. It takes a request that may be repeated, and somebody who would take
// it. All others, and those that would be too many at once, go on waiting.
func (x *exchange) mayMove() bool {
	r := &x.target.Retry
	if x.begun || !x.repeatable || !r.Reset && !r.Timeout || x.attempts >= r.Attempts {
		return false
	}
	if x.up.running && x.up.endedAt.Load() == 0 || !x.up.replayable() || !x.up.withinLimit() {
		return false
	}
	snap := x.target.Pool.Snapshot()
	return !snap.FailOpen && snap.Peek(x.key, &pool.Tried{}) >= 0 && x.target.Pool.MayMove()
}

// hangs reports whether nothing has come of a body for as long as a head would be
// waited for. Event streams may be quiet for longer, but not those of a backend
// that its checks find silent.
func (x *exchange) hangs(at time.Duration) bool {
	limit := x.responseTimeout()
	return x.begun && limit > 0 && at-x.c.at >= limit
}

// endpoint is the backend of the attempt.
func (x *exchange) endpoint() *pool.Endpoint { return x.snap.Endpoints[x.index] }

// awaitsContinue reports whether the client waits for a word of the backend
// before it sends its body: then it is the backend that is silent.
func (x *exchange) awaitsContinue() bool {
	return x.req.Expect && !x.continued && x.up.unread()
}

// readHead reads up to the final response's head and passes interim ones on.
func (x *exchange) readHead() *failure {
	x.interim = false
	for n := 0; ; n++ {
		head, err := x.nextHead()
		x.observe(err)
		if err == nil {
			err = x.resp.Parse(head, string(x.req.Method) == "HEAD")
		}
		if err != nil {
			return x.headFailure(err)
		}
		if !x.resp.Informational() {
			break
		}
		if n == maxInformational {
			return &failure{cause: CauseBadResponse, class: classPossible, detail: "more interim responses than the limit"}
		}
		x.interim = true
		if f := x.deliverInformational(); f != nil {
			return f
		}
		x.conn.Reader.EndMessage()
	}
	if x.resp.Status == 101 && !x.req.Offers(x.resp.First(wire.KindUpgrade)) {
		return &failure{cause: CauseBadResponse, class: classPossible, detail: "101 to a protocol that the request did not offer"}
	}
	return nil
}

// nextHead waits for a head of the backend, without a buffer until there is something
// to be read into it.
func (x *exchange) nextHead() ([]byte, error) {
	if x.conn.Reader.Buffered() == 0 {
		if err := x.conn.Await(false); err != nil {
			return nil, err
		}
	}
	return x.conn.Reader.Head(maxResponseHead)
}

// observe reads the clock where a response, or the wait for one, has come to
// its first byte, counts it, and tells policies that want to know.
func (x *exchange) observe(err error) {
	began := x.c.at
	x.c.at = transport.Now()
	if err == nil && !x.interim {
		x.firstByte = x.c.at - began
		x.endpoint().ObserveFirstByte(x.firstByte)
	}
	if x.snap.Timed && !x.interim && (err == nil || errors.Is(err, errResponseTimeout)) {
		x.endpoint().Backend.ObserveFirstByte(x.c.at - began)
	}
}

// headFailure says what went wrong before a response.
func (x *exchange) headFailure(err error) *failure {
	var we *wire.Error
	switch {
	case errors.Is(err, errClientGone):
		return &failure{cause: CauseClientGone}
	case errors.Is(err, errDrained):
		return &failure{cause: CauseDrained, class: classPossible}
	case errors.Is(err, errUpload):
		return &failure{cause: CauseBodyTimeout} // replaced by the upload's own
	case errors.Is(err, errSilent):
		return &failure{cause: CauseResponseTimeout, class: classPossible, moved: true, detail: err.Error()}
	case errors.Is(err, errResponseTimeout):
		return &failure{cause: CauseResponseTimeout, class: classPossible}
	case errors.Is(err, wire.ErrHeadTooLarge), errors.Is(err, wire.ErrTooManyFields):
		return &failure{cause: CauseBadResponse, class: classPossible, detail: "the response head is larger than the limit"}
	case errors.As(err, &we):
		return &failure{cause: CauseBadResponse, class: classPossible, detail: we.Reason}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &failure{cause: CauseReset, class: classPossible, detail: "the backend closed inside its response head"}
	}
	if why := x.conn.Refusal(err); why != "" {
		x.target.Pool.ConnectFailed(x.endpoint())
		return &failure{cause: CauseTLSFailed, class: classUnsent, detail: why}
	}
	class := x.sentClass()
	if x.conn.Reader.Buffered() > 0 || x.interim {
		class = classPossible
	}
	return x.resetFailure(class)
}

// isRepeatable reports whether the request may reach backends more than once.
func (x *exchange) isRepeatable() bool {
	switch string(x.req.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	if len(x.req.First(wire.KindIdempotencyKey)) > 0 {
		return true
	}
	for _, m := range x.target.Retry.Methods {
		if m == string(x.req.Method) {
			return true
		}
	}
	return false
}

// mayRetry decides by the class of a failure, what the pool repeats, and the
// budget.
func (x *exchange) mayRetry(f *failure) bool {
	r := &x.target.Retry
	switch {
	case f.granted, f.moved:
		return true
	case f.class == classNever || x.attempts >= r.Attempts || !x.up.replayable():
		return false
	case f.class == classUnsent:
		return r.Connect
	}
	return r.repeats(f.cause) && x.repeatable && x.up.withinLimit() && x.target.Pool.MayRetry()
}

// repeats reports whether failures of that cause are repeated after a backend
// may have seen the request.
func (r *Retry) repeats(c Cause) bool {
	switch c {
	case CauseReset, CauseDrained:
		return r.Reset
	case CauseResponseTimeout:
		return r.Timeout
	case CauseBadResponse:
		return r.BadResponse
	}
	return false
}

// retryStatus gives a response up for another attempt, if its status is to be
// repeated and there is a backend that could do better.
func (x *exchange) retryStatus() *failure {
	r := &x.target.Retry
	if len(r.Statuses) == 0 || !slices.Contains(r.Statuses, x.resp.Status) {
		return nil
	}
	if x.attempts >= r.Attempts || !x.repeatable || !x.up.wait(graceForUpload) || !x.up.replayable() || !x.up.withinLimit() {
		return nil
	}
	tried := x.tried
	tried.Add(x.snap, x.index)
	if x.snap.Pick(x.key, &tried) < 0 || !x.target.Pool.MayRetry() {
		return nil
	}
	return &failure{cause: CauseBadResponse, class: classPossible, status: x.resp.Status, granted: true,
		detail: "the backend answered with a status that is repeated"}
}

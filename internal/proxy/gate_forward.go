package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"steelyard/internal/pool"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// ForwardAuth asks another server whether a request may come in: one that answers
// with a 2xx lets it, any other answer is the client's.
type ForwardAuth struct {
	Pool *pool.Pool
	Path string // with its query
	Host string // "": the address of the backend
	// Timeout bounds the whole answer.
	Timeout time.Duration
	// RequestHeaders are those of the request that the server sees; nil: all of
	// them. ResponseHeaders of its answer go to the backend, in place of whatever
	// the client has sent under these names.
	RequestHeaders, ResponseHeaders []string
}

const (
	// maxAuthTries is how many connections one question may take.
	maxAuthTries = 3
	// maxAuthAnswer is the most bytes of a body that is passed on to the client.
	maxAuthAnswer = 1 << 20
	// maxAuthRest is how much of a body is read that nobody wants, so that the
	// connection can be used again.
	maxAuthRest = 64 << 10
)

// errAuthBusy means that no backend of the pool can be asked.
var errAuthBusy = errors.New("no backend of the pool can take the question")

// askAuth asks the server. CauseNone with answered means that the client has its
// answer.
func (x *exchange) askAuth(f *ForwardAuth) (cause Cause, detail string, answered bool) {
	f.Pool.Stats.Requests.Add(1)
	x.waitBy = x.c.at + f.Timeout
	defer func() { x.waitBy = 0 }()
	snap, fresh := f.Pool.Snapshot(), false
	var tried pool.Tried
	var failed error
	for range maxAuthTries {
		i := acquireAuth(snap, &tried)
		if i < 0 {
			failed = cmp.Or(failed, errAuthBusy)
			break
		}
		answered, stale, err := x.askBackend(f, snap, i, fresh)
		switch {
		case err == nil:
			return CauseNone, "", answered
		case errors.Is(err, errClientGone):
			return CauseClientGone, "", false
		case stale:
			fresh = true
		default:
			tried.Add(snap, i)
		}
		if failed = err; errors.Is(err, errResponseTimeout) {
			break
		}
	}
	return CauseAuthUnavailable, "forward_auth: " + failed.Error(), false
}

// acquireAuth counts a question in on a backend; -1: there is none.
func acquireAuth(snap *pool.Snapshot, tried *pool.Tried) int {
	for range maxAuthTries {
		if i := snap.Pick(rand.Uint64(), tried); i < 0 || snap.Acquire(i) {
			return i
		}
	}
	return -1
}

// askBackend asks one server. stale says that its connection was closed before it
// could be asked.
func (x *exchange) askBackend(f *ForwardAuth, snap *pool.Snapshot, i int, fresh bool) (answered, stale bool, err error) {
	defer f.Pool.Release(snap, i)
	f.Pool.Stats.Attempts.Add(1)
	ep := snap.Endpoints[i]
	if x.conn, err = x.connectAuth(f, ep, fresh); err != nil {
		return false, false, err
	}
	conn, settled := x.conn, false
	defer func() {
		x.conn = nil
		if !settled {
			conn.Close()
		}
	}()
	conn.Watcher = (*authWatch)(x)
	x.out = x.appendAuthRequest(x.out[:0], f, ep)
	_, err = conn.Send(x.out, x.c.at)
	if err == nil {
		err = conn.Arm(x.c.at, f.Timeout)
	}
	if err == nil {
		err = x.readAuthHead(conn)
	}
	if err != nil {
		stale = conn.Reused() && conn.Reader.Buffered() == 0 && !errors.Is(err, errResponseTimeout) && !errors.Is(err, errClientGone)
		if !stale && !errors.Is(err, errClientGone) {
			f.Pool.Failed(ep)
		}
		return false, stale, err
	}
	f.Pool.Answered(ep, x.resp.Status)
	f.Pool.Stats.Classes.Count(x.resp.Status)
	answered, err = x.useAuth(f)
	if err == nil {
		settled = true
		x.keepAuth(ep)
	}
	return answered, false, err
}

// connectAuth takes a pooled connection or dials.
func (x *exchange) connectAuth(f *ForwardAuth, ep *pool.Endpoint, fresh bool) (*transport.Conn, error) {
	if !fresh {
		if conn := ep.Conns.Get(true, x.c.at); conn != nil {
			return conn, nil
		}
	}
	conn, err := ep.Conns.Dial()
	x.c.at = transport.Now()
	if err != nil {
		if dialCause(err) != CauseNoFiles { // that says nothing of the server
			f.Pool.ConnectFailed(ep)
		}
		return nil, err
	}
	f.Pool.Connected(ep)
	return conn, nil
}

// authWatch is an exchange that waits for the server.
type authWatch exchange

// Tick ends the wait when time is up or the client has left.
func (w *authWatch) Tick() (time.Duration, error) {
	x, at := (*exchange)(w), transport.Now()
	switch {
	case at >= x.waitBy:
		return 0, errResponseTimeout
	case x.c.gone():
		return 0, errClientGone
	}
	return x.waitBy - at, nil
}

// readAuthHead reads up to the head of the final response.
func (x *exchange) readAuthHead(conn *transport.Conn) error {
	for range maxInformational {
		head, err := conn.Reader.Head(maxResponseHead)
		if err == nil {
			err = x.resp.Parse(head, false)
		}
		x.c.at = transport.Now()
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("the server closed the connection before it answered")
		case err != nil:
			return err
		case x.resp.Status == 101:
			return errors.New("the server switched protocols unasked")
		case !x.resp.Informational():
			x.body.Init(&conn.Reader, x.resp.Framing, x.resp.Length)
			return nil
		}
		conn.Reader.EndMessage()
	}
	return errors.New("the server sent more interim responses than the limit")
}

// useAuth does as the answer says.
func (x *exchange) useAuth(f *ForwardAuth) (answered bool, err error) {
	if x.resp.Status/100 != 2 {
		return true, x.passAuthAnswer()
	}
	x.gate.copied = x.gate.copied[:0]
	list := x.resp.Fields()
	for i := range list {
		if !list[i].Hop && named(f.ResponseHeaders, x.resp.Name(i)) && !x.replaces(string(x.resp.Name(i))) {
			x.gate.copied = append(x.gate.copied, x.resp.Line(i)...)
		}
	}
	return false, nil
}

// keepAuth gives the connection back if nothing is left on it.
func (x *exchange) keepAuth(ep *pool.Endpoint) {
	conn := x.conn
	for !x.body.Done() && x.body.Received() < maxAuthRest {
		if _, err := x.body.Next(); err != nil {
			break
		}
	}
	if !x.body.Done() || !x.resp.KeepAlive {
		conn.Close()
		return
	}
	conn.LearnKeepAlive(x.resp.KeepAliveSeconds)
	conn.Reader.EndMessage()
	ep.Conns.Put(conn, x.c.at)
}

// passAuthAnswer gives the client what the server has answered.
func (x *exchange) passAuthAnswer() error {
	body := []byte(nil)
	for !x.body.Done() {
		p, err := x.body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if body = append(body, p...); len(body) > maxAuthAnswer {
			return fmt.Errorf("the answer has more than %d bytes", maxAuthAnswer)
		}
	}
	x.settleBody()
	x.begun, x.status = true, x.resp.Status
	x.c.at = transport.Now()
	x.out = x.appendStatusLine(x.out[:0])
	list := x.resp.Fields()
	for i := range list {
		if list[i].Hop || list[i].Kind == wire.KindContentLength || list[i].Kind == wire.KindTransferEncoding || list[i].Kind == wire.KindTrailer ||
			x.route.ResponseHeaders.Drops(x.resp.Name(i)) || x.route.Gate.drops(x.resp.Name(i)) {
			continue
		}
		x.out = append(x.out, x.resp.Line(i)...)
	}
	x.out = x.route.ResponseHeaders.Append(x.out, x)
	x.out = x.appendGateFields(x.out)
	x.endAnswer(body)
	return nil
}

// appendAuthRequest appends the question: the head of the request without what
// belongs to its body or asks for a part of the answer, and who asks for what.
func (x *exchange) appendAuthRequest(dst []byte, f *ForwardAuth, ep *pool.Endpoint) []byte {
	dst = append(append(append(dst, "GET "...), f.Path...), " HTTP/1.1\r\nHost: "...)
	host := f.Host
	if host == "" {
		host = ep.Address
		if _, unix := cutUnix(host); unix {
			host = "localhost"
		}
	}
	dst = append(append(dst, host...), '\r', '\n')
	r := x.req
	list := r.Fields()
	for i := range list {
		if list[i].Hop || !toAuth(list[i].Kind) || named(notToAuth, r.Name(i)) || f.RequestHeaders != nil && !named(f.RequestHeaders, r.Name(i)) {
			continue
		}
		dst = append(dst, r.Line(i)...)
	}
	dst = append(dst, "X-Forwarded-Method: "...)
	dst = append(append(dst, r.Method...), "\r\nX-Forwarded-Proto: "...)
	dst = append(append(dst, x.scheme()...), "\r\nX-Forwarded-Host: "...)
	if v := x.trustedValue(wire.KindXForwardedHost); v != nil {
		dst = append(dst, v...)
	} else {
		dst = append(dst, r.Host...)
	}
	dst = append(append(append(dst, "\r\nX-Forwarded-Uri: "...), x.uri()...), "\r\nX-Forwarded-For: "...)
	dst = x.appendTrusted(dst, wire.KindXForwardedFor)
	dst = append(append(dst, x.c.peerText...), "\r\nX-Request-Id: "...)
	return append(append(dst, x.requestID()...), "\r\n\r\n"...)
}

// toAuth reports whether fields of a kind may be part of the question.
func toAuth(k wire.Kind) bool {
	switch k {
	case wire.KindHost, wire.KindContentLength, wire.KindTransferEncoding, wire.KindTrailer, wire.KindExpect,
		wire.KindXForwardedFor, wire.KindXForwardedProto, wire.KindXForwardedHost, wire.KindForwarded, wire.KindXRequestID:
		return false
	}
	return true
}

// notToAuth are said of the request by Steelyard alone, or are about the body or
// a part of the answer.
var notToAuth = []string{
	"x-forwarded-method", "x-forwarded-uri", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id",
	"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range",
}

// named reports whether a name is in a list of lower-case names. An underscore is
// as good as a hyphen: many apps cannot tell them apart.
func named(list []string, name []byte) bool {
	return slices.ContainsFunc(list, func(n string) bool {
		if len(n) != len(name) {
			return false
		}
		for i, c := range name {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != n[i] && !(c == '_' && n[i] == '-') {
				return false
			}
		}
		return true
	})
}

// words says what would be asked.
func (f *ForwardAuth) words() string {
	return "GET " + strconv.Quote(f.Path) + " of pool " + f.Pool.Name() + " would be asked first, and decides"
}

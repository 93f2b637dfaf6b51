package proxy

import (
	"errors"
	"io"

	"steelyard/internal/pool"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// deliver streams the response, whose head is in x.resp, to the client and
// settles both connections. It fails only if what came together with the head is
// not a valid body; otherwise nothing can be repeated from here on.
func (x *exchange) deliver(ep *pool.Endpoint) *failure {
	if x.resp.Status == 101 {
		x.begun, x.delivered, x.status = true, true, 101
		x.target.Pool.Answered(ep, 101)
		x.upgrade()
		return nil
	}
	c := x.c
	c.closeIfDraining()
	if x.awaitsContinue() {
		// The client may or may not send its body now: what comes next on
		// this connection cannot be known (RFC 9110, section 10.1.1).
		c.closing = true
	}
	plain := x.req.Minor == 0 // no chunked coding for HTTP/1.0
	chunked := !plain && (x.resp.Framing == wire.FramingChunked || x.resp.Framing == wire.FramingClose)
	if plain && (x.resp.Framing == wire.FramingChunked || x.resp.Framing == wire.FramingClose) {
		c.closing = true
	}
	x.out = x.appendResponseHead(x.out[:0], chunked)
	x.body.Init(&x.conn.Reader, x.resp.Framing, x.resp.Length)
	if err := x.appendBuffered(chunked); err != nil {
		return &failure{cause: CauseBadResponse, class: classPossible, detail: err.Error()}
	}
	x.begun, x.delivered, x.status = true, true, x.resp.Status
	x.bind()
	whole := x.stream(chunked)
	x.bytesOut = x.body.Received()
	// Judged by its end, once: a good head before a body that breaks off is none.
	if x.cause == CauseTruncated {
		x.target.Pool.Broke(ep, x.resp.Status)
	} else {
		x.target.Pool.Answered(ep, x.resp.Status)
	}
	x.settle(ep, whole)
	return nil
}

// settle decides what becomes of both connections after a response.
func (x *exchange) settle(ep *pool.Endpoint, whole bool) {
	grace := graceForUpload
	if !whole || x.c.closing {
		grace = 0
	}
	sent := x.up.wait(grace)
	if !sent {
		x.up.stop()
		x.c.closing, x.c.linger = true, true
	}
	conn := x.conn
	x.conn = nil
	if !whole || !sent || !x.resp.KeepAlive {
		conn.Close()
		return
	}
	conn.LearnKeepAlive(x.resp.KeepAliveSeconds)
	conn.Reader.EndMessage()
	ep.Conns.Put(conn, x.c.at)
}

// stream sends what is in x.out and the rest of the body behind it, and reports
// whether the client got all of it. What the backend has flushed is never held
// back: every read from it is followed by a write.
func (x *exchange) stream(chunked bool) bool {
	b := &x.body
	x.waitBy = 0
	if !x.sendFirst(chunked) {
		return false
	}
	if b.Done() {
		return true
	}
	ep, much := x.endpoint(), false
	silence := ep.Conns.Options().BodyTimeout
	for {
		if silence > 0 {
			x.c.at = transport.Now() // a slow client is not the backend's silence
			x.waitBy = x.c.at + silence
			if x.conn.Arm(x.c.at, silence) != nil {
				return x.backendLost(io.ErrUnexpectedEOF)
			}
		}
		p, err := x.nextPart(&much)
		x.c.at = transport.Now()
		if err == io.EOF {
			if x.resp.Framing == wire.FramingClose && x.conn.Socket.Truncated() {
				return x.backendLost(errNotSaid)
			}
			break
		}
		if err == nil && ep.Cut() {
			err = errDrained
		}
		if err != nil {
			return x.backendLost(err)
		}
		if chunked {
			x.out = x.out[:0]
			if err := x.appendChunks(p); err != nil {
				// What came before the error is not sent either: the client
				// sees a broken transfer in any case.
				return x.backendLost(err)
			}
			p = x.out
		}
		if x.pipe.Len() > 0 {
			err = x.c.sendPipe(&x.pipe)
		} else {
			err = x.c.send(p)
		}
		if err != nil {
			return x.clientLost(err)
		}
		if chunked && x.endWritten() {
			return true
		}
	}
	if chunked {
		x.out = wire.AppendLastChunk(x.out[:0], trailers(b, x.route.ResponseHeaders))
		if err := x.c.send(x.out); err != nil {
			return x.clientLost(err)
		}
	}
	return true
}

// errNotSaid is the end of a connection that ends a response, when TLS does not say
// that this was all (RFC 9112, section 9.8).
var errNotSaid = errors.New("the backend closed the connection without TLS's close_notify, so that the response may not be whole")

// sendFirst sends what is in x.out, and with it what has come behind it by now. It
// reports whether the response goes on.
func (x *exchange) sendFirst(chunked bool) bool {
	var more []byte
	var err error
	if !chunked && !x.fillPipe() {
		if more, err = x.moreAtOnce(); err != nil {
			return x.backendLost(err)
		}
	}
	if x.pipe.Len() > 0 {
		err = x.c.sendBeforePipe(x.out, &x.pipe)
	} else {
		err = x.c.sendBoth(x.out, more)
	}
	return err == nil || x.clientLost(err)
}

// fillPipe takes what has come of a long body into the pipe.
func (x *exchange) fillPipe() bool {
	if !x.pipes() || !x.conn.Socket.FillPipeNow(&x.pipe, x.body.Unseen()) {
		return false
	}
	x.body.Skip(x.pipe.Len())
	return true
}

// moreAtOnce is what has come behind a head that filled its buffer, so that both leave
// in one write. Only of a body whose length is known: a reset that is found here looks
// like the end to the next read, and that must never be taken for the end of a body.
func (x *exchange) moreAtOnce() ([]byte, error) {
	b, rd := &x.body, &x.conn.Reader
	if x.resp.Framing != wire.FramingLength || !b.Hungry() || !rd.Filled() || !wire.Plenty() || !x.conn.Socket.FillNow(rd, b.Long()) {
		return nil, nil
	}
	return b.Ready()
}

// minPiped is the length from which on a body goes by inside the kernel, in bytes. A
// shorter one is copied in less time than a pipe takes.
const minPiped = 64 << 10

// pipes reports whether the next part may go by inside the kernel.
func (x *exchange) pipes() bool {
	return x.resp.Length >= minPiped && x.body.Unseen() > 0 && x.conn.Socket.Pipes(&x.c.socket)
}

// nextPart waits for the next part of the body, without a buffer. It may be in the
// pipe. Otherwise much is read at a time, unless many clients keep what they were given
// waiting: then what a client does not take, and has to be kept for it, is to be little,
// and only where much comes and the client takes it, much is read.
func (x *exchange) nextPart(much *bool) ([]byte, error) {
	b := &x.body
	if x.pipes() {
		err := x.conn.AwaitPipe(&x.pipe, b.Unseen())
		b.Skip(x.pipe.Len())
		if err != transport.ErrNoPipe && err != io.EOF {
			return nil, err
		}
	}
	if b.Hungry() {
		enough := wire.Plenty()
		if err := x.conn.Await((enough || *much) && b.Long()); err != nil && err != io.EOF {
			return nil, err
		}
		*much = !enough && x.conn.Reader.Buffered() >= wire.SmallBuffer/2 && x.c.socket.Takes()
	}
	return b.Next()
}

// appendBuffered puts behind the head what came with it, so that a small
// response leaves in one write.
func (x *exchange) appendBuffered(chunked bool) error {
	b := &x.body
	if chunked {
		return x.appendChunks(nil)
	}
	for !b.Done() && len(x.out) < wire.LargeBuffer {
		p, err := b.Ready()
		if err != nil {
			return err
		}
		if len(p) == 0 {
			break
		}
		x.out = append(x.out, p...)
	}
	return nil
}

// appendChunks appends p and all that is buffered behind it as chunks, with
// the last one if the body ends there.
func (x *exchange) appendChunks(p []byte) error {
	b := &x.body
	for {
		if len(p) > 0 {
			x.out = wire.AppendChunk(x.out, p)
		}
		if b.Done() || len(x.out) >= wire.LargeBuffer {
			break
		}
		var err error
		if p, err = b.Ready(); err != nil {
			return err
		}
		if len(p) == 0 {
			break
		}
	}
	if b.Done() && x.resp.Framing == wire.FramingChunked {
		x.out = wire.AppendLastChunk(x.out, trailers(b, x.route.ResponseHeaders))
	}
	return nil
}

// endWritten reports whether appendChunks has seen the end of the body.
func (x *exchange) endWritten() bool {
	return x.body.Done() && x.resp.Framing == wire.FramingChunked
}

// clientLost ends a response that the client no longer takes.
func (x *exchange) clientLost(err error) bool {
	x.cutShort(x.sendCause(err), "")
	return false
}

// backendLost ends a response that the backend has not finished, or whose
// request the client has broken meanwhile.
func (x *exchange) backendLost(err error) bool {
	uf := x.up.failed.Load()
	switch {
	case uf != nil:
		x.cutShort(uf.cause, uf.detail)
	case errors.Is(err, errClientGone):
		x.cutShort(CauseClientGone, "")
	case errors.Is(err, errDrained):
		x.cutShort(CauseDrained, "")
	default:
		x.cutShort(CauseTruncated, err.Error())
	}
	return false
}

// cutShort resets the client's connection in the middle of a response, so that
// a part never looks like the whole.
func (x *exchange) cutShort(cause Cause, detail string) {
	x.report(cause, detail)
	x.cut, x.c.closing, x.c.abort = true, true, true
}

// deliverInformational passes a 1xx response on (RFC 9110, section 15.2);
// HTTP/1.0 clients do not know them.
func (x *exchange) deliverInformational() *failure {
	if x.req.Minor == 0 {
		return nil
	}
	if x.resp.Status == 100 {
		if x.continued {
			return nil
		}
		x.continued = true
		x.c.armContinued()
	}
	x.out = x.appendStatusLine(x.out[:0])
	x.out = x.appendResponseFields(x.out, false)
	x.out = append(x.out, '\r', '\n')
	if err := x.c.send(x.out); err != nil {
		return &failure{cause: CauseClientGone}
	}
	return nil
}

// appendResponseHead appends the head that the client gets: what the backend
// sent, byte for byte, but for what belongs to the backend's connection.
func (x *exchange) appendResponseHead(dst []byte, chunked bool) []byte {
	dst = x.appendStatusLine(dst)
	dst = x.appendResponseFields(dst, true)
	if chunked && x.resp.Framing == wire.FramingClose {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = x.appendAffinity(dst)
	dst = x.appendHSTS(dst)
	dst = x.route.ResponseHeaders.Append(dst, x)
	if x.route.Gate != nil {
		dst = x.appendGateFields(dst)
	}
	dst = x.appendConnection(dst)
	return append(dst, '\r', '\n')
}

// appendStatusLine repeats the backend's status and reason. The space before an
// empty reason is not optional, though backends leave it out (RFC 9112, section 4).
func (x *exchange) appendStatusLine(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, x.resp.StatusText...)
	if len(x.resp.StatusText) == len("200") {
		dst = append(dst, ' ')
	}
	return append(dst, '\r', '\n')
}

// appendConnection writes what the client has to know of this connection.
func (x *exchange) appendConnection(dst []byte) []byte {
	switch {
	case x.resp.Status == 101:
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, x.resp.First(wire.KindUpgrade)...)
		return append(dst, '\r', '\n')
	case x.resp.Status == 426 && len(x.resp.First(wire.KindUpgrade)) > 0:
		// RFC 9110, section 15.5.22: 426 says which protocols would do.
		dst = append(dst, "Upgrade: "...)
		dst = append(dst, x.resp.First(wire.KindUpgrade)...)
		dst = append(dst, "\r\nConnection: upgrade"...)
		if x.c.closing {
			dst = append(dst, ", close"...)
		}
		return append(dst, '\r', '\n')
	case x.c.closing:
		return append(dst, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

// appendResponseFields copies the backend's fields in runs of whole lines.
func (x *exchange) appendResponseFields(dst []byte, final bool) []byte {
	r := &x.resp
	rewritten := final && !x.route.ResponseHeaders.Empty()
	gate := x.route.Gate
	gated := final && gate != nil && (gate.CORS != nil || gate.Security != nil)
	hsts := final && x.hsts()
	list := r.Fields()
	from := 0
	for i := range list {
		drop := list[i].Hop
		switch list[i].Kind {
		case wire.KindTransferEncoding:
			drop = x.req.Minor == 0 || r.Status < 200 || r.Status == 204
		case wire.KindContentLength:
			// RFC 9110, section 8.6: never in 1xx and 204.
			drop = r.Status < 200 || r.Status == 204
		}
		if drop || rewritten && x.route.ResponseHeaders.Drops(r.Name(i)) || gated && gate.drops(r.Name(i)) || hsts && wire.EqualFold(r.Name(i), hstsLower) {
			dst = append(dst, r.Lines(from, i)...)
			from = i + 1
		} else if list[i].Odd {
			dst = r.AppendFraming(append(dst, r.Lines(from, i)...), i)
			from = i + 1
		}
	}
	return append(dst, r.Lines(from, len(list))...)
}

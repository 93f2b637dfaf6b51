package proxy

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// upload carries the request body to a backend. What is buffered already leaves
// together with the head; for the rest a goroutine streams while the exchange
// waits for the response, because a backend may answer before it has read all.
//
// The goroutine runs between launch and stop or wait; while it runs, the
// client's reader and body belong to it.
type upload struct {
	x       *exchange
	body    wire.Body
	chunked bool
	maxBody int64

	// kept is what has been read of the body, in the bytes that go to a
	// backend, so that another attempt can send it again.
	kept    []byte
	keeping bool
	limit   int
	lost    bool // something was read that is not in kept
	ended   bool // the last chunk has been written or is in kept

	conn     *transport.Conn
	out      []byte
	running  bool
	finished chan struct{}
	failed   atomic.Pointer[failure] // the client's part went wrong
	some     atomic.Bool             // a part of the body has been read
	doneAt   atomic.Int64            // when all was sent, on the package clock
}

// graceForUpload is how long a finished response waits for the last bytes of
// the request, which the backend has read but the goroutine not yet accounted.
const graceForUpload = 100 * time.Millisecond

func (u *upload) init() { u.finished = make(chan struct{}, 1) }

func (u *upload) reset() {
	u.x, u.conn = nil, nil
	u.body = wire.Body{}
	if cap(u.kept) > maxKeptOut {
		u.kept = nil
	}
	u.kept, u.keeping, u.lost, u.ended = u.kept[:0], false, false, false
	u.failed.Store(nil)
	u.doneAt.Store(0)
	u.some.Store(false)
}

// start takes over the body that follows the head of x.
func (u *upload) start(x *exchange) {
	u.x = x
	u.chunked = x.req.Chunked()
	u.maxBody = x.c.listener.limits.Load().MaxBodySize
	framing := wire.FramingLength
	if u.chunked {
		framing = wire.FramingChunked
	}
	u.body.Init(&x.c.rd, framing, x.req.Length)
}

// keep says whether the body is to be kept for another attempt, and how much.
func (u *upload) keep(on bool, limit int) { u.keeping, u.limit = on, limit }

// replayable reports whether another attempt could send the whole body.
func (u *upload) replayable() bool { return !u.lost }

// withinLimit reports whether what is kept is no more than may be kept for a
// backend that may have seen it. What came together with the head is always
// there for one that has seen nothing.
func (u *upload) withinLimit() bool { return len(u.kept) <= u.limit }

// repeatableSize reports whether the body is known to fit what is kept.
func (u *upload) repeatableSize() bool {
	return u.x.req.Length == 0 || u.keeping && u.x.req.Length > 0 && u.x.req.Length <= int64(u.limit)
}

// appendReady appends what has been read before and what can be read without
// waiting. The client's buffer is small, so this is too.
func (u *upload) appendReady(out []byte) ([]byte, *failure) {
	for !u.body.Done() {
		p, err := u.body.Ready()
		if err != nil {
			return out, u.clientFailure(err)
		}
		if len(p) == 0 {
			break
		}
		if f := u.tooLarge(); f != nil {
			return out, f
		}
		u.some.Store(true)
		u.kept = u.encode(u.kept, p)
	}
	if u.chunked && u.body.Done() && !u.ended {
		u.kept = wire.AppendLastChunk(u.kept, u.body.Trailers())
		u.ended = true
	}
	return append(out, u.kept...), nil
}

func (u *upload) encode(dst, p []byte) []byte {
	if u.chunked {
		return wire.AppendChunk(dst, p)
	}
	return append(dst, p...)
}

func (u *upload) tooLarge() *failure {
	if u.maxBody > 0 && u.body.Received() > u.maxBody {
		return &failure{cause: CauseBodyTooLarge}
	}
	return nil
}

// clientFailure says what an error of the body means.
func (u *upload) clientFailure(err error) *failure {
	var we *wire.Error
	switch {
	case errors.As(err, &we):
		return &failure{cause: CauseBadRequest, detail: we.Reason, status: we.Status}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{cause: CauseBodyTimeout}
	}
	return &failure{cause: CauseClientGone}
}

// launch streams the rest of the body to conn.
func (u *upload) launch(conn *transport.Conn) {
	if !u.keeping {
		u.lost = true
	}
	u.doneAt.Store(0)
	u.conn, u.running = conn, true
	go u.pump()
}

func (u *upload) pump() {
	defer func() { u.finished <- struct{}{} }()
	u.body.Grow()
	for {
		p, err := u.body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if u.x.c.interrupted.Load() {
				return
			}
			u.fail(u.clientFailure(err))
			return
		}
		u.some.Store(true)
		if f := u.tooLarge(); f != nil {
			u.fail(f)
			return
		}
		if u.write(p) != nil {
			return // the exchange sees it, and may see a response before it
		}
	}
	if u.chunked && u.writeLast() != nil {
		return
	}
	u.doneAt.Store(int64(max(transport.Now(), 1)))
}

// write sends a part of the body, as it is or as a chunk.
func (u *upload) write(p []byte) error {
	if u.chunked {
		u.out = wire.AppendChunk(u.out[:0], p)
		p = u.out
	}
	u.remember(p)
	_, err := u.conn.Write(p)
	return err
}

func (u *upload) writeLast() error {
	u.out = wire.AppendLastChunk(u.out[:0], u.body.Trailers())
	u.ended = true
	u.remember(u.out)
	_, err := u.conn.Write(u.out)
	return err
}

func (u *upload) remember(p []byte) {
	if !u.keeping {
		return
	}
	if len(u.kept)+len(p) > u.limit {
		u.keeping, u.lost = false, true
		u.kept = u.kept[:0]
		return
	}
	u.kept = append(u.kept, p...)
}

// fail ends the attempt because of the client.
func (u *upload) fail(f *failure) {
	u.failed.Store(f)
	u.conn.Interrupt()
}

// unread reports that the client has sent nothing of its body so far.
func (u *upload) unread() bool {
	return !u.some.Load()
}

// complete reports whether the whole body has gone to the backend.
func (u *upload) complete() bool {
	return !u.running && u.body.Done()
}

// stop ends the goroutine, wherever it is. The connection to the backend can
// then only be closed.
func (u *upload) stop() {
	if !u.running {
		return
	}
	u.x.c.interrupt()
	u.conn.Interrupt()
	<-u.finished
	u.running = false
	u.x.c.resume()
}

// wait lets the goroutine finish within d and reports whether all was sent.
func (u *upload) wait(d time.Duration) bool {
	if !u.running {
		return u.body.Done()
	}
	select {
	case <-u.finished:
		u.running = false
	default:
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-u.finished:
			u.running = false
		case <-t.C:
			return false
		}
	}
	return u.doneAt.Load() > 0
}

// discardReady drops what has arrived of a body that nobody wants, and reports
// whether that was all of it.
func (u *upload) discardReady() bool {
	for !u.body.Done() {
		p, err := u.body.Ready()
		if err != nil || len(p) == 0 {
			return false
		}
	}
	return true
}

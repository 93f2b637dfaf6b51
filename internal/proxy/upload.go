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
	pipe     transport.Pipe
	running  bool
	sent     bool // all of it has gone to the backend; true once the goroutine ended
	finished chan struct{}
	failed   atomic.Pointer[failure] // the client's part went wrong
	some     atomic.Bool             // a part of the body has been read
	stalled  atomic.Bool             // the backend takes no more of it
	endedAt  atomic.Int64            // when the goroutine ended, on the package clock
}

// graceForUpload is how long a finished response waits for the last bytes of
// the request, which the backend has read but the goroutine not yet accounted.
const graceForUpload = 100 * time.Millisecond

// stopAgain is how often a goroutine that does not end is interrupted.
const stopAgain = 20 * time.Millisecond

func (u *upload) init() { u.finished = make(chan struct{}, 1) }

func (u *upload) reset() {
	u.x, u.conn = nil, nil
	u.body = wire.Body{}
	if cap(u.kept) > maxKeptOut {
		u.kept = nil
	}
	u.kept, u.keeping, u.lost, u.ended, u.sent = u.kept[:0], false, false, false, false
	u.failed.Store(nil)
	u.endedAt.Store(0)
	u.some.Store(false)
	u.stalled.Store(false)
}

// start takes over the body that follows the head of x.
func (u *upload) start(x *exchange) {
	u.x = x
	u.chunked = x.req.Chunked()
	u.maxBody = x.c.listener.limits.Load().MaxBodySize
	x.c.patience = x.c.listener.limits.Load().BodyTimeout
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
	u.stalled.Store(false)
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
		u.kept = wire.AppendLastChunk(u.kept, trailers(&u.body, u.x.route.RequestHeaders))
		u.ended = true
	}
	u.sent = u.body.Done()
	return append(out, u.kept...), nil
}

// sentAtOnce reports whether the whole body left together with the head.
func (u *upload) sentAtOnce() bool { return !u.running && u.endedAt.Load() == 0 }

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
	case errors.As(err, &we) && we.Status == 431:
		return &failure{cause: CauseHeadTooLarge, detail: we.Reason}
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
	u.x.c.expectBody(u.x.awaitsContinue())
	u.endedAt.Store(0)
	u.conn, u.running = conn, true
	go u.pump()
}

func (u *upload) pump() {
	defer func() {
		if r := recover(); r != nil {
			logPanic(r)
			u.fail(&failure{cause: CauseInternal})
		}
		u.pipe.Drop()
		u.endedAt.Store(int64(max(transport.Now(), 1)))
		u.finished <- struct{}{}
	}()
	much := false
	for {
		p, err := u.next(&much)
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
			return
		}
	}
	if u.chunked && u.writeLast() != nil {
		return
	}
	u.sent = true
}

// next waits for the next part of the body, without a buffer if there is nothing
// that has to be kept. The part may be in the pipe.
func (u *upload) next(much *bool) ([]byte, error) {
	if u.pipes() {
		err := u.x.c.awaitBody(false, &u.pipe, u.body.Unseen())
		u.body.Skip(u.pipe.Len())
		if err != transport.ErrNoPipe && err != io.EOF {
			return nil, err
		}
	}
	if u.body.Hungry() {
		if err := u.x.c.awaitBody((wire.Plenty() || *much) && u.body.Long(), nil, 0); err != nil && err != io.EOF {
			return nil, err
		}
		*much = u.x.c.rd.Buffered() >= wire.SmallBuffer/2
	}
	return u.body.Next()
}

// pipes reports whether the next part may go by inside the kernel. What may have to be
// sent again may not.
func (u *upload) pipes() bool {
	return !u.keeping && u.x.req.Length >= minPiped && u.body.Unseen() > 0 && u.x.c.socket.Pipes(&u.conn.Socket)
}

// write sends a part of the body, as it is or as a chunk.
func (u *upload) write(p []byte) error {
	if u.pipe.Len() > 0 {
		return u.noteStalled(u.conn.SendPipe(&u.pipe))
	}
	if u.chunked {
		u.out = wire.AppendChunk(u.out[:0], p)
		p = u.out
	}
	return u.send(p)
}

func (u *upload) writeLast() error {
	u.out = wire.AppendLastChunk(u.out[:0], trailers(&u.body, u.x.route.RequestHeaders))
	u.ended = true
	return u.send(u.out)
}

// send writes to the backend. The exchange sees by itself when the connection
// breaks, and may see a response before that; what it cannot see is a backend
// that only stopped reading.
func (u *upload) send(p []byte) error {
	u.remember(p)
	_, err := u.conn.Write(p)
	return u.noteStalled(err)
}

func (u *upload) noteStalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		u.stalled.Store(true)
	}
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

// stop ends the goroutine, wherever it is. The connection to the backend can
// then only be closed.
func (u *upload) stop() {
	if !u.running {
		return
	}
	u.x.c.interrupt()
	for u.running {
		// Again and again, because a write that is about to begin may renew
		// the deadline that this sets.
		u.conn.Interrupt()
		u.wait(stopAgain)
	}
	u.x.c.resume()
}

// wait lets the goroutine finish within d and reports whether all was sent.
func (u *upload) wait(d time.Duration) bool {
	if !u.running {
		return u.sent
	}
	select {
	case <-u.finished:
		u.running = false
		return u.sent
	default:
	}
	if d <= 0 {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-u.finished:
		u.running = false
	case <-t.C:
	}
	return !u.running && u.sent
}

// discardReady drops what has arrived of a body that nobody wants, and reports
// whether that was all of it.
func (u *upload) discardReady() bool {
	for !u.body.Done() {
		p, err := u.body.Ready()
		if err != nil || len(p) == 0 {
			return u.body.Done() // the last bytes may have been framing alone
		}
	}
	return true
}

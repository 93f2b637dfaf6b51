package transport

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pace is how long a peer may keep writes waiting. It has an amount of time for
// that, which waiting uses up and bytes that it takes buy back. What counts is what
// the peer's side has acknowledged: a write ends when the kernel's buffer has room,
// long before, and its room comes in large steps, so that neither the writes nor
// their ends say how fast a peer is.
//
// All but hurried belongs to the goroutine that writes. A write that does not have
// to wait pays for one addition.
type pace struct {
	most    time.Duration // the whole amount; 0: writes go by their deadline alone
	rate    int64         // bytes that buy a second; 0: any buys all of it
	left    time.Duration
	since   time.Duration // when the write began to wait; 0: it does not wait
	given   int64         // bytes that the kernel has got
	taken   int64         // those of them that had been acknowledged at the last look
	hurried atomic.Bool
}

// SetPace makes writes fail with os.ErrDeadlineExceeded when the peer has kept them
// waiting for most in all, where each rate bytes that it takes give it a second back.
// Write deadlines are then no more than moments to look at that. most 0 undoes it. It
// must be called by the goroutine that writes.
func (s *Socket) SetPace(most time.Duration, rate int64) {
	if p := &s.pace; p.most != most || p.rate != rate {
		p.most, p.rate, p.left = most, rate, most
	}
}

// Hurry makes write deadlines from now on be what they are without SetPace. It is for
// other goroutines, who set one behind it.
func (s *Socket) Hurry() { s.pace.hurried.Store(true) }

// Takes reports whether the peer takes what it gets: it does not keep writes waiting
// for longer than it makes up for, and has acknowledged most of what there was.
func (s *Socket) Takes() bool {
	p := &s.pace
	return p.left >= p.most && s.queued() <= p.given/2
}

// waits notes that a write has to wait.
func (p *pace) waits() {
	if p.most > 0 && p.since == 0 {
		p.since = max(Now(), 1)
	}
}

// settlePace judges a write that had to wait and ended with err, and goes on with it
// as long as the peer has time left.
func (s *Socket) settlePace(err error) error {
	p := &s.pace
	for {
		now := Now()
		taken := p.given + int64(s.out.n) - s.queued()
		p.left = min(p.left-(now-p.since)+p.worth(taken-p.taken), p.most)
		p.taken, p.since = taken, now
		late := errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case p.left <= 0 && err == nil:
			err = os.ErrDeadlineExceeded
		case p.left > 0 && late && !p.hurried.Load():
			if err = s.Conn.SetWriteDeadline(Deadline(now + p.left)); err == nil {
				err = s.raw.Write(s.writeFn)
			}
			continue
		}
		p.since = 0
		return err
	}
}

// worth is the time that n bytes buy back.
func (p *pace) worth(n int64) time.Duration {
	switch {
	case n <= 0:
		return 0
	case p.rate <= 0, n/p.rate >= int64(p.most/time.Second)+1:
		return p.most
	}
	return time.Duration(n * int64(time.Second) / p.rate)
}

// queued is how many bytes the kernel has that the peer has not acknowledged.
func (s *Socket) queued() int64 {
	n, err := unix.IoctlGetInt(s.fd, unix.TIOCOUTQ)
	if err != nil {
		return 0
	}
	return int64(n)
}

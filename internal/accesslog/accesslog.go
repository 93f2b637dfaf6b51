// Package accesslog writes a line for each request without ever making a request
// wait: lines go into a bounded buffer in memory, one goroutine writes it out in
// large pieces, and what does not fit is dropped and counted.
//
// It knows nothing of how requests are served; see Entry for what a line has.
package accesslog

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flushEvery is how long a line may wait to be written together with others.
	flushEvery = 100 * time.Millisecond
	// writeSlice is how long a write to a pipe or to the standard output waits
	// before it looks whether something else is to be done.
	writeSlice = 500 * time.Millisecond
	// errorPause is how long nothing is written after an error.
	errorPause = time.Second
	// closeWait bounds the writing of the rest when the log is closed.
	closeWait = 2 * time.Second
	// tellEvery is how often lost lines are told at most.
	tellEvery = 10 * time.Second
)

// Log is an access log. Its methods are safe for concurrent use. New makes it;
// it drops everything until Use says where lines go.
type Log struct {
	log *slog.Logger

	lines   atomic.Int64
	dropped atomic.Int64
	failed  atomic.Int64
	lastErr atomic.Pointer[string]

	mu      sync.Mutex
	buf     []byte // lines that wait
	limit   int    // bytes of buf at most; 0: there is no sink
	hurried bool   // buf is half full and the writer knows
	next    *Sink  // to be used instead of the sink in use
	off     bool   // no sink is to be used any more
	reopen  bool
	running bool
	closed  bool

	wake    chan struct{}
	done    chan struct{} // closed by Close
	stopped sync.WaitGroup

	// The rest belongs to the writer.
	sink  *Sink
	spare []byte
	torn  bool // the last line in the sink lacks its end
}

// New makes a log that is off; log is where it tells of lost lines.
func New(log *slog.Logger) *Log {
	return &Log{log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Use makes the log write to s from now on, with a buffer of so many bytes; lines
// that wait still go to the sink there was. s belongs to the log then. With a nil
// s it is off.
func (l *Log) Use(s *Sink, buffer int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		if s != nil {
			s.Close()
		}
		return
	}
	if l.next != nil {
		l.next.Close()
	}
	l.next, l.off, l.limit = s, s == nil, buffer
	if s == nil {
		l.limit = 0
	}
	if !l.running && s != nil {
		l.running = true
		l.stopped.Add(2)
		go l.write()
		go l.tell()
	}
	l.poke()
}

// Reopen closes and opens the file, which has been moved or removed by whoever
// rotates it. It does not wait.
func (l *Log) Reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reopen = true
	l.poke()
}

func (l *Log) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Write takes over a copy of a line, which ends with a line feed. It never waits.
func (l *Log) Write(line []byte) {
	l.mu.Lock()
	if len(l.buf)+len(line) > l.limit {
		off := l.limit == 0 && !l.closed
		l.mu.Unlock()
		if !off {
			l.dropped.Add(1)
		}
		return
	}
	poke := len(l.buf) == 0
	l.buf = append(l.buf, line...)
	if !l.hurried && len(l.buf) > l.limit/2 {
		l.hurried, poke = true, true
	}
	l.mu.Unlock()
	if poke {
		l.poke()
	}
}

// Counts returns how many lines were written, dropped because the buffer was
// full, and lost because they could not be written.
func (l *Log) Counts() (lines, dropped, failed int64) {
	return l.lines.Load(), l.dropped.Load(), l.failed.Load()
}

// Close writes what waits and ends the log, within two seconds even if the sink
// takes nothing. (A disk that takes nothing cannot be interrupted: the goroutine
// that writes to it then ends with the process.)
func (l *Log) Close() {
	l.mu.Lock()
	running := l.running && !l.closed
	l.closed = true
	if l.next != nil && !running {
		l.next.Close()
	}
	l.mu.Unlock()
	if !running {
		return
	}
	close(l.done)
	ended := make(chan struct{})
	go func() {
		l.stopped.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(closeWait):
	}
}

// write is the goroutine that writes.
func (l *Log) write() {
	defer l.stopped.Done()
	defer func() {
		if l.sink != nil {
			l.sink.Close()
		}
	}()
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	for {
		closing := l.wait(timer)
		if l.sink == nil {
			l.change()
		}
		batch := l.take()
		l.flush(batch)
		l.spare = batch[:0]
		l.change() // after what was meant for the old sink
		if closing {
			l.mu.Lock()
			l.limit = 0
			l.mu.Unlock()
			l.flush(l.take())
			return
		}
	}
}

// wait waits for lines, and a little longer for more of them.
func (l *Log) wait(timer *time.Timer) (closing bool) {
	select {
	case <-l.done:
		return true
	case <-l.wake:
	}
	l.mu.Lock()
	hurry := l.hurried || l.next != nil || l.off || l.reopen
	l.mu.Unlock()
	if hurry {
		return false
	}
	timer.Reset(flushEvery)
	select {
	case <-l.done:
		return true
	case <-l.wake: // half full, or something is to be changed
	case <-timer.C:
	}
	return false
}

// take takes the lines that wait.
func (l *Log) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.buf
	l.buf, l.spare, l.hurried = l.spare[:0], nil, false
	return batch
}

// change goes over to another sink, or to a new file in place of the old one.
func (l *Log) change() {
	l.mu.Lock()
	next, off, reopen := l.next, l.off, l.reopen
	l.next, l.off, l.reopen = nil, false, false
	l.mu.Unlock()
	if next != nil || off {
		l.exchange(next)
	}
	if !reopen || l.sink == nil {
		return
	}
	again, err := Open(l.sink.to)
	if err != nil {
		l.log.Error("the access log could not be reopened; lines go to the file there was", "error", err)
		return
	}
	l.exchange(again)
}

func (l *Log) exchange(s *Sink) {
	if l.sink != nil {
		l.sink.Close()
	}
	l.sink, l.torn = s, s != nil && s.torn()
}

// flush writes lines; what cannot be written is counted.
func (l *Log) flush(batch []byte) {
	if len(batch) == 0 {
		return
	}
	if l.sink == nil { // turned off before the writer had turned it on
		l.dropped.Add(countLines(batch))
		return
	}
	if l.torn {
		if _, err := l.writeSome([]byte{'\n'}); err != nil {
			l.fail(batch, err)
			return
		}
		l.torn = false
	}
	giveUp := time.Time{}
	for len(batch) > 0 {
		n, err := l.writeSome(batch)
		l.lines.Add(countLines(batch[:n]))
		if n > 0 {
			l.torn = batch[n-1] != '\n'
		}
		batch = batch[n:]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			stuck := "nobody reads what is written"
			l.lastErr.Store(&stuck)
			if giveUp.IsZero() && l.closing() {
				giveUp = time.Now().Add(closeWait / 4)
			}
			if !l.leaving() && (giveUp.IsZero() || time.Now().Before(giveUp)) {
				continue
			}
		}
		if err != nil {
			l.fail(batch, err)
			return
		}
	}
}

// leaving reports whether the sink in use is to be given up.
func (l *Log) leaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next != nil || l.off
}

// writeSome writes; to a stream for a limited time.
func (l *Log) writeSome(b []byte) (int, error) {
	slice := writeSlice
	if l.closing() {
		slice = closeWait / 8
	}
	return l.sink.write(b, slice)
}

func (l *Log) closing() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// fail counts lines that could not be written, and pauses so that a full disk
// costs little.
func (l *Log) fail(rest []byte, err error) {
	l.failed.Add(countLines(rest))
	text := err.Error()
	l.lastErr.Store(&text)
	t := time.NewTimer(errorPause)
	defer t.Stop()
	select {
	case <-l.done:
	case <-t.C:
	}
}

func countLines(b []byte) int64 { return int64(bytes.Count(b, []byte{'\n'})) }

// tell is the goroutine that tells of lost lines. It is not the writer, who may
// be stuck.
func (l *Log) tell() {
	defer l.stopped.Done()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var toldDropped, toldFailed int64
	var last time.Time
	for closing := false; !closing; {
		select {
		case <-l.done:
			closing = true
		case <-ticker.C:
		}
		dropped, failed := l.dropped.Load(), l.failed.Load()
		if dropped == toldDropped && failed == toldFailed || !closing && time.Since(last) < tellEvery {
			continue
		}
		attrs := []any{"dropped", dropped - toldDropped, "failed", failed - toldFailed}
		if because := l.lastErr.Swap(nil); because != nil {
			attrs = append(attrs, "because", *because)
		} else {
			attrs = append(attrs, "because", "it cannot be written as fast as requests come")
		}
		l.log.Warn("lines of the access log are lost; requests are not held up", attrs...)
		toldDropped, toldFailed, last = dropped, failed, time.Now()
	}
}

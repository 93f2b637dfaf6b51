package pool

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Wait.
var (
	ErrQueueFull    = errors.New("the queue is full")
	ErrQueueTimeout = errors.New("the time to wait in the queue has passed")
)

// goneEvery is how often a waiting request asks whether its client is there.
const goneEvery = 500 * time.Millisecond

// queue lets requests wait for a backend below its limit, first come first
// served. Nothing of it is touched by requests while no one waits, but for one
// atomic load.
//
// A waiter looks for a backend when it is woken, and no place may stay free
// while somebody waits who could have it. So each place that becomes free wakes
// the first waiter that has no wake-up yet; and whoever has looked, in vain (it
// may be bound to another backend) or not, wakes the one behind it if there
// still is a free place. A newcomer looks at once unless others are about to.
type queue struct {
	waiting atomic.Int64
	enabled atomic.Bool

	mu          sync.Mutex
	first, last *Waiter
	active      int // waiters that have a wake-up or are looking
	size        int
	timeout     time.Duration
}

// Waiter is a place in a pool's queue.
type Waiter struct {
	ready      chan struct{} // holds a wake-up
	deadline   time.Time
	prev, next *Waiter
	state      waiterState // guarded by the queue's lock
	again      bool        // a place became free while it was looking
}

type waiterState uint8

const (
	waiterAsleep  waiterState = iota
	waiterWoken               // ready holds a wake-up
	waiterLooking             // between a wake-up and the next Wait or Leave
)

func (q *queue) configure(size int, timeout time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size, q.timeout = size, timeout
	q.enabled.Store(size > 0)
}

// Queues reports whether the pool lets requests wait.
func (p *Pool) Queues() bool { return p.queue.enabled.Load() }

// Crowded reports whether requests wait, so that a new one must not overtake.
func (p *Pool) Crowded() bool { return p.queue.waiting.Load() > 0 }

// QueueTimeout is how long a request may wait.
func (p *Pool) QueueTimeout() time.Duration {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	return p.queue.timeout
}

// Enqueue takes a place in the queue. If look is true the caller looks for a
// backend again at once, so that one that became free in between is not missed.
// It then calls Wait, and looks when that returns nil, until it has found one or
// gives up; Leave must follow in any case.
func (p *Pool) Enqueue() (w *Waiter, look bool, err error) {
	q := &p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.Load() >= int64(q.size) {
		return nil, false, ErrQueueFull
	}
	w = &Waiter{ready: make(chan struct{}, 1), deadline: time.Now().Add(q.timeout), prev: q.last}
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.waiting.Add(1)
	// Those who are active come first, and pass on what they leave.
	if q.active == 0 {
		q.active++
		w.state = waiterLooking
	}
	return w, w.state == waiterLooking, nil
}

// Wait returns nil when it is worth looking for a backend, ErrQueueTimeout when
// the time is over, or the error of gone, which is asked twice a second.
func (p *Pool) Wait(w *Waiter, gone func() error) error {
	p.lookedInVain(w)
	for {
		left := time.Until(w.deadline)
		if left <= 0 {
			return ErrQueueTimeout
		}
		t := time.NewTimer(min(left, goneEvery))
		select {
		case <-w.ready:
			t.Stop()
			p.queue.look(w)
			return nil
		case <-t.C:
			if err := gone(); err != nil {
				return err
			}
		}
	}
}

// look notes that w begins to look.
func (q *queue) look(w *Waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.state = waiterLooking
}

// lookedInVain puts w to sleep again and lets the next one look.
func (p *Pool) lookedInVain(w *Waiter) {
	q := &p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.state != waiterLooking {
		return
	}
	w.state = waiterAsleep
	q.active--
	if w.again {
		w.again = false
		q.wake(w)
	}
	p.passOn(w.next)
}

// Leave gives the place up. A wake-up that came too late is passed on.
func (p *Pool) Leave(w *Waiter) {
	q := &p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	next := w.next
	q.unlink(w)
	if w.state != waiterAsleep {
		q.active--
		p.passOn(next)
	}
}

// passOn lets w, or somebody behind it, look if there is something to find. The
// queue's lock is held, so a place that becomes free meanwhile wakes for itself.
func (p *Pool) passOn(w *Waiter) {
	if w != nil && p.admission.room() && p.Snapshot().hasPlace() {
		p.queue.wakeFrom(w)
	}
}

func (q *queue) unlink(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next = nil, nil
	q.waiting.Add(-1)
}

// Release counts a request out of backend i and lets the first in the queue
// look for a backend.
func (p *Pool) Release(s *Snapshot, i int) {
	s.members[i].Backend.Release()
	p.wakeFirst()
}

// wakeFirst lets the first in the queue look, because a place has become free.
func (p *Pool) wakeFirst() {
	q := &p.queue
	if q.waiting.Load() > 0 {
		q.mu.Lock()
		q.wakeFrom(q.first)
		q.mu.Unlock()
	}
}

// wakeFrom gives a wake-up to the first waiter from w on that has none; one
// that is looking at this moment looks again. If all have one, each will look
// after this moment, and nobody needs another.
func (q *queue) wakeFrom(w *Waiter) {
	for ; w != nil; w = w.next {
		switch {
		case w.state == waiterAsleep:
			q.wake(w)
			return
		case w.state == waiterLooking && !w.again:
			w.again = true
			return
		}
	}
}

// wake wakes a waiter that is asleep.
func (q *queue) wake(w *Waiter) {
	w.state = waiterWoken
	q.active++
	w.ready <- struct{}{}
}

// wakeAll lets everybody look: the membership has changed.
func (q *queue) wakeAll() {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for w := q.first; w != nil; w = w.next {
		switch w.state {
		case waiterAsleep:
			q.wake(w)
		case waiterLooking:
			w.again = true
		}
	}
}

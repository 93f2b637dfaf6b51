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

// queue lets requests wait for a backend below its limit, first come first
// served. Nothing of it is touched by requests while no one waits, but for one
// atomic load.
type queue struct {
	waiting atomic.Int64
	enabled atomic.Bool

	mu      sync.Mutex
	waiters []*Waiter
	size    int
	timeout time.Duration
}

// Waiter is a place in a pool's queue.
type Waiter struct {
	ready    chan struct{}
	deadline time.Time
}

func (q *queue) configure(size int, timeout time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size, q.timeout = size, timeout
	q.enabled.Store(size > 0)
}

// Crowded reports whether requests wait, so that a new one must not overtake.
func (p *Pool) Crowded() bool { return p.queue.waiting.Load() > 0 }

// QueueTimeout is how long a request may wait.
func (p *Pool) QueueTimeout() time.Duration {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	return p.queue.timeout
}

// Enqueue takes a place in the queue. A caller that is first looks for a backend
// again at once, so that one that became free in between is not missed, and
// then calls Wait until it found one; Leave gives the place up.
func (p *Pool) Enqueue() (w *Waiter, first bool, err error) {
	q := &p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiters) >= q.size {
		return nil, false, ErrQueueFull
	}
	w = &Waiter{ready: make(chan struct{}, 1), deadline: time.Now().Add(q.timeout)}
	q.waiters = append(q.waiters, w)
	q.waiting.Store(int64(len(q.waiters)))
	return w, len(q.waiters) == 1, nil
}

// Wait returns nil when it is worth looking for a backend, ErrQueueTimeout when
// the time is over, or the error of gone, which is asked twice a second.
func (p *Pool) Wait(w *Waiter, gone func() error) error {
	for {
		left := time.Until(w.deadline)
		if left <= 0 {
			return ErrQueueTimeout
		}
		t := time.NewTimer(min(left, 500*time.Millisecond))
		select {
		case <-w.ready:
			t.Stop()
			return nil
		case <-t.C:
			if err := gone(); err != nil {
				return err
			}
		}
	}
}

// Leave gives the place up. A wake-up that came too late is passed on.
func (p *Pool) Leave(w *Waiter) {
	q := &p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, v := range q.waiters {
		if v == w {
			q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
			break
		}
	}
	q.waiting.Store(int64(len(q.waiters)))
	select {
	case <-w.ready:
		q.wakeLocked()
	default:
	}
}

// Release counts a request out of backend i and lets the first in the queue
// look for a backend.
func (p *Pool) Release(s *Snapshot, i int) {
	s.members[i].Backend.Release()
	if p.queue.waiting.Load() > 0 {
		p.queue.mu.Lock()
		p.queue.wakeLocked()
		p.queue.mu.Unlock()
	}
}

// wakeLocked wakes the first waiter that has not been woken yet.
func (q *queue) wakeLocked() {
	for _, w := range q.waiters {
		select {
		case w.ready <- struct{}{}:
			return
		default:
		}
	}
}

func (q *queue) wakeAll() {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.waiters {
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
}

// Queues reports whether the pool lets requests wait.
func (p *Pool) Queues() bool { return p.queue.enabled.Load() }

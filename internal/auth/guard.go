package auth

import (
	"runtime"
	"sync/atomic"
	"time"
)

// The bounds of verifying: how many wait, for how long, and how often they look
// whether they still have to.
const (
	maxWaiting = 64
	maxWait    = 5 * time.Second
	lookEvery  = 200 * time.Millisecond
)

// Guard bounds how many passwords are verified at a time, for all who share it:
// half of the processors stay for everything else.
type Guard struct {
	places  chan struct{}
	waiting atomic.Int32
}

// NewGuard makes a guard for the whole process.
func NewGuard() *Guard { return &Guard{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))} }

// enter waits for a place; leave gives it back. It reports false when there are
// too many, it takes too long, or gone says that it is not worth it any more.
func (g *Guard) enter(gone func() bool) bool {
	select {
	case g.places <- struct{}{}:
		return true
	default:
	}
	if g.waiting.Add(1) > maxWaiting {
		g.waiting.Add(-1)
		return false
	}
	defer g.waiting.Add(-1)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for end := time.After(maxWait); ; {
		select {
		case g.places <- struct{}{}:
			return true
		case <-end:
			return false
		case <-look.C:
			if gone() {
				return false
			}
		}
	}
}

func (g *Guard) leave() { <-g.places }

package pool

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"steelyard/balancer"
)

const (
	// retireGrace is how long a pool that nobody names any more still takes
	// requests: those that have found it, and have not chosen a backend yet.
	retireGrace = 250 * time.Millisecond
	// retireLook is how often it is asked whether it has anything left to do.
	retireLook = 50 * time.Millisecond
)

// Validate reports what Apply, or New, would refuse of o.
func (o *Options) Validate() error {
	if err := distinct(o); err != nil {
		return err
	}
	if _, err := balancer.New(o.Policy); err != nil {
		return err
	}
	if _, err := newProbe(o); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return nil
}

// Retire ends a pool that no new request can find: who waits in its queue is
// served, then all its backends drain, within its drain timeout, and it is
// closed. When ctx ends it is closed at once. It is called instead of Close.
func (p *Pool) Retire(ctx context.Context) {
	defer p.Close()
	if !pause(ctx, retireGrace) {
		return
	}
	for p.queue.waiting.Load() > 0 { // each waits no longer than the queue's timeout
		if !pause(ctx, retireLook) {
			return
		}
	}
	err := p.command(func(w *writer) error {
		o := w.opts
		o.Backends, o.Sources, o.Sticky = nil, nil, nil
		o.Log = slog.New(slog.DiscardHandler) // that nobody is left is what is wanted
		return w.apply(o)
	})
	for left := 1; err == nil && left > 0 && pause(ctx, retireLook); {
		err = p.command(func(w *writer) error {
			w.forget(time.Now())
			left = len(w.endpoints)
			return nil
		})
	}
}

// pause waits, and reports false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

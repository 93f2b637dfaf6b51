package app

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"sync"
	"time"

	"steelyard/config"
)

// verdict is what is thought of a reload.
type verdict uint8

const (
	verdictOpen verdict = iota // too early to say
	verdictKeep
	verdictUndo
)

// judge compares the responses of the time before a reload with those since. ended
// says that the window is over; before that, a reload is undone only if it is
// clear already: with so few requests, some errors are chance. A reload without
// a before to compare with, such as one of an outage that nobody called, is kept.
func judge(o *config.Rollback, before, since counts, ended bool) (v verdict, why string) {
	enough := int64(o.MinRequests)
	if before.requests < enough {
		return verdictKeep, fmt.Sprintf("there were only %d responses in the window before, which is too few to compare with (min_requests: %d)", before.requests, enough)
	}
	if since.requests < enough {
		if ended {
			return verdictKeep, fmt.Sprintf("there were only %d responses in the window, which is too few to judge (min_requests: %d)", since.requests, enough)
		}
		return verdictOpen, ""
	}
	was, is := share(before), share(since)
	margin := 0.0
	if !ended { // three standard deviations of a share of so many
		margin = 3 * math.Sqrt(is*(1-is)/float64(since.requests))
	}
	switch {
	case is-margin > was+o.Errors:
		return verdictUndo, fmt.Sprintf("%.1f%% of %d responses were errors (5xx), %.1f%% before; allowed: %.1f%% more",
			100*is, since.requests, 100*was, 100*o.Errors)
	case ended:
		return verdictKeep, ""
	}
	return verdictOpen, ""
}

func share(c counts) float64 { return float64(c.errors) / float64(c.requests) }

// trial is the time after a reload in which it may be undone.
type trial struct {
	good   *config.Config // what to go back to
	before counts         // of the window before
	at     time.Time      // when that ended
	start  counts         // ever counted when the trial began
	ends   time.Time
}

// looksPerWindow is how often a window is looked at.
const looksPerWindow = 60

// trials watches over reloads.
type trials struct {
	mu      sync.Mutex
	options *config.Rollback // nil: nothing is watched
	totals  []counts         // ever counted, at each look of the last window
	now     *trial           // nil: there is none
	cancel  context.CancelFunc
}

// watchShares counts from now on, as options say. Its caller holds reloading.
func (a *App) watchShares(options *config.Rollback) {
	t := &a.trials
	t.mu.Lock()
	defer t.mu.Unlock()
	if reflect.DeepEqual(options, t.options) {
		return
	}
	if t.cancel != nil {
		t.cancel()
	}
	t.options, t.totals, t.now, t.cancel = options, nil, nil, nil
	if options == nil {
		return
	}
	var ctx context.Context
	ctx, t.cancel = context.WithCancel(a.life)
	t.totals = append(t.totals, a.tally.total())
	a.tasks.Go(func() {
		ticker := time.NewTicker(options.Window / looksPerWindow)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				if undo, why := t.look(now, a.tally.total()); undo != nil {
					a.undo(undo, why)
				}
			}
		}
	})
}

// look adds a total, and returns the trial that is to end with a rollback.
func (t *trials) look(now time.Time, total counts) (undo *trial, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.totals) > looksPerWindow {
		t.totals = append(t.totals[:0], t.totals[1:]...)
	}
	t.totals = append(t.totals, total)
	if t.now == nil || t.options == nil {
		return nil, ""
	}
	v, why := judge(t.options, t.now.before, total.minus(t.now.start), !now.Before(t.now.ends))
	switch v {
	case verdictUndo:
		return t.now, why
	case verdictKeep:
		t.now = nil
		if why == "" {
			why = "the share of errors has not risen"
		}
		slog.Info("the reload is kept", "because", why)
	}
	return nil, ""
}

// before is what was counted in the window up to a total.
func (t *trials) before(total counts) counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.totals) == 0 {
		return counts{}
	}
	return total.minus(t.totals[0])
}

// begin puts a reload on trial. One that comes while another is on trial is
// measured by what was before both, unless that is long ago: what it replaces
// may be the mistake that it is to mend.
func (t *trials) begin(good *config.Config, before, start counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.options == nil {
		return
	}
	now := time.Now()
	next := &trial{good: good, before: before, at: now, start: start, ends: now.Add(t.options.Window)}
	if o := t.now; o != nil && now.Sub(o.at) < 2*t.options.Window {
		next.good, next.before, next.at = o.good, o.before, o.at
	}
	t.now = next
}

// drop ends a trial, and reports whether it was still going on.
func (t *trials) drop(one *trial) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil || t.now != one {
		return false
	}
	t.now = nil
	return true
}

// undo goes back to the configuration before a reload, unless there was another
// one meanwhile.
func (a *App) undo(t *trial, why string) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if !a.trials.drop(t) {
		return
	}
	slog.Error("going back to the configuration before the reload; correct the file", "file", a.file, "because", why)
	if err := a.replace(t.good, why); err != nil {
		slog.Error("the configuration before the reload cannot be put into force again", "error", err)
	}
}

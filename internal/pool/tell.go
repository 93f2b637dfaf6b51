package pool

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"steelyard/discovery"
)

// maxTold is how many changes of backends are logged one by one; more at once
// are logged as one line for each kind.
const maxTold = 8

// transitions collects what changed in one look at the pool.
type transitions struct{ all []transition }

type transition struct {
	e        *Endpoint
	from, to verdict
}

func (t *transitions) add(e *Endpoint, from, to verdict) {
	if to == verdictUnreachable && e.hold > holdFirst || from == verdictUnreachable && to.usable() {
		return // one line for the whole time, and one at its end; see holdOff
	}
	if from == verdictNone && to.usable() || from == verdictSlow && to == verdictHealthy {
		return // what starts well, or has started, is not news
	}
	if to == verdictChecking || to == verdictEjected || !e.here && from == verdictNone {
		return // told elsewhere, or not yet anything
	}
	t.all = append(t.all, transition{e, from, to})
}

// tell logs the changes of backends.
func (w *writer) tell(t *transitions) {
	if len(t.all) <= maxTold {
		for _, c := range t.all {
			w.tellOne(c)
		}
		return
	}
	counts := map[verdict]int{}
	for _, c := range t.all {
		counts[c.to]++
	}
	for to, n := range counts {
		w.log.Log(w.ctx, levelOf(to), "backends are "+to.String(), "backends", n)
	}
}

func levelOf(v verdict) slog.Level {
	if v.usable() || v.ordered() {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func (w *writer) tellOne(c transition) {
	attrs := []any{"backend", c.e.Address, "was", c.from.String()}
	if text := c.e.explain(); text != "" {
		attrs = append(attrs, "because", text)
	}
	if d := c.e.drain; d != nil && !d.until.IsZero() {
		attrs = append(attrs, "until", d.until.Format(time.TimeOnly))
	}
	w.log.Log(w.ctx, levelOf(c.to), "backend is "+c.to.String(), attrs...)
}

// explain says for people why a backend is what it is; "" when it is healthy.
func (e *Endpoint) explain() string {
	v := e.verdict
	if v.ordered() {
		switch {
		case e.disabled:
			return "disabled by the operator"
		case !e.leftAt.IsZero():
			return "it is not named any more"
		case e.drain != nil:
			return "drained by the operator"
		}
		return e.reason
	}
	switch v {
	case verdictFailing:
		return e.reason
	case verdictUnhealthy:
		if last, ok := e.checked.Last(); ok {
			return last.Err
		}
	case verdictEjected:
		return e.ejectedFor
	case verdictUnreachable:
		return "connections to it fail"
	case verdictChecking:
		return "its first check has not ended"
	}
	if e.held && e.rejected == "" {
		return ""
	}
	if e.rejected != "" {
		return "would be ejected (" + e.rejected + "), but the pool cannot spare it"
	}
	return ""
}

// membersChange counts who came and went since it was last told.
type membersChange struct{ added, removed int }

// tellMembers logs a change of membership, once the pool has started.
func (w *writer) tellMembers() {
	c := w.membersLog
	w.membersLog = membersChange{}
	if w.isReady && (c.added > 0 || c.removed > 0) {
		w.log.Info("members changed", "added", c.added, "removed", c.removed, "members", w.roster.pickable)
	}
}

// tellFailOpen logs when a pool begins and ceases to use backends of which none
// is healthy.
func (w *writer) tellFailOpen(s *Snapshot, now time.Time) {
	switch {
	case s.FailOpen && w.failOpen.IsZero():
		w.failOpen = now
		w.pool.Stats.FailOpens.Add(1)
		w.log.Warn("no backend is healthy; all are used rather than none (when_all_unhealthy: use_all)", "because", w.why())
	case !s.FailOpen && !w.failOpen.IsZero() && w.someReached():
		w.log.Info("some backend is healthy again", "after", now.Sub(w.failOpen).Round(time.Millisecond))
		w.failOpen = time.Time{}
	}
}

// someReached reports that a backend is usable and not merely due to be tried.
func (w *writer) someReached() bool {
	for _, e := range w.roster.Endpoints {
		if e.verdict.usable() && !e.failing.Load() {
			return true
		}
	}
	return false
}

// maxWhy bounds how many backends an explanation names.
const maxWhy = 3

// why says why no backend of the pool is healthy.
func (w *writer) why() string {
	var parts []string
	for _, f := range w.feeds {
		parts = append(parts, f.complaint()...)
	}
	named := 0
	for i, e := range w.roster.Endpoints[:w.roster.pickable] {
		if w.members[i].Weight == 0 {
			continue
		}
		if named++; named <= maxWhy {
			parts = append(parts, e.Address+" is "+e.verdict.String()+brackets(e.explain()))
		}
	}
	switch {
	case named == 0 && w.roster.pickable > 0:
		parts = append([]string{"every backend has weight 0"}, parts...)
	case named == 0:
		parts = append([]string{"the pool has no backends"}, parts...)
	case named > maxWhy:
		parts = append(parts, fmt.Sprintf("and %d more", named-maxWhy))
	}
	return strings.Join(parts, "; ")
}

// complaint says what a source has to do with a pool's emptiness.
func (f *feed) complaint() []string {
	switch {
	case f.err != nil:
		return []string{f.err.Error()}
	case !f.answered:
		return []string{f.name + " has not answered yet"}
	case len(f.members) == 0:
		if x, ok := f.Source.(discovery.Explainer); ok {
			if text := x.Explain(); text != "" {
				return []string{text}
			}
		}
		return []string{f.name + " names no members"}
	}
	return nil
}

func brackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

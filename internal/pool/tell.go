package pool

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"steelyard/discovery"
)

// Of each kind of line about a backend, maxTold are logged in tellEvery, and
// then how many more there were: ten thousand backends that fail together, each
// at its own time, are one event and not ten thousand.
const (
	maxTold   = 20
	tellEvery = 10 * time.Second
)

// telling counts the lines about backends since it began.
type telling struct {
	since  time.Time
	counts map[string]told
}

type told struct {
	level slog.Level
	n     int
}

// mayTell counts a line, and reports whether it is to be logged.
func (w *writer) mayTell(level slog.Level, text string) bool {
	t := &w.telling
	if len(t.counts) == 0 {
		t.counts, t.since = map[string]told{}, time.Now()
	}
	n := t.counts[text].n + 1
	t.counts[text] = told{level, n}
	return n <= maxTold
}

// tellRest logs how many lines were left out, when it is time.
func (w *writer) tellRest(now time.Time) {
	t := &w.telling
	if len(t.counts) == 0 || now.Sub(t.since) < tellEvery {
		return
	}
	for text, c := range t.counts {
		if c.n > maxTold {
			w.log.Log(w.ctx, c.level, text+" (and more of them)", "backends", c.n-maxTold, "within", tellEvery)
		}
	}
	clear(t.counts)
}

// tellVerdict logs that a backend has become something else.
func (w *writer) tellVerdict(e *Endpoint, from verdict) {
	to := e.verdict
	switch {
	case to == verdictUnreachable && (e.quiet || e.hold > holdFirst), from == verdictUnreachable && to.usable():
		return // one line for the whole time, and one at its end; see holdOff
	case (from == verdictNone || from == verdictChecking && e.early) && to.usable(), from == verdictSlow && to == verdictHealthy:
		return // what starts well, or has started, is not news
	case to == verdictChecking, to == verdictEjected, !e.here && from == verdictNone:
		return // told elsewhere, or not yet anything
	}
	level := slog.LevelWarn
	if to.usable() || to.ordered() {
		level = slog.LevelInfo
	}
	text := "backend is " + to.String()
	if !w.mayTell(level, text) {
		return
	}
	attrs := []any{"backend", e.Address, "was", from.String()}
	if because := e.explain(); because != "" {
		attrs = append(attrs, "because", because)
	}
	if d := e.drain; d != nil && !d.until.IsZero() {
		attrs = append(attrs, "until", d.until.Format(time.TimeOnly))
	}
	w.log.Log(w.ctx, level, text, attrs...)
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
	if e.lingers {
		return "it is not named any more; it serves until a first check of those who are has ended"
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
// is healthy. While it starts, some have not been checked yet and no requests
// come: getReady has it told if it is still so then.
func (w *writer) tellFailOpen(s *Snapshot, now time.Time) {
	switch {
	case !w.isReady:
	case s.FailOpen && w.failOpen.IsZero():
		w.failOpen = now
		w.pool.Stats.FailOpens.Add(1)
		text := "no backend is healthy; all are used rather than none (when_all_unhealthy: use_all)"
		if w.opts.Reject {
			text = "no backend is healthy; those are tried that could not be connected to a moment ago"
		}
		w.log.Warn(text, "because", w.why())
	case s.FailOpen || w.failOpen.IsZero():
	case s.why != "": // worse than before; see tellNobody
		w.failOpen = time.Time{}
	case w.someReached():
		w.log.Info("some backend is healthy again", "after", now.Sub(w.failOpen).Round(time.Millisecond))
		w.failOpen = time.Time{}
	}
}

// tellNobody logs when a pool begins and ceases to have no backend at all that
// could be used. While it starts, whoever waits for it tells.
func (w *writer) tellNobody(s *Snapshot) {
	nobody := s.why != ""
	if nobody == w.nobody {
		return
	}
	w.nobody = nobody
	switch {
	case !w.isReady:
	case nobody:
		w.log.Warn("no backend can be used; requests are answered with an error", "because", s.why)
	default:
		w.log.Info("some backend can be used again")
	}
}

// someReached reports that a backend is usable and not merely due to be tried
// after a hold-off. A dead pool that is tried now and then is one event.
func (w *writer) someReached() bool {
	for _, e := range w.roster.Endpoints {
		if e.verdict.usable() && e.hold == 0 {
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

package healthcheck

import (
	"math"
	"time"
)

// history is a ring of the last HistorySize results in a compact form; it grows
// as results come. Times are durations since a base that the caller keeps.
type history struct {
	entries []entry
	next    int // where the next result goes once the ring is full
}

type entry struct {
	at      time.Duration
	err     string // "" if the check has passed
	latency uint32 // µs
	status  int32
}

func (h *history) add(at, latency time.Duration, status int, err string) {
	// A backend that is down says the same every time: one string will do.
	if last := h.last(); last != nil && last.err == err {
		err = last.err
	}
	e := entry{at: at, err: err, latency: uint32(min(latency.Microseconds(), math.MaxUint32)), status: int32(status)}
	if len(h.entries) < HistorySize {
		if len(h.entries) == cap(h.entries) {
			grown := make([]entry, len(h.entries), min(max(2*len(h.entries), 4), HistorySize))
			copy(grown, h.entries)
			h.entries = grown
		}
		h.entries = append(h.entries, e)
		return
	}
	h.entries[h.next] = e
	h.next = (h.next + 1) % HistorySize
}

// last is the newest entry, or nil.
func (h *history) last() *entry {
	n := len(h.entries)
	if n == 0 {
		return nil
	}
	return &h.entries[(h.next+n-1)%n]
}

// results lists what is kept, oldest first.
func (h *history) results(base time.Time) []Result {
	all := make([]Result, 0, len(h.entries))
	for i := range h.entries {
		all = append(all, h.entries[(h.next+i)%len(h.entries)].result(base))
	}
	return all
}

func (e *entry) result(base time.Time) Result {
	return Result{
		At: base.Add(e.at), Latency: time.Duration(e.latency) * time.Microsecond,
		OK: e.err == "", Status: int(e.status), Err: e.err,
	}
}

// clone is a copy that shares nothing with h, its times moved to another base.
func (h *history) clone(move time.Duration) history {
	c := history{entries: make([]entry, len(h.entries), cap(h.entries)), next: h.next}
	copy(c.entries, h.entries)
	for i := range c.entries {
		c.entries[i].at += move
	}
	return c
}

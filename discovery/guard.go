package discovery

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	// guardWindow is what "at once" means. A registry that loses contact with
	// its nodes tells of it in several answers, one after the other.
	guardWindow = 5 * time.Second
	// maxHeldMore is how many members may be held beyond the size of the pool
	// when the alarm began. A source that names other members in every answer
	// would fill memory otherwise; the ones held longest leave first.
	maxHeldMore = 10_000
)

// Guard keeps a source from emptying a pool at once: when more than a share of
// the serving members go missing, or turn Failing, within 5 s, they are held,
// also those that were let go earlier in these 5 s. They stay until they are
// back, were dropped by a check of our own, were released by an operator, or
// the timeout has passed; meanwhile whoever else would leave is held too.
// Maintenance (Draining) is meant, so it is never held.
//
// The zero value is ready; there is one per source. It starts nothing and is
// not safe for concurrent use: the pool's writer calls it and passes the time.
type Guard struct {
	// Name is what Alarm calls the source; "" is "the source".
	Name string

	answer  []Member
	states  map[string]State // of answer, the first of each address; nil before the first
	serving int              // in answer

	// lost are the removals of the last 5 s; while alarm is on, the held.
	lost map[string]Held
	// peaks are the sizes of the serving membership within the window: largest
	// first, each with the moment it ended. One that a larger one outlived is
	// not kept, so there are at most as many as the largest has members.
	peaks []peak

	alarm           bool
	began, deadline time.Time
	baseline        int // when the alarm began

	members []Member // answer plus held; nil when it must be built again
	held    []Held   // in order; nil when it must be built again
}

// Held is a member that stays although the source has removed it.
type Held struct {
	Member Member    // as the source named it before
	Since  time.Time // of its removal, which may be before the alarm
	Gone   bool      // missing from the answer, else turned Failing
}

type peak struct {
	size  int
	until time.Time
}

// Set takes a new answer of the source, which belongs to the guard from now on,
// and the options, which may differ from those before.
func (g *Guard) Set(now time.Time, o GuardOptions, answer []Member) {
	g.Tick(now)
	states, serving := index(answer)
	removed := 0
	if g.states != nil {
		g.forget(now)
		removed = g.compare(now, states)
	}
	g.answer, g.states, g.serving = answer, states, serving
	g.changed()

	switch {
	case o.MaxRemoval >= 1:
		g.accept()
	case g.alarm:
		g.deadline = g.began.Add(o.Timeout)
		g.bound()
		if len(g.lost) == 0 || !now.Before(g.deadline) {
			g.accept()
		}
	case removed > 0 && g.exceeds(o.MaxRemoval):
		g.alarm, g.began, g.deadline = true, now, now.Add(o.Timeout)
		g.baseline = g.peaks[0].size
		g.bound()
	}
}

// index returns the state of each address, where the first wins, and how many serve.
func index(answer []Member) (map[string]State, int) {
	states, serving := make(map[string]State, len(answer)), 0
	for i := range answer {
		if _, twice := states[answer[i].Address]; twice {
			continue
		}
		states[answer[i].Address] = answer[i].State
		if answer[i].State == Serving {
			serving++
		}
	}
	return states, serving
}

// forget notes how large the membership was until now, and drops what has
// left the window.
func (g *Guard) forget(now time.Time) {
	for len(g.peaks) > 0 && g.peaks[len(g.peaks)-1].size <= g.serving {
		g.peaks = g.peaks[:len(g.peaks)-1]
	}
	g.peaks = append(g.peaks, peak{g.serving, now})
	old := 0
	for now.Sub(g.peaks[old].until) > guardWindow { // The last one ended now.
		old++
	}
	g.peaks = slices.Delete(g.peaks, 0, old)
	if g.alarm {
		return
	}
	for address, h := range g.lost {
		if now.Sub(h.Since) > guardWindow {
			delete(g.lost, address)
		}
	}
}

// compare brings lost up to the new answer and returns how many of those that
// served until now are removed by it.
func (g *Guard) compare(now time.Time, states map[string]State) (removed int) {
	for address, h := range g.lost {
		switch state, there := states[address]; {
		case there && state != Failing:
			delete(g.lost, address)
		case h.Gone == there:
			h.Gone = !there
			g.lost[address] = h
		}
	}
	for _, m := range g.answer {
		if m.State != Serving || g.states[m.Address] != Serving {
			continue
		}
		state, there := states[m.Address]
		if there && state != Failing {
			continue
		}
		if _, twice := g.lost[m.Address]; twice {
			continue
		}
		if g.lost == nil {
			g.lost = make(map[string]Held)
		}
		g.lost[m.Address] = Held{Member: m, Since: now, Gone: !there}
		removed++
	}
	return removed
}

// exceeds reports whether the removals in the window are more than the share.
func (g *Guard) exceeds(share float64) bool {
	const rounding = 1e-9 // 57 of 100 is not more than 57 %, which is 56.99… in binary.
	return float64(len(g.lost)) > share*float64(g.peaks[0].size)+rounding
}

// bound lets those held longest go when there are too many.
func (g *Guard) bound() {
	if over := len(g.lost) - g.baseline - maxHeldMore; over > 0 {
		for _, h := range g.Held()[:over] {
			delete(g.lost, h.Member.Address)
		}
		g.changed()
	}
}

// accept makes what the source says the membership, and the next baseline.
func (g *Guard) accept() (left int) {
	left = len(g.lost)
	g.alarm, g.lost, g.peaks = false, nil, nil
	g.changed()
	return left
}

func (g *Guard) changed() { g.members, g.held = nil, nil }

// Members is the answer in its order, with those who are held in the state they
// had before. The caller must not change it; it stays as it is after a change.
func (g *Guard) Members() []Member {
	switch {
	case !g.alarm:
		return g.answer
	case g.members != nil:
		return g.members
	}
	members := make([]Member, 0, len(g.answer)+len(g.lost))
	for _, m := range g.answer {
		if h, held := g.lost[m.Address]; held {
			m = h.Member
		}
		members = append(members, m)
	}
	for _, h := range g.Held() {
		if h.Gone {
			members = append(members, h.Member)
		}
	}
	g.members = members
	return members
}

// Held lists who is held, by the time of removal. The caller must not change it.
func (g *Guard) Held() []Held {
	if !g.alarm || g.held != nil {
		return g.held
	}
	g.held = make([]Held, 0, len(g.lost))
	for _, h := range g.lost {
		g.held = append(g.held, h)
	}
	slices.SortFunc(g.held, func(a, b Held) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Member.Address, b.Member.Address))
	})
	return g.held
}

// Alarm says in a sentence what is held, and until when; on says whether
// anything is.
func (g *Guard) Alarm() (text string, deadline time.Time, on bool) {
	if !g.alarm {
		return "", time.Time{}, false
	}
	name, stay := cmp.Or(g.Name, "the source"), "they stay while their checks pass"
	if len(g.lost) == 1 {
		stay = "it stays while its checks pass"
	}
	text = fmt.Sprintf("%s would remove %d of %d members at once; %s, until %s or until released",
		name, len(g.lost), max(g.baseline, len(g.lost)), stay, g.deadline.Format(time.TimeOnly))
	return text, g.deadline, true
}

// Drop lets one who is held leave now, because a check of our own failed, and
// reports whether it was held.
func (g *Guard) Drop(address string) bool {
	if _, held := g.lost[address]; !g.alarm || !held {
		return false
	}
	delete(g.lost, address)
	g.changed()
	if len(g.lost) == 0 {
		g.accept()
	}
	return true
}

// Release lets all who are held leave now, and returns how many they were.
func (g *Guard) Release() int {
	if !g.alarm {
		return 0
	}
	return g.accept()
}

// Tick reports whether the timeout has passed and those who were held have left.
func (g *Guard) Tick(now time.Time) bool {
	if !g.alarm || now.Before(g.deadline) {
		return false
	}
	g.accept()
	return true
}

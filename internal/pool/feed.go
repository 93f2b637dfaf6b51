package pool

import (
	"context"
	"log/slog"
	"time"

	"steelyard/discovery"
)

// feed is a source at work. All but the source's own goroutine belongs to the
// writer.
type feed struct {
	SourceOptions
	name   string // the source's
	cancel context.CancelFunc
	gone   bool // its answers do not count any more

	guard   discovery.Guard
	members []discovery.Member // what the guard lets count
	held    map[string]struct{}
	alarmed bool

	answered bool
	first    bool      // the last answer was the first, and is not worked in yet
	updated  time.Time // of the last answer
	err      error     // since the last answer
	errSince time.Time
}

// applySources starts and ends sources; one whose key is the same goes on. It
// returns the members of those that end.
func (w *writer) applySources(sources []SourceOptions) (left []claimed) {
	before := map[string]*feed{}
	for _, f := range w.feeds {
		before[f.Key] = f
	}
	w.feeds = nil
	for _, s := range sources {
		f, known := before[s.Key]
		if known {
			delete(before, s.Key)
			f.Guard = s.Guard
		} else {
			f = w.startFeed(s)
		}
		w.feeds = append(w.feeds, f)
	}
	for _, f := range before {
		f.gone = true
		f.cancel()
		for i := range f.members {
			left = append(left, claimed{f.members[i].Address, false, w.claimOf(f, &f.members[i])})
		}
	}
	return left
}

func (w *writer) startFeed(s SourceOptions) *feed {
	f := &feed{SourceOptions: s, name: s.Source.String()}
	f.guard.Name = f.name
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(w.ctx)
	w.pool.stopped.Add(1)
	go func() {
		defer w.pool.stopped.Done()
		s.Source.Run(ctx, &sink{pool: w.pool, feed: f})
	}()
	return f
}

// sink hands what a source says to the writer.
type sink struct {
	pool *Pool
	feed *feed
}

// Set implements discovery.Sink.
func (s *sink) Set(members []discovery.Member) {
	s.send(func(w *writer) { w.answered(s.feed, members) })
}

// Fail implements discovery.Sink.
func (s *sink) Fail(err error) {
	s.send(func(w *writer) { w.unanswered(s.feed, err) })
}

func (s *sink) send(f func(*writer)) {
	select {
	case s.pool.commands <- func(w *writer) {
		if !s.feed.gone {
			f(w)
		}
	}:
	case <-s.pool.done:
	}
}

// answered takes a membership from a source.
func (w *writer) answered(f *feed, members []discovery.Member) {
	now := time.Now()
	if f.err != nil && len(members) == 0 && len(f.members) > 0 {
		w.log.Warn("source names nobody any more", "source", f.name, "members", len(f.members))
	} else if f.err != nil {
		w.log.Info("source answers again", "source", f.name, "members", len(members), "after", now.Sub(f.errSince).Round(time.Millisecond))
	} else if !f.answered {
		w.log.Info("source answers", "source", f.name, "members", len(members))
	}
	f.first = f.first || !f.answered
	f.answered, f.updated, f.err = true, now, nil
	f.guard.Set(now, f.Guard, members)
	w.moved = true
	w.handedOver()
}

// unanswered notes that a source cannot answer. Its members stay.
func (w *writer) unanswered(f *feed, err error) {
	if f.err == nil {
		f.errSince = time.Now()
	}
	f.err = err
	text := "source cannot answer; its members stay as they are"
	if len(f.guard.Members()) == 0 {
		text = "source names nobody"
	}
	w.log.Warn(text, "source", f.name, "members", len(f.members), "error", err)
	w.stale = true
}

// refresh asks the guard who counts.
func (f *feed) refresh() {
	f.members = f.guard.Members()
	f.held = nil
	if held := f.guard.Held(); len(held) > 0 {
		f.held = make(map[string]struct{}, len(held))
		for _, h := range held {
			f.held[h.Member.Address] = struct{}{}
		}
	}
}

// heldPatience is how long a member that the guard holds, and no check looks
// after, may refuse connections before its source is believed.
const heldPatience = 5 * time.Second

// contradicted reports that what we see ourselves speaks for the source that
// does not name the backend any more.
func (e *Endpoint) contradicted(now time.Time) bool {
	if e.checked.Check != nil {
		return !e.passes()
	}
	return e.failing.Load() && e.hold > 0 && now.Sub(e.heldSince) >= heldPatience
}

// dropHeld lets go of held members that are dead: then the source was right.
func (w *writer) dropHeld(now time.Time) {
	for _, f := range w.feeds {
		for address := range f.held {
			e := w.endpoints[address]
			if e == nil || !e.kept || !e.contradicted(now) || !f.guard.Drop(address) {
				continue
			}
			w.moved = true
			if w.mayTell(slog.LevelInfo, "a held backend does not answer either; it leaves") {
				w.log.Info("a held backend does not answer either; it leaves", "backend", address, "source", f.name)
			}
		}
		w.tellAlarm(f)
	}
}

// tellAlarm logs the beginning and the end of a guard's alarm.
func (w *writer) tellAlarm(f *feed) {
	text, until, on := f.guard.Alarm()
	if on && !f.alarmed {
		w.log.Warn("held a removal; release it by the admin API if it is meant", "source", f.name, "alarm", text, "held", len(f.guard.Held()), "until", until.Format(time.TimeOnly))
	}
	if !on && f.alarmed {
		w.log.Info("no removal is held any more", "source", f.name)
	}
	f.alarmed = on
}

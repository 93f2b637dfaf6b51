package proxy

import (
	"log/slog"
	"time"
)

// acceptTellEvery is how often it is told, at most, that connections cannot be
// accepted.
const acceptTellEvery = time.Minute

// acceptTrouble is what the accepting goroutine remembers of not being able to,
// as when there is no file descriptor left.
type acceptTrouble struct {
	told    time.Time // when that was told last; zero: never
	ongoing bool
	since   time.Time
}

// cannotAccept notes that a connection could not be accepted, and tells it.
func (l *Listener) cannotAccept(err error) {
	t, now := &l.trouble, time.Now()
	if !t.ongoing {
		t.ongoing, t.since = true, now
	}
	if t.told.IsZero() || now.Sub(t.told) >= acceptTellEvery {
		t.told = now
		slog.Error("cannot accept connections; serving those there are. If files are short: raise LimitNOFILE (systemd) or ulimit -n",
			"listener", l.Name(), "error", err)
	}
}

// accepts notes that a connection was accepted.
func (l *Listener) accepts() {
	if t := &l.trouble; t.ongoing {
		t.ongoing = false
		if t.told.Equal(t.since) || t.told.After(t.since) {
			slog.Info("accepting connections again", "listener", l.Name(), "after", time.Since(t.since).Round(time.Millisecond).String())
		}
	}
}

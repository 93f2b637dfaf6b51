package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchSettle is how long nothing must have happened to the file before it is
	// read, so that a writer has time to end; watchMost is the longest that one
	// who does not end is waited for.
	watchSettle = 100 * time.Millisecond
	watchMost   = 2 * time.Second
	// watchPoll is how often the file is looked at without having been told of a
	// change: network file systems do not tell, and links may lead anywhere.
	watchPoll = 5 * time.Second
)

// watchFile reloads when the file changes, until what it returns is called or
// Steelyard stops. Its folder is watched, because editors and Kubernetes put
// another file in the place of the one there is; of what happens there, only the
// file counts.
func (a *App) watchFile() (stop func()) {
	ctx, cancel := context.WithCancel(a.life)
	w := &fileWatch{path: a.file, reload: func() { _ = a.Reload() }} // which tells what is wrong
	w.seen = a.read                                                  // it may have changed since it was read
	a.tasks.Go(func() { w.run(ctx) })
	return cancel // not waited for: it may be the watch that asks for this reload
}

// fileWatch is the watch of one file. All of it belongs to run.
type fileWatch struct {
	path   string
	reload func()
	seen   os.FileInfo // when it was read last; nil: it was not there
}

func (w *fileWatch) run(ctx context.Context) {
	var events chan fsnotify.Event
	var errs chan error
	if watcher, err := fsnotify.NewWatcher(); err != nil {
		slog.Warn("changes of the configuration cannot be watched; it is looked at every few seconds", "file", w.path, "error", err)
	} else {
		defer watcher.Close()
		if err := watcher.Add(filepath.Dir(w.path)); err != nil {
			slog.Warn("changes of the configuration cannot be watched; it is looked at every few seconds", "file", w.path, "error", err)
		}
		events, errs = watcher.Events, watcher.Errors
	}
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	var first time.Time // change that was not looked at yet
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-events:
			changed = !same(look(w.path), w.seen)
		case <-errs:
			changed = true // events were lost
		case <-poll.C:
			changed = !same(look(w.path), w.seen)
		case <-due.C:
			first = time.Time{}
			w.read()
		}
		if changed {
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			due.Reset(max(0, min(watchSettle, first.Add(watchMost).Sub(now))))
		}
	}
}

// read reloads, if the file is there and is not the one that was read last. One
// that has gone is about to come back, or not missed.
func (w *fileWatch) read() {
	now := look(w.path)
	if now == nil || same(now, w.seen) {
		return
	}
	w.seen = now
	slog.Info("the configuration file has changed", "file", w.path)
	w.reload()
}

// look is what a cheap look at a file shows; nil if it is not there.
func look(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

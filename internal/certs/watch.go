package certs

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchSettle is how long nothing must have happened before files are read, so
	// that who writes several has time to end.
	watchSettle = 100 * time.Millisecond
	// watchPoll is how often files are looked at without having been told of a
	// change: network file systems do not tell, and links may lead anywhere.
	watchPoll = 5 * time.Second
	// watchAgain is how often files that cannot be used are read once more
	// although they have not changed: time may have mended them.
	watchAgain = time.Minute
)

// watch tells of changes around files: their folders are watched, because who
// exchanges a file whole puts another in its place.
type watch struct {
	watcher *fsnotify.Watcher // nil: nobody tells
	events  chan fsnotify.Event
	errs    chan error
}

func newWatch(paths []string, log *slog.Logger) *watch {
	w := &watch{}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("changes of certificates cannot be watched; they are looked at every few seconds", "error", err)
		return w
	}
	added := map[string]bool{}
	for _, p := range paths {
		dir := filepath.Dir(p)
		if added[dir] {
			continue
		}
		added[dir] = true
		if err := watcher.Add(dir); err != nil {
			log.Warn("changes in a folder of certificates cannot be watched; it is looked at every few seconds", "folder", dir, "error", err)
		}
	}
	w.watcher, w.events, w.errs = watcher, watcher.Events, watcher.Errors
	return w
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
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

// watchMost is the longest that a writer who does not end is waited for.
const watchMost = 2 * time.Second

// watchFiles looks at the files when something happens around them, and now and
// then in any case.
func (s *Store) watchFiles(ctx context.Context) {
	w := newWatch(s.paths(), s.log)
	defer w.close()
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	due := time.NewTimer(0) // they may have changed since they were read
	defer due.Stop()
	var first time.Time // of what happened and was not looked at yet
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			s.Look()
			continue
		case <-due.C:
			first = time.Time{}
			s.Look()
			continue
		case <-w.events:
		case <-w.errs: // events were lost
		}
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		due.Reset(max(0, min(watchSettle, first.Add(watchMost).Sub(now))))
	}
}

// paths are all files there are.
func (s *Store) paths() []string {
	var all []string
	for _, f := range s.o.Certificates {
		all = append(all, f.CertFile, f.KeyFile)
	}
	if s.o.ClientAuth != nil {
		all = append(all, s.o.ClientAuth.CAFile)
	}
	return all
}

package discovery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long nothing must have happened before a file is read, so
	// that a writer has time to end; maxSettle is the longest that one who does
	// not end is waited for.
	settle    = 20 * time.Millisecond
	maxSettle = 250 * time.Millisecond
	// filePoll is how often a file is looked at without having been told of a
	// change: network file systems do not tell, and inotify can be used up.
	filePoll = 5 * time.Second
	// maxFileSize is enough for 100,000 members with all their tags.
	maxFileSize = 16 << 20
)

// fileSource watches a file.
type fileSource struct {
	path   string // absolute
	decode func([]byte) ([]Member, error)
	log    *slog.Logger
	open   func() (*fsnotify.Watcher, error)

	// What follows belongs to Run.
	seen    fileState
	sum     [sha256.Size]byte // of the last good content
	known   bool              // there was one
	last    []Member          // that it said
	trouble string            // that was told since; "" if none was
}

// NewFile returns a source that watches a file, which need not be there yet.
// decode makes members of its content; it is called by one goroutine and must
// not keep data. An empty list is one that decode returns without an error; a
// file of no bytes never is, since it may be about to be written.
func NewFile(o FileOptions, decode func(data []byte) ([]Member, error), log *slog.Logger) (Source, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, &OptionError{"path", fmt.Sprintf("%q cannot be made absolute: %v; give an absolute path", o.Path, err)}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &fileSource{path: path, decode: decode, log: log, open: fsnotify.NewWatcher}, nil
}

// String names the source: "file /etc/steelyard/backends.yaml".
func (s *fileSource) String() string { return "file " + s.path }

// Run watches until ctx ends.
func (s *fileSource) Run(ctx context.Context, sink Sink) {
	w := &fileWatch{path: s.path, log: s.log, open: s.open}
	defer w.close()
	poll := time.NewTicker(filePoll)
	defer poll.Stop()
	due := time.NewTimer(0) // The first look is at once.
	defer due.Stop()
	var first time.Time // event that was not looked at yet
	for {
		wake := false
		select {
		case <-ctx.Done():
			return
		case event, ok := <-w.events():
			wake = ok && w.concerns(event)
			if !ok {
				w.close() // The next look opens it again.
			}
		case err, ok := <-w.errors():
			wake = true // Events were lost, perhaps ours.
			if !ok || !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.fallBack(err)
				w.close()
			}
		case <-poll.C:
			wake = w.follow() || !s.seen.same(stat(s.path))
		case <-due.C:
			first = time.Time{}
			w.follow() // Before the file is read, so that no change is missed between.
			s.look(sink)
		}
		if wake {
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			due.Reset(settleTime(first, now))
		}
	}
}

// settleTime is how long to wait for more events after one at now, when the
// first was at first.
func settleTime(first, now time.Time) time.Duration {
	return max(0, min(settle, first.Add(maxSettle).Sub(now)))
}

// look reads the file and tells what is new.
func (s *fileSource) look(sink Sink) {
	s.seen = stat(s.path)
	data, err := read(s.path)
	var members []Member
	if err == nil {
		sum := sha256.Sum256(data)
		if s.known && sum == s.sum && s.trouble == "" {
			return
		}
		if members, err = s.decode(data); err == nil {
			s.sum = sum
		}
	}
	if err != nil {
		if text := err.Error(); text != s.trouble {
			s.trouble = text
			sink.Fail(fmt.Errorf("%s: %w", s, err))
		}
		return
	}
	same := s.known && slices.EqualFunc(s.last, members, func(a, b Member) bool { return reflect.DeepEqual(a, b) })
	if same && s.trouble == "" {
		return
	}
	s.known, s.trouble, s.last = true, "", members
	sink.Set(slices.Clone(members))
}

// read returns what is in the file.
func read(path string) ([]byte, error) {
	// A named pipe would block when it is opened.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file; put the list into one")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, explainFile(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return nil, explainFile(err)
	case len(data) > maxFileSize:
		return nil, fmt.Errorf("is larger than %d MiB; make it smaller, or split it between several sources", maxFileSize>>20)
	case len(data) == 0:
		return nil, errors.New("is empty; if there are to be no backends, write an empty list")
	}
	return data, nil
}

// explainFile says what to do; the path is said elsewhere.
func explainFile(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("is not there: %w; write it there, or correct the path", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot be read: %w; allow the user with the ID %d to read it", err, os.Getuid())
	}
	return fmt.Errorf("cannot be read: %w; check the path and the file system", err)
}

// fileState is what a cheap look at a file shows.
type fileState struct {
	info os.FileInfo // nil if there is none
}

func stat(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info}
}

func (s fileState) same(o fileState) bool {
	if s.info == nil || o.info == nil {
		return s.info == o.info
	}
	return os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.Mode() == o.info.Mode() &&
		s.info.ModTime().Equal(o.info.ModTime())
}

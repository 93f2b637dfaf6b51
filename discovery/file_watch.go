package discovery

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// maxLinks is how many symbolic links a path may have, as in the kernel.
const maxLinks = 40

// fileWatch watches the folders in which something must happen for the content
// of a file to change: its own, those of the symbolic links on the way (as in
// Kubernetes, where ..data is exchanged), or, while a folder is missing, that in
// which it would turn up. It is used by one goroutine.
type fileWatch struct {
	path    string
	log     *slog.Logger
	open    func() (*fsnotify.Watcher, error)
	watcher *fsnotify.Watcher // nil if there is none to be had
	places  []string          // whose change matters
	folders map[string]os.FileInfo
	polling bool // it was said that there is nothing but polling
}

func (w *fileWatch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

func (w *fileWatch) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

func (w *fileWatch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // It waits for its goroutine; there is nothing to be lost.
		w.watcher = nil
	}
}

// concerns reports whether an event is of a place that matters, or of a folder
// that is watched itself.
func (w *fileWatch) concerns(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name) // In the root it begins with two slashes.
	_, folder := w.folders[name]
	return folder || slices.Contains(w.places, name)
}

// follow watches what must be watched now, and reports whether that changed.
// What it cannot watch is polled, which it says once.
func (w *fileWatch) follow() (changed bool) {
	var failed error
	if w.watcher == nil {
		watcher, err := w.open()
		if err != nil {
			w.fallBack(err)
			return false
		}
		w.watcher, w.folders = watcher, nil
	}
	w.places = trace(w.path)
	alive := w.watcher.WatchList()
	folders := make(map[string]os.FileInfo)
	for _, place := range w.places {
		folder := filepath.Dir(place)
		if _, twice := folders[folder]; twice {
			continue
		}
		info, err := os.Stat(folder)
		if err != nil {
			continue // It went away just now; its parent's event, or the next poll, tells.
		}
		folders[folder] = info
		if old := w.folders[folder]; old != nil && os.SameFile(old, info) && slices.Contains(alive, folder) {
			continue
		}
		changed = true
		_ = w.watcher.Remove(folder) // Of another folder that had the name.
		if err := w.watcher.Add(folder); err != nil {
			delete(folders, folder)
			failed = err
		}
	}
	for folder := range w.folders {
		if folders[folder] == nil {
			_ = w.watcher.Remove(folder)
		}
	}
	w.folders = folders
	if failed != nil {
		w.fallBack(failed)
	} else if w.polling {
		w.polling = false
		w.log.Info("changes of a file are noticed at once again", "source", "file "+w.path)
	}
	return changed && failed == nil
}

// fallBack says that the file is polled.
func (w *fileWatch) fallBack(err error) {
	if w.polling {
		return
	}
	w.polling = true
	if err == nil {
		err = fsnotify.ErrClosed
	}
	cure := "check the permissions of its folder"
	switch {
	case errors.Is(err, syscall.EMFILE):
		cure = "raise the sysctl fs.inotify.max_user_instances, or the limit of open files"
	case errors.Is(err, syscall.ENOSPC):
		cure = "raise the sysctl fs.inotify.max_user_watches"
	}
	w.log.Warn("cannot watch a file, so it is looked at every "+filePoll.String()+" instead; changes take that long",
		"source", "file "+w.path, "error", err.Error(), "cure", cure)
}

// trace follows an absolute path and returns the places that decide on what it
// names: each symbolic link on the way, and the file, or the first that is not
// there. All of them are free of links before their last part.
func trace(path string) (places []string) {
	current, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			current = filepath.Dir(current)
			continue
		}
		place := filepath.Join(current, part)
		info, err := os.Lstat(place)
		switch {
		case err != nil:
			return append(places, place)
		case info.Mode()&os.ModeSymlink != 0:
			places = append(places, place)
			target, err := os.Readlink(place)
			if links++; err != nil || links > maxLinks {
				return places
			}
			if filepath.IsAbs(target) {
				current = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		case info.IsDir() && len(rest) > 0:
			current = place
		default:
			return append(places, place)
		}
	}
	return places
}

package discovery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// words decodes a list of addresses; "!" is a mistake, "-" an empty list.
func words(data []byte) ([]Member, error) {
	var members []Member
	for i, word := range strings.Fields(string(data)) {
		switch word {
		case "!":
			return nil, fmt.Errorf("word %d: not an address", i+1)
		case "-":
		default:
			members = append(members, Member{Address: word, Weight: 1})
		}
	}
	return members, nil
}

// watching runs a file source until the test ends.
func watching(t *testing.T, path string) *diary {
	t.Helper()
	o := DefaultFile()
	o.Path = path
	s, err := NewFile(o, words, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	d := newDiary()
	stop := start(t, s, d)
	t.Cleanup(stop)
	return d
}

// start runs a source; stop ends it and waits.
func start(t *testing.T, s Source, d *diary) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		s.Run(ctx, d)
		close(done)
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	}
}

// write puts a whole file in its place at once.
func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path+".w", []byte(text), 0o644))
	must(t, os.Rename(path+".w", path))
}

// until waits for want and passes over what a file says that is being written:
// a writer on a busy machine may take longer than it is waited for.
func (d *diary) until(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case got := <-d.news:
			if got == want {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("was not told %q", want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// silent makes sure that nothing more is told, by a change that comes last.
func (d *diary) silent(t *testing.T, path string) {
	t.Helper()
	write(t, path+".new", "the-end")
	must(t, os.Rename(path+".new", path))
	d.next(t, "set the-end")
}

func TestFileChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, dir, path string, d *diary)
	}{
		{"written in place", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.WriteFile(path, []byte("a b c"), 0o644))
			d.until(t, "set a b c")
		}},
		{"renamed over", func(t *testing.T, dir, path string, d *diary) {
			for _, text := range []string{"b", "c", "d"} {
				write(t, path+".tmp", text)
				must(t, os.Rename(path+".tmp", path))
				d.next(t, "set "+text)
			}
		}},
		{"others in the folder", func(t *testing.T, dir, path string, d *diary) {
			for i := range 100 {
				write(t, fmt.Sprintf("%s.%d", path, i), "x")
			}
			d.silent(t, path)
		}},
		{"deleted and written again", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.Remove(path))
			d.next(t, "fail file "+path+": is not there: …; write it there")
			write(t, path, "a b")
			d.next(t, "set a b")
		}},
		{"one bad line", func(t *testing.T, dir, path string, d *diary) {
			write(t, path, "a b ! c")
			d.next(t, "fail file "+path+": word 3: not an address")
			write(t, path, "a b ! d")
			write(t, path, "a b")
			d.next(t, "set a b")
		}},
		{"truncated", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.Truncate(path, 0))
			d.next(t, "fail file "+path+": is empty")
			write(t, path, "b")
			d.next(t, "set b")
		}},
		{"an empty list", func(t *testing.T, dir, path string, d *diary) {
			write(t, path, "-")
			d.next(t, "set")
		}},
		{"partly written, then the rest", func(t *testing.T, dir, path string, d *diary) {
			f, err := os.Create(path)
			must(t, err)
			_, err = f.WriteString("b ")
			must(t, err)
			_, err = f.WriteString("c")
			must(t, err)
			must(t, f.Close())
			d.until(t, "set b c")
		}},
		{"too large", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.Truncate(path, maxFileSize+1))
			d.next(t, "fail is larger than 16 MiB")
		}},
		{"no regular file", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755))
			d.next(t, "fail ") // Missing, or a folder already.
			must(t, os.Remove(path))
			write(t, path, "b")
			d.until(t, "set b")
		}},
		{"folder goes and comes back", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.RemoveAll(dir))
			d.next(t, "fail is not there")
			must(t, os.MkdirAll(dir, 0o755))
			write(t, path, "b")
			d.next(t, "set b")
			write(t, path, "c")
			d.next(t, "set c")
		}},
		{"folder is exchanged", func(t *testing.T, dir, path string, d *diary) {
			must(t, os.Mkdir(dir+".new", 0o755))
			write(t, filepath.Join(dir+".new", "list"), "b")
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Rename(dir+".new", dir))
			d.next(t, "set b")
			write(t, path, "c")
			d.next(t, "set c")
		}},
		{"10,000 lines", func(t *testing.T, dir, path string, d *diary) {
			write(t, path, strings.ReplaceAll(counted(0, 10_000), " ", "\n"))
			d.next(t, "set"+counted(0, 10_000))
		}},
		{"permission denied", func(t *testing.T, dir, path string, d *diary) {
			if os.Getuid() == 0 {
				t.Skip("root may read everything")
			}
			must(t, os.Chmod(path, 0))
			d.next(t, fmt.Sprintf("fail cannot be read: permission denied; allow the user with the ID %d", os.Getuid()))
			must(t, os.Chmod(path, 0o600))
			d.next(t, "set a b")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "conf")
			must(t, os.Mkdir(dir, 0o755))
			path := filepath.Join(dir, "list")
			write(t, path, "a b")
			d := watching(t, path)
			d.next(t, "set a b")
			c.run(t, dir, path, d)
		})
	}
}

func TestFileFolderCreatedLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	d := watching(t, filepath.Join(dir, "list"))
	d.next(t, "fail is not there: no such file or directory; write it there, or correct the path")
	must(t, os.MkdirAll(dir, 0o755))
	write(t, filepath.Join(dir, "list"), "x")
	d.next(t, "set x")
}

// TestFileKubernetes does what a kubelet does to a volume of a ConfigMap.
func TestFileKubernetes(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, text string) {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o755))
		write(t, filepath.Join(dir, version, "list"), text)
		must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	publish("..1", "a")
	must(t, os.Symlink("..data/list", filepath.Join(dir, "list")))
	d := watching(t, filepath.Join(dir, "list"))
	d.next(t, "set a")
	publish("..2", "b")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	d.next(t, "set b")
	publish("..3", "c")
	d.next(t, "set c")
}

// TestFileLinks has links from folder to folder, each of which is exchanged.
func TestFileLinks(t *testing.T) {
	root := t.TempDir()
	link := func(target, name string) {
		must(t, os.Symlink(target, filepath.Join(root, "tmp")))
		must(t, os.Rename(filepath.Join(root, "tmp"), filepath.Join(root, name)))
	}
	for _, name := range []string{"etc", "v1", "v2", "srv"} {
		must(t, os.Mkdir(filepath.Join(root, name), 0o755))
	}
	write(t, filepath.Join(root, "srv", "list"), "a")
	write(t, filepath.Join(root, "v2", "list"), "b")
	must(t, os.Symlink("../srv/list", filepath.Join(root, "v1", "list")))
	link(filepath.Join(root, "v1"), "current")
	must(t, os.Symlink("../current/list", filepath.Join(root, "etc", "list")))

	d := watching(t, filepath.Join(root, "etc", "list"))
	d.next(t, "set a")
	write(t, filepath.Join(root, "srv", "list"), "a2")
	d.next(t, "set a2")
	link("v2", "current")
	d.next(t, "set b")
	write(t, filepath.Join(root, "v2", "list"), "b2")
	d.next(t, "set b2")
	link("nowhere", "current")
	d.next(t, "fail is not there")
	link("current", "current") // A circle.
	d.next(t, "fail cannot be read: too many levels of symbolic links")
	link("v1", "current")
	d.next(t, "set a2")
}

func TestFileChangeIsFast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "a")
	d := watching(t, path)
	d.next(t, "set a")
	var took []time.Duration
	for i := range 21 {
		text := fmt.Sprintf("m%d", i)
		write(t, path+".tmp", text)
		start := time.Now()
		must(t, os.Rename(path+".tmp", path))
		d.next(t, "set "+text)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("median %s, longest %s", took[10], took[20])
	if took[10] > 100*time.Millisecond {
		t.Errorf("a change takes %s, want less than 100ms", took[10])
	}
}

// TestFileSteadyWriter has a writer who never rests for long enough.
func TestFileSteadyWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "a")
	d := watching(t, path)
	d.next(t, "set a")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(settle / 4)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = os.WriteFile(path+".tmp", fmt.Appendf(nil, "m%d", i), 0o644)
				_ = os.Rename(path+".tmp", path)
			}
		}
	}()
	for range 3 {
		select {
		case <-d.news:
		case <-time.After(10 * time.Second):
			t.Error("nothing is told while the file keeps changing")
		}
	}
	close(stop)
	<-done
}

// TestFileLook reads without waiting, so that what is not told is seen too.
func TestFileLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	s, d := &fileSource{path: path, decode: words}, newDiary()
	for i, step := range []struct{ text, want string }{
		{"a b", "set a b"}, {"a b", ""}, {"a  b", ""}, {"a !", "fail word 2"}, {"a !", ""}, {"a b !", "fail word 3"}, {"a b", "set a b"},
		{"a b", ""}, {"", "fail is empty"}, {"", ""}, {"-", "set"}, {"-", ""}, {"a b", "set a b"},
	} {
		write(t, path, step.text)
		s.look(d)
		select {
		case got := <-d.news:
			if step.want == "" {
				t.Errorf("step %d: was told %q, want nothing", i, got)
				continue
			}
			checkEntry(t, got, step.want)
		default:
			if step.want != "" {
				t.Errorf("step %d: was told nothing, want %q", i, step.want)
			}
		}
	}
}

func TestFileSettleTime(t *testing.T) {
	first := time.Unix(1_000_000, 0)
	for after, want := range map[time.Duration]time.Duration{
		0: settle, 100 * time.Millisecond: settle, maxSettle - settle: settle, maxSettle - settle/4: settle / 4, maxSettle: 0, time.Minute: 0,
	} {
		if got := settleTime(first, first.Add(after)); got != want {
			t.Errorf("%s after the first event: waits %s, want %s", after, got, want)
		}
	}
}

// TestFilePolls has a watch that hears nothing, as on a network file system.
func TestFilePolls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"written", func() { write(t, path, "a") }},
		{"other size", func() { write(t, path, "a b") }},
		{"renamed over", func() { write(t, path+".tmp", "a c"); must(t, os.Rename(path+".tmp", path)) }},
		{"other time", func() { must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0))) }},
		{"other permissions", func() { must(t, os.Chmod(path, 0o600)) }},
		{"gone", func() { must(t, os.Remove(path)) }},
	} {
		before := stat(path)
		if !before.same(stat(path)) {
			t.Errorf("%s: differs before", c.name)
		}
		if c.change(); before.same(stat(path)) {
			t.Errorf("%s: not seen", c.name)
		}
	}
}

// TestFileFallsBackToPolling has no inotify at all, then has it again.
func TestFileFallsBackToPolling(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &fileSource{path: path, decode: words, log: slog.New(slog.NewTextHandler(&log, nil)),
			open: func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }}
		d := newDiary()
		stop := start(t, s, d)
		d.next(t, "set a")
		for _, text := range []string{"a b", "c"} {
			begin := time.Now()
			write(t, path, text)
			d.next(t, "set "+text)
			if took := time.Since(begin); took > filePoll+settle {
				t.Errorf("a change took %s", took)
			}
		}
		stop()
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "looked at every 5s instead") ||
			!strings.Contains(text, "raise the sysctl fs.inotify.max_user_instances") {
			t.Errorf("log %q", text)
		}
	})
}

func TestFileWatchRecovers(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "list")
	problem := error(syscall.EMFILE)
	w := &fileWatch{path: path, log: slog.New(slog.NewTextHandler(&log, nil)), open: func() (*fsnotify.Watcher, error) {
		if problem != nil {
			return nil, problem
		}
		return fsnotify.NewWatcher()
	}}
	defer w.close()
	if w.follow() || w.events() != nil {
		t.Error("follows without a watcher")
	}
	if problem = nil; !w.follow() || w.follow() {
		t.Error("a watch that begins is a change, and once")
	}
	if text := log.String(); !strings.Contains(text, "noticed at once again") {
		t.Errorf("log %q", text)
	}
}

// TestFileWatchSeesAnotherFolder exchanges a folder above the one of the file,
// which inotify does not tell of; the next poll sees it.
func TestFileWatchSeesAnotherFolder(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a", "conf"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "b", "conf"), 0o755))
	w := &fileWatch{path: filepath.Join(root, "a", "conf", "list"), log: slog.New(slog.DiscardHandler), open: fsnotify.NewWatcher}
	defer w.close()
	if !w.follow() || w.follow() {
		t.Error("a watch that begins is a change, and once")
	}
	must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "c")))
	must(t, os.Rename(filepath.Join(root, "b"), filepath.Join(root, "a")))
	if !w.follow() || w.follow() {
		t.Error("another folder of the same name is a change, and once")
	}
}

func TestTrace(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o755))
	must(t, os.Symlink("a/b", filepath.Join(root, "link")))
	must(t, os.Symlink("loop", filepath.Join(root, "loop")))
	must(t, os.Symlink("../../file", filepath.Join(root, "a", "b", "up")))
	write(t, filepath.Join(root, "file"), "")
	for path, want := range map[string][]string{
		"file":        {"file"},
		"a/b/list":    {"a/b/list"},
		"a/c/list":    {"a/c"},
		"link/list":   {"link", "a/b/list"},
		"link/up":     {"link", "a/b/up", "file"},
		"a/../link/x": {"link", "a/b/x"},
		"file/x":      {"file"},
	} {
		for i := range want {
			want[i] = filepath.Join(root, want[i])
		}
		if got := trace(root + "/" + path); !reflect.DeepEqual(got, want) {
			t.Errorf("trace(%q) = %q, want %q", path, got, want)
		}
	}
	if got := trace(filepath.Join(root, "loop", "x")); len(got) != maxLinks+1 {
		t.Errorf("a circle has %d places", len(got))
	}
}

func TestFileLeaksNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "a")
	s, err := NewFile(FileOptions{Path: path, Guard: DefaultFile().Guard}, words, nil)
	must(t, err)
	once := func() {
		d := newDiary()
		stop := start(t, s, d)
		stop()
	}
	once()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 200 {
		once()
	}
	settled(t, "goroutines", goroutines, runtime.NumGoroutine)
	settled(t, "open files", files, func() int { return openFiles(t) })
}

// settled waits until a count is back at what it was.
func settled(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for count() > want {
		if time.Now().After(deadline) {
			t.Fatalf("%d %s, %d before", count(), what, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

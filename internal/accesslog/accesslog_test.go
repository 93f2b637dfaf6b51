package accesslog

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 10 * time.Second

// lockedBuffer is a log that is written and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newLog(t testing.TB, to string, buffer int) (*Log, *lockedBuffer) {
	t.Helper()
	out := &lockedBuffer{}
	l := New(slog.New(slog.NewTextHandler(out, nil)))
	s, err := Open(to)
	if err != nil {
		t.Fatal(err)
	}
	l.Use(s, buffer)
	t.Cleanup(l.Close)
	return l, out
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestLinesReachTheFile: all of them, in order, appended, and at the latest when
// the log is closed.
func TestLinesReachTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := newLog(t, path, 1<<20)
	want := "old\n"
	for n := range 1000 {
		line := fmt.Sprintf("line %d\n", n)
		l.Write([]byte(line))
		want += line
	}
	l.Close()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
	}
	if lines, dropped, failed := l.Counts(); lines != 1000 || dropped+failed != 0 {
		t.Errorf("%d lines, %d dropped, %d failed", lines, dropped, failed)
	}
	l.Write([]byte("late\n"))
	if _, dropped, _ := l.Counts(); dropped != 1 {
		t.Errorf("%d dropped behind the end", dropped)
	}
	l.Close()
}

// TestAFileIsMadeForTheOwnerAndHisGroup, and lines are there soon without more.
func TestAFileIsMadeForTheOwnerAndHisGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, _ := newLog(t, path, 1<<20)
	l.Write([]byte("one\n"))
	waitFor(t, "the line is written", func() bool { b, _ := os.ReadFile(path); return string(b) == "one\n" })
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := Open(filepath.Join(path, "not", "here")); err == nil {
		t.Error("a file in no folder could be opened")
	}
}

// TestRotationLosesNothing: the file is moved away again and again while lines come.
func TestRotationLosesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	l, _ := newLog(t, path, 8<<20)
	const writers, each = 4, 5000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				l.Write(fmt.Appendf(nil, "%d-%d\n", w, n))
				if n%100 == 0 {
					time.Sleep(time.Millisecond) // so that it lasts for some rotations
				}
			}
		})
	}
	for n := range 5 {
		if err := os.Rename(path, filepath.Join(dir, fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
		l.Reopen()
		waitFor(t, "there is a new file", func() bool { _, err := os.Stat(path); return err == nil })
	}
	wg.Wait()
	l.Write([]byte("last\n"))
	l.Close()
	if b, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(b), "last\n") {
		t.Errorf("the last line is not in the last file: %v", err)
	}
	seen := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for line := range strings.Lines(string(b)) {
			seen[line]++
		}
	}
	if len(files) != 6 || len(seen) != writers*each+1 {
		t.Errorf("%d files with %d lines, want 6 with %d", len(files), len(seen), writers*each+1)
	}
	for line, n := range seen {
		if n != 1 {
			t.Fatalf("%q is there %d times", line, n)
		}
	}
}

// TestReopeningMayFail: then the file there was goes on, and it is told.
func TestReopeningMayFail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "access.log")
	l, out := newLog(t, path, 1<<20)
	l.Write([]byte("one\n"))
	waitFor(t, "the line is written", func() bool { n, _, _ := l.Counts(); return n == 1 })
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	waitFor(t, "it is told", func() bool { return strings.Contains(out.String(), "could not be reopened") })
	l.Write([]byte("two\n"))
	l.Close()
	if b, _ := os.ReadFile(filepath.Join(dir+"2", "access.log")); string(b) != "one\ntwo\n" {
		t.Errorf("got %q", b)
	}
}

// TestAnotherSink: lines go to where they were meant for when they came.
func TestAnotherSink(t *testing.T) {
	dir := t.TempDir()
	l, _ := newLog(t, filepath.Join(dir, "a"), 1<<20)
	for _, name := range []string{"b", "c"} {
		l.Write([]byte("before " + name + "\n"))
		s, err := Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		l.Use(s, 1<<20)
		l.Write([]byte("in " + name + "\n"))
		waitFor(t, "both are written", func() bool { n, _, _ := l.Counts(); return n%2 == 0 && n > 0 })
	}
	l.Use(nil, 0)
	l.Write([]byte("nowhere\n"))
	l.Close()
	all := ""
	for _, name := range []string{"a", "b", "c"} {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		all += string(b)
	}
	if want := "before b\nin b\nbefore c\nin c\n"; all != want {
		t.Errorf("got %q, want %q", all, want)
	}
	if _, dropped, _ := l.Counts(); dropped != 0 {
		t.Errorf("%d dropped while off, where nothing is to be written", dropped)
	}
}

// TestAStuckPipeHoldsNobodyUp: what does not fit is dropped and told, closing ends
// in time, and a reader who comes gets what waited.
func TestAStuckPipeHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	const buffer = 256 << 10
	l, out := newLog(t, path, buffer)
	line := []byte(strings.Repeat("x", 99) + "\n")
	const n = 100_000
	began := time.Now()
	for range n {
		l.Write(line)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("writing took %v", took)
	}
	waitFor(t, "it is told", func() bool { return strings.Contains(out.String(), "nobody reads what is written") })
	began = time.Now()
	l.Close()
	if took := time.Since(began); took > closeWait+500*time.Millisecond {
		t.Errorf("closing took %v", took)
	}
	lines, dropped, failed := l.Counts()
	if lines+dropped+failed != n || dropped < n-2*buffer/100-1000 || failed == 0 {
		t.Errorf("%d lines, %d dropped, %d failed", lines, dropped, failed)
	}
	l.stopped.Wait() // both goroutines have ended
}

// TestAFullDisk: failures are counted and told, and a line that was broken off is
// ended before the next one.
func TestAFullDisk(t *testing.T) {
	l, out := newLog(t, "/dev/full", 1<<20)
	l.Write([]byte("one\n"))
	waitFor(t, "it has failed", func() bool { _, _, failed := l.Counts(); return failed == 1 })
	l.Write([]byte("two\n"))
	l.Close()
	if _, _, failed := l.Counts(); failed != 2 || !strings.Contains(out.String(), "no space left on device") {
		t.Errorf("%d failed; told: %s", failed, out)
	}
}

// TestOffCostsNothing: a log that is not used has no goroutines to stop.
func TestOffCostsNothing(t *testing.T) {
	l := New(slog.New(slog.DiscardHandler))
	l.Use(nil, 0)
	l.Reopen()
	l.Write([]byte("x\n"))
	l.Close()
	if l.running {
		t.Error("it runs")
	}
}

func BenchmarkWrite(b *testing.B) {
	l, _ := newLog(b, "/dev/null", 4<<20)
	line := bytes.Repeat([]byte("x"), 400)
	line[399] = '\n'
	b.ReportAllocs()
	for b.Loop() {
		l.Write(line)
	}
	_, dropped, _ := l.Counts()
	b.ReportMetric(float64(dropped)/float64(b.N), "dropped/op")
}

package accesslog

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// blockingPipe is a pipe as a process inherits it for its standard output: a
// write to it cannot be interrupted.
func blockingPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// TestAStuckStandardOutputCanBeLeft: for another sink, and at the end.
func TestAStuckStandardOutputCanBeLeft(t *testing.T) {
	for name, leave := range map[string]func(*Log, *Sink){
		"for a file": func(l *Log, s *Sink) { l.Use(s, 1<<20) },
		"at the end": func(l *Log, _ *Sink) { l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, w := blockingPipe(t)
			l, _ := newLog(t, "/dev/null", 1<<20)
			l.Use(newSink("stdout", w), 1<<20)
			waitFor(t, "it is used", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.next == nil })
			line := bytes.Repeat([]byte("x"), 99)
			line = append(line, '\n')
			for range 5000 { // more than a pipe holds
				l.Write(line)
			}
			waitFor(t, "it is stuck", func() bool { return l.lastErr.Load() != nil })
			path := filepath.Join(t.TempDir(), "access.log")
			s, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			leave(l, s)
			if name == "at the end" {
				l.stopped.Wait() // both goroutines have ended
				s.Close()
			} else {
				waitFor(t, "the pipe is left", func() bool { _, _, failed := l.Counts(); return failed > 0 })
				l.Write([]byte("after\n"))
				waitFor(t, "lines reach the file", func() bool { b, _ := os.ReadFile(path); return string(b) == "after\n" })
			}
			if took := time.Since(began); took > closeWait+time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestLinesInAPipeAreWhole: what others write to the same pipe does not come in
// the middle of one.
func TestLinesInAPipeAreWhole(t *testing.T) {
	r, w := blockingPipe(t)
	l, _ := newLog(t, "/dev/null", 4<<20)
	l.Use(newSink("stdout", w), 4<<20)
	var wg sync.WaitGroup
	const lines, others = 20_000, 2000
	wg.Go(func() {
		for n := range lines {
			l.Write(fmt.Appendf(nil, "line %d %s\n", n, strings.Repeat("x", n%500)))
		}
	})
	wg.Go(func() {
		for range others {
			if _, err := w.WriteString("other\n"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	sc := bufio.NewScanner(r)
	next, other := 0, 0
	for next+other < lines+others && sc.Scan() {
		if sc.Text() == "other" {
			other++
			continue
		}
		if want := fmt.Sprintf("line %d %s", next, strings.Repeat("x", next%500)); sc.Text() != want {
			t.Fatalf("got %q, want %q", sc.Text(), want)
		}
		next++
	}
	wg.Wait()
	if _, dropped, failed := l.Counts(); next != lines || dropped+failed != 0 {
		t.Errorf("%d lines, %d dropped, %d failed", next, dropped, failed)
	}
}

// TestPiece: whole lines if one fits.
func TestPiece(t *testing.T) {
	long, line := strings.Repeat("x", pipeBuf+10), strings.Repeat("y", 999)+"\n"
	for _, tc := range []struct {
		name, in string
		want     int
	}{
		{"little", "a\nb", 3},
		{"whole lines", strings.Repeat(line, 9), 4000},
		{"a long line", long + "\n", pipeBuf},
		{"behind a line", "a\n" + long, 2},
		{"exactly", strings.Repeat("z", pipeBuf-1) + "\n" + line, pipeBuf},
	} {
		if got := len(piece([]byte(tc.in))); got != tc.want {
			t.Errorf("%s: %d bytes, want %d", tc.name, got, tc.want)
		}
	}
}

// TestABrokenLineIsEndedFirst: of a process that was killed, or when the file is
// opened anew, so that the next line can be read.
func TestABrokenLineIsEndedFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("whole\nbrok"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := newLog(t, path, 1<<20)
	l.Write([]byte("one\n"))
	waitFor(t, "it is written", func() bool { n, _, _ := l.Counts(); return n == 1 })
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("again brok"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l.Reopen()
	waitFor(t, "it is opened anew", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.reopen })
	l.Write([]byte("two\n"))
	l.Close()
	if b, _ := os.ReadFile(path); string(b) != "whole\nbrok\none\nagain brok\ntwo\n" {
		t.Errorf("got %q", b)
	}
}

// TestNoLineIsLostUncounted: not between two changes that come faster than the
// writer, nor between a change and the end.
func TestNoLineIsLostUncounted(t *testing.T) {
	dir := t.TempDir()
	open := func(name string) *Sink {
		s, err := Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for range 50 {
		l, _ := newLog(t, filepath.Join(dir, "a"), 1<<20)
		l.Write([]byte("1\n"))
		l.Use(open("b"), 1<<20)
		l.Write([]byte("2\n"))
		l.Use(nil, 0)
		l.Use(open("c"), 1<<20)
		l.Write([]byte("3\n"))
		l.Close()
		if lines, dropped, failed := l.Counts(); lines+dropped+failed != 3 {
			t.Fatalf("%d written, %d dropped, %d failed", lines, dropped, failed)
		}
		if l.next != nil {
			t.Fatal("a sink that was to be used is still open")
		}
	}
}

// TestDirect: nobody waits for whoever reads the log, nothing is told twice, and
// what was left out is told.
func TestDirect(t *testing.T) {
	r, w := blockingPipe(t)
	d := NewDirect(w)
	line := []byte(strings.Repeat("x", 99) + "\n")
	const n = 5000
	began := time.Now()
	for range n {
		if m, err := d.Write(line); m != len(line) || err != nil {
			t.Fatal(m, err)
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("writing took %v", took)
	}
	text := make([]byte, 1<<20)
	got, err := r.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	taken := bytes.Count(text[:got], line)
	if taken*len(line) != got {
		t.Errorf("lines are broken in %q", text[:got])
	}
	if _, err := d.Write([]byte("back\n")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	rest, _ := io.ReadAll(r)
	more := bytes.Count(rest, line)
	want := fmt.Sprintf(" WARN lines of this log were left out: nobody read it lines=%d\nback\n", n-taken-more)
	if !bytes.HasSuffix(rest, []byte(want)) || n == taken+more {
		t.Errorf("%d lines were taken; behind them stands %q", taken+more, rest[more*len(line):])
	}
}

// TestDirectEndsALineThatWasBrokenOff before the next one.
func TestDirectEndsALineThatWasBrokenOff(t *testing.T) {
	r, w := blockingPipe(t)
	d := NewDirect(w)
	stack := []byte(strings.Repeat("s", 200_000) + "\n") // more than the pipe holds
	if _, err := d.Write(stack); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 1<<20)
	if _, err := r.Read(text); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("next\n")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	rest, _ := io.ReadAll(r)
	if lines := strings.Split(strings.TrimLeft(string(rest), "s"), "\n"); len(lines) != 4 || lines[0] != "" || !strings.Contains(lines[1], "left out") || lines[2] != "next" {
		t.Errorf("got %q", lines)
	}
}

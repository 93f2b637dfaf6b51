package logs_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// logging starts steelyard with an access log to a path, in front of an app.
func logging(t *testing.T, to, extra string) *harness.Steelyard {
	return harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
access_log: {to: %q, buffer: 1MiB%s}
routes: [{pool: web}]
pools: {web: {backends: [%s]}}
`, to, extra, harness.App(t, "A").Address))
}

// load asks from several connections until it is stopped, and counts.
type load struct {
	served, failed atomic.Int64
	slowest        atomic.Int64 // in ns
	stop           chan struct{}
	wg             sync.WaitGroup
}

func startLoad(t *testing.T, s *harness.Steelyard, path string) *load {
	l := &load{stop: make(chan struct{})}
	for range 4 {
		c := harness.Client(t)
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				began := time.Now()
				if status, _, err := harness.Do(c, "GET", s.URL+path, ""); err != nil || status != 200 {
					l.failed.Add(1)
				} else {
					l.served.Add(1)
				}
				if took := int64(time.Since(began)); took > l.slowest.Load() {
					l.slowest.Store(took)
				}
			}
		})
	}
	return l
}

func (l *load) end() (served int64) {
	close(l.stop)
	l.wg.Wait()
	return l.served.Load()
}

// summary is what steelyard says of its access log when it ends.
func summary(t *testing.T, s *harness.Steelyard) (lines, dropped, failed int64) {
	t.Helper()
	s.Signal(t, syscall.SIGTERM)
	if code := s.ExitCode(t, patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	m := regexp.MustCompile(`access log"? lines=(\d+) dropped=(\d+) failed=(\d+)`).FindStringSubmatch(s.Output())
	if m == nil {
		t.Fatal("there is no summary of the access log")
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(m[i+1], 10, 64)
	}
	return n[0], n[1], n[2]
}

// TestRotationUnderLoadLosesNoLine: the file is moved away and SIGUSR1 sent, again
// and again.
func TestRotationUnderLoadLosesNoLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "access.log")
	s := logging(t, file, "")
	l := startLoad(t, s, "/")
	const rotations = 10
	for n := range rotations {
		served := l.served.Load()
		harness.Eventually(t, patience, "there is traffic", func() bool { return l.served.Load() > served+50 })
		if err := os.Rename(file, fmt.Sprint(file, ".", n)); err != nil {
			t.Fatal(err)
		}
		s.Signal(t, syscall.SIGUSR1)
		harness.Eventually(t, patience, "there is a new file", func() bool { _, err := os.Stat(file); return err == nil })
	}
	served := l.end()
	written, dropped, failed := summary(t, s)
	ids := map[string]bool{}
	files, _ := filepath.Glob(file + "*")
	for _, f := range files {
		for _, line := range lines(t, f) {
			ids[line.RequestID] = true
		}
	}
	if l.failed.Load() != 0 || dropped+failed != 0 || written != served || int64(len(ids)) != served || len(files) != rotations+1 {
		t.Errorf("%d served, %d failed; %d written, %d dropped, %d failed; %d lines in %d files",
			served, l.failed.Load(), written, dropped, failed, len(ids), len(files))
	}
	fi, err := os.Stat(file)
	if err != nil || fi.Mode().Perm()&0o137 != 0 {
		t.Errorf("the file has the mode %v, %v", fi.Mode(), err)
	}
}

// TestReloadsMoveTheLogUnderLoad: to another file and into another form, and back,
// without a lost or a broken line.
func TestReloadsMoveTheLogUnderLoad(t *testing.T) {
	t.Parallel()
	dir, app := t.TempDir(), harness.App(t, "A")
	yaml := func(n int) string {
		format := [...]string{"json", "combined"}[n%2]
		return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
admin: ADMIN
access_log: {to: %q, format: %s}
routes: [{pool: web}]
pools: {web: {backends: [%s]}}
`, filepath.Join(dir, format), format, app.Address)
	}
	s := harness.Start(t, yaml(0))
	l := startLoad(t, s, "/")
	for n := range 8 {
		served := l.served.Load()
		harness.Eventually(t, patience, "there is traffic", func() bool { return l.served.Load() > served+50 })
		if g := s.Reload(t, yaml(n+1)); !g.LastOK {
			t.Fatal(g.Errors)
		}
	}
	served := l.end()
	written, dropped, failed := summary(t, s)
	whole, combined := int64(0), regexp.MustCompile(`^127\.0\.0\.1 - - \[[^]]+\] "GET / HTTP/1\.1" 200 \d+ "-" "[^"]*"$`)
	for _, name := range []string{"json", "combined"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(b)) {
			if text = strings.TrimSuffix(text, "\n"); !json.Valid([]byte(text)) && !combined.MatchString(text) {
				t.Fatalf("a line of %s is %q", name, text)
			}
			whole++
		}
	}
	if l.failed.Load() != 0 || dropped+failed != 0 || written != served || whole != served {
		t.Errorf("%d served, %d failed; %d written, %d dropped, %d failed; %d whole lines", served, l.failed.Load(), written, dropped, failed, whole)
	}
}

// TestRotationDuringTheStart: a signal that comes before Steelyard serves does not
// end it, and is obeyed.
func TestRotationDuringTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	silent := harness.Backend(t, func(c *harness.Conn) { _, _ = c.R.ReadByte(); <-t.Context().Done() })
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
access_log: {to: %q}
routes: [{match: {path: /ok}, respond: {status: 200, body: ok}}, {match: {path: /*}, pool: web}]
pools: {web: {backends: [%s], check: {path: /, interval: 1m, timeout: 2s}}}
`, file, silent)) // it listens, and waits for the first check
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	s.Signal(t, syscall.SIGUSR1)
	if got := harness.Get(t, harness.Client(t), s.URL+"/ok"); got != "ok" {
		t.Fatalf("got %q", got)
	}
	harness.Eventually(t, patience, "there is a new file", func() bool { _, err := os.Stat(file); return err == nil })
}

// TestAFullDiskDoesNotTouchTraffic: lines are lost, counted and told; when there
// is room again, whole lines follow.
func TestAFullDiskDoesNotTouchTraffic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("no small file system (%v): /dev/full takes its place", err)
		dir = ""
	} else {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	file := "/dev/full"
	if dir != "" {
		file = filepath.Join(dir, "access.log")
	}
	s := logging(t, file, "")
	l := startLoad(t, s, "/")
	harness.Eventually(t, patience, "it is told", func() bool {
		return strings.Contains(s.Output(), "lines of the access log are lost") && strings.Contains(s.Output(), "no space left on device")
	})
	served := l.served.Load()
	harness.Eventually(t, patience, "traffic goes on", func() bool { return l.served.Load() > served+500 })
	if dir != "" { // somebody makes room
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, patience, "lines are written again", func() bool { fi, err := os.Stat(file); return err == nil && fi.Size() > 0 })
	}
	served = l.end()
	written, dropped, failed := summary(t, s)
	if l.failed.Load() != 0 || failed == 0 || written+dropped+failed != served {
		t.Errorf("%d served, %d failed; %d written, %d dropped, %d failed", served, l.failed.Load(), written, dropped, failed)
	}
	if slowest := time.Duration(l.slowest.Load()); slowest > 3*time.Second {
		t.Errorf("the slowest request took %v", slowest)
	}
	if dir == "" {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	torn, sc := 0, bufio.NewScanner(f)
	for sc.Scan() {
		if text := sc.Text(); !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "}") {
			torn++
		}
	}
	if torn > 3 { // where the disk was full
		t.Errorf("%d lines are broken", torn)
	}
}

// TestAPipeThatNobodyReadsDoesNotTouchTraffic, and neither the end; who begins to
// read gets whole lines.
func TestAPipeThatNobodyReadsDoesNotTouchTraffic(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s := logging(t, pipe, "")
	l := startLoad(t, s, "/?"+strings.Repeat("long", 1000))
	harness.Eventually(t, 4*patience, "lines are dropped and that is told", func() bool {
		return regexp.MustCompile(`lines of the access log are lost.* dropped=[1-9]`).MatchString(s.Output())
	})
	served := l.served.Load()
	harness.Eventually(t, patience, "traffic goes on", func() bool { return l.served.Load() > served+500 })
	reader, err := os.OpenFile(pipe, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(reader)
	for range 100 {
		text, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(text, `{"time":`) || !strings.HasSuffix(text, "}\n") {
			t.Fatalf("read %q, %v", text, err)
		}
	}
	reader.Close()
	served = l.end()
	began := time.Now()
	written, dropped, failed := summary(t, s)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("ending took %v", took)
	}
	if l.failed.Load() != 0 || dropped == 0 || written+dropped+failed != served {
		t.Errorf("%d served, %d failed; %d written, %d dropped, %d failed", served, l.failed.Load(), written, dropped, failed)
	}
	if slowest := time.Duration(l.slowest.Load()); slowest > 3*time.Second {
		t.Errorf("the slowest request took %v", slowest)
	}
}

package logs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestAReaderOfStandardOutputMayGo: a broken pipe, which ends a process by
// default, costs lines and nothing else.
func TestAReaderOfStandardOutputMayGo(t *testing.T) {
	t.Parallel()
	address, file := harness.FreeAddress(t), filepath.Join(t.TempDir(), "steelyard.yaml")
	yaml := fmt.Sprintf(`
listeners: {web: %q}
access_log: json
routes: [{respond: {status: 200, body: ok}}]
`, address)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(harness.Binary(t), "run", "-c", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b := make([]byte, 1)
	if _, err := out.Read(b); err != nil { // the line that says where it listens
		t.Fatal(err)
	}
	out.Close()
	c := harness.Client(t)
	for range 3 { // each is written, in vain, by itself
		for range 100 {
			if got := harness.Get(t, c, "http://"+address+"/"); got != "ok" {
				t.Fatalf("got %q", got)
			}
		}
		time.Sleep(200 * time.Millisecond) // lines are written together, every 100 ms
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestNobodyReadsStandardOutputOrError: a terminal that is halted, or a collector
// that is stuck, holds up neither what goes well nor what fails and is told, nor a
// reload to another file, nor the end.
func TestNobodyReadsStandardOutputOrError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, admin, file, log := harness.FreeAddress(t), harness.FreeAddress(t), filepath.Join(dir, "steelyard.yaml"), filepath.Join(dir, "access.log")
	write := func(to string) {
		yaml := fmt.Sprintf(`
listeners: {web: %q}
admin: %s
access_log: {to: %q, buffer: 1MiB}
routes: [{match: {path: /ok}, respond: {status: 200, body: ok}}]
`, address, admin, to)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("stdout")
	cmd := exec.Command(harness.Binary(t), "run", "-c", file)
	r, w := stuckPipe(t)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	c := harness.Client(t)
	harness.Eventually(t, patience, "it serves", func() bool {
		status, _, err := harness.Do(c, "GET", "http://"+address+"/ok", "")
		return err == nil && status == 200
	})
	slowest := time.Duration(0)
	ask := func(n int, path string, want int) {
		t.Helper()
		for range n {
			began := time.Now()
			if status, _, err := harness.Do(c, "GET", "http://"+address+path, ""); status != want {
				t.Fatalf("%d %v, want %d", status, err, want)
			}
			slowest = max(slowest, time.Since(began))
		}
	}
	for began := time.Now(); time.Since(began) < 3*time.Second; { // 20 lines of the log each second
		ask(50, "/nowhere?"+strings.Repeat("long", 500), 404)
	}
	ask(1000, "/ok", 200)
	if slowest > 2*time.Second {
		t.Errorf("the slowest request took %v", slowest)
	}
	write(log)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, patience, "lines go to the file", func() bool {
		ask(1, "/ok", 200)
		fi, err := os.Stat(log)
		return err == nil && fi.Size() > 0
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	for _, l := range lines(t, log) {
		if l.Status == 0 {
			t.Errorf("a line is %+v", l)
		}
	}
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil || !strings.HasSuffix(string(text), "\n") {
		t.Errorf("the pipe ends with %q, %v", text[max(len(text)-200, 0):], err)
	}
}

// stuckPipe is a pipe that holds little. As a child inherits it, its writes cannot
// be interrupted.
func stuckPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[1]), setPipeSize, 8192); errno != 0 {
		t.Fatal(errno)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

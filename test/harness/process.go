package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that a test started.
type Process struct {
	Name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when the process has ended
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Run starts a program that is no fixture of its own; it is killed when the test
// ends, with the processes that it has started (as nginx its workers).
func Run(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	cmd.SysProcAttr = attributes()
	cmd.SysProcAttr.Setpgid = true
	p := start(t, name, cmd)
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return p
}

// start runs a command; it is killed when the test ends.
func start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = attributes()
	}
	p := &Process{Name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = 5 * time.Second // Should a child of it keep its output open.
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // What it returned is kept in cmd.ProcessState.
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // It may have ended already.
		<-p.done
		if t.Failed() {
			t.Logf("%s (%v) printed:\n%s", p.Name, cmd.ProcessState, tail(p.out.String(), 8<<10))
		}
	})
	return p
}

// tail keeps the end of a long log.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// Output is all the process has printed so far.
func (p *Process) Output() string { return p.out.String() }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("sending %v to %s: %v", sig, p.Name, err)
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	<-p.done
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ExitCode waits for the end of the process and returns its exit code, -1 if a
// signal ended it.
func (p *Process) ExitCode(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s has not ended within %v", p.Name, within)
		return 0
	}
}

// Memory is the process's resident memory now and its highest so far (since
// ResetPeak), in bytes.
func (p *Process) Memory(t testing.TB) (now, peak int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatalf("reading the memory of %s: %v", p.Name, err)
	}
	field := func(name string) int64 {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					t.Fatalf("reading %s of %s: %v", name, p.Name, err)
				}
				return kb << 10
			}
		}
		t.Fatalf("no %s in the status of %s", name, p.Name)
		return 0
	}
	return field("VmRSS"), field("VmHWM")
}

// ResetPeak makes the current resident memory the highest so far.
func (p *Process) ResetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0); err != nil {
		t.Fatalf("resetting the peak memory of %s: %v", p.Name, err)
	}
}

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a part has to start or to end.
const patience = 10 * time.Second

// process is a started part with all the processes it starts itself.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan error // gets one value
}

// usage is CPU time: all of it exactly, its two parts in ticks.
type usage struct{ all, user, kernel time.Duration }

func (u usage) minus(v usage) usage {
	return usage{u.all - v.all, u.user - v.user, u.kernel - v.kernel}
}

// inKernel is the kernel's part of all, by the share of its ticks.
func (u usage) inKernel() time.Duration {
	if u.user+u.kernel == 0 {
		return 0
	}
	return time.Duration(float64(u.all) * float64(u.kernel) / float64(u.user+u.kernel))
}

// start runs a command on the given cores. What it prints goes to out.
func start(cores []int, out *os.File, dir string, argv ...string) (*process, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := pinned(cores, cmd.Start); err != nil {
		return nil, err
	}
	p := &process{name: argv[0], cmd: cmd, ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

// pinned calls f on a thread bound to the cores, which its children inherit;
// no cores mean all.
func pinned(cores []int, f func() error) error {
	if len(cores) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	for _, core := range cores {
		set.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to cores %v: %w", cores, err)
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}

// output runs a command on the given cores to its end.
func output(cores []int, argv ...string) ([]byte, error) {
	var out, stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := pinned(cores, cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", argv[0], err, out.Bytes(), stderr.Bytes())
	}
	return out.Bytes(), nil
}

// stop ends the process, and by force what does not end by itself.
func (p *process) stop() {
	pids := p.tree()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		<-p.ended
	}
}

// tree is the process and its descendants.
func (p *process) tree() []int {
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", all[i]))
		for _, task := range tasks {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", all[i], task.Name()))
			for field := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(field); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// cpu is the CPU time of the whole tree, those included that have ended and
// been waited for. /proc/PID/stat has it in ticks of 10 ms, for user and kernel;
// the process's CPU clock (clock_getcpuclockid(3)) has the sum exactly.
func (p *process) cpu() (usage, error) {
	const tick = 10 * time.Millisecond
	var u usage
	for i, pid := range p.tree() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			if i == 0 {
				return u, fmt.Errorf("%s has ended: %w", p.name, err)
			}
			continue // A child that has just ended.
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		var ticks [4]time.Duration // utime, stime, cutime, cstime
		for i := range ticks {
			n, err := strconv.Atoi(f[11+i])
			if err != nil {
				return u, err
			}
			ticks[i] = time.Duration(n) * tick
		}
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil {
			ts = unix.NsecToTimespec(int64(ticks[0] + ticks[1]))
		}
		u.user += ticks[0] + ticks[2]
		u.kernel += ticks[1] + ticks[3]
		u.all += time.Duration(ts.Nano()) + ticks[2] + ticks[3]
	}
	return u, nil
}

// memory is what the tree holds in RAM, shared pages by their share, in bytes.
func (p *process) memory() (float64, error) {
	sum := 0.0
	for _, pid := range p.tree() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut(string(b), "\nPss:")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			return 0, errors.New("smaps_rollup without Pss")
		}
		kib, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			return 0, err
		}
		sum += kib * 1024
	}
	return sum, nil
}

// helper is a part of this program in a process of its own; it ends when its
// stdin is closed.
type helper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   io.Reader
}

func startHelper(cores []int, args ...string) (*helper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &helper{cmd: exec.Command(self, args...)}
	h.cmd.Env = append(os.Environ(), helperEnv+"=1")
	h.cmd.Stderr = os.Stderr
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if h.out, err = h.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return h, pinned(cores, h.cmd.Start)
}

func (h *helper) stop() error {
	_ = h.stdin.Close()
	return h.cmd.Wait()
}

// raiseFiles lets this process and its children have as many open files as
// thousands of connections need, or as many as it may, and returns how many.
func raiseFiles() (int, error) {
	const want = 65536
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	wanted := syscall.Rlimit{Cur: want, Max: max(want, limit.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wanted) == nil {
		return want, nil
	}
	limit.Cur = limit.Max // Set explicitly, so that children inherit it.
	return int(limit.Max), syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

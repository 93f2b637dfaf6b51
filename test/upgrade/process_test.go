// Package upgrade_test tells what clients notice of a binary upgrade: nothing; and
// what systemd is told.
package upgrade_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 20 * time.Second

// service is a steelyard as systemd sees it: its main process changes.
type service struct {
	address, admin, file, log string

	mu    sync.Mutex
	pid   int // the main process
	known []int
	told  []string
}

// begin starts steelyard with a configuration in which LISTEN and ADMIN stand for its
// addresses, and hears what it tells systemd. wrap is put before its command line.
func begin(t *testing.T, yaml string, files []*os.File, wrap ...string) *service {
	t.Helper()
	return beginBinary(t, harness.Binary(t), yaml, files, wrap...)
}

// beginBinary is begin with a path for the binary that can be made to lead elsewhere.
func beginBinary(t *testing.T, binary, yaml string, files []*os.File, wrap ...string) *service {
	t.Helper()
	dir, err := os.MkdirTemp("", "steelyard-upgrade-") // short, as sockets need it
	if err != nil {
		t.Fatal(err)
	}
	s := &service{address: harness.FreeAddress(t), admin: harness.FreeAddress(t), file: filepath.Join(dir, "steelyard.yaml"), log: filepath.Join(dir, "log")}
	notify := filepath.Join(dir, "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, yaml)
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := append(wrap, binary, "run", "-c", s.file)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, files
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=200000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid, s.known = cmd.Process.Pid, []int{cmd.Process.Pid}
	var wait sync.WaitGroup
	wait.Go(func() { s.hear(heard) })
	wait.Go(func() { _ = cmd.Wait() })
	t.Cleanup(func() {
		for _, pid := range s.pids() {
			if ours(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		heard.Close()
		wait.Wait()
		if t.Failed() {
			t.Logf("steelyard printed:\n%s", s.output())
		}
		os.RemoveAll(dir)
	})
	harness.Eventually(t, patience, "systemd is told that it is ready", func() bool { return s.heard("READY=1") > 0 })
	return s
}

// ours reports whether a process is a steelyard, and not somebody who got its id.
func ours(pid int) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasPrefix(filepath.Base(path), "steelyard")
}

func (s *service) hear(c *net.UnixConn) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		for line := range strings.SplitSeq(string(buf[:n]), "\n") {
			s.told = append(s.told, line)
			if text, ok := strings.CutPrefix(line, "MAINPID="); ok {
				s.pid, _ = strconv.Atoi(text)
				s.known = append(s.known, s.pid)
			}
		}
		s.mu.Unlock()
	}
}

// heard counts how often systemd was told a line that begins so.
func (s *service) heard(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.told {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func (s *service) main() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// pids are all processes there have been.
func (s *service) pids() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int(nil), s.known...)
}

func (s *service) output() string {
	b, _ := os.ReadFile(s.log)
	return string(b)
}

func (s *service) write(t *testing.T, yaml string) {
	t.Helper()
	text := strings.NewReplacer("LISTEN", s.address, "ADMIN", s.admin).Replace(yaml)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *service) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(s.main(), sig); err != nil {
		t.Fatal(err)
	}
}

// upgrade sends SIGUSR2 and waits until another process is the main one.
func (s *service) upgrade(t *testing.T) (before int) {
	t.Helper()
	before = s.main()
	s.signal(t, syscall.SIGUSR2)
	harness.Eventually(t, patience, "another process goes on", func() bool { return s.main() != before })
	return before
}

// says waits until the log has a text n times in all.
func (s *service) says(t *testing.T, text string, n int) {
	t.Helper()
	harness.Eventually(t, patience, fmt.Sprintf("the log says %q, %d times", text, n), func() bool { return strings.Count(s.output(), text) == n })
}

// gone reports whether a process has ended.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func fds(pid int) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list)
}

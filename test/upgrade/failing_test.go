package upgrade_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestBinariesThatCannotTakeOver: whatever is in the place of the binary, the process
// in force serves on, says what is wrong, and is upgraded when something better is there.
func TestBinariesThatCannotTakeOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "steelyard-upgrade-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	link := filepath.Join(dir, "steelyard")
	install := func(path string) { // in one step, as a deployment should
		t.Helper()
		if err := os.Symlink(path, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	install(harness.Binary(t))
	s := beginBinary(t, link, "listeners: {web: LISTEN}\nadmin: ADMIN\nroutes: [{respond: 204}]\n", nil)
	main := s.main()
	open := 0
	for i, c := range []struct {
		name, text string
		mode       os.FileMode
		says       string
	}{
		{"it exits at once", "#!/bin/sh\nexit 3\n", 0o700, "the new process ended before it served (exit status 3)"},
		{"it dies", "#!/bin/sh\nkill -9 $$\n", 0o700, "the new process ended before it served (signal: killed)"},
		{"it is no program", "nonsense", 0o700, "exec format error"},
		{"it must not be run", "#!/bin/sh\n", 0o600, "permission denied"},
		{"it is not there", "", 0, "no such file or directory"},
	} {
		path := filepath.Join(dir, fmt.Sprint("other", i))
		if c.mode != 0 {
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
		}
		install(path)
		s.signal(t, syscall.SIGUSR2)
		s.says(t, "upgrade failed; this process goes on", i+1)
		s.says(t, c.says, 1)
		if status, _, err := harness.Do(over(t, "tcp", s.address), "GET", "http://a.test/", ""); status != 204 || s.main() != main {
			t.Fatalf("%s: %d %v", c.name, status, err)
		}
		if i == 0 {
			open = fds(main)
		}
	}
	harness.Eventually(t, patience, "no more files are open than after the first", func() bool { return fds(main) <= open })
	install(harness.Binary(t))
	s.upgrade(t)
	harness.Eventually(t, patience, "the process before has ended", func() bool { return gone(main) })
	if status, _, err := harness.Do(over(t, "tcp", s.address), "GET", "http://a.test/", ""); status != 204 {
		t.Errorf("%d %v", status, err)
	}
}

// TestSignalsDuringAnUpgrade: a second one is refused, and a file that has changed since
// the new process read it is read by it when that was asked of the one before.
func TestSignalsDuringAnUpgrade(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // keeps the first check waiting
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	yaml := func(status int) string {
		return fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{match: {path: /x}, pool: slow}, {respond: %d}]\n"+
			"pools: {slow: {backends: [%q], check: {path: /, timeout: 2s, interval: 20s}}}\n", status, mute.Addr())
	}
	s := begin(t, yaml(201), nil)
	answers := func() int {
		status, _, err := harness.Do(over(t, "tcp", s.address), "GET", "http://a.test/", "")
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	old := s.main()
	s.signal(t, syscall.SIGUSR2)
	s.says(t, "waiting for the first checks", 2) // at its start, and of the new one
	s.write(t, yaml(202))
	s.signal(t, syscall.SIGHUP)
	s.signal(t, syscall.SIGUSR2)
	s.says(t, "upgrade refused: one is under way", 1)
	if got := answers(); got != 201 {
		t.Errorf("%d during the upgrade", got)
	}
	harness.Eventually(t, patience, "another process goes on", func() bool { return s.main() != old })
	s.says(t, "passing a signal on to the process that has taken over", 1)
	harness.Eventually(t, patience, "the file as it is now is in force", func() bool { return answers() == 202 })
	harness.Eventually(t, patience, "the process before has ended", func() bool { return gone(old) })
	time.Sleep(10 * time.Millisecond)
	if now := s.main(); gone(now) {
		t.Error("the new process has ended as well")
	}
}

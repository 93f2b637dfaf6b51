package healthcheck

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExec(t *testing.T) {
	leaks(t)
	cases := []struct {
		name    string
		address string
		script  string // run by sh, with {address}, {host} and {port} as arguments
		status  int
		want    string
	}{
		{"passes", "127.0.0.1:80", "exit 0", 0, ""},
		{"fails", "127.0.0.1:80", "echo first; echo 'disk full' >&2; exit 3", 3, "exit status 3, expected 0: disk full"},
		{"fails silently", "127.0.0.1:80", "exit 1", 1, "exit status 1, expected 0"},
		{"arguments", "127.0.0.1:80", `echo "$1 $2 $3"; exit 1`, 1, ": 127.0.0.1:80 127.0.0.1 80"},
		{"environment", "[::1]:80", `echo "$STEELYARD_ADDRESS $STEELYARD_HOST $STEELYARD_PORT"; exit 1`, 1, ": [::1]:80 ::1 80"},
		{"unix", "unix:/run/a", `echo "$1,$2,$3"; exit 1`, 1, ": unix:/run/a,,"},
		{"no shell around arguments", "a;b:80", `echo "$2"; exit 1`, 1, ": a;b"},
		{"much output", "127.0.0.1:80", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1", 1, ": line 2999"},
		{"odd output", "127.0.0.1:80", `printf 'a\033[31m\377\n\n'; exit 1`, 1, `: a\x1b[31m\xff`},
		{"signal", "127.0.0.1:80", "kill -SEGV $$", 128 + 11, "ended by signal: segmentation fault"},
		{"too slow", "127.0.0.1:80", "echo waiting; sleep 60", 128 + 9, "not done within 300ms, killed: waiting"},
		{"child that keeps the pipe", "127.0.0.1:80", "sleep 60 & exit 0", 0, ""},
		{"child of its own session that keeps the pipe", "127.0.0.1:80", "setsid sleep 1 & sleep 0.05; exit 0", 0, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("exec")
			o.Timeout = 5 * time.Second
			if strings.Contains(c.want, "300ms") {
				o.Timeout = 300 * time.Millisecond
			}
			o.Exec.Command = []string{"sh", "-c", c.script, "check", "{address}", "{host}", "{port}"}
			begun := time.Now()
			status, err := runProbe(t, o, c.address)
			wantError(t, err, c.want)
			if status != c.status {
				t.Errorf("status %d, expected %d", status, c.status)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestExecKillsTheGroup: children do not outlive a check, whether it ends by
// itself or at its deadline.
func TestExecKillsTheGroup(t *testing.T) {
	for _, c := range []struct{ name, then string }{{"ends", "exit 0"}, {"deadline", "sleep 60"}} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			o := testOptions("exec")
			o.Timeout = 500 * time.Millisecond
			o.Exec.Command = []string{"sh", "-c", "sleep 60 & echo $! > " + file + "; " + c.then}
			runProbe(t, o, "127.0.0.1:80")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, 5*time.Second, "the child to be gone", func() bool {
				stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
				return err != nil || strings.Contains(string(stat), ") Z ") || syscall.Kill(pid, 0) != nil
			})
		})
	}
}

func TestExecProgramThatIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := testOptions("exec")
	o.Exec.Command = []string{file}
	p := probeWith(t, o)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, err := p.Run(context.Background(), "127.0.0.1:80")
	wantError(t, err, "cannot start ")
	wantError(t, err, "no such file or directory")
}

func TestTailKeepsTheEnd(t *testing.T) {
	var w tail
	for i := range 1000 {
		if n, err := w.Write([]byte(strconv.Itoa(i) + "\n")); n == 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(w.buf) != maxOutput || w.lastLine() != ": 999" {
		t.Errorf("%d bytes, last line %q", len(w.buf), w.lastLine())
	}
	w.Write([]byte(strings.Repeat("x", 5000) + "\nend"))
	if len(w.buf) != maxOutput || w.lastLine() != ": end" {
		t.Errorf("%d bytes, last line %q", len(w.buf), w.lastLine())
	}
}

package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput is how much of the end of a command's output is kept.
	maxOutput = 1 << 10
	// outputWait bounds how long output is awaited once a command has ended: a
	// child that has left its process group may keep the pipe open.
	outputWait = 100 * time.Millisecond
)

// execProbe runs a command, without a shell, in a process group of its own.
type execProbe struct {
	command []string
	port    int
	timeout time.Duration
}

func newExecProbe(o *Options) *execProbe {
	return &execProbe{command: o.Exec.Command, port: o.Port, timeout: o.Timeout}
}

// Run implements Probe. When ctx ends, the whole process group is killed. status
// is the exit status, 128 + n after signal n.
func (p *execProbe) Run(ctx context.Context, address string) (int, error) {
	at, err := locate(address, p.port)
	if err != nil {
		return 0, err
	}
	if at.network == "tcp" {
		address = at.dial
	}
	var output tail
	cmd := p.prepare(address, at)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return 0, p.startError(err)
	}
	err = waitGroup(ctx, cmd)
	killed := ctx.Err() != nil
	state := cmd.ProcessState
	if state == nil {
		return 0, fmt.Errorf("cannot wait for %s: %w", quote(p.command[0]), err)
	}
	status := state.ExitCode()
	signal := ""
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		status = 128 + int(ws.Signal())
		signal = ws.Signal().String()
	}
	switch {
	case status == 0:
		return 0, nil
	case killed && signal != "":
		return status, errors.New("not done within " + p.timeout.String() + ", killed" + output.lastLine())
	case signal != "":
		return status, errors.New("ended by signal: " + signal + output.lastLine())
	}
	return status, fmt.Errorf("exit status %d, expected 0%s", status, output.lastLine())
}

func (p *execProbe) prepare(address string, at place) *exec.Cmd {
	fill := strings.NewReplacer("{address}", address, "{host}", at.host, "{port}", at.port)
	args := make([]string, 0, len(p.command)-1)
	for _, arg := range p.command[1:] {
		args = append(args, fill.Replace(arg))
	}
	cmd := exec.Command(p.command[0], args...)
	cmd.Env = append(os.Environ(), "STEELYARD_ADDRESS="+address, "STEELYARD_HOST="+at.host, "STEELYARD_PORT="+at.port)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputWait
	return cmd
}

func (p *execProbe) startError(err error) error {
	for _, scarce := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, scarce) {
			return &notChecked{"no process can be started here: " + scarce.Error()}
		}
	}
	why := err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		why = errno.Error()
	}
	return errors.New("cannot start " + quote(p.command[0]) + ": " + why)
}

// killGroup ends all processes of the group that cmd leads. It may be called
// only while cmd has not been waited for, because its id is its own until then.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// tail is a writer that keeps the end of what it gets.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n >= maxOutput {
		t.buf = append(t.buf[:0], p[n-maxOutput:]...)
		return n, nil
	}
	if over := len(t.buf) + n - maxOutput; over > 0 {
		t.buf = t.buf[:copy(t.buf, t.buf[over:])]
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

// lastLine shows the last line that is not blank, after a colon, or is "".
func (t *tail) lastLine() string {
	out := bytes.TrimSpace(t.buf)
	if len(out) == 0 {
		return ""
	}
	return ": " + clip(string(bytes.TrimSpace(out[bytes.LastIndexByte(out, '\n')+1:])), 120)
}

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	patience  = 30 * time.Second
	readyByte = 'r'
)

// Program is how a process was started, and how another of it is.
type Program struct {
	Path string
	Args []string
	// Patience is how long the other may take until it serves.
	Patience time.Duration
}

// Self is how this process was started. It must be asked early, since it looks for
// the binary as it was called then: a link that leads to another binary later is
// followed later.
func Self() (Program, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		if path, err = os.Executable(); err != nil {
			return Program{}, fmt.Errorf("the path of this binary is not known: %w", err)
		}
	}
	return Program{Path: path, Args: slices.Clone(os.Args[1:]), Patience: patience}, nil
}

// Start runs the program with the sockets and waits until it serves; its process
// id is returned. On error, which ctx's end is as well, the program has ended.
func (p Program) Start(ctx context.Context, sockets []Socket) (pid int, err error) {
	if os.Getpid() == 1 {
		return 0, errors.New("this is process 1, with whose end a container ends; start another container instead")
	}
	files, words, err := duplicates(sockets)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	hear, tell, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer hear.Close()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append(files, tell)
	cmd.Env = append(environment(), handed+"="+strings.Join(words, ","))
	err = cmd.Start()
	_ = tell.Close() // its end there is the only one, so that its death is seen
	if err != nil {
		return 0, fmt.Errorf("cannot start %s: %w", p.Path, err)
	}
	if err := awaitReady(ctx, hear, p.Patience); err != nil {
		_ = cmd.Process.Kill() // it may have ended already
		if end := cmd.Wait(); errors.Is(err, errEnded) {
			err = fmt.Errorf("%w (%v); it says above what is wrong", err, end)
		}
		return 0, err
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release()
}

var errEnded = errors.New("the new process ended before it served")

func awaitReady(ctx context.Context, hear *os.File, patience time.Duration) error {
	_ = hear.SetReadDeadline(time.Now().Add(patience))
	defer context.AfterFunc(ctx, func() { _ = hear.SetReadDeadline(time.Unix(1, 0)) })()
	n, err := hear.Read(make([]byte, 1))
	switch {
	case n == 1:
		return nil
	case ctx.Err() != nil:
		return errors.New("this process is to stop, so the new one was ended")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process did not serve within %v and was ended", patience)
	}
	return errEnded
}

// environment is ours without what is meant for this process alone.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "WATCHDOG_PID=") || strings.HasPrefix(v, handed+"=")
	})
}

// duplicates are descriptors of the sockets for another process. File of a
// net.Listener would let Accept of this process block, since that is a property
// of the socket.
func duplicates(sockets []Socket) (files []*os.File, words []string, err error) {
	for _, s := range sockets {
		f, err := duplicate(s.Listener)
		if err != nil {
			return files, nil, fmt.Errorf("the socket of %s cannot be handed over: %w", s.Listener.Addr(), err)
		}
		files = append(files, f)
		word := "own"
		if s.Lent {
			word = "lent"
		}
		words = append(words, word)
	}
	return files, words, nil
}

func duplicate(ln net.Listener) (f *os.File, err error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return nil, errors.New("it has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := raw.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var to int
		if to, err = syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(to)
			f = os.NewFile(uintptr(to), "socket")
		}
	})
	return f, errors.Join(failed, err)
}

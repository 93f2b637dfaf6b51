package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sink is where lines go.
type Sink struct {
	to     string
	file   *os.File
	stream bool // a pipe, a socket or a terminal: whoever reads it may stop to
}

// fileMode is that of a file that is made here: what clients ask for is not
// everybody's business.
const fileMode fs.FileMode = 0o640

// Open opens the standard output, the standard error (stdout, stderr) or a file,
// which is made if need be and only ever appended to.
func Open(to string) (*Sink, error) {
	switch to {
	case "stdout", "/dev/stdout": // as a file it could not be opened if it is a socket
		return newSink(to, os.Stdout), nil
	case "stderr", "/dev/stderr":
		return newSink(to, os.Stderr), nil
	}
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	if fi, err := os.Stat(to); err == nil && fi.Mode()&fs.ModeNamedPipe != 0 {
		// Opened for reading as well, a pipe that nobody reads neither holds
		// up the open nor breaks when its reader is started anew.
		flags = os.O_RDWR | syscall.O_NONBLOCK
	}
	f, err := os.OpenFile(to, flags, fileMode)
	if err != nil {
		return nil, fmt.Errorf("opening the access log: %w", err)
	}
	return newSink(to, f), nil
}

func newSink(to string, f *os.File) *Sink {
	fi, err := f.Stat()
	return &Sink{to: to, file: f, stream: err != nil || !fi.Mode().IsRegular()}
}

// Close closes the file; standard output and error stay open.
func (s *Sink) Close() {
	if !s.standard() {
		_ = s.file.Close()
	}
}

func (s *Sink) standard() bool { return s.file == os.Stdout || s.file == os.Stderr }

// write writes b. A stream that takes nothing for as long as wait is
// os.ErrDeadlineExceeded; a disk takes its time.
func (s *Sink) write(b []byte, wait time.Duration) (n int, err error) {
	if !s.stream {
		return s.file.Write(b)
	}
	for n < len(b) && err == nil {
		if err = s.await(wait); err == nil {
			var some int
			some, err = s.file.Write(piece(b[n:]))
			n += some
		}
	}
	return n, err
}

// pipeBuf is PIPE_BUF: a pipe takes so much at once or not at all.
const pipeBuf = 4096

// piece is what of b is written to a stream at once: the whole lines that nobody
// else's can come in between of, be it another process that writes to the same
// pipe or what goes to the standard error of this one.
func piece(b []byte) []byte {
	if len(b) <= pipeBuf {
		return b
	}
	if i := bytes.LastIndexByte(b[:pipeBuf], '\n'); i >= 0 {
		return b[:i+1]
	}
	return b[:pipeBuf]
}

// await bounds the next write of a piece.
func (s *Sink) await(wait time.Duration) error {
	if s.file.SetWriteDeadline(time.Now().Add(wait)) == nil {
		return nil // the write itself ends in time
	}
	return writable(s.file, wait)
}

// writable waits until f, whose writes cannot be interrupted, takes a piece
// without waiting. What it shares its file with, such as the shell that it was
// started from, must not find that made non-blocking.
func writable(f *os.File, wait time.Duration) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	by, ready := time.Now().Add(wait), 0
	ctl := conn.Control(func(fd uintptr) {
		for {
			left := max(time.Until(by), 0)
			ready, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int((left+time.Millisecond-1)/time.Millisecond))
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	if err = errors.Join(ctl, err); err == nil && ready == 0 {
		err = os.ErrDeadlineExceeded
	}
	return err
}

// torn reports whether the last line of a file lacks its end, because the disk
// was full or the process was killed while it was written.
func (s *Sink) torn() bool {
	if s.stream || s.standard() {
		return false
	}
	size, ended := s.lastByte()
	if ended {
		return false
	}
	// Another process, whose successor this is, may just be writing.
	time.Sleep(20 * time.Millisecond)
	again, ended := s.lastByte()
	return !ended && again == size
}

// lastByte returns the size of the file, and whether it ends as a line does. What
// cannot be read counts as ended.
func (s *Sink) lastByte() (size int64, ended bool) {
	f, err := os.OpenFile(s.to, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, true
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() == 0 {
		return 0, true
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], fi.Size()-1); err != nil {
		return 0, true
	}
	return fi.Size(), last[0] == '\n'
}

package transport

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const pipesWork = true

const (
	// pipeSize is the most bytes in a pipe. The kernel keeps a page for each part
	// that has come, so that a pipe is full with less when little comes at a time.
	pipeSize = 1 << 20
	// maxPipes is how many pipes there may be: peers who take nothing can make the
	// kernel hold that many times pipeSize.
	maxPipes = 64
	// filesPerPipe is how many files the process may open for each pipe that it may
	// make, so that pipes do not take what connections need.
	filesPerPipe = 128
)

// kernelPipe is a pair of files, see pipe(7).
type kernelPipe struct{ r, w int }

var (
	pipes     atomic.Int32 // that there are
	freePipes = make(chan *kernelPipe, maxPipes)
)

// getKernelPipe returns an empty pipe, or nil if there are enough.
func getKernelPipe() *kernelPipe {
	select {
	case k := <-freePipes:
		return k
	default:
	}
	if pipes.Add(1) > mostPipes() {
		pipes.Add(-1)
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		pipes.Add(-1)
		return nil
	}
	// Users other than root get no more than a share of what all may have; then the
	// pipe stays as small as it is.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	return &kernelPipe{r: fds[0], w: fds[1]}
}

// mostPipes is how many pipes there may be, by the files that may be open.
var mostPipes = sync.OnceValue(func() int32 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return int32(min(r.Cur/filesPerPipe, maxPipes))
})

// put gives the pipe back. One that is not empty is closed: what is in it is for
// nobody else to see.
func (k *kernelPipe) put(empty bool) {
	if empty {
		select {
		case freePipes <- k:
			return
		default:
		}
	}
	_ = unix.Close(k.r)
	_ = unix.Close(k.w)
	pipes.Add(-1)
}

// fill moves up to most bytes from a socket into the pipe, which is empty, without
// waiting.
func (k *kernelPipe) fill(fd, most int) (int, error) {
	n, err := splice(fd, k.w, most)
	if err == syscall.EINVAL { // it is no socket that can do this
		err = ErrNoPipe
	}
	return n, err
}

// drain moves up to most bytes from the pipe to a socket, without waiting.
func (k *kernelPipe) drain(fd, most int) (int, error) {
	n, err := splice(k.r, fd, most)
	if n == 0 && err == nil {
		err = io.ErrUnexpectedEOF // there is something in it, so this cannot be
	}
	return n, err
}

// splice is splice(2) without waiting.
func splice(from, to, most int) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return 0, errAgain
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// writeMore writes what can be written of p without waiting, and tells the kernel that
// more follows at once.
func (s *Socket) writeMore(p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_MORE|unix.MSG_NOSIGNAL, 0, 0)
	switch errno {
	case 0:
		s.pace.given += int64(n)
		return int(n), nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	}
	return 0, errno
}

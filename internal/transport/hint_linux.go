package transport

import (
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HintUnread makes reads of the TCP socket fd say what is left to be read behind them,
// and those of the sockets that are accepted from it. It fails where the kernel does
// not count the end of the stream, as before Linux 5.4.
func HintUnread(fd int) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	if major, minor := release(unix.ByteSliceToString(name.Release[:])); major < 5 || major == 5 && minor < 4 {
		return unix.ENOPROTOOPT
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_INQ, 1)
}

// release reads the first two numbers of a kernel's release.
func release(s string) (major, minor int) {
	var n [2]int
	at := 0
	for i := 0; i < len(s) && at < len(n); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9' && n[at] < 1000:
			n[at] = 10*n[at] + int(c-'0')
		case c == '.':
			at++
		default:
			return n[0], n[1]
		}
	}
	return n[0], n[1]
}

// ExpectHints says that the socket was accepted from one with HintUnread. It is for
// Attend.
func (s *Socket) ExpectHints() {
	if s.secure == nil {
		s.hinted, s.hintedFn = true, s.readHinted
	}
}

// hintRoom is what a hint takes, as a control message.
const hintRoom = unix.SizeofCmsghdr + 8

// readHinted is readNow that sets quiet when there is nothing left to be read, not
// even the end.
func (s *Socket) readHinted(p []byte) (int, error) {
	for {
		var room struct {
			head unix.Cmsghdr
			n    int32
			_    int32
		}
		iov := unix.Iovec{Base: unsafe.SliceData(p)}
		iov.SetLen(len(p))
		msg := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: (*byte)(unsafe.Pointer(&room)), Controllen: hintRoom}
		n, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&msg)), syscall.MSG_DONTWAIT)
		switch {
		case errno == 0 && n == 0:
			return 0, io.EOF
		case errno == 0:
			s.quiet = msg.Controllen > 0 && room.head.Level == unix.SOL_TCP && room.head.Type == unix.TCP_CM_INQ && room.n == 0
			return int(n), nil
		case errno == syscall.EAGAIN:
			return 0, errAgain
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}

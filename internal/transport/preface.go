package transport

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"
)

var errPrefaceTooLong = errors.New("what comes before the first message is too long")

// ReadPreface reads what comes at the very start of a connection, below TLS, and
// not a byte more. parse is given what has come so far and returns the length of
// the whole, 0 while it has not come; its error ends the reading, as that of the
// network does. buf bounds the length.
func (s *Socket) ReadPreface(buf []byte, parse func(b []byte) (n int, err error)) error {
	have, failed := 0, error(nil)
	err := s.raw.Read(func(uintptr) bool {
		for {
			var whole bool
			have, whole, failed = s.morePreface(buf, have, parse)
			if failed == errAgain {
				return false
			}
			if failed != nil || whole {
				return true
			}
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// morePreface looks at what has come behind the first have bytes, and takes of it
// what belongs to the preface.
func (s *Socket) morePreface(buf []byte, have int, parse func([]byte) (int, error)) (now int, whole bool, err error) {
	if have == len(buf) {
		return have, false, errPrefaceTooLong
	}
	more, err := s.peekInto(buf[have:])
	if err != nil {
		return have, false, err
	}
	n, err := parse(buf[:have+more])
	if err != nil {
		return have, false, err
	}
	if n > 0 {
		more, whole = n-have, true
	}
	if _, err := s.readNow(buf[have : have+more]); err != nil { // it is there
		return have, false, err
	}
	return have + more, whole, nil
}

// peekInto copies what is there without taking it.
func (s *Socket) peekInto(p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return 0, errAgain
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

// writePreface writes what comes at the very start of a connection.
func writePreface(nc net.Conn, preface string, by time.Time) error {
	if err := nc.SetWriteDeadline(by); err != nil {
		return err
	}
	if _, err := io.WriteString(nc, preface); err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
}

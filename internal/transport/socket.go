package transport

import (
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"

	"steelyard/internal/wire"
)

// Socket is a TCP or unix connection that reads and writes with system calls of
// its own: without telling the scheduler of calls that cannot block, without a
// buffer while it waits, and with a look at whether the peer is still there.
// One goroutine at a time may read and one may write. With InitTLS all that is
// said of bytes is said of those inside TLS.
type Socket struct {
	net.Conn // below TLS
	fd       int
	raw      syscall.RawConn
	secure   *secure // nil without TLS
	pace     pace

	// Of a read and of a write that wait in the runtime. The functions are
	// made once: closures made for each call would be garbage.
	in, out         transfer
	readFn, writeFn func(uintptr) bool
	fillFn          func(uintptr) bool
	attendFn        func(uintptr) bool
	serve           func() bool
	hintedFn        func([]byte) (int, error)
	hinted          bool // reads say whether there is more
	quiet           bool // the last one has, that there is not
	filling         *wire.Reader
	more, large     bool // how it is filled
	attempt         func([]byte) (int, error)
}

// transfer is the state of one read or write.
type transfer struct {
	p    []byte
	pipe *Pipe // instead of p
	n    int
	err  error
}

// errAgain says that a call would have had to wait. It is temporary in the words
// of package net, so that TLS goes on after it where it was.
var errAgain error = againError{}

type againError struct{}

func (againError) Error() string   { return "resource temporarily unavailable" }
func (againError) Timeout() bool   { return true }
func (againError) Temporary() bool { return true }

// Init makes s wrap nc.
func (s *Socket) Init(nc net.Conn) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return errors.New("the connection has no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	s.Conn, s.raw, s.fd = nc, raw, -1
	s.readFn, s.writeFn, s.fillFn, s.attempt = s.tryRead, s.tryWrite, s.tryFill, s.readNow
	s.attendFn = s.tryAttend
	return raw.Control(func(n uintptr) { s.fd = int(n) })
}

// Read reads what is there, up to len(p) bytes, waiting until something is.
func (s *Socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = transfer{p: p}
	err := s.raw.Read(s.readFn)
	n := s.in.n
	if err == nil {
		err = s.in.err
	}
	s.in = transfer{}
	return n, err
}

func (s *Socket) tryRead(uintptr) bool {
	if s.in.pipe != nil {
		return s.tryFillPipe()
	}
	s.in.n, s.in.err = s.readNow(s.in.p)
	return s.in.err != errAgain
}

// Fill reads into r what is there, waiting until something is. r holds a buffer
// only once there are bytes for it.
func (s *Socket) Fill(r *wire.Reader) error {
	s.filling = r
	err := s.raw.Read(s.fillFn)
	if err == nil {
		err = s.in.err
	}
	s.filling, s.in.err = nil, nil
	return err
}

// FillMore is Fill in the middle of a message; large asks for much at a time.
func (s *Socket) FillMore(r *wire.Reader, large bool) error {
	s.more, s.large = true, large
	err := s.Fill(r)
	s.more = false
	return err
}

// FillNow is FillMore without waiting: it reports whether anything was there. After an
// error the next read fails or finds the end: the kernel tells of a reset once.
func (s *Socket) FillNow(r *wire.Reader, large bool) bool {
	before := r.Buffered()
	_ = r.AttemptMore(s.attempt, large)
	return r.Buffered() > before
}

func (s *Socket) tryFill(uintptr) bool {
	if s.more {
		s.in.err = s.filling.AttemptMore(s.attempt, s.large)
	} else {
		s.in.err = s.filling.Attempt(s.attempt)
	}
	return s.in.err != errAgain
}

// readNow reads without waiting. recvfrom and sendto go a shorter way through the kernel
// than read and write, which are for files too.
func (s *Socket) readNow(p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0 && n == 0:
			return 0, io.EOF
		case errno == 0:
			return int(n), nil
		case errno == syscall.EAGAIN:
			return 0, errAgain
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}

// Write writes all of p.
func (s *Socket) Write(p []byte) (int, error) {
	if s.secure != nil {
		return s.secure.tls.Write(p)
	}
	return s.write(p)
}

// WriteBoth writes all of p and then all of q, which lie apart, in one go if the
// kernel takes that. n counts the bytes of both.
func (s *Socket) WriteBoth(p, q []byte) (n int, err error) {
	if s.secure == nil {
		n, err = s.writeBothNow(p, q)
		s.pace.given += int64(n)
		if err != nil {
			return n, err
		}
	}
	for _, part := range [2][]byte{p[min(n, len(p)):], q[max(n-len(p), 0):]} {
		if len(part) == 0 {
			continue
		}
		m, err := s.Write(part)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeBothNow writes what can be written of p and q with one call, without waiting.
// That nothing can be is no error.
func (s *Socket) writeBothNow(p, q []byte) (int, error) {
	list := [2]syscall.Iovec{{Base: unsafe.SliceData(p)}, {Base: unsafe.SliceData(q)}}
	list[0].SetLen(len(p))
	list[1].SetLen(len(q))
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(s.fd), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)))
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	}
	return 0, errno
}

// write writes all of p below TLS.
func (s *Socket) write(p []byte) (int, error) { return s.finishWrite(transfer{p: p}) }

// finishWrite does the whole of t, waiting as long as the peer may take.
func (s *Socket) finishWrite(t transfer) (int, error) {
	s.out = t
	err := s.raw.Write(s.writeFn)
	if s.pace.since != 0 {
		err = s.settlePace(err)
	}
	n := s.out.n
	s.pace.given += int64(n)
	if err == nil {
		err = s.out.err
	}
	s.out = transfer{}
	return n, err
}

func (s *Socket) tryWrite(uintptr) bool {
	t := &s.out
	var n int
	var err error
	if t.pipe != nil {
		n, err = s.drainNow(t.pipe)
	} else {
		n, err = s.writeNow(t.p[t.n:])
	}
	t.n += n
	if err == errAgain {
		s.pace.waits()
		return false
	}
	t.err = err
	return true
}

// writeNow writes what can be written without waiting.
func (s *Socket) writeNow(p []byte) (done int, err error) {
	for done < len(p) {
		rest := p[done:]
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), syscall.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == syscall.EAGAIN:
			return done, errAgain
		case errno == syscall.EINTR:
		case errno != 0:
			return done, errno
		default:
			done += int(n)
		}
	}
	return done, nil
}

// CloseWrite ends the direction to the peer.
func (s *Socket) CloseWrite() error {
	if s.secure != nil {
		s.secure.sayEnd()
	}
	if cw, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// ResetOnClose makes the coming Close abrupt: a reset, where the network has such
// a thing, and without TLS's word that this was all.
func (s *Socket) ResetOnClose() {
	if s.secure != nil {
		s.secure.silent = true
	}
	if tc, ok := s.Conn.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
}

// Close closes the connection and does not wait. Who has to be sure that the peer
// gets the end of a TLS stream calls CloseWrite before.
func (s *Socket) Close() error {
	if s.secure != nil {
		return s.secure.closeNow()
	}
	return s.Conn.Close()
}

// SocketState is what a look at a socket without reading from it shows.
type SocketState uint8

// The states of a socket.
const (
	SocketQuiet  SocketState = iota // open, nothing to read
	SocketData                      // bytes can be read
	SocketClosed                    // the peer has closed or reset it
)

// Peek looks at the socket without consuming anything. It must be called only
// by an owner of the connection, who knows that it has not been closed; another
// goroutine may be reading. With TLS it sees what is encrypted: SocketData may
// be a message of TLS's own, and a peer that has ended its direction has closed,
// even if there is something left to read.
func (s *Socket) Peek() SocketState {
	if s.secure != nil {
		return s.peekBelow()
	}
	var b [1]byte
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return SocketQuiet
		case errno != 0 || n == 0:
			return SocketClosed
		}
		return SocketData
	}
}

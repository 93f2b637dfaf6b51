package transport

import (
	"errors"
	"net"
	"syscall"
	"unsafe"
)

// Socket is a connection with a look at its descriptor: whether the peer is
// still there, and waiting for bytes without holding a buffer for them.
type Socket struct {
	net.Conn
	fd    int
	raw   syscall.RawConn
	ready func(uintptr) bool
	asked bool
}

// NewSocket wraps a TCP or unix connection.
func NewSocket(nc net.Conn) (*Socket, error) {
	s := &Socket{}
	if err := s.Init(nc); err != nil {
		return nil, err
	}
	return s, nil
}

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
	s.ready = s.isReady
	return raw.Control(func(n uintptr) { s.fd = int(n) })
}

// isReady is asked by the runtime first at once, then when the socket has
// become readable.
func (s *Socket) isReady(uintptr) bool {
	if s.asked {
		return true
	}
	s.asked = true
	return s.Peek() != SocketQuiet
}

// WaitReadable returns when bytes, the end or an error can be read, or with the
// error of a deadline. One goroutine at a time may call it.
func (s *Socket) WaitReadable() error {
	s.asked = false
	return s.raw.Read(s.ready)
}

// CloseWrite ends the direction to the peer.
func (s *Socket) CloseWrite() error {
	if cw, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
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
// by an owner of the connection, who knows that it has not been closed.
func (s *Socket) Peek() SocketState {
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

package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// onlyKnown lets a TCP socket drop every segment with SYN, which begins a connection.
// A client sends another one a second later. Offset 13 is that of the flags (RFC 9293,
// section 3.1).
var onlyKnown = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 2, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
}

// closeDoor keeps the kernel from letting more connections in to a socket that is about
// to be closed: those that it lets in between the last look at who waits and the
// close are reset. Who comes to a TCP socket is left without an answer and comes again
// a second later, when another may listen there; who comes to a unix socket, whose
// file is removed, is refused. Where the kernel cannot do it, all is as without.
// The socket must not be used by anybody else.
func closeDoor(ln net.Listener) {
	u, isUnix := ln.(*net.UnixListener)
	if isUnix { // first, so that nobody takes the file for one that nobody listens on
		_ = os.Remove(u.Addr().String())
		u.SetUnlinkOnClose(false)
	}
	_ = control(ln, func(fd int) error {
		if isUnix {
			return unix.Shutdown(fd, unix.SHUT_RD)
		}
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(onlyKnown)), Filter: &onlyKnown[0]})
	})
}

// ListenBeside is Listen for a TCP address that overlaps with those of sockets of this
// process, as that of every address of the machine does with each of them. Who comes
// to both gets to the one that says more closely where it listens.
func ListenBeside(address string, others []net.Listener) (net.Listener, error) {
	share := func(on int) func(fd int) error {
		return func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on) }
	}
	for _, o := range others {
		if err := control(o, share(1)); err != nil {
			return nil, err
		}
		defer func() { _ = control(o, share(0)) }() // nobody else is to come between
	}
	ln, err := listenTCP(address, func(_, _ string, c syscall.RawConn) error { return controlRaw(c, share(1)) })
	if err != nil {
		return nil, err
	}
	_ = control(ln, share(0))
	return ln, nil
}

// control does something to the descriptor of a socket.
func control(ln net.Listener, do func(fd int) error) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return errors.New("it has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return controlRaw(raw, do)
}

func controlRaw(raw syscall.RawConn, do func(fd int) error) (err error) {
	failed := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(failed, err)
}

// acceptNow accepts a connection that waits, if there is one.
func acceptNow(listening int) (fd int, err error) {
	fd, _, err = syscall.Accept4(listening, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	return fd, err
}

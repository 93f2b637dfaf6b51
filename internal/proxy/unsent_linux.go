package proxy

import (
	"errors"
	"net"

	"steelyard/internal/transport"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much of a response the kernel takes that it cannot send yet, in
// bytes: enough to keep any connection busy, and not the megabytes that it would
// hold for each client that does not read.
const maxUnsent = 128 << 10

// boundUnsent sets maxUnsent for all connections that are accepted from a listener,
// which take it over from its socket.
func boundUnsent(ln net.Listener) {
	if _, ok := ln.(*net.TCPListener); !ok {
		return
	}
	_ = control(ln, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent) })
}

// hintUnread makes reads of all connections that are accepted from a listener say
// whether there is more; it reports whether that can be relied on.
func hintUnread(ln net.Listener) bool {
	return ln.Addr().Network() == "tcp" && control(ln, transport.HintUnread) == nil
}

// keepAlive makes the kernel ask for all connections that are accepted from a listener,
// when nothing has come for a while, whether the other end is still there.
func keepAlive(ln net.Listener) {
	_ = control(ln, func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveEvery),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveEvery),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveTries),
		)
	})
}

// After so many seconds, so often.
const (
	keepAliveEvery = 15
	keepAliveTries = 9
)

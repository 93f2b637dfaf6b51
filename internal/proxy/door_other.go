//go:build !linux

package proxy

import (
	"net"
	"syscall"
)

func closeDoor(net.Listener) {}

// ListenBeside is Listen: elsewhere than on Linux addresses that overlap are refused.
func ListenBeside(address string, _ []net.Listener) (net.Listener, error) { return Listen(address) }

// acceptNow accepts a connection that waits, if there is one.
func acceptNow(listening int) (fd int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if fd, _, err = syscall.Accept(listening); err == nil {
		syscall.CloseOnExec(fd)
		err = syscall.SetNonblock(fd, true)
	}
	return fd, err
}

//go:build !linux

package proxy

import "net"

func closeDoor(net.Listener) {}

// ListenBeside is Listen: elsewhere than on Linux addresses that overlap are refused.
func ListenBeside(address string, _ []net.Listener) (net.Listener, error) { return Listen(address) }

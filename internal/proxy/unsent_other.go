//go:build !linux

package proxy

import "net"

// boundUnsent does nothing where the kernel has no such bound.
func boundUnsent(net.Listener) {}

// hintUnread does nothing where the kernel has no such hint.
func hintUnread(net.Listener) bool { return false }

// keepAlive does nothing where connections may not take options over.
func keepAlive(net.Listener) {}

//go:build !linux

package transport

// ExpectHints does nothing where the kernel gives no hints.
func (s *Socket) ExpectHints() {}

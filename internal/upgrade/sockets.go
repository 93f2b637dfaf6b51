// Package upgrade hands listening sockets from one process to the next, so that
// another binary can take the place of this one without a client noticing, takes
// those that systemd passes, and tells systemd what goes on. It knows nothing of
// what is served on the sockets.
package upgrade

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	// firstFD is the first descriptor that a process is given besides its standard
	// ones; sd_listen_fds(3) says so.
	firstFD = 3
	// handed names the variable by which a process tells the next what it hands
	// over: a word for each socket, own or lent, from firstFD on. Behind them is the
	// pipe on which the next one says that it is ready.
	handed = "STEELYARD_HANDED"
	most   = 1024 // sockets that are taken
)

// Socket is a listening socket that is handed over.
type Socket struct {
	Listener net.Listener
	Lent     bool // it belongs to systemd, and so does the file of a unix socket
}

// Sockets are those that the process was started with. They may be used by
// several goroutines.
type Sockets struct {
	mu    sync.Mutex
	left  []Socket
	files []*net.UnixListener // taken, whose files are the process's before until Ready
	spare []string            // files of unix sockets that nobody has taken
	ready *os.File            // nil if no other process waits
}

// Inherit takes the sockets of this process out of its environment, so that no
// process that it starts takes them for its own. On error none are taken.
func Inherit() (*Sockets, error) {
	words, lent := os.Getenv(handed), os.Getenv("LISTEN_FDS")
	mine := os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
	for _, name := range []string{handed, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	s := &Sockets{}
	var all []string
	switch {
	case words != "":
		all = strings.Split(words, ",")
		s.ready = os.NewFile(uintptr(firstFD+len(all)), "ready")
		syscall.CloseOnExec(firstFD + len(all))
	case lent != "" && mine:
		n, err := strconv.Atoi(lent)
		if err != nil || n < 0 || n > most {
			return nil, fmt.Errorf("LISTEN_FDS is %q, which is no number of sockets", lent)
		}
		for range n {
			all = append(all, "lent")
		}
	}
	for i, word := range all {
		fd := firstFD + i
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket")
		ln, err := net.FileListener(f) // of a duplicate
		_ = f.Close()
		if err != nil {
			s.CloseUnused()
			return nil, fmt.Errorf("descriptor %d was passed as a listening stream socket, which it is not: %w", fd, err)
		}
		s.left = append(s.left, Socket{Listener: ln, Lent: word == "lent"})
	}
	return s, nil
}

// Take returns the socket that listens on an address, host:port or unix:/path,
// and whether it is lent; nil if there is none, or it has been taken.
func (s *Sockets) Take(address string) (ln net.Listener, lent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.left {
		if !ListensOn(x.Listener.Addr(), address) {
			continue
		}
		s.left = append(s.left[:i:i], s.left[i+1:]...)
		if u, ok := x.Listener.(*net.UnixListener); ok && !x.Lent {
			s.files = append(s.files, u)
		}
		return x.Listener, x.Lent
	}
	return nil, false
}

// ListensOn reports whether a socket is what an address, host:port or unix:/path,
// asks for. All ways to say "every address" are one.
func ListensOn(addr net.Addr, address string) bool {
	path, unix := strings.CutPrefix(address, "unix:")
	switch a := addr.(type) {
	case *net.UnixAddr:
		return unix && filepath.Clean(a.Name) == filepath.Clean(path)
	case *net.TCPAddr:
		if unix {
			return false
		}
		want, err := net.ResolveTCPAddr("tcp", address)
		if err != nil || want.Port != a.Port || want.Zone != a.Zone {
			return false
		}
		every := want.IP == nil || want.IP.IsUnspecified()
		return every && a.IP.IsUnspecified() || want.IP.Equal(a.IP)
	}
	return false
}

// CloseUnused closes what nobody has taken: a socket that nobody accepts from
// would let its clients wait for ever.
func (s *Sockets) CloseUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.left {
		slog.Warn("a socket was passed to this process that no listener of the configuration uses; it is closed", "address", x.Listener.Addr())
		if u, ok := x.Listener.(*net.UnixListener); ok && !x.Lent {
			s.spare = append(s.spare, u.Addr().String())
		}
		_ = x.Listener.Close()
	}
	s.left = nil
}

// Succeeds reports whether another process hands its place to this one.
func (s *Sockets) Succeeds() bool { return s.ready != nil }

// Ready tells the process before, if there is one, that this one serves. From then
// on the files of unix sockets end with this one; those that it does not use go.
func (s *Sockets) Ready() error {
	if s.ready == nil {
		return nil
	}
	defer s.ready.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.files {
		u.SetUnlinkOnClose(true)
	}
	for _, path := range s.spare {
		_ = os.Remove(path)
	}
	s.files, s.spare = nil, nil
	if _, err := s.ready.Write([]byte{readyByte}); err != nil {
		return fmt.Errorf("the process before cannot be told that this one serves: %w", err)
	}
	return nil
}

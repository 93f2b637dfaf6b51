package accesslog

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Sink is where lines go.
type Sink struct {
	to   string
	file *os.File
}

// fileMode is that of a file that is made here: what clients ask for is not
// everybody's business.
const fileMode fs.FileMode = 0o640

// Open opens the standard output, the standard error (stdout, stderr) or a file,
// which is made if need be and only ever appended to.
func Open(to string) (*Sink, error) {
	switch to {
	case "stdout":
		return &Sink{to, os.Stdout}, nil
	case "stderr":
		return &Sink{to, os.Stderr}, nil
	}
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	if fi, err := os.Stat(to); err == nil && fi.Mode()&fs.ModeNamedPipe != 0 {
		// Opened for reading as well, a pipe that nobody reads neither holds
		// up the open nor breaks when its reader is started anew.
		flags = os.O_RDWR | syscall.O_NONBLOCK
	}
	f, err := os.OpenFile(to, flags, fileMode)
	if err != nil {
		return nil, fmt.Errorf("opening the access log: %w", err)
	}
	return &Sink{to, f}, nil
}

// Close closes the file; standard output and error stay open.
func (s *Sink) Close() {
	if s.file != os.Stdout && s.file != os.Stderr {
		_ = s.file.Close()
	}
}

package transport

import "steelyard/internal/wire"

// Attend waits for bytes and calls serve whenever some have been read into r, until
// serve reports false or the wait ends with an error. serve may write, and everything
// else but read from s or close it. It leaves r empty if it wants to go on.
//
// All of that is one wait of the runtime, see Conn.Ask: nobody clears the flag between
// two requests but who takes it, before he reads. So a wait can begin without a read
// that is bound to find nothing, if there was nothing left behind the last read: what
// comes later makes an edge. That a read got less than it asked for would do for bytes,
// but not for an end that came with them, so the kernel is asked (quiet).
func (s *Socket) Attend(r *wire.Reader, serve func() bool) error {
	s.filling, s.serve = r, serve
	err := s.raw.Read(s.attendFn)
	if err == nil {
		err = s.in.err
	}
	s.filling, s.serve, s.in.err = nil, nil, nil
	return err
}

func (s *Socket) tryAttend(uintptr) bool {
	read := s.attempt
	if s.hinted {
		read = s.hintedFn
	}
	for {
		s.quiet = false
		s.in.err = s.filling.Attempt(read)
		switch {
		case s.in.err == errAgain:
			return false
		case s.in.err != nil, !s.serve():
			return true
		case s.quiet:
			return false
		}
	}
}

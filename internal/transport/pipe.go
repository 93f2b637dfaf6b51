package transport

import (
	"errors"
	"io"
)

// Pipe moves bytes from one socket to another inside the kernel, without a copy in
// this process. It is for long bodies between connections without TLS, where nobody
// has to see what goes by. The zero Pipe is ready; it has a pipe of the kernel only
// while there are bytes in it. One goroutine at a time may use it.
type Pipe struct {
	kernel *kernelPipe
	held   int // bytes in it
}

// ErrNoPipe says that bytes cannot be moved inside the kernel, at least not now:
// there are enough pipes, or the sockets are not of a kind that can. Nothing has been
// read.
var ErrNoPipe = errors.New("no pipe")

// Len is how many bytes are in it.
func (p *Pipe) Len() int { return p.held }

// Drop lets go of what is in it.
func (p *Pipe) Drop() {
	if p.kernel != nil {
		p.kernel.put(p.held == 0)
	}
	*p = Pipe{}
}

// Pipes reports whether bytes can be moved between s and other inside the kernel.
func (s *Socket) Pipes(other *Socket) bool {
	return s.secure == nil && other.secure == nil && pipesWork
}

// FillPipe moves what is there into p, which must be empty, up to most bytes, waiting
// until something is. The errors are those of Read, and ErrNoPipe.
func (s *Socket) FillPipe(p *Pipe, most int64) error {
	s.in = transfer{pipe: p, n: int(min(most, pipeSize))}
	err := s.raw.Read(s.readFn)
	if err == nil {
		err = s.in.err
	}
	s.in = transfer{}
	return err
}

// FillPipeNow is FillPipe without waiting; it reports whether anything was there.
func (s *Socket) FillPipeNow(p *Pipe, most int64) bool {
	s.in = transfer{pipe: p, n: int(min(most, pipeSize))}
	s.tryFillPipe()
	s.in = transfer{}
	return p.held > 0
}

// WriteBeforePipe writes p and then all that is in pipe, as one if the kernel takes it
// so.
func (s *Socket) WriteBeforePipe(p []byte, pipe *Pipe) (n int, err error) {
	if n, err = s.writeMore(p); err == nil && n < len(p) {
		var m int
		m, err = s.write(p[n:])
		n += m
	}
	if err != nil {
		return n, err
	}
	m, err := s.WritePipe(pipe)
	return n + m, err
}

// WritePipe writes all that is in p. After an error p may hold a rest.
func (s *Socket) WritePipe(p *Pipe) (int, error) { return s.finishWrite(transfer{pipe: p}) }

// tryFillPipe is tryRead into a pipe.
func (s *Socket) tryFillPipe() bool {
	p := s.in.pipe
	if p.kernel = getKernelPipe(); p.kernel == nil {
		s.in.err = ErrNoPipe
		return true
	}
	n, err := p.kernel.fill(s.fd, s.in.n)
	if n == 0 && err == nil {
		err = io.EOF
	}
	if p.held = n; n == 0 {
		p.Drop()
	}
	s.in.err = err
	return err != errAgain
}

// drainNow writes what can be written of p without waiting.
func (s *Socket) drainNow(p *Pipe) (done int, err error) {
	for p.held > 0 {
		n, err := p.kernel.drain(s.fd, p.held)
		if err != nil {
			return done, err
		}
		done += n
		p.held -= n
	}
	p.Drop()
	return done, nil
}

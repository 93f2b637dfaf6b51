package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// idleGrace is how long connections without a request stay open when a
	// listener stops, so that a request on its way still gets its answer.
	idleGrace = time.Second
	// backlogGrace is how long a stopping listener goes on accepting, so that
	// connections already made are not reset, and again how long it waits for
	// those that are being made.
	backlogGrace = 50 * time.Millisecond
	// cutWait bounds the wait for connections that were cut; those that wait for
	// a backend notice it within 600 ms.
	cutWait = time.Second
	// maxAcceptPause bounds the wait after an error such as too many open files.
	maxAcceptPause = 200 * time.Millisecond
)

// Listener serves the clients of one address.
type Listener struct {
	name   atomic.Pointer[string]
	proxy  *Proxy
	ln     net.Listener
	server *fasthttp.Server
	limits atomic.Pointer[Limits]
	tls    atomic.Pointer[TLS] // nil: plain HTTP
	shakes handshakes

	trouble acceptTrouble

	accepted atomic.Int64
	draining atomic.Bool
	shared   atomic.Bool // somebody else accepts from the socket too
	lent     bool        // the socket is somebody else's
	hinted   bool        // reads of clients' sockets say whether there is more
	turns    atomic.Pointer[turns]
	seats    seats // of proxy.admission
	rejected [refusals]atomic.Int64
	told     reporter // of connections that were not let in
	refused  chan turnedAway
	shownOut chan struct{} // closed when showOut returned
	refusing sync.Once     // ends
	mu       sync.Mutex
	conns    map[*clientConn]struct{}
	served   chan struct{} // closed when Serve returned
}

// NewListener makes a listener on ln; Serve must be called.
func (p *Proxy) NewListener(name string, ln net.Listener, lim Limits) *Listener {
	l := &Listener{proxy: p, ln: ln, conns: map[*clientConn]struct{}{}, served: make(chan struct{}),
		refused: make(chan turnedAway, maxRefused), shownOut: make(chan struct{})}
	l.Configure(name, lim)
	boundUnsent(ln)
	l.hinted = hintUnread(ln)
	// fasthttp accepts connections and runs them on its goroutines; what they bring it
	// never sees, see clientConn.
	l.server = &fasthttp.Server{
		ReduceMemoryUsage: true, // nothing is held for what is read
		LazyRequestTime:   true,
		Concurrency:       1 << 20,
		// How long a goroutine without a connection is kept, and how long
		// fasthttp's own cleaner may outlive the listener.
		MaxIdleWorkerDuration: 2 * time.Second,
		Logger:                quietLogger{},
	}
	return l
}

// quietLogger drops fasthttp's own lines about connections that clients broke.
type quietLogger struct{}

func (quietLogger) Printf(string, ...any) {}

// Configure gives the listener another name, or other limits. Connections that
// are open go by the new ones from their next wait on.
func (l *Listener) Configure(name string, lim Limits) {
	l.name.Store(&name)
	l.limits.Store(&lim)
	l.setTurns(lim.MaxHandshakes)
	l.reconsider()
}

// Name is the listener's name.
func (l *Listener) Name() string { return *l.name.Load() }

// Addr is the address it listens on.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Serve accepts connections until Shutdown.
func (l *Listener) Serve() error {
	defer close(l.served)
	go l.showOut()
	return l.server.Serve(acceptor{l})
}

// acceptor gives fasthttp our connections.
type acceptor struct{ *Listener }

func (a acceptor) Addr() net.Addr { return a.ln.Addr() }
func (a acceptor) Close() error   { return nil }

// Accept returns io.EOF when the listener stops.
func (a acceptor) Accept() (net.Conn, error) {
	pause := time.Duration(0)
	for {
		a.awaitRoom()
		nc, err := a.ln.Accept()
		if err == nil {
			a.accepts()
			c := a.admit(nc)
			if c == nil {
				continue
			}
			return c, nil
		}
		if a.draining.Load() || errors.Is(err, net.ErrClosed) {
			return nil, io.EOF
		}
		a.cannotAccept(err)
		pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
		time.Sleep(pause)
	}
}

func (l *Listener) add(c *clientConn) {
	l.accepted.Add(1)
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
}

func (l *Listener) remove(c *clientConn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.leave(c.seat)
}

// Accepted is the number of connections ever accepted.
func (l *Listener) Accepted() int64 { return l.accepted.Load() }

// Connections is the number of client connections.
func (l *Listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Shutdown stops accepting, lets requests in flight finish, tells upgraded
// connections to go away, and closes the rest when ctx ends. It returns how
// many connections had to be cut.
func (l *Listener) Shutdown(ctx context.Context) int {
	l.stopAccepting()
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		left := l.release(time.Since(began) >= idleGrace)
		if left == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return l.cut()
		case <-ticker.C:
		}
	}
}

// Lend says that the socket, and the file of a unix socket, is somebody else's, who
// keeps it open. It must be called before Serve.
func (l *Listener) Lend() {
	l.lent = true
	if u, ok := l.ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}

// Lent reports whether the socket is somebody else's.
func (l *Listener) Lent() bool { return l.lent }

// Share says that somebody else accepts from the socket from now on. Shutdown then
// leaves to him who waits to be accepted, and the file of a unix socket.
func (l *Listener) Share() {
	l.shared.Store(true)
	if u, ok := l.ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}

// Socket is what it accepts from.
func (l *Listener) Socket() net.Listener { return l.ln }

func (l *Listener) stopAccepting() {
	l.draining.Store(true)
	l.reconsider()
	defer l.endRefusals()
	if d, ok := l.ln.(interface{ SetDeadline(time.Time) error }); ok && l.shared.Load() {
		// Accept returns a connection, or none: it takes none that it does not return.
		_ = d.SetDeadline(time.Unix(1, 0))
		<-l.served
	} else if ok {
		_ = d.SetDeadline(time.Now().Add(2 * backlogGrace))
		time.Sleep(backlogGrace)
		if !l.lent {
			closeDoor(l.ln)
		}
		<-l.served
		l.acceptRest()
	}
	_ = l.ln.Close()
	<-l.served
}

// acceptRest serves the connections that wait to be accepted: Accept does not
// return them once its deadline has passed, and closing the socket would reset
// them.
func (l *Listener) acceptRest() {
	sc, ok := l.ln.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for {
			nfd, err := acceptNow(int(fd))
			if err == syscall.EINTR || err == syscall.ECONNABORTED {
				continue
			}
			if err != nil {
				return
			}
			l.serveFD(nfd)
		}
	})
}

// serveFD serves an accepted descriptor beside the worker pool, which has ended.
func (l *Listener) serveFD(fd int) {
	f := os.NewFile(uintptr(fd), "")
	nc, err := net.FileConn(f) // works on a duplicate
	_ = f.Close()
	if err != nil {
		return
	}
	if c := l.admit(nc); c != nil {
		go func() { _ = l.server.ServeConn(c) }()
	}
}

// release lets go of connections that have nothing in flight.
func (l *Listener) release(idleToo bool) (left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if t := c.tunnel.Load(); t != nil {
			t.goAway()
		} else if idleToo && c.state.CompareAndSwap(connIdle, connReleased) {
			c.interrupt()
		}
	}
	return len(l.conns)
}

// cut ends all connections at once and returns how many had something in
// flight. They are closed by the goroutines that serve them, which still look at
// them.
func (l *Listener) cut() int {
	cut := 0
	for deadline := time.Now().Add(cutWait); ; {
		l.release(true)
		busy := 0
		l.mu.Lock()
		n := len(l.conns)
		for c := range l.conns {
			if c.state.Load() == connBusy {
				busy++
				c.cut()
			}
		}
		l.mu.Unlock()
		cut = max(cut, busy)
		if n == 0 || time.Now().After(deadline) {
			return cut
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ErrNotSocket means that the path of a unix listener is taken by a file that is
// no socket.
var ErrNotSocket = errors.New("the path is taken by a file that is no socket")

// Listen opens the socket of an address, host:port or unix:/path. A stale
// socket file that nobody listens on is replaced.
func Listen(address string) (net.Listener, error) {
	path, ok := cutUnix(address)
	if !ok {
		return listenTCP(address, nil)
	}
	if fi, err := os.Stat(path); err == nil {
		if fi.Mode()&os.ModeSocket == 0 {
			return nil, ErrNotSocket
		}
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	return net.Listen("unix", path)
}

// listenTCP opens a plain TCP socket: closeDoor has no power over one of Multipath
// TCP, which package net would choose.
//
// Connections are kept alive as package net would do it, but by options that they take
// over from the socket, instead of four calls for each.
func listenTCP(address string, control func(network, address string, c syscall.RawConn) error) (net.Listener, error) {
	lc := net.ListenConfig{Control: control, KeepAlive: -1}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", address)
	if err == nil {
		keepAlive(ln)
	}
	return ln, err
}

// removeStale removes a socket file only if it is certain that nobody listens:
// a listener whose backlog is full, or that is not ours to reach, fails a dial
// in other ways.
func removeStale(path string) error {
	nc, err := net.Dial("unix", path)
	if err == nil {
		return nc.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return nil
}

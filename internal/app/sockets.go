package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"syscall"
	"time"

	"steelyard/config"
	"steelyard/internal/proxy"
	"steelyard/internal/upgrade"
)

// seat is a listener of a configuration: one that serves already, or the socket
// for one that will.
type seat struct {
	listener *proxy.Listener
	socket   upgrade.Socket
	passed   bool           // socket is a second one of somebody who goes
	late     []net.Listener // set: the socket is opened beside these, by openLate
}

// openSockets finds for each listener of cfg the one that serves its address
// now, or opens a socket: a listener is where clients are, so the address says
// which one it is, and a name can move.
func (a *App) openSockets(t *takeover) (err error) {
	t.listeners = make([]seat, len(t.cfg.Listeners))
	var where []string // of goes
	for i, l := range t.before.listeners {
		t.goes, where = append(t.goes, l), append(where, t.before.cfg.Listeners[i].Address)
	}
	for _, same := range []func(at int, address string) bool{
		func(at int, address string) bool { return where[at] == address }, // no name is looked up for that
		func(at int, address string) bool { return upgrade.ListensOn(t.goes[at].Addr(), address) },
	} {
		for i, c := range t.cfg.Listeners {
			for at := range t.goes {
				if t.listeners[i].listener == nil && same(at, c.Address) {
					t.listeners[i].listener = t.goes[at]
					t.goes, where = slices.Delete(t.goes, at, at+1), slices.Delete(where, at, at+1)
					break
				}
			}
		}
	}
	for i, c := range t.cfg.Listeners {
		if t.listeners[i].listener != nil {
			continue
		}
		if t.listeners[i], err = a.open(t, c.Address); err != nil {
			return explainListen("listener "+c.Name, c.Address, err)
		}
	}
	return nil
}

// open finds the socket for an address that no listener serves: what the process was
// started with, what somebody gives up in this takeover, or a new one.
func (a *App) open(t *takeover, address string) (s seat, err error) {
	if a.sockets != nil {
		if s.socket.Listener, s.socket.Lent = a.sockets.Take(address); s.socket.Listener != nil {
			return s, nil
		}
	}
	adminGoes := a.admin != nil && (t.cfg.Admin == nil || !upgrade.ListensOn(a.adminAt.Listener.Addr(), t.cfg.Admin.Address))
	if adminGoes && upgrade.ListensOn(a.adminAt.Listener.Addr(), address) {
		return pass(a.adminAt)
	}
	for _, l := range t.goes {
		if upgrade.ListensOn(l.Addr(), address) { // the admin API takes the place of a listener
			t.shared = append(t.shared, l)
			return pass(upgrade.Socket{Listener: l.Socket(), Lent: l.Lent()})
		}
		if samePort(l.Addr(), address) && !l.Lent() {
			s.late = append(s.late, l.Socket())
		}
	}
	if adminGoes && samePort(a.adminAt.Listener.Addr(), address) && !a.adminAt.Lent {
		s.late = append(s.late, a.adminAt.Listener)
	}
	if s.late == nil {
		s.socket.Listener, err = a.retried(func() (net.Listener, error) { return proxy.Listen(address) })
	}
	return s, err
}

// samePort reports whether a socket may be in the way of an address, as that of
// every address of the machine is to each of them.
func samePort(addr net.Addr, address string) bool {
	tcp, ok := addr.(*net.TCPAddr)
	_, port, err := net.SplitHostPort(address)
	return ok && err == nil && port == strconv.Itoa(tcp.Port)
}

// openLate opens the sockets that stand beside one which this takeover gives up.
// From then on their clients wait, so nothing that takes long may come behind it.
func (a *App) openLate(t *takeover) error {
	for i := range t.listeners {
		c := &t.cfg.Listeners[i]
		if err := a.openBeside(&t.listeners[i], c.Address); err != nil {
			return explainListen("listener "+c.Name, c.Address, err)
		}
	}
	if c := t.cfg.Admin; c != nil {
		if err := a.openBeside(&t.adminSeat, c.Address); err != nil {
			return explainListen("admin", c.Address, err)
		}
	}
	return nil
}

func (a *App) openBeside(s *seat, address string) (err error) {
	if s.late == nil {
		return nil
	}
	s.socket.Listener, err = a.retried(func() (net.Listener, error) { return proxy.ListenBeside(address, s.late) })
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: %w", errOwnPort, err)
	}
	return err
}

// errOwnPort is that of an address which Steelyard itself keeps from being opened,
// unless somebody else does.
var errOwnPort = errors.New("tried beside the listener in force")

// closing is the longest that a socket given up by a reload takes to close: it
// accepts for a moment longer, for those who are on their way.
const closing = time.Second

// retried opens a socket. One that the reload before has given up, and that is in its
// way, may be about to close.
func (a *App) retried(open func() (net.Listener, error)) (net.Listener, error) {
	for {
		ln, err := open()
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(a.gaveUp) > closing {
			return ln, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// openAdmin makes the admin API of a configuration, unless the one there is
// stays. One that takes the place of another at the same address gets the same
// socket, so that nobody is refused between them.
func (a *App) openAdmin(t *takeover) (err error) {
	before, c := t.before.cfg.Admin, t.cfg.Admin
	if c == nil || adminStays(before, c) {
		return nil
	}
	if before != nil && upgrade.ListensOn(a.adminAt.Listener.Addr(), c.Address) {
		if t.adminSeat, err = pass(a.adminAt); err != nil {
			return fmt.Errorf("admin: cannot go on listening on %s: %w", c.Address, err)
		}
	} else if t.adminSeat, err = a.open(t, c.Address); err != nil {
		return explainListen("admin", c.Address, err)
	}
	t.admin, err = a.newAdmin(c, a.admin)
	return err
}

// adminStays reports whether the admin API goes on as it is. Where files belong
// to it, it does not: a reload is how they are read anew.
func adminStays(before, c *config.Admin) bool {
	if before == nil || c == nil || c.TLS != nil || c.TokenFile != "" {
		return false
	}
	x, y := *before, *c
	x.Line, y.Line = 0, 0
	return reflect.DeepEqual(x, y)
}

// pass makes a second listener of a socket. The file of a unix socket stays when it
// is closed.
func pass(from upgrade.Socket) (s seat, err error) {
	s.passed, s.socket.Lent = true, from.Lent
	s.socket.Listener, err = duplicate(from.Listener)
	return s, err
}

func duplicate(ln net.Listener) (net.Listener, error) {
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// ownFile lets the file of a unix socket that was passed on end with it, unless it is
// somebody else's.
func (s *seat) ownFile() {
	if u, ok := s.socket.Listener.(*net.UnixListener); ok && s.passed {
		u.SetUnlinkOnClose(!s.socket.Lent)
	}
}

// swapAdmin lets the admin API answer at its place, and ends the one before
// behind that: it may be what has asked for the reload. It is there before the
// pools of a start are ready, so that it can be seen what they wait for.
func (a *App) swapAdmin(t *takeover) {
	before, c := t.before.cfg.Admin, t.cfg.Admin
	if adminStays(before, c) {
		return
	}
	old, oldAt := a.admin, a.adminAt
	a.admin, a.adminAt = t.admin, t.adminSeat.socket
	if u, ok := oldAt.Listener.(*net.UnixListener); ok && a.serves(u.Addr()) {
		u.SetUnlinkOnClose(false) // the file is the next one's now
	}
	if t.admin != nil {
		t.adminSeat.ownFile()
		if before == nil || before.Address != c.Address {
			slog.Info("admin API", "address", c.Address)
		}
		t.admin.Serve(a.adminAt.Listener)
	}
	if old != nil {
		a.gaveUp = time.Now()
		a.leaving.Go(old.Close)
	}
}

// serves reports whether a socket of that address is in use by the admin API or a
// listener now.
func (a *App) serves(addr net.Addr) bool {
	same := func(other net.Addr) bool { return other.Network() == addr.Network() && other.String() == addr.String() }
	return a.admin != nil && same(a.adminAt.Listener.Addr()) ||
		slices.ContainsFunc(a.Listeners(), func(l *proxy.Listener) bool { return same(l.Addr()) })
}

// explainListen says what to do about a socket that cannot be opened.
func explainListen(who, address string, err error) error {
	cure := ""
	switch {
	case errors.Is(err, errOwnPort):
		cure = "another process listens there, or the listener of this port in force cannot give way; if it is that, reload once without both, then with this one"
	case errors.Is(err, syscall.EADDRINUSE):
		cure = "another process listens there; stop it or choose another address"
	case errors.Is(err, syscall.EACCES):
		cure = "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; choose a port from 1024 up"
	case errors.Is(err, proxy.ErrNotSocket):
		cure = "remove the file or choose another path"
	case errors.Is(err, syscall.ENOENT):
		cure = "the folder of the socket does not exist; create it first"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		cure = "this machine has no such address"
	default:
		return fmt.Errorf("%s: cannot listen on %s: %w", who, address, err)
	}
	return fmt.Errorf("%s: cannot listen on %s: %s (%w)", who, address, cure, err)
}

func limits(c *config.Listener) proxy.Limits {
	return proxy.Limits{
		IdleTimeout:    c.IdleTimeout,
		HeaderTimeout:  c.HeaderTimeout,
		BodyTimeout:    c.BodyTimeout,
		WriteTimeout:   c.WriteTimeout,
		UpgradeTimeout: c.UpgradeTimeout,
		MaxHeaderSize:  c.MaxHeaderSize,
		MaxBodySize:    c.MaxBodySize,
		ProxyFrom:      c.ProxyProtocol,
		HTTPSPort:      c.HTTPSPort,

		MaxHeaderFields: c.MaxHeaderFields,
		MaxTarget:       c.MaxTargetLength,
		MaxHandshakes:   c.MaxHandshakes,
		MaxRequests:     c.MaxRequests,
		MinBodyRate:     c.MinBodyRate,
		MinResponseRate: c.MinResponseRate,
		MaxConnections:  c.MaxConnections,
		MaxPerClient:    c.MaxConnectionsPerClient,
		WaitWhenFull:    c.WhenFull == "wait",
	}
}

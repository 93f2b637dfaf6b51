package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"syscall"
	"time"

	"steelyard/config"
	"steelyard/internal/proxy"
)

// openSockets finds for each listener of cfg the one that serves its address
// now, or opens a socket: a listener is where clients are, so the address says
// which one it is, and a name can move.
func (a *App) openSockets(t *takeover) error {
	serving := map[string]*proxy.Listener{}
	for i, l := range t.before.listeners {
		serving[t.before.cfg.Listeners[i].Address] = l
	}
	for _, c := range t.cfg.Listeners {
		if l := serving[c.Address]; l != nil {
			t.listeners = append(t.listeners, seat{listener: l})
			continue
		}
		ln, err := a.listen(c.Address)
		if err != nil {
			return explainListen("listener "+c.Name, c.Address, err)
		}
		t.listeners = append(t.listeners, seat{socket: ln})
	}
	return nil
}

// closing is the longest that a socket given up by a reload takes to close: it
// accepts for a moment longer, for those who are on their way.
const closing = time.Second

// listen opens a socket, unless the process was started with it. One that the
// reload before has given up may be about to close.
func (a *App) listen(address string) (net.Listener, error) {
	if a.sockets != nil {
		if ln, lent := a.sockets.Take(address); ln != nil {
			a.lent[address] = lent
			return ln, nil
		}
	}
	delete(a.lent, address) // given up before
	for {
		ln, err := proxy.Listen(address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(a.gaveUp) > closing {
			return ln, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// seat is a listener of a configuration: one that serves already, or the socket
// for one that will.
type seat struct {
	listener *proxy.Listener
	socket   net.Listener
}

// openAdmin makes the admin API of a configuration, unless the one there is
// stays. One that takes the place of another at the same address gets the same
// socket, so that nobody is refused between them.
func (a *App) openAdmin(t *takeover) (err error) {
	before, c := t.before.cfg.Admin, t.cfg.Admin
	if c == nil || adminStays(before, c) {
		return nil
	}
	if before != nil && before.Address == c.Address {
		if t.adminLn, err = duplicate(a.adminLn); err != nil {
			return fmt.Errorf("admin: cannot go on listening on %s: %w", c.Address, err)
		}
	} else if t.adminLn, err = a.listen(c.Address); err != nil {
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

// duplicate makes a second listener of the same socket.
func duplicate(ln net.Listener) (net.Listener, error) {
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// swapAdmin lets the admin API answer at its place, and ends the one before
// behind that: it may be what has asked for the reload. It is there before the
// pools of a start are ready, so that it can be seen what they wait for.
func (a *App) swapAdmin(t *takeover) {
	before, c := t.before.cfg.Admin, t.cfg.Admin
	if adminStays(before, c) {
		return
	}
	old, oldLn := a.admin, a.adminLn
	a.admin, a.adminLn = t.admin, t.adminLn
	if t.admin != nil {
		if u, ok := t.adminLn.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(!a.lent[t.cfg.Admin.Address]) // off in a duplicate
		}
		if before == nil || before.Address != c.Address {
			slog.Info("admin API", "address", c.Address)
		} else if u, ok := oldLn.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the file is the next one's now
		}
		t.admin.Serve(t.adminLn)
	}
	if old != nil {
		a.gaveUp = time.Now()
		a.leaving.Go(old.Close)
	}
}

// explainListen says what to do about a socket that cannot be opened.
func explainListen(who, address string, err error) error {
	cure := ""
	switch {
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
	}
}

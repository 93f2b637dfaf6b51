package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"steelyard/internal/upgrade"
)

// ErrSucceeded is the end of a reload that came too late: another process, which
// may not have seen the file as it is now, has taken over.
var ErrSucceeded = errors.New("a new process has taken over, so it is the one to be told")

// Sockets are the listening sockets that the process was started with.
type Sockets interface {
	// Take returns the socket of an address, and whether it, and so the file of a
	// unix socket, belongs to somebody else; nil if there is none.
	Take(address string) (ln net.Listener, lent bool)
	// Succeeds reports whether they are from a process that waits for this one to
	// serve.
	Succeeds() bool
}

// HandOver gives all sockets to start, which returns the process that serves on
// them from then on. This one accepts nothing more, at the admin API when HandOver
// returns and elsewhere when Stop is called, which leaves the sockets and the
// registration in Consul to the other. On error all goes on as before. Reloads wait
// meanwhile; the context of start ends when Stop is called.
func (a *App) HandOver(start func(context.Context, []upgrade.Socket) (pid int, err error)) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := a.over(); err != nil {
		return err
	}
	a.moving.Wait() // what is withdrawn from Consul late would be the other's
	f := a.now()
	var all []upgrade.Socket
	for _, l := range f.listeners {
		all = append(all, upgrade.Socket{Listener: l.Socket(), Lent: l.Lent()})
	}
	if a.admin != nil {
		all = append(all, a.adminAt)
	}
	pid, err := start(a.life, all)
	if err != nil {
		return err
	}
	a.successor.Store(int64(pid))
	a.stopped = true
	for _, l := range f.listeners {
		l.Share()
	}
	if f.consul != nil {
		f.consul.Leave()
	}
	if a.admin != nil {
		// Who gives an order from now on means the other process.
		if d, ok := a.adminAt.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			_ = d.SetDeadline(time.Unix(1, 0))
		}
		if u, ok := a.adminAt.Listener.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		// The other one's shows what is. Not waited for here: somebody may wait at
		// this one for a reload, which is refused when reloading is free.
		a.leaving.Go(a.admin.Close)
		a.admin = nil
	}
	return nil
}

// Successor is the process that goes on for this one; 0 if there is none.
func (a *App) Successor() int { return int(a.successor.Load()) }

// over says why nothing can be changed any more; nil while it can.
func (a *App) over() error {
	switch {
	case a.Successor() != 0:
		return fmt.Errorf("%w (process %d)", ErrSucceeded, a.Successor())
	case a.stopped || a.life.Err() != nil:
		return errStopping
	}
	return nil
}

// Well returns when those who serve can be asked, which a process that hangs does
// not do, and reports whether this is still the process to ask.
func (a *App) Well() bool {
	for _, l := range a.Listeners() {
		l.Connections()
	}
	for _, p := range a.now().pools {
		p.Snapshot()
	}
	return a.Successor() == 0
}

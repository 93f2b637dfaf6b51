package app

import (
	"context"
	"net"

	"steelyard/internal/upgrade"
)

// Sockets are the listening sockets that the process was started with.
type Sockets interface {
	// Take returns the socket of an address, and whether it, and so the file of a
	// unix socket, belongs to somebody else; nil if there is none.
	Take(address string) (ln net.Listener, lent bool)
	// Succeeds reports whether they are from a process that waits for this one to
	// serve.
	Succeeds() bool
}

// HandOver gives all sockets to start, which returns when another process serves
// on them. From then on this one accepts nothing more, and Stop leaves the sockets
// and the registration in Consul to the other. On error all goes on as before.
// Reloads wait meanwhile; the context of start ends when Stop is called.
func (a *App) HandOver(start func(context.Context, []upgrade.Socket) error) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.stopped || a.life.Err() != nil {
		return errStopping
	}
	f := a.now()
	var all []upgrade.Socket
	for i, l := range f.listeners {
		all = append(all, upgrade.Socket{Listener: l.Socket(), Lent: a.lent[f.cfg.Listeners[i].Address]})
	}
	if a.admin != nil {
		all = append(all, upgrade.Socket{Listener: a.adminLn, Lent: a.lent[f.cfg.Admin.Address]})
	}
	if err := start(a.life, all); err != nil {
		return err
	}
	a.succeeded.Store(true)
	a.stopped = true
	for _, l := range f.listeners {
		l.Share()
	}
	if f.consul != nil {
		f.consul.Leave()
	}
	if a.admin != nil {
		if u, ok := a.adminLn.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		a.admin.Close() // the other one's shows what is
		a.admin = nil
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
	return !a.succeeded.Load()
}

package app

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/internal/accesslog"
	"steelyard/internal/admin"
	"steelyard/internal/certs"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
	"steelyard/internal/transport"
)

// takeover is one configuration on its way into force in the place of another.
// Until swap nothing that serves has changed, and discard leaves no trace.
type takeover struct {
	before *inForce
	cfg    *config.Config
	next   *inForce

	fresh     []*pool.Pool      // started for this
	changes   []change          // of pools that stay
	listeners []seat            // of cfg, in file order
	goes      []*proxy.Listener // whose addresses cfg does not have
	shared    []*proxy.Listener // of them, whose sockets others take over
	admin     *admin.Server
	adminSeat seat
	consul    *discovery.Consul // opened for this; nil: none was

	tls    []*proxy.TLS   // of the listeners; nil: plain HTTP
	stores []*certs.Store // opened for this

	accessSink *accesslog.Sink // opened for this; nil: there is no access log
}

// change is a pool that stays and what is to be applied to it.
type change struct {
	pool          *pool.Pool
	options, undo pool.Options
}

// prepare builds everything of cfg that can fail, and starts the pools that are
// new. On error nothing is left of it.
func (a *App) prepare(before *inForce, cfg *config.Config) (_ *takeover, err error) {
	a.moving.Wait() // one after the other says in Consul where Steelyard is
	t := &takeover{before: before, cfg: cfg}
	defer func() {
		if err != nil {
			t.discard()
		}
	}()
	t.next = &inForce{id: before.id + 1, since: time.Now(), cfg: cfg, consul: before.consul, consulID: before.consulID,
		secured: map[string]*transport.ClientTLS{}}
	if !reflect.DeepEqual(before.cfg.Consul, cfg.Consul) {
		t.next.consul = nil
		t.next.consulID++
		if cfg.Consul != nil {
			if t.consul, err = discovery.NewConsul(*cfg.Consul, slog.Default()); err != nil {
				return nil, fmt.Errorf("consul: %w", err)
			}
			t.next.consul = t.consul
		}
	}
	if err := a.build(t); err != nil {
		return nil, err
	}
	if t.next.generation.Errors, err = errorPages(cfg); err != nil {
		return nil, err
	}
	if err := a.openAccessLog(t); err != nil {
		return nil, err
	}
	if err := a.openSockets(t); err != nil {
		return nil, err
	}
	if err := a.openTLS(t); err != nil {
		return nil, err
	}
	if err := a.openAdmin(t); err != nil {
		return nil, err
	}
	return t, nil
}

// discard ends what was started and opened for a takeover that does not happen.
func (t *takeover) discard() {
	for _, s := range append(t.listeners, t.adminSeat) {
		if s.socket.Listener != nil {
			_ = s.socket.Listener.Close()
		}
	}
	closeStores(t.stores, nil)
	for _, p := range t.fresh {
		p.Close()
	}
	if t.consul != nil {
		t.consul.Close()
	}
	if t.accessSink != nil {
		t.accessSink.Close()
	}
	t.next.gates.closeBut(&t.before.gates)
}

// apply gives the pools that stay their new options, or, on error, all of them
// the old ones again.
func (t *takeover) apply() error {
	for i, c := range t.changes {
		err := c.pool.Apply(c.options)
		if err == nil {
			continue
		}
		for _, done := range slices.Backward(t.changes[:i]) {
			if undone := done.pool.Apply(done.undo); undone != nil {
				slog.Error("a pool could not be given its old configuration again", "pool", done.pool.Name(), "error", undone)
			}
		}
		return err
	}
	return nil
}

// swap puts the next generation into force, lets the listeners serve by it, and
// ends behind it what only the one before needed. It cannot fail.
func (a *App) swap(t *takeover) {
	a.useAccessLog(t)
	a.proxy.SetGeneration(t.next.generation)
	a.tally.adopt(t.next.generation)
	certificates := stores(t.before.listeners)
	tellTooMany(t.cfg)
	for i, s := range t.listeners {
		c := &t.cfg.Listeners[i]
		l := s.listener
		if l != nil {
			l.Configure(c.Name, limits(c))
			l.SetTLS(t.tls[i])
		} else {
			s.ownFile()
			l = a.proxy.NewListener(c.Name, s.socket.Listener, limits(c))
			l.SetTLS(t.tls[i])
			if s.socket.Lent {
				l.Lend()
			}
			go a.serve(l)
		}
		t.next.listeners = append(t.next.listeners, l)
	}
	closeStores(certificates, t.tls)
	f := *t.next // what is in force is never written to
	a.current.Store(&f)
	for _, l := range t.shared {
		l.Share()
	}
	for _, l := range t.goes {
		a.gaveUp = time.Now()
		a.leaving.Go(func() { a.shutListener(l, t.before.cfg.ShutdownTimeout) })
	}
	t.before.gates.closeBut(&f.gates)
	a.retire(t, &f)
}

// shutListener ends a listener that the configuration does not have any more.
func (a *App) shutListener(l *proxy.Listener, within time.Duration) {
	ctx, cancel := context.WithTimeout(a.last, within)
	defer cancel()
	if n := l.Shutdown(ctx); n > 0 {
		slog.Warn("listener closed; connections had to be cut", "listener", l.Name(), "connections", n, "shutdown_timeout", within)
	} else {
		slog.Info("listener closed", "listener", l.Name())
	}
	if l.Lent() {
		slog.Warn("systemd still holds the socket of this listener, so its clients wait for somebody to serve them; stop the socket unit, or start Steelyard anew",
			"listener", l.Name(), "address", l.Addr())
	}
}

// retire ends the pools that next does not have, each when its requests have
// ended, and behind them the connection to Consul, if it was exchanged.
func (a *App) retire(t *takeover, next *inForce) {
	var pools sync.WaitGroup
	for _, p := range t.before.pools {
		if !slices.Contains(next.pools, p) {
			pools.Add(1)
			a.retiring.Go(func() {
				defer pools.Done()
				p.Retire(a.last)
				slog.Info("pool closed", "pool", p.Name())
			})
		}
	}
	old := t.before.consul
	if old == nil || old == next.consul {
		next.announce()
		return
	}
	a.moving.Add(1)
	a.retiring.Go(func() {
		// Only then may the next one say where Steelyard is: both may speak of the
		// same service.
		old.Withdraw()
		next.announce()
		a.moving.Done()
		pools.Wait() // their sources ask it
		old.Close()
	})
}

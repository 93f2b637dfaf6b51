// Package app runs Steelyard: it builds a generation of a configuration, opens
// the listeners, and stops everything in good order.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/admin"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
)

// App is a running Steelyard.
type App struct {
	cfg       *config.Config
	proxy     *proxy.Proxy
	checks    *healthcheck.Scheduler
	consul    *discovery.Consul // nil when nothing asks for it
	pools     []*pool.Pool
	listeners []*proxy.Listener
	admin     *admin.Server // nil without one
	failed    chan error
	logLevel  atomic.Pointer[string] // nil: as it is from the start
}

// Start builds everything, then opens all listeners, waits for the pools to be
// ready (clients that connect meanwhile wait too), then serves. On error nothing
// is left running.
func Start(cfg *config.Config) (_ *App, err error) {
	a := &App{cfg: cfg, checks: healthcheck.NewScheduler(), failed: make(chan error, len(cfg.Listeners))}
	defer func() {
		if err != nil {
			a.release()
		}
	}()
	if err = a.SetLogLevel(cfg.Log.Level); err != nil {
		return nil, err
	}
	if cfg.Consul != nil {
		if a.consul, err = discovery.NewConsul(*cfg.Consul, slog.Default()); err != nil {
			return nil, fmt.Errorf("consul: %w", err)
		}
	}
	g, pools, err := build(cfg, a.checks, a.consul)
	if err != nil {
		return nil, err
	}
	a.proxy, a.pools = proxy.New(g), pools
	sockets, err := listen(cfg.Listeners)
	if err != nil {
		return nil, err
	}
	if err = a.startAdmin(); err != nil {
		closeAll(sockets)
		return nil, err
	}
	a.awaitPools()
	for i := range cfg.Listeners {
		c := &cfg.Listeners[i]
		l := a.proxy.NewListener(c.Name, sockets[i], limits(c))
		a.listeners = append(a.listeners, l)
		go func() {
			if err := l.Serve(); err != nil {
				a.failed <- fmt.Errorf("listener %s: %w", l.Name(), err)
			}
		}()
	}
	a.announce()
	return a, nil
}

// announce tells Consul, if it is to know, where Steelyard can be reached: at the
// first listener that has a port.
func (a *App) announce() {
	for _, l := range a.listeners {
		if addr, ok := l.Addr().(*net.TCPAddr); ok && a.consul != nil {
			a.consul.Announce(addr.IP.String(), addr.Port)
			return
		}
	}
}

// awaitPools waits until requests may be let in; each pool bounds that itself.
func (a *App) awaitPools() {
	began := time.Now()
	for _, p := range a.pools {
		select {
		case <-p.Ready():
			continue
		case <-time.After(250 * time.Millisecond):
			slog.Info("waiting for the first checks and the sources", "pool", p.Name())
		}
		<-p.Ready()
	}
	for _, p := range a.pools {
		if why := p.Snapshot().Why(); why != "" {
			slog.Warn("pool starts without a healthy backend", "pool", p.Name(), "because", why, "waited", time.Since(began).Round(time.Millisecond))
		}
	}
}

// listen opens all sockets or none.
func listen(listeners []config.Listener) ([]net.Listener, error) {
	var sockets []net.Listener
	for _, c := range listeners {
		ln, err := proxy.Listen(c.Address)
		if err != nil {
			closeAll(sockets)
			return nil, explainListen("listener "+c.Name, c.Address, err)
		}
		sockets = append(sockets, ln)
	}
	return sockets, nil
}

func closeAll(sockets []net.Listener) {
	for _, s := range sockets {
		_ = s.Close()
	}
}

// startAdmin opens the admin API if the configuration has one. It is there
// before the pools are ready, so that it can be seen what they wait for.
func (a *App) startAdmin() error {
	if a.cfg.Admin == nil {
		return nil
	}
	server, err := a.newAdmin(a.cfg.Admin, nil, a.pools, a.consul)
	if err != nil {
		return err
	}
	ln, err := proxy.Listen(a.cfg.Admin.Address)
	if err != nil {
		return explainListen("admin", a.cfg.Admin.Address, err)
	}
	slog.Info("admin API", "address", a.cfg.Admin.Address)
	a.admin = server
	a.admin.Serve(ln)
	return nil
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

// Listeners are the listeners that serve.
func (a *App) Listeners() []*proxy.Listener { return a.listeners }

// Failed delivers the error of a listener that stopped by itself.
func (a *App) Failed() <-chan error { return a.failed }

// leaveFirst is how long the listeners still accept after Steelyard has left
// Consul, for those who follow it there to hear of that.
const leaveFirst = 500 * time.Millisecond

// Stop ends gracefully within the configured time: Consul is told, no new
// connections, what is in flight finishes, WebSockets are told, the rest is cut.
func (a *App) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.ShutdownTimeout)
	defer cancel()
	began := time.Now()
	if a.consul != nil && a.consul.Withdraw() {
		select {
		case <-time.After(leaveFirst):
		case <-ctx.Done():
		}
	}
	cut := make(chan int)
	for _, l := range a.listeners {
		go func() { cut <- l.Shutdown(ctx) }()
	}
	n := 0
	for range a.listeners {
		n += <-cut
	}
	a.release()
	if n > 0 {
		slog.Warn("stopped; connections had to be cut", "connections", n, "shutdown_timeout", a.cfg.ShutdownTimeout)
	}
	a.summarise(time.Since(began))
}

// summarise logs what the pools did, so that a run leaves its figures.
func (a *App) summarise(took time.Duration) {
	for _, p := range a.pools {
		s := &p.Stats
		slog.Info("pool served", "pool", p.Name(), "requests", s.Requests.Load(), "attempts", s.Attempts.Load(),
			"retries", s.Retries.Load(), "retries_denied", s.RetriesDenied.Load())
	}
	for reason, n := range a.proxy.Retries() {
		slog.Info("attempts repeated", "class_and_reason", reason, "retries", n)
	}
	for cause, n := range a.proxy.Errors() {
		slog.Info("errors made", "cause", cause, "requests", n)
	}
	slog.Info("stopped", "took", took.Round(time.Millisecond))
}

// release ends everything but the listeners.
func (a *App) release() {
	if a.admin != nil {
		a.admin.Close()
	}
	for _, p := range a.pools {
		p.Close()
	}
	a.checks.Close()
	if a.consul != nil {
		a.consul.Close()
	}
}

// Package app runs Steelyard: it builds a generation of a configuration, opens
// the listeners, and stops everything in good order.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"steelyard/config"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
)

// App is a running Steelyard.
type App struct {
	cfg       *config.Config
	proxy     *proxy.Proxy
	pools     []*pool.Pool
	listeners []*proxy.Listener
	failed    chan error
}

// Start builds everything, then opens all listeners, then serves. On error
// nothing is left running.
func Start(cfg *config.Config) (*App, error) {
	g, pools, err := build(cfg)
	if err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, proxy: proxy.New(g), pools: pools, failed: make(chan error, len(cfg.Listeners))}
	sockets, err := listen(cfg.Listeners)
	if err != nil {
		a.closePools()
		return nil, err
	}
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
	return a, nil
}

// listen opens all sockets or none.
func listen(listeners []config.Listener) ([]net.Listener, error) {
	var sockets []net.Listener
	for _, c := range listeners {
		ln, err := proxy.Listen(c.Address)
		if err != nil {
			for _, s := range sockets {
				_ = s.Close()
			}
			return nil, explainListen(c, err)
		}
		sockets = append(sockets, ln)
	}
	return sockets, nil
}

// explainListen says what to do about a socket that cannot be opened.
func explainListen(c config.Listener, err error) error {
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
		return fmt.Errorf("listener %s: cannot listen on %s: %w", c.Name, c.Address, err)
	}
	return fmt.Errorf("listener %s: cannot listen on %s: %s (%w)", c.Name, c.Address, cure, err)
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

// Stop ends gracefully within the configured time: no new connections, what is
// in flight finishes, WebSockets are told, the rest is cut.
func (a *App) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.ShutdownTimeout)
	defer cancel()
	began := time.Now()
	cut := make(chan int)
	for _, l := range a.listeners {
		go func() { cut <- l.Shutdown(ctx) }()
	}
	n := 0
	for range a.listeners {
		n += <-cut
	}
	a.closePools()
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

func (a *App) closePools() {
	for _, p := range a.pools {
		p.Close()
	}
}

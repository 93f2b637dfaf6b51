// Package app runs Steelyard: it builds a generation of a configuration, opens
// the listeners, puts another generation in its place while requests are under
// way, and stops everything in good order.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/accesslog"
	"steelyard/internal/admin"
	"steelyard/internal/auth"
	"steelyard/internal/certs"
	"steelyard/internal/pool"
	"steelyard/internal/proxy"
	"steelyard/internal/ratelimit"
	"steelyard/internal/transport"
	"steelyard/internal/upgrade"
)

// App is a running Steelyard.
type App struct {
	file    string // that the configuration is from; "" if it is from none
	proxy   *proxy.Proxy
	access  *accesslog.Log
	rates   *ratelimit.Store
	tickets *certs.Tickets // for sessions that outlive a configuration
	guard   *auth.Guard
	checks  *healthcheck.Scheduler
	current atomic.Pointer[inForce]
	failed  chan error
	tally   tally
	account account // what became of reloads
	trials  trials

	logLevel atomic.Pointer[string] // nil: as it is from the start

	// Of whoever holds reloading:
	reloading sync.Mutex
	stopped   bool
	admin     *admin.Server // nil without one
	adminAt   upgrade.Socket
	gaveUp    time.Time      // when a socket was given up the last time
	sockets   Sockets        // nil: it opens all of them
	successor atomic.Int64   // the process that goes on for this one; 0: none does
	unwatch   func()         // ends the watch of the file; nil: it is not watched
	read      os.FileInfo    // what the file was before it was read the last time
	moving    sync.WaitGroup // the registration in Consul, from one connection to another

	// Those who want a reload while one goes on share the next one.
	asking sync.Mutex
	next   *wanted

	life   context.Context // ends when Stop begins
	die    context.CancelFunc
	last   context.Context // ends when nothing more is waited for
	finish context.CancelFunc
	// leaving are listeners, and retiring pools, that a reload has left behind;
	// tasks end with life.
	leaving, retiring, tasks sync.WaitGroup
}

// inForce is everything that was built from one configuration. It is immutable.
type inForce struct {
	id         uint64 // 1 is that of the start
	since      time.Time
	cfg        *config.Config
	generation *proxy.Generation
	pools      []*pool.Pool      // in file order
	listeners  []*proxy.Listener // in file order
	consul     *discovery.Consul // nil when nothing asks for it
	consulID   int               // tells the connections to Consul apart
	gates      kept

	secured map[string]*transport.ClientTLS // TLS to backends, by pool
}

// Start builds everything, then opens all listeners, waits for the pools to be
// ready (clients that connect meanwhile wait too), then serves. On error nothing
// is left running.
func Start(cfg *config.Config) (*App, error) { return StartFile(cfg, "") }

// StartFile is Start with a configuration that is from a file, which a reload
// reads anew.
func StartFile(cfg *config.Config, file string) (*App, error) { return StartOn(nil, cfg, file) }

// StartOn is StartFile with the sockets that the process was started with; nil is
// none. The admin API takes the place of that of a process before only when all
// is ready.
func StartOn(sockets Sockets, cfg *config.Config, file string) (*App, error) {
	a := &App{file: file, sockets: sockets, read: look(file), checks: healthcheck.NewScheduler(), access: accesslog.New(slog.Default()), tickets: certs.NewTickets(time.Now()), rates: ratelimit.NewStore(), guard: auth.NewGuard(), failed: make(chan error, 1)}
	a.life, a.die = context.WithCancel(context.Background())
	a.last, a.finish = context.WithCancel(context.Background())
	a.account.ok = true
	a.reloading.Lock() // until it serves
	defer a.reloading.Unlock()
	nothing := &inForce{cfg: &config.Config{}}
	t, err := a.prepare(nothing, cfg)
	if err != nil {
		a.checks.Close()
		return nil, err
	}
	a.proxy = proxy.New(t.next.generation)
	a.boundConnections()
	f := *t.next // as long as it has no listeners
	a.current.Store(&f)
	late := sockets != nil && sockets.Succeeds()
	if !late {
		a.swapAdmin(t)
	}
	awaitPools(a.life, t.fresh)
	a.swap(t)
	if late {
		a.swapAdmin(t)
	}
	a.tend(cfg)
	a.tasks.Go(func() { a.watchBackendTLS(a.life) })
	return a, nil
}

// now is what is in force at this moment.
func (a *App) now() *inForce { return a.current.Load() }

// announce tells Consul, if it is to know, that Steelyard serves: at the first
// listener that has a port.
func (f *inForce) announce() {
	if f.consul == nil {
		return
	}
	for _, l := range f.listeners {
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			f.consul.Announce(addr.IP.String(), addr.Port)
			return
		}
	}
	f.consul.Announce("", 0)
}

// awaitPools waits until requests may be let in; each pool bounds that itself.
// It reports false when ctx ended before.
func awaitPools(ctx context.Context, pools []*pool.Pool) bool {
	began := time.Now()
	for _, p := range pools {
		select {
		case <-p.Ready():
			continue
		case <-ctx.Done():
			return false
		case <-time.After(250 * time.Millisecond):
			slog.Info("waiting for the first checks and the sources", "pool", p.Name())
		}
		select {
		case <-p.Ready():
		case <-ctx.Done():
			return false
		}
	}
	for _, p := range pools {
		if why := p.Snapshot().Why(); why != "" {
			slog.Warn("pool starts without a healthy backend", "pool", p.Name(), "because", why, "waited", time.Since(began).Round(time.Millisecond))
		}
	}
	return true
}

// Listeners are the listeners that serve.
func (a *App) Listeners() []*proxy.Listener { return a.now().listeners }

// Failed delivers the error of a listener that stopped by itself.
func (a *App) Failed() <-chan error { return a.failed }

// leaveFirst is how long the listeners still accept after Steelyard has left
// Consul, for those who follow it there to hear of that.
const leaveFirst = 500 * time.Millisecond

// Stop ends gracefully within the configured time: whoever is in front is told, by
// /readyz and Consul, and gets time to act on it; no new connections, what is in
// flight finishes, WebSockets are told, the rest is cut.
func (a *App) Stop() {
	a.die()
	a.reloading.Lock() // one under way gives up, or ends
	a.stopped = true
	a.reloading.Unlock()
	a.tasks.Wait()
	f := a.now()
	began := time.Now()
	a.leave(f)
	ctx, cancel := context.WithTimeout(context.Background(), f.cfg.ShutdownTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, a.finish)() // listeners that leave are cut as well
	cut := make(chan int)
	for _, l := range f.listeners {
		go func() { cut <- l.Shutdown(ctx) }()
	}
	n := 0
	for range f.listeners {
		n += <-cut
	}
	a.leaving.Wait()
	a.finish()
	a.retiring.Wait()
	a.release(f)
	if n > 0 {
		slog.Warn("stopped; connections had to be cut", "connections", n, "shutdown_timeout", f.cfg.ShutdownTimeout)
	}
	a.summarise(f, time.Since(began))
}

// leave tells that Steelyard stops and gives those who follow that in Consul or ask
// /readyz time to send nothing new here. Where another process goes on, there is
// nothing to tell.
func (a *App) leave(f *inForce) {
	if a.Successor() != 0 {
		return
	}
	wait := f.cfg.ShutdownDelay
	if f.consul != nil && f.consul.Withdraw() {
		wait = max(wait, leaveFirst)
	}
	if f.cfg.ShutdownDelay > 0 {
		slog.Info("stopping: still serving for shutdown_delay; /readyz says 503", "shutdown_delay", f.cfg.ShutdownDelay)
	}
	time.Sleep(wait)
}

// summarise logs what the pools did, so that a run leaves its figures.
func (a *App) summarise(f *inForce, took time.Duration) {
	for _, p := range f.pools {
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
	if lines, dropped, failed := a.access.Counts(); lines+dropped+failed > 0 {
		slog.Info("access log", "lines", lines, "dropped", dropped, "failed", failed)
	}
	slog.Info("stopped", "took", took.Round(time.Millisecond))
}

// release ends everything but the listeners.
func (a *App) release(f *inForce) {
	if a.admin != nil {
		a.admin.Close()
	}
	for _, p := range f.pools {
		p.Close()
	}
	closeStores(stores(f.listeners), nil)
	a.checks.Close()
	a.access.Close() // all requests have ended
	if f.consul != nil {
		f.consul.Close()
	}
}

// serve runs a listener until it is shut down.
func (a *App) serve(l *proxy.Listener) {
	if err := l.Serve(); err != nil {
		select {
		case a.failed <- fmt.Errorf("listener %s: %w", l.Name(), err):
		default: // one is enough to end the process
		}
	}
}

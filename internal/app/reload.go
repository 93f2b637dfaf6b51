package app

import (
	"errors"
	"log/slog"
	"time"

	"steelyard/config"
)

var (
	errNoFile   = errors.New("the configuration is not from a file, so there is nothing to read anew")
	errStopping = errors.New("steelyard is stopping, so nothing is reloaded any more")
)

// wanted is a reload that somebody waits for.
type wanted struct {
	done chan struct{}
	err  error
}

// Reload reads the configuration file anew and puts it into force. On error the
// generation in force goes on, untouched; what was wrong is logged and shown in
// Generation. One reload goes on at a time: those that are asked for meanwhile are
// one more, which sees the file as it is then.
func (a *App) Reload() error {
	a.asking.Lock()
	r := a.next
	first := r == nil
	if first {
		r = &wanted{done: make(chan struct{})}
		a.next = r
	}
	a.asking.Unlock()
	if !first {
		<-r.done
		return r.err
	}
	defer close(r.done)
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.asking.Lock()
	a.next = nil // who comes from here on wants the file read again
	a.asking.Unlock()
	r.err = a.reloadFile()
	return r.err
}

// reloadFile is one reload. Its caller holds reloading.
func (a *App) reloadFile() error {
	if a.file == "" {
		return a.refuse(errNoFile)
	}
	a.read = look(a.file)
	cfg, err := config.Load(a.file)
	if err != nil {
		return a.refuse(err)
	}
	for _, w := range cfg.Warnings {
		slog.Warn("configuration", "warning", w.Error())
	}
	return a.replace(cfg, "")
}

// refuse tells why a reload failed.
func (a *App) refuse(err error) error {
	for _, line := range lines(err) {
		slog.Error("reload refused", "error", line)
	}
	slog.Error("the configuration in force goes on", "file", a.file, "generation", a.now().id)
	a.account.refused(err)
	return err
}

// replace puts cfg into force, or changes nothing. undoes says why the reload
// before is undone by it; "" is a reload that somebody wants. Its caller holds
// reloading.
func (a *App) replace(cfg *config.Config, undoes string) error {
	if err := a.over(); err != nil {
		slog.Warn("nothing is reloaded", "because", err)
		return err
	}
	began, before := time.Now(), a.now()
	changes := describe(before.cfg, cfg, before.bound)
	t, err := a.prepare(before, cfg)
	if err != nil {
		return a.refuse(err)
	}
	if !awaitPools(a.life, t.fresh) {
		t.discard()
		slog.Warn("nothing is reloaded", "because", errStopping)
		return errStopping
	}
	if err := a.openLate(t); err != nil {
		t.discard()
		return a.refuse(err)
	}
	if err := t.apply(); err != nil {
		t.discard()
		return a.refuse(err)
	}
	total := a.tally.total()
	earlier := a.trials.before(total)
	a.swap(t)
	a.swapAdmin(t)
	for _, line := range changes {
		slog.Info("changed", "what", line)
	}
	slog.Info("reloaded", "file", a.file, "generation", t.next.id, "changes", len(changes), "took", time.Since(began).Round(time.Millisecond))
	a.account.took(changes, undoes)
	a.tend(cfg)
	if undoes == "" {
		a.trials.begin(before.cfg, earlier, total)
	}
	return nil
}

// bound counts the clients that are bound to the backends of a pool, by address;
// nil where they are not known.
func (f *inForce) bound(name string) map[string]int {
	for _, p := range f.pools {
		if p.Name() == name {
			return p.BoundSessions()
		}
	}
	return nil
}

// tend starts and ends what a configuration wants to go on beside its requests.
// Its caller holds reloading.
func (a *App) tend(cfg *config.Config) {
	if err := a.SetLogLevel(cfg.Log.Level); err != nil {
		slog.Error("the log level stays as it is", "error", err)
	}
	switch watch := cfg.Reload.Watch && a.file != ""; {
	case watch && a.unwatch == nil:
		a.unwatch = a.watchFile()
	case !watch && a.unwatch != nil:
		a.unwatch()
		a.unwatch = nil
	}
	a.watchShares(cfg.Reload.Rollback)
}

package app

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/internal/admin"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
)

// Pools are those now in force, in the order of the file.
func (a *App) Pools() []*pool.Pool { return slices.Clone(a.now().pools) }

// Stopping reports whether Stop has been called, or another process goes on.
func (a *App) Stopping() bool { return a.life.Err() != nil || a.Successor() != 0 }

// Consul is the connection to Consul; nil when nothing asks for it.
func (a *App) Consul() *discovery.Consul { return a.now().consul }

// account is what became of reloads.
type account struct {
	mu         sync.Mutex
	reloads    int64 // that were taken over
	failures   int64
	rollbacks  int64
	ok         bool // the last one; true at the start
	at         time.Time
	errors     []string // of the last one, if it failed
	changes    []string // of the last one that was taken over
	rolledBack string   // why the last one was undone
}

// took notes a reload that was taken over; why says why it undoes another.
func (c *account) took(changes []string, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ok, c.at, c.errors, c.changes, c.rolledBack = true, time.Now(), nil, changes, why
	if why == "" {
		c.reloads++
	} else {
		c.rollbacks++
	}
}

// refused notes a reload that failed.
func (c *account) refused(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	c.ok, c.at, c.errors = false, time.Now(), lines(err)
}

// lines is an error as one line for each thing that is wrong.
func lines(err error) []string {
	var list config.Errors
	if errors.As(err, &list) {
		all := make([]string, len(list))
		for i, e := range list {
			all[i] = e.Error()
		}
		return all
	}
	return strings.Split(err.Error(), "\n")
}

// Generation is the configuration in force, and what became of reloads.
func (a *App) Generation() admin.GenerationView {
	f, c := a.now(), &a.account
	c.mu.Lock()
	defer c.mu.Unlock()
	return admin.GenerationView{
		ID: f.id, Since: f.since, File: a.file, Reloads: c.reloads, Failed: c.failures, LastOK: c.ok, LastAt: c.at,
		Errors: slices.Clone(c.errors), Changes: slices.Clone(c.changes), RolledBack: c.rolledBack,
	}
}

// GenerationSample is what is counted of generations.
func (a *App) GenerationSample() metrics.GenerationSample {
	f, c := a.now(), &a.account
	c.mu.Lock()
	defer c.mu.Unlock()
	return metrics.GenerationSample{
		ID: f.id, Since: f.since, Reloads: c.reloads, FailedReloads: c.failures,
		LastReload: c.at, LastReloadOK: c.ok, Rollbacks: c.rollbacks,
	}
}

// ListenerSamples are the listeners now in force, in the order of the file.
func (a *App) ListenerSamples() []metrics.ListenerSample {
	var s metrics.Sample
	sampleListeners(&s, a.now().listeners)
	return s.Listeners
}

package app

import (
	"errors"
	"runtime"
	"time"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/internal/admin"
	"steelyard/internal/errorlog"
	"steelyard/internal/explain"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
)

// newAdmin makes the admin API of a configuration; before, if there is one, is
// what it takes the place of.
func (a *App) newAdmin(c *config.Admin, before *admin.Server, pools []*pool.Pool, consul *discovery.Consul) (*admin.Server, error) {
	o := admin.Options{Admin: *c, Build: metrics.Build{Version: Version, Go: runtime.Version()}}
	if before != nil {
		return before.With(o)
	}
	return admin.New(control{a, rest{fallback{a, pools, consul, time.Now()}}}, o)
}

// control is the App as the admin API sees it. What App does not answer itself
// falls to rest.
type control struct {
	*App
	rest
}

// rest keeps fallback one floor below App, so that App's methods go first.
type rest struct{ fallback }

// fallback answers by what was there at the start.
type fallback struct {
	app    *App
	pools  []*pool.Pool
	consul *discovery.Consul
	began  time.Time
}

func (f fallback) Pools() []*pool.Pool       { return f.pools }
func (f fallback) Consul() *discovery.Consul { return f.consul }
func (f fallback) Routes() []admin.RouteView { return nil }
func (f fallback) Reload() error             { return errors.New("nothing to read anew") }

func (f fallback) Errors() ([]errorlog.Record, int64) { return f.app.proxy.ErrorLog().Last() }

func (f fallback) Generation() admin.GenerationView {
	return admin.GenerationView{ID: 1, Since: f.began, LastOK: true}
}

func (f fallback) Explain(explain.Question) (explain.Answer, error) {
	return explain.Answer{}, errors.New("nothing to explain by")
}

func (f fallback) Sample(into *metrics.Sample) {
	into.At = time.Now()
	into.Pools = into.Pools[:0]
	for _, p := range f.pools {
		into.Pools = append(into.Pools, metrics.PoolSample{})
		if p.Sample(&into.Pools[len(into.Pools)-1]) != nil {
			into.Pools = into.Pools[:len(into.Pools)-1]
		}
	}
}

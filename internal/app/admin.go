package app

import (
	"runtime"

	"steelyard/config"
	"steelyard/internal/admin"
	"steelyard/internal/errorlog"
	"steelyard/internal/metrics"
)

// newAdmin makes the admin API of a configuration; before, if there is one, is
// what it takes the place of.
func (a *App) newAdmin(c *config.Admin, before *admin.Server) (*admin.Server, error) {
	o := admin.Options{Admin: *c, Build: metrics.Build{Version: Version, Go: runtime.Version()}}
	if before != nil {
		return before.With(o)
	}
	return admin.New(a, o)
}

// Errors are the last errors that clients got, newest first, and how many there
// ever were.
func (a *App) Errors() ([]errorlog.Record, int64) { return a.proxy.ErrorLog().Last() }

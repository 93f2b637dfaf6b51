package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"steelyard/config"
	"steelyard/healthcheck"
	"steelyard/internal/pool"
	"steelyard/internal/transport"
)

// lookAtFiles is how often the files of TLS to backends are looked at. Being told
// of changes would not do without: network file systems do not tell.
const lookAtFiles = time.Second

// secure gives a pool the TLS that it speaks to its backends, and its checks the
// same, unless they have their own. A pool whose options stay keeps what it has,
// with the connections and sessions made by it.
func (b *builder) secure(c *config.Pool, o *pool.Options) error {
	if c.TLS == nil {
		return nil
	}
	t := b.secured[c.Name]
	if t == nil || t.Options() != *c.TLS {
		var err error
		if t, err = transport.NewClientTLS(*c.TLS); err != nil {
			return fmt.Errorf("pool %s: %w", c.Name, explainTLS(err))
		}
	}
	if b.securing != nil {
		b.securing[c.Name] = t
	}
	o.Transport.TLS = t
	if o.Check != nil && o.Check.TLS == nil && !o.Check.NoTLS && o.Check.Type != "exec" {
		check := *o.Check // the configuration's own stays as it is
		check.TLS = &healthcheck.TLS{From: t}
		o.Check = &check
	}
	return nil
}

// explainTLS says of which keys the problems are.
func explainTLS(err error) error {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var all []error
	for _, e := range list.Unwrap() {
		all = append(all, fmt.Errorf("tls.%w", e))
	}
	return errors.Join(all...)
}

// watchBackendTLS looks at the files of TLS to backends until ctx ends.
func (a *App) watchBackendTLS(ctx context.Context) {
	ticker := time.NewTicker(lookAtFiles)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for name, t := range a.now().secured {
			switch changed, err := t.Refresh(); {
			case err != nil:
				slog.Error("the changed files of TLS to backends cannot be used; those before stay in force", "pool", name, "error", explainTLS(err))
			case changed:
				slog.Info("the files of TLS to backends have changed and are in force for new connections", "pool", name)
			}
		}
	}
}

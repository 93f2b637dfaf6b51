package admin

import (
	"context"

	"steelyard/discovery"
)

// silentSource never says anything.
type silentSource struct{}

func (silentSource) String() string { return "silent" }

// Run implements discovery.Source.
func (silentSource) Run(ctx context.Context, _ discovery.Sink) { <-ctx.Done() }

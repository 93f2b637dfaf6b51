package main

import (
	"context"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// memoryShare is how much of what the container may have the garbage collector
	// aims at; the rest is for what it does not see.
	memoryShare = 0.9
	// memoryLook is how often the container's limit is looked at: it may be
	// changed while the process runs.
	memoryLook = time.Minute
)

// limitMemory makes the garbage collector work harder near the memory limit of
// the cgroup, instead of being killed at it. GOMEMLIMIT goes before it. (The
// runtime follows the cgroup's CPU quota by itself, unless GOMAXPROCS says
// otherwise.) It returns how to stop.
func limitMemory() (stop func()) {
	ctx, stop := context.WithCancel(context.Background())
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithRefreshInterval(ctx, memoryLook))
	if _, given := os.LookupEnv("GOMEMLIMIT"); err == nil && limit < math.MaxInt64 && !given {
		slog.Info("memory is limited by the cgroup", "aim", limit)
	}
	return stop
}

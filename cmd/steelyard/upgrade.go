package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"steelyard/internal/app"
	"steelyard/internal/upgrade"
)

// catchUpgrades begins before the start, as catchHangups does.
func catchUpgrades() chan os.Signal {
	upgrades := make(chan os.Signal, 1)
	signal.Notify(upgrades, syscall.SIGUSR2)
	return upgrades
}

// upgradeOn tries to hand over to a new process at each signal; what it returns is
// closed when one has taken over. It ends with the process.
func upgradeOn(upgrades <-chan os.Signal, a *app.App, self upgrade.Program) <-chan struct{} {
	upgraded := make(chan struct{})
	go func() {
		var tried chan bool // of the upgrade under way
		for {
			select {
			case <-upgrades:
				if tried != nil {
					slog.Warn("upgrade refused: one is under way")
					continue
				}
				tried = make(chan bool, 1)
				go func() { tried <- handOver(a, self) }()
			case ok := <-tried:
				if tried = nil; ok {
					close(upgraded)
					return
				}
			}
		}
	}()
	return upgraded
}

// handOver reports whether a new process goes on.
func handOver(a *app.App, self upgrade.Program) bool {
	slog.Info("upgrade: starting the new process")
	err := a.HandOver(func(ctx context.Context, sockets []upgrade.Socket) error {
		pid, err := self.Start(ctx, sockets)
		if err == nil {
			slog.Info("upgrade: the new process serves; this one ends", "pid", pid)
			upgrade.Notify(upgrade.MainPID(pid), "READY=1")
		}
		return err
	})
	if err != nil {
		slog.Error("upgrade failed; this process goes on", "error", err)
	}
	return err == nil
}

// keepWatch keeps systemd's watchdog calm until what it returns is called.
func keepWatch(a *app.App) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { upgrade.Watchdog(ctx, a.Well) })
	return func() {
		cancel()
		running.Wait()
	}
}

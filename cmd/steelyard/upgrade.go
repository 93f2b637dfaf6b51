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
				switch pid := a.Successor(); {
				case pid != 0:
					slog.Warn("upgrade refused: a new process has taken over, so it is the one to be told", "pid", pid)
				case tried != nil:
					slog.Warn("upgrade refused: one is under way")
				default:
					tried = make(chan bool, 1)
					go func() { tried <- handOver(a, self) }()
				}
			case ok := <-tried:
				if tried = nil; ok {
					close(upgraded)
				}
			}
		}
	}()
	return upgraded
}

// handOver reports whether a new process goes on.
func handOver(a *app.App, self upgrade.Program) bool {
	slog.Info("upgrade: starting the new process")
	err := a.HandOver(self.Start)
	switch {
	case err != nil && a.Stopping():
		slog.Error("upgrade given up", "because", err)
	case err != nil:
		slog.Error("upgrade failed; this process goes on", "error", err)
	default:
		slog.Info("upgrade: the new process serves; this one ends", "pid", a.Successor())
		upgrade.Notify(upgrade.MainPID(a.Successor()), "READY=1")
	}
	return err == nil
}

// passOn sends a signal that came too late for this process to the one that has taken
// over, if there is one.
func passOn(a *app.App, s syscall.Signal) {
	pid := a.Successor()
	if pid == 0 {
		return
	}
	slog.Info("passing a signal on to the process that has taken over", "signal", s.String(), "pid", pid)
	if err := syscall.Kill(pid, s); err != nil { // nobody else can have its id: it is a child that nobody has waited for
		slog.Error("the process that has taken over cannot be told", "signal", s.String(), "pid", pid, "error", err)
	}
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

package main

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"steelyard/internal/app"
	"steelyard/internal/upgrade"
)

// serve runs until a signal or a listener's failure, or until upgraded says that
// another process goes on.
func serve(a *app.App, hangups chan os.Signal, upgraded <-chan struct{}) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	defer reloadOn(hangups, a)()
	var failure error
	told := false // to stop, while no other process was known to go on
	for running := true; running; {
		select {
		case s := <-signals:
			told = true
			slog.Info("stopping; a second signal ends at once", "signal", s.String())
			upgrade.Notify("STOPPING=1")
			running = false
		case <-upgraded:
			running = false
		case failure = <-a.Failed():
			running = false
		}
	}
	stopped := make(chan struct{})
	go func() {
		a.Stop()
		close(stopped)
	}()
	for began := time.Now(); ; {
		select {
		case <-stopped:
			if told {
				passOn(a, syscall.SIGTERM) // one took over in that very moment, and is to stop as well
			}
			return failure
		case <-signals:
			if time.Since(began) >= sameSignal {
				return errors.New("stopped at once by a second signal")
			}
		}
	}
}

// catchHangups begins before the start, so that a SIGHUP during it does not end
// the process.
func catchHangups() chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// reloadOn reloads at each signal until what it returns is called. Those that come
// while one goes on are one more. What is wrong is logged by the reload.
func reloadOn(hangups chan os.Signal, a *app.App) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range hangups {
			upgrade.Notify(upgrade.Reloading()...)
			if err := a.Reload(); errors.Is(err, app.ErrSucceeded) {
				passOn(a, syscall.SIGHUP)
			}
			upgrade.Notify("READY=1")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-ended
	}
}

// sameSignal is how soon after the first a signal is that one once more: timeout(1)
// and others send it to the process and then to its group.
const sameSignal = 500 * time.Millisecond

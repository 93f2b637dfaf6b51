package main

import (
	"os"
	"os/signal"
	"syscall"

	"steelyard/internal/app"
)

// catchReopens begins before the start, so that who rotates the log during it does
// not end the process. It also sees to it that Steelyard goes on when whoever reads
// its standard output goes away, which without that ends a process.
func catchReopens() (usr1 chan os.Signal, stop func()) {
	usr1, pipes := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	signal.Notify(pipes, syscall.SIGPIPE)
	return usr1, func() {
		signal.Stop(usr1)
		signal.Stop(pipes)
	}
}

// reopenOn opens the access log anew at each SIGUSR1 until what it returns is
// called.
func reopenOn(usr1 chan os.Signal, a *app.App) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range usr1 {
			a.ReopenLogs()
		}
	}()
	return func() {
		signal.Stop(usr1)
		close(usr1)
		<-ended
	}
}

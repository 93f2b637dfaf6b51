package main

import (
	"os"
	"os/signal"
	"syscall"

	"steelyard/internal/app"
)

// reopenOnUsr1 opens the access log anew at each SIGUSR1 until what it returns is
// called. It also sees to it that Steelyard goes on when whoever reads its
// standard output goes away, which without that ends a process.
func reopenOnUsr1(a *app.App) (stop func()) {
	usr1, pipes := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	signal.Notify(pipes, syscall.SIGPIPE)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range usr1 {
			a.ReopenLogs()
		}
	}()
	return func() {
		signal.Stop(usr1)
		signal.Stop(pipes)
		close(usr1)
		<-ended
	}
}

package app

import (
	"log/slog"
	"syscall"

	"steelyard/config"
)

const (
	// fewFiles is a limit on open files below which it is told how to raise it.
	fewFiles = 4096
	// sparedFiles are kept for what is no connection of a client or of its request:
	// idle connections to backends, checks, the admin API, logs, connections that
	// are being turned away.
	sparedFiles = 512
	// mostConnections bounds what many open files allow; fasthttp serves no more.
	mostConnections = 1 << 20
)

// connectionsFor is how many connections of clients there may be with so many open
// files: each may need one more, to a backend.
func connectionsFor(files uint64) int {
	return int(min((files-min(sparedFiles, files/4))/2, mostConnections))
}

// openFiles is how many files this process may open; Go has raised that as far as
// it may be raised.
func openFiles() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 2 * mostConnections // no reason to keep anybody out
	}
	return uint64(r.Cur) // which is signed on some systems
}

// boundConnections keeps the connections of clients within what open files allow.
func (a *App) boundConnections() {
	files := openFiles()
	most := connectionsFor(files)
	a.proxy.MostConnections(most)
	if files < fewFiles {
		slog.Warn("few files may be open, which bounds the connections of clients; raise LimitNOFILE (systemd) or the hard limit of ulimit -n, and start anew",
			"open_files", files, "connections", most)
	}
}

// tellTooMany warns of listeners that are given more connections than there can be.
func tellTooMany(cfg *config.Config) {
	files := openFiles()
	most := connectionsFor(files)
	for i := range cfg.Listeners {
		if l := &cfg.Listeners[i]; l.MaxConnections > most {
			slog.Warn("max_connections is more than open files allow; raise LimitNOFILE (systemd) or the hard limit of ulimit -n, and start anew",
				"listener", l.Name, "max_connections", l.MaxConnections, "connections", most, "open_files", files)
		}
	}
}

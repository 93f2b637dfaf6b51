package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"

	"steelyard/config"
	"steelyard/internal/accesslog"
	"steelyard/internal/app"
	"steelyard/internal/upgrade"
)

const runHelp = `Usage: steelyard run -c FILE

Serves by a configuration file until it is stopped. SIGINT and SIGTERM stop it
gracefully: requests in flight finish within shutdown_timeout, WebSockets are
closed with 1001; it then exits with 0. A second signal, half a second later or
more, ends it at once, with 1.
SIGHUP reads the file again and puts it into force without losing a request or a
connection. If something is wrong with it, that is logged, and all goes on as before.
SIGUSR1 opens the file of the access log anew, for those who rotate it.
SIGUSR2 starts the binary that is now at the path of this one, with the same
arguments, and hands it the listening sockets. When it serves, this process ends as
with SIGTERM; if it does not within 30 s, this one goes on and says why.

  -c FILE   the configuration file (YAML)

Example:
  steelyard run -c examples/minimal.yaml
`

const checkHelp = `Usage: steelyard check -c FILE

Reads a configuration file, starts nothing, and prints everything that is wrong
with it, one line each: file:line:col: key: what is wrong and what is allowed.
It exits with 1 if the file has errors; warnings alone do not fail it.

  -c FILE   the configuration file (YAML)

Example:
  steelyard check -c examples/full.yaml
`

func versionCommand(args []string, out, _ io.Writer) error {
	if err := flags("version", versionHelp, args, out, nil); err != nil {
		return err
	}
	fmt.Fprintf(out, "steelyard %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// load reads the file named by -c.
func load(name, help string, args []string, out, errOut io.Writer) (*config.Config, string, error) {
	var file string
	err := flags(name, help, args, out, func(fs *flag.FlagSet) { fs.StringVar(&file, "c", "", "") })
	if err != nil {
		return nil, "", err
	}
	if file == "" {
		return nil, "", usageError{errors.New("-c FILE is missing")}
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, file, err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(errOut, "warning: %v\n", w)
	}
	return cfg, file, nil
}

func checkCommand(args []string, out, errOut io.Writer) error {
	cfg, file, err := load("check", checkHelp, args, out, errOut)
	if err != nil {
		var list config.Errors
		if errors.As(err, &list) {
			fmt.Fprintln(errOut, list)
			return fmt.Errorf("%s: %s", file, count(len(list), "error"))
		}
		return err
	}
	fmt.Fprintf(out, "%s: ok: %s, %s, %s\n", file, count(len(cfg.Listeners), "listener"),
		count(len(cfg.Routes), "route"), count(len(cfg.Pools), "pool"))
	return nil
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func runCommand(args []string, out, errOut io.Writer) error {
	cfg, file, err := load("run", runHelp, args, out, errOut)
	if err != nil {
		return err
	}
	app.Version = version
	log.SetOutput(accesslog.NewDirect(os.Stderr)) // who reads it may stop to
	if f, ok := out.(*os.File); ok {
		out = accesslog.NewDirect(f) // and an upgrade must not wait for him
	}
	defer limitMemory()()
	self, err := upgrade.Self()
	if err != nil {
		return err
	}
	sockets, err := upgrade.Inherit()
	if err != nil {
		return err
	}
	hangups := catchHangups()
	defer signal.Stop(hangups)
	upgrades := catchUpgrades()
	defer signal.Stop(upgrades)
	reopens, stop := catchReopens()
	defer stop()
	a, err := app.StartOn(sockets, cfg, file)
	if err != nil {
		return err
	}
	sockets.CloseUnused()
	defer reopenOn(reopens, a)()
	for _, l := range a.Listeners() {
		fmt.Fprintf(out, "steelyard %s: listener %s on %s\n", version, l.Name(), l.Addr())
	}
	if err := sockets.Ready(); err != nil {
		a.Stop()
		return err
	}
	if !sockets.Succeeds() { // systemd hears of this process from the one before
		upgrade.Notify("READY=1")
	}
	defer keepWatch(a)()
	return serve(a, hangups, upgradeOn(upgrades, a, self))
}

// Command steelyard is a Layer-7 reverse-proxy load balancer for app servers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

// command is one subcommand.
type command struct {
	name    string
	summary string
	help    string // shown by -h behind the usage line
	run     func(args []string, out, errOut io.Writer) error
}

func commands() []command {
	return []command{
		{"run", "serve by a configuration file", runHelp, runCommand},
		{"check", "check a configuration file and list everything wrong with it", checkHelp, checkCommand},
		{"demo", "try Steelyard: three backends and a balancer in one process", demoHelp, demoCommand},
		{"pools", "list pools and backends of a running Steelyard", poolsHelp, poolsCommand},
		{"top", "watch pools and backends live", topHelp, topCommand},
		{"errors", "list the last errors that clients got", errorsHelp, errorsCommand},
		{"explain", "say what would become of a request", explainHelp, explainCommand},
		{"drain", "give a backend nothing new", drainHelp, drainCommand},
		{"disable", "take a backend out at once", disableHelp, disableCommand},
		{"enable", "undo drain and disable", enableHelp, enableCommand},
		{"weight", "set the weight of a backend", weightHelp, weightCommand},
		{"release", "carry out removals that the registry guard holds", releaseHelp, releaseCommand},
		{"reload", "read the configuration file anew", reloadHelp, reloadCommand},
		{"hash-password", "make a hash for basic_auth", hashHelp, hashCommand},
		{"version", "print the version", versionHelp, versionCommand},
	}
}

func main() { os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr)) }

// dispatch runs the subcommand and returns the exit status: 0 for success, 1
// for failure, 2 for a command line that makes no sense.
func dispatch(args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		usage(errOut)
		return 2
	}
	switch args[0] {
	case "-h", "--help", "help":
		usage(out)
		return 0
	case "-v", "--version":
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(args[1:], out, errOut)
		var ue usageError
		switch {
		case err == nil || errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, &ue):
			fmt.Fprintf(errOut, "steelyard %s: %v\nsteelyard %s -h shows how it is used.\n", c.name, err, c.name)
			return 2
		}
		fmt.Fprintln(errOut, err)
		return 1
	}
	fmt.Fprintf(errOut, "steelyard: %s\nsteelyard -h lists the commands.\n", unknownCommand(args[0]))
	return 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Steelyard is a Layer-7 reverse-proxy load balancer for app servers.\n\nUsage:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  steelyard %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nExample:\n  steelyard demo\n\nsteelyard COMMAND -h tells more about a command.\n")
}

// usageError is a mistake in the command line.
type usageError struct{ error }

// flags parses the flags of a command; -h prints help to out.
func flags(name, help string, args []string, out io.Writer, define func(*flag.FlagSet)) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if define != nil {
		define(fs)
	}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, help)
		return err
	case err != nil:
		return flagMistake(fs, err)
	case fs.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	}
	return nil
}

const versionHelp = `Usage: steelyard version

Prints the version of this binary, of Go, and of the platform.

Example:
  steelyard version
`

package main

import (
	"fmt"
	"io"
)

const reloadHelp = `Usage: steelyard reload

Lets a running Steelyard read its configuration file anew, as SIGHUP does, and
prints what that changed. A file with errors changes nothing; they are printed.
` + remoteHelp + `
Example:
  steelyard reload
`

func reloadCommand(args []string, out, _ io.Writer) error {
	r, err := parseRemote("reload", reloadHelp, args, out, nil, nil)
	if err != nil {
		return err
	}
	var g struct {
		ID      uint64
		File    string
		Changes []string
	}
	if done, err := r.ask("POST", "/api/v1/reload", map[string]any{}, &g); done || err != nil {
		return err
	}
	fmt.Fprintf(out, "Generation %d of %s is in force.\n", g.ID, plain(g.File))
	for _, line := range g.Changes {
		fmt.Fprintf(out, "  %s\n", plain(line))
	}
	if len(g.Changes) == 0 {
		fmt.Fprintln(out, "  Nothing changed.")
	}
	return nil
}

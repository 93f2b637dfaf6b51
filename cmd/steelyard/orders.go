package main

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
)

const drainHelp = `Usage: steelyard drain POOL BACKEND [--for DURATION]

Gives a backend nothing new. What is bound to it stays until the deadline; then
it gets nothing at all until it is enabled again.

  --for DURATION      the deadline, as 30s or 5m (default: the pool's drain_timeout)
` + remoteHelp + `
Example:
  steelyard drain web 127.0.0.1:3001 --for 30s
`

const enableHelp = `Usage: steelyard enable POOL BACKEND

Undoes drain and disable.
` + remoteHelp + `
Example:
  steelyard enable web 127.0.0.1:3001
`

const disableHelp = `Usage: steelyard disable POOL BACKEND

Takes a backend out at once: requests in flight finish, nobody stays bound.
` + remoteHelp + `
Example:
  steelyard disable web 127.0.0.1:3001
`

const weightHelp = `Usage: steelyard weight POOL BACKEND WEIGHT

Sets the weight of a backend, 0 to 65535, or "default" for the configured one.
` + remoteHelp + `
Example:
  steelyard weight web 127.0.0.1:3001 5
`

const releaseHelp = `Usage: steelyard release POOL

Carries out the removals that the registry guard holds in a pool.
` + remoteHelp + `
Example:
  steelyard release web
`

func drainCommand(args []string, out, _ io.Writer) error {
	bound := ""
	r, err := parseRemote("drain", drainHelp, args, out, []string{"POOL", "BACKEND"}, func(fs *flag.FlagSet) { fs.StringVar(&bound, "for", "", "") })
	if err != nil {
		return err
	}
	body := map[string]any{}
	if bound != "" {
		body["for"] = bound
	}
	return r.order("drain", body)
}

func enableCommand(args []string, out, _ io.Writer) error {
	return simpleOrder("enable", enableHelp, args, out)
}

func disableCommand(args []string, out, _ io.Writer) error {
	return simpleOrder("disable", disableHelp, args, out)
}

func simpleOrder(name, help string, args []string, out io.Writer) error {
	r, err := parseRemote(name, help, args, out, []string{"POOL", "BACKEND"}, nil)
	if err != nil {
		return err
	}
	return r.order(name, map[string]any{})
}

func weightCommand(args []string, out, _ io.Writer) error {
	r, err := parseRemote("weight", weightHelp, args, out, []string{"POOL", "BACKEND", "WEIGHT"}, nil)
	if err != nil {
		return err
	}
	if r.args[2] == "default" {
		return r.order("weight", map[string]any{"weight": nil})
	}
	n, err := strconv.Atoi(r.args[2])
	if err != nil {
		return usageError{fmt.Errorf("WEIGHT is %q, not a whole number or default", r.args[2])}
	}
	return r.order("weight", map[string]any{"weight": n})
}

// order gives an order about the backend that the arguments name, and prints how
// its pool is then.
func (r *remote) order(action string, body map[string]any) error {
	pool, backend := r.args[0], r.args[1]
	var p poolView
	path := "/api/v1/pools/" + url.PathEscape(pool) + "/backends/" + url.PathEscape(backend) + "/" + action
	if done, err := r.ask("POST", path, body, &p); done || err != nil {
		return err
	}
	if i := slices.IndexFunc(p.Backends, func(b backendView) bool { return b.Address == backend }); i >= 0 {
		fmt.Fprintf(r.out, "%s is %s now, with weight %d.\n\n", plain(backend), p.Backends[i].state(), p.Backends[i].Weight)
	}
	printPool(r.out, &p)
	return nil
}

func releaseCommand(args []string, out, _ io.Writer) error {
	r, err := parseRemote("release", releaseHelp, args, out, []string{"POOL"}, nil)
	if err != nil {
		return err
	}
	var answer struct{ Released int }
	if done, err := r.ask("POST", "/api/v1/pools/"+url.PathEscape(r.args[0])+"/release", map[string]any{}, &answer); done || err != nil {
		return err
	}
	if answer.Released == 0 {
		fmt.Fprintf(out, "Nothing is held in pool %s.\n", plain(r.args[0]))
		return nil
	}
	fmt.Fprintf(out, "Released: %s of pool %s.\n", count(answer.Released, "backend"), plain(r.args[0]))
	return nil
}

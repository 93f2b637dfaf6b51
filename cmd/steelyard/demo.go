package main

import (
	"fmt"
	"io"
	"os/signal"

	"steelyard/config"
	"steelyard/internal/app"
	"steelyard/internal/demo"
)

const demoHelp = `Usage: steelyard demo

Starts three small backends with different manners and a balancer in front of
them on 127.0.0.1:8080, all in this process, and prints what to try.

Example:
  steelyard demo
`

func demoCommand(args []string, out, _ io.Writer) error {
	if err := flags("demo", demoHelp, args, out, nil); err != nil {
		return err
	}
	backends, err := demo.Start()
	if err != nil {
		return err
	}
	defer backends.Close()
	cfg, err := config.Parse("demo.yaml", []byte(backends.Configuration()), nil)
	if err != nil {
		return err
	}
	hangups := catchHangups()
	defer signal.Stop(hangups)
	a, err := app.Start(cfg)
	if err != nil {
		return err
	}
	fmt.Fprint(out, backends.Welcome())
	return serve(a, hangups, nil)
}

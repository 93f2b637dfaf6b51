//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"steelyard/bench/load"
)

// loadCommand is the generator for people: `go run ./bench load -addr ...`.
// Without an address it loads a bare server of its own, which shows what the
// generator and the kernel take of every figure.
func loadCommand(ctx context.Context, args []string, out io.Writer) error {
	var o load.Options
	var seconds float64
	f := flag.NewFlagSet("bench load", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.Addr, "addr", "", "a loopback address with port (default: a bare server of its own)")
	f.Float64Var(&o.Rate, "rate", 1000, "requests or messages a second; 0: the next one when one is done")
	f.Float64Var(&seconds, "seconds", 5, "how long")
	f.IntVar(&o.Connections, "connections", 64, "connections, and requests at work at once")
	f.StringVar(&o.Path, "path", "/", "what is asked for")
	f.IntVar(&o.Post, "post", 0, "bytes of a request body; 0 sends a GET")
	f.BoolVar(&o.NewConn, "new", false, "a connection for each request")
	f.BoolVar(&o.WebSocket, "websocket", false, "messages on WebSockets")
	f.IntVar(&o.Message, "message", 100, "bytes of a message")
	if err := f.Parse(args); err != nil {
		return err
	}
	o.Duration = time.Duration(seconds * float64(time.Second))
	if o.Addr == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		o.Addr = l.Addr().String()
		l.Close()
		h, err := startHelper(nil, "serve", o.Addr)
		if err != nil {
			return err
		}
		defer func() { _ = h.stop() }()
		if err := waitFor(ctx, []int{l.Addr().(*net.TCPAddr).Port}); err != nil {
			return err
		}
	}
	r, err := load.Run(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d done, %d failed, %d never sent, in %.2f s: %.0f/s\n", r.Done, r.Failed, r.Unsent, r.Seconds, float64(r.Done)/r.Seconds)
	fmt.Fprintf(out, "from when they were due, µs: p50 %.0f, p90 %.0f, p99 %.0f, p99.9 %.0f, longest %.0f\n", r.P50, r.P90, r.P99, r.P999, r.Max)
	fmt.Fprintf(out, "the generator took %.1f µs of CPU for each\n", r.CPU)
	if r.Reason != "" {
		fmt.Fprintln(out, "the first failure:", r.Reason)
	}
	return nil
}

// Command compare measures what a proxied request costs Steelyard and nginx, side
// by side on this machine: CPU time of the proxy's processes per request, with
// the proxy pinned to one core and load and backends to another. Runs of the
// candidates are interleaved in short rounds, and medians and ratios count,
// because absolute times differ from machine to machine and from hour to hour.
//
// It needs nginx, wrk and taskset, sends to 127.0.0.1 only, and stops by itself.
//
//	go run ./bench/compare -rounds 7 -seconds 3
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// options of a comparison.
type options struct {
	rounds      int
	seconds     int
	connections int
	size        int
	binary      string
}

// candidate is one proxy under load.
type candidate struct {
	name  string
	port  int
	start func(dir string) (*process, error)

	proc   *process
	cost   []float64 // µs of CPU per request, one for each round
	perSec []float64 // requests per second
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of all candidates")
	flag.IntVar(&o.seconds, "seconds", 3, "seconds a round loads each candidate")
	flag.IntVar(&o.connections, "connections", 64, "client connections")
	flag.IntVar(&o.size, "size", 100, "bytes of a response body")
	flag.StringVar(&o.binary, "steelyard", "bin/steelyard", "the binary to measure")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if err := need("nginx", "wrk", "taskset"); err != nil {
		return err
	}
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed: one for the proxy, one for load and backends")
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%w; make build makes it", err)
	}
	dir, err := os.MkdirTemp("", "steelyard-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "body"), bytes.Repeat([]byte("x"), o.size), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is another user
		return err
	}
	backends, err := startNginx(dir, "backends", backendConfig, loadCore)
	if err != nil {
		return err
	}
	defer backends.stop()
	candidates := []*candidate{
		{name: "nginx", port: nginxPort, start: func(dir string) (*process, error) {
			return startNginx(dir, "nginx", nginxConfig, proxyCore)
		}},
		{name: "steelyard", port: steelyardPort, start: func(dir string) (*process, error) {
			return startSteelyard(dir, binary)
		}},
	}
	for _, c := range candidates {
		if c.proc, err = c.start(dir); err != nil {
			return err
		}
		defer c.proc.stop()
		if err := waitFor(c.port); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if err := rounds(o, candidates); err != nil {
		return err
	}
	report(o, candidates)
	return nil
}

func need(tools ...string) error {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t); err != nil {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%v not found; on Debian: apt-get install nginx-light wrk util-linux", missing)
	}
	return nil
}

// rounds loads each candidate in turn; a first round warms up and is dropped.
func rounds(o options, candidates []*candidate) error {
	for round := range o.rounds + 1 {
		for _, c := range candidates {
			before, err := c.proc.cpu()
			if err != nil {
				return err
			}
			requests, err := load(o, c.port)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			after, err := c.proc.cpu()
			if err != nil {
				return err
			}
			cost := float64((after - before).Microseconds()) / requests
			fmt.Fprintf(os.Stderr, "round %d of %d  %-10s %8.0f requests/s  %6.2f µs CPU per request\n",
				round, o.rounds, c.name, requests/float64(o.seconds), cost)
			if round > 0 {
				c.cost = append(c.cost, cost)
				c.perSec = append(c.perSec, requests/float64(o.seconds))
			}
		}
	}
	return nil
}

// report prints the medians; the ratio is the median of each round's own.
func report(o options, candidates []*candidate) {
	base := candidates[0]
	fmt.Printf("\nGET of %d B, %d connections, %d rounds of %d s, %s\n\n", o.size, o.connections, o.rounds, o.seconds,
		time.Now().Format(time.DateOnly))
	fmt.Println("| proxy | CPU per request | spread | ratio to nginx | requests/s |")
	fmt.Println("| --- | --- | --- | --- | --- |")
	for _, c := range candidates {
		ratios := make([]float64, len(c.cost))
		for i := range ratios {
			ratios[i] = c.cost[i] / base.cost[i]
		}
		fmt.Printf("| %s | %.2f µs | %.2f to %.2f | %.2f | %.0f |\n", c.name, median(c.cost),
			slices.Min(c.cost), slices.Max(c.cost), median(ratios), median(c.perSec))
	}
	if s := slices.Max(base.cost) / slices.Min(base.cost); s > 1.25 {
		fmt.Printf("\nnginx's own figure spreads by %.0f %%: the machine was busy, so repeat this on a quiet one.\n", (s-1)*100)
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"steelyard/bench/load"
)

const (
	// helperEnv marks a process that is a part of the bench, not the bench.
	helperEnv = "STEELYARD_BENCH_PART"
	readyLine = "ready\n"
	// maxSeconds bounds a round, and maxRounds how many there are.
	maxSeconds, maxRounds = 60, 50
)

// options of a bench.
type options struct {
	rounds, seconds int
	only            string
	quick, list     bool
	candidates      string
	binary          string
	write           bool
	docs            string
	cold            bool // do without warming up and thousands of connections (tests)
	oneCore         bool // share a core where there is no second one (tests)
}

// bench is one run of it all.
type bench struct {
	o                options
	dir, binary      string
	cores, loadCores []int
	cert, key        string
	openFiles        int // that a process may have
	results          results
}

func main() {
	if os.Getenv(helperEnv) != "" {
		fail(part(os.Args[1:]))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "load" {
		fail(loadCommand(ctx, os.Args[2:], os.Stdout))
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 0, "rounds of all candidates (default 5, or 3 with -quick)")
	flag.IntVar(&o.seconds, "seconds", 0, "seconds a round loads each candidate (default 2, or 1 with -quick)")
	flag.StringVar(&o.only, "only", "", "works, comma-separated; a* is all that begin with a")
	flag.BoolVar(&o.quick, "quick", false, "the most important works, in a few minutes")
	flag.BoolVar(&o.list, "list", false, "name the works and end")
	flag.StringVar(&o.candidates, "candidates", strings.Join(all, ","), "who is measured; nginx is what the others are compared with")
	flag.StringVar(&o.binary, "steelyard", "bin/steelyard", "the binary to measure")
	flag.BoolVar(&o.write, "write", true, "write performance.md's figures, performance.json and img/bench-*.svg")
	flag.StringVar(&o.docs, "docs", "docs", "the folder of what is written")
	flag.Parse()
	if o.list {
		for _, w := range works() {
			fmt.Printf("%-28s %s\n", w.name, w.title)
		}
		return
	}
	fail(run(ctx, o, os.Stdout))
}

// fail ends the process if there is an error.
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// all candidates, nginx first.
var all = []string{nginx, haproxy, caddy, steelyard}

// part is what the processes do that the bench starts of itself.
func part(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch {
	case len(args) > 1 && args[0] == "serve":
		return serve(os.Stdin, args[1:])
	case len(args) != 2 || args[0] != "load" && args[0] != "hold":
		return fmt.Errorf("%q is no part of the bench", args)
	}
	var o load.Options
	if err := json.Unmarshal([]byte(args[1]), &o); err != nil {
		return err
	}
	if args[0] == "load" {
		r, err := load.Run(ctx, o)
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(r))
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	return load.Hold(o, func() { fmt.Print(readyLine) }, done)
}

// run measures what o asks for, prints it to out and writes it to the docs.
func run(ctx context.Context, o options, out io.Writer) error {
	if o.quick {
		o.rounds, o.seconds = orElse(o.rounds, 3), orElse(o.seconds, 1)
	}
	o.rounds, o.seconds = orElse(o.rounds, 5), orElse(o.seconds, 2)
	if o.rounds < 1 || o.rounds > maxRounds || o.seconds < 1 || o.seconds > maxSeconds {
		return fmt.Errorf("-rounds is 1 to %d and -seconds 1 to %d", maxRounds, maxSeconds)
	}
	some, err := chosen(o.only, o.quick)
	if err != nil {
		return err
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	total := time.Duration(0)
	for _, w := range some {
		total += w.estimate(o)
	}
	fmt.Fprintf(os.Stderr, "%d works, %d rounds of %d s: about %s; works that are disturbed are repeated once\n",
		len(some), o.rounds, o.seconds, total.Round(10*time.Second))
	since := time.Now()
	var failed error // A work that fails does not take the others with it.
	for i, w := range some {
		fmt.Fprintf(os.Stderr, "%d of %d  %s: about %s, %s since the start\n", i+1, len(some), w.name,
			w.estimate(o).Round(time.Second), time.Since(since).Round(time.Second))
		got, err := b.measure(ctx, w)
		if ctx.Err() != nil {
			return errors.Join(failed, context.Cause(ctx))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "  %s failed: %v\n", w.name, err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", w.name, err))
			continue
		}
		if err := got.print(out); err != nil {
			return err
		}
		b.results.put(got)
		if o.write {
			if err := b.publish(); err != nil {
				return err
			}
		}
	}
	return failed
}

// publish writes what is known so far.
func (b *bench) publish() error {
	return errors.Join(b.results.write(filepath.Join(b.o.docs, "performance.json")),
		b.results.document(filepath.Join(b.o.docs, "performance.md")), b.results.chart(filepath.Join(b.o.docs, "img")))
}

// newBench looks whether all is there that is needed.
func newBench(o options) (*bench, error) {
	b := &bench{o: o}
	for _, name := range strings.Split(o.candidates, ",") {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("-candidates: %q is none of %s", name, strings.Join(all, ", "))
		}
	}
	if err := need(o); err != nil {
		return nil, err
	}
	var err error
	if b.binary, err = filepath.Abs(o.binary); err != nil {
		return nil, err
	}
	if _, err := os.Stat(b.binary); err != nil {
		return nil, fmt.Errorf("%w; make build makes it", err)
	}
	if err := b.chooseCores(); err != nil {
		return nil, err
	}
	if b.openFiles, err = raiseFiles(); err != nil {
		return nil, fmt.Errorf("raise the limit of open files: %w", err)
	}
	if o.write {
		if b.results, err = readResults(filepath.Join(o.docs, "performance.json")); err != nil {
			return nil, fmt.Errorf("%w; remove the file and measure everything", err)
		}
	}
	b.results.Machine, b.results.Kernel = machine()
	b.results.Cores, b.results.Versions = runtime.NumCPU(), versions(b.binary)
	if b.dir, err = os.MkdirTemp("", "steelyard-bench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // nginx's worker is another user
		return nil, err
	}
	b.cert, b.key, err = writeCertificate(b.dir)
	return b, err
}

// need names every program that is not there.
func need(o options) error {
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin"); err != nil { // where Debian keeps servers
		return err
	}
	var missing []string
	for _, t := range append(strings.Split(o.candidates, ","), nginx, "wrk") {
		if _, err := exec.LookPath(t); err != nil && t != steelyard && !slices.Contains(missing, t) {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s not found; on Debian: apt-get install %s", strings.Join(missing, ", "), strings.Join(missing, " "))
	}
	return nil
}

// chooseCores gives the first core to the proxy and up to three others to load
// and backends.
func (b *bench) chooseCores() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	for core := 0; len(b.cores) < 4 && core < 1024; core++ {
		if set.IsSet(core) {
			b.cores = append(b.cores, core)
		}
	}
	if len(b.cores) < 2 {
		if !b.o.oneCore {
			return errors.New("two cores are needed: one for the proxy, one for load and backends")
		}
		b.cores = append(b.cores, b.cores[0])
	}
	b.loadCores = b.cores[1:]
	return nil
}

func (b *bench) proxyCores(w work) []int {
	if w.bothCores {
		return b.cores[:2]
	}
	return b.cores[:1]
}

// peersOf is who is measured in a work.
func (o options) peersOf(w work) []string {
	names := []string{nginx}
	if w.policy == "least_time" || w.policy == "maglev" {
		names = nil // nginx has none such: it is left out, and plain Steelyard is what counts.
	}
	for _, name := range strings.Split(o.candidates, ",") {
		if can := peers[name].can; name != nginx && (can == nil || can(w)) {
			names = append(names, name)
		}
	}
	if w.plain && slices.Contains(names, steelyard) {
		names = append(names, plain)
	}
	return names
}

// measure runs the rounds of a work, and once more if it was disturbed.
func (b *bench) measure(ctx context.Context, w work) (outcome, error) {
	first, err := b.once(ctx, w)
	if err != nil || !first.busy() {
		return first, err
	}
	fmt.Fprintf(os.Stderr, "  nginx's own figure spread by %.0f %%: once more\n", (first.Spread-1)*100)
	second, err := b.once(ctx, w)
	if err == nil && second.Spread > first.Spread {
		return first, nil
	}
	return second, err
}

func (b *bench) once(ctx context.Context, w work) (outcome, error) {
	average := loadAverage()
	if b.o.cold && w.kind == idle {
		w.connections = min(w.connections, 200)
	}
	s, err := b.stage(ctx, w)
	if err != nil {
		return outcome{}, err
	}
	defer s.close()
	if err := s.warm(ctx); err != nil {
		return outcome{}, err
	}
	names, got := b.o.peersOf(w), measured{}
	rounds := w.roundsOf(b.o.rounds)
	for round := range rounds {
		for i := range s.entries { // Each begins a round in turn.
			e := s.entries[(i+round)%len(s.entries)]
			one, err := s.round(ctx, e)
			if err != nil {
				return outcome{}, fmt.Errorf("%s: %w\n%s", e.name, err, e.said())
			}
			head := metrics[w.kind][0]
			fmt.Fprintf(os.Stderr, "  round %d of %d  %-16s %s: %s\n", round+1, rounds, e.name, head.title, with(number(one[head.key]), head.unit))
			got[e.name] = append(got[e.name], one)
		}
		if w.kind == latency {
			one, err := s.latencies(ctx, s.backendPort(), nil)
			if err != nil {
				return outcome{}, fmt.Errorf("%s: %w", bare, err)
			}
			got[bare] = append(got[bare], one)
		}
	}
	if w.kind == latency {
		names = append(names, bare)
	}
	o := newOutcome(w, names, got)
	o.Load, o.Rounds, o.Seconds, o.Rate = average, rounds, b.o.seconds, tidy(s.most)
	return o, nil
}

// backendPort is that of the first backend.
func (s *stage) backendPort() int { return s.entries[0].set.backends[0] }

// machine names the processor and the kernel.
func machine() (model, kernel string) {
	b, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(b), "model name\t: ")
	model, _, _ = strings.Cut(rest, "\n")
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	return model, kernel
}

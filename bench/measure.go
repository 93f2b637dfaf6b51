//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"steelyard/bench/load"
)

const (
	warmUp     = time.Second
	settleTime = 1500 * time.Millisecond
	// maxErrors is the share of requests that may fail before figures mean nothing.
	maxErrors = .01
	// The rates at which latency is measured, as shares of nginx's most.
	lowRate, highRate = .3, .7
)

// sample is what one round measured of one candidate, by metric.
type sample map[string]float64

// measured is the samples of a work, by candidate and round.
type measured map[string][]sample

// stage is a work that is set up: its backends run, its candidates are ready.
type stage struct {
	*bench
	work
	entries []*entry
	closers []func()
	seconds int     // of a round
	most    float64 // nginx's requests/s at saturation, where kinds need it
	reloads int
}

// stage makes all ready for a work; close takes it down again.
func (b *bench) stage(ctx context.Context, w work) (_ *stage, err error) {
	s := &stage{bench: b, work: w, seconds: b.o.seconds}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	dir, err := os.MkdirTemp(b.dir, "work-")
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is another user
		return nil, err
	}
	base, err := freePorts(w.backends + 16)
	if err != nil {
		return nil, err
	}
	backends := make([]int, w.backends)
	for i := range backends {
		backends[i] = base + 16 + i
	}
	if err := s.startBackends(ctx, dir, backends); err != nil {
		return nil, err
	}
	for i, name := range b.o.peersOf(w) {
		set := setting{work: w, dir: filepath.Join(dir, fmt.Sprint(i)), binary: b.binary, port: base + 2*i, adminPort: base + 2*i + 1,
			backends: backends, cores: b.proxyCores(w), cert: b.cert, key: b.key,
			openFiles: b.openFiles}
		e, err := newEntry(name, set)
		if err != nil {
			return nil, err
		}
		s.entries = append(s.entries, e)
		s.closers = append(s.closers, e.stop)
	}
	if w.kind == idle || w.kind == startUp {
		return s, nil // Each round starts its own.
	}
	for _, e := range s.entries {
		if _, err := e.launch(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *stage) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// startBackends starts an nginx with a file, or our own server for bodies and
// messages that go up.
func (s *stage) startBackends(ctx context.Context, dir string, ports []int) error {
	if s.post > 0 || s.webSocket {
		args := []string{"serve"}
		for _, p := range ports {
			args = append(args, fmt.Sprintf("127.0.0.1:%d", p))
		}
		h, err := startHelper(s.loadCores, args...)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, func() { _ = h.stop() })
		return waitFor(ctx, ports)
	}
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(www, "body"), bytes.Repeat([]byte("x"), s.size), 0o644); err != nil {
		return err
	}
	file := filepath.Join(dir, "backends.conf")
	if err := os.WriteFile(file, []byte(backendConfig(dir, len(s.loadCores), ports)), 0o644); err != nil {
		return err
	}
	p, err := start(s.loadCores, os.Stderr, dir, "nginx", "-e", "stderr", "-c", file)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, p.stop)
	return waitFor(ctx, ports)
}

// waitFor returns when something listens on all ports.
func waitFor(ctx context.Context, ports []int) error {
	end := time.Now().Add(patience)
	for _, p := range ports {
		for {
			nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err == nil {
				nc.Close()
				break
			}
			if time.Now().After(end) || ctx.Err() != nil {
				return errors.Join(fmt.Errorf("the backends do not listen: %w", err), context.Cause(ctx))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// freePorts finds n ports in a row that nobody listens on, below those that
// the kernel gives to clients.
func freePorts(n int) (int, error) {
	var err error
	for base := 20000 + os.Getpid()%50*100; base+n < 32768; base += n {
		if err = tryPorts(base, n); err == nil {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row: %w", n, err)
}

func tryPorts(base, n int) error {
	for p := base; p < base+n; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return err
		}
		defer l.Close()
	}
	return nil
}

// warm loads every candidate once and drops the figures; of nginx it keeps how
// much it can do.
func (s *stage) warm(ctx context.Context) error {
	if s.kind == idle || s.kind == startUp {
		return nil
	}
	for _, e := range s.entries {
		if err := s.warmUp(ctx, e); err != nil {
			return fmt.Errorf("%s: %w\n%s", e.name, err, e.said())
		}
		if e.name == nginx && (s.kind == latency || s.kind == reload) {
			got, err := s.wrk(ctx, e, s.seconds)
			if err != nil {
				return err
			}
			s.most = got["rate"]
		}
	}
	return nil
}

func (s *stage) warmUp(ctx context.Context, e *entry) error {
	var err error
	for n := 1; n <= tries && !s.o.cold && ctx.Err() == nil; n++ {
		if s.kind == messages {
			_, err = s.saturate(ctx, e, n*int(warmUp.Seconds()))
		} else {
			_, err = s.wrk(ctx, e, n*int(warmUp.Seconds()))
		}
		if err == nil {
			return nil
		}
	}
	return errors.Join(err, context.Cause(ctx))
}

// tries is how often a round is begun, for twice as long each time: on a busy
// machine a load may not get to send a single request.
const tries = 3

// round measures one candidate once.
func (s *stage) round(ctx context.Context, e *entry) (sample, error) {
	defer func(before int) { s.seconds = before }(s.seconds)
	for n := 1; ; n++ {
		got, err := s.attempt(ctx, e)
		if err == nil || n == tries || ctx.Err() != nil {
			return got, errors.Join(err, context.Cause(ctx))
		}
		fmt.Fprintf(os.Stderr, "  %s, once more for longer: %v\n", e.name, err)
		s.seconds *= 2
	}
}

func (s *stage) attempt(ctx context.Context, e *entry) (sample, error) {
	switch s.kind {
	case latency:
		return s.latencies(ctx, e.set.port, e)
	case idle:
		return s.idle(ctx, e)
	case startUp:
		took, err := e.launch(ctx)
		e.stop()
		return sample{"start": took.Seconds() * 1000}, err
	case reload:
		return s.reload(ctx, e)
	default:
		return s.saturate(ctx, e, s.seconds)
	}
}

// saturate has as many requests answered as there can be, and divides the CPU
// time of the proxy by them.
func (s *stage) saturate(ctx context.Context, e *entry, seconds int) (sample, error) {
	logged := e.logged()
	before, err := e.proc.cpu()
	if err != nil {
		return nil, err
	}
	since := time.Now()
	var got sample
	if s.kind == messages {
		var r load.Result
		r, err = s.generate(load.Options{Addr: e.set.address(), Duration: time.Duration(seconds) * time.Second,
			Connections: s.connections, WebSocket: true, Message: s.message})
		got = sample{"requests": float64(r.Done), "rate": float64(r.Done) / max(r.Seconds, .001), "failed": float64(r.Failed)}
	} else {
		got, err = s.wrk(ctx, e, seconds)
	}
	if err != nil {
		return nil, err
	}
	if s.log && e.logged() == logged {
		return nil, errors.New("it has written no access log")
	}
	return s.perRequest(e, before, since, got)
}

// perRequest adds the CPU time since before to what was measured.
func (s *stage) perRequest(e *entry, before usage, since time.Time, got sample) (sample, error) {
	after, err := e.proc.cpu()
	if err != nil {
		return nil, err
	}
	used := after.minus(before)
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / max(got["requests"], 1) }
	got["cpu"], got["user"], got["kernel"] = each(used.all), each(used.all-used.inKernel()), each(used.inKernel())
	got["busy"] = 100 * float64(used.all) / float64(time.Since(since)) / float64(len(e.set.cores))
	return got, nil
}

var (
	wrkTotal  = regexp.MustCompile(`(\d+) requests in ([\d.]+)(m?s|m),`)
	wrkErrors = regexp.MustCompile(`connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// wrk loads a candidate with as much as it takes.
func (s *stage) wrk(ctx context.Context, e *entry, seconds int) (sample, error) {
	cores := s.loadCores
	if s.bothCores {
		cores = append(e.set.cores[:1:1], cores...)
	}
	argv := []string{"wrk", "-t", strconv.Itoa(len(cores)), "-c", strconv.Itoa(s.connections), "-d", fmt.Sprint(seconds, "s"), "--timeout", "8s"}
	if s.newConn {
		argv = append(argv, "-H", "Connection: close")
	}
	if e.set.sticky {
		resp, err := ask(e.set)
		if err != nil {
			return nil, err
		}
		cookie := "srv=1" // nginx hashes what it is given.
		if given := resp.Cookies(); len(given) > 0 {
			cookie = given[0].Name + "=" + given[0].Value
		} else if e.name != nginx {
			return nil, errors.New("it gave no cookie")
		}
		argv = append(argv, "-H", "Cookie: "+cookie)
	}
	if s.post > 0 {
		script := e.set.file("post.lua")
		if err := os.WriteFile(script, fmt.Appendf(nil, "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", %d)\n", s.post), 0o600); err != nil {
			return nil, err
		}
		argv = append(argv, "-s", script)
	}
	out, err := output(cores, append(argv, e.set.url())...)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return parseWrk(out)
}

// parseWrk reads what wrk printed.
func parseWrk(out []byte) (sample, error) {
	m := wrkTotal.FindSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("wrk printed no total: %s", out)
	}
	requests, err1 := strconv.ParseFloat(string(m[1]), 64)
	took, err2 := time.ParseDuration(string(m[2]) + string(m[3]))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	failed := 0.0
	for _, re := range []*regexp.Regexp{wrkErrors, wrkStatus} {
		if m := re.FindSubmatch(out); m != nil {
			for _, n := range m[1:] {
				f, _ := strconv.ParseFloat(string(n), 64)
				failed += f
			}
		}
	}
	if requests == 0 || failed > maxErrors*requests {
		return nil, fmt.Errorf("wrk saw errors: %s", out)
	}
	return sample{"requests": requests, "rate": requests / took.Seconds(), "failed": failed}, nil
}

// generate runs our own generator in a process on the load's cores.
func (b *bench) generate(o load.Options) (load.Result, error) {
	var r load.Result
	arg, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	h, err := startHelper(b.loadCores, "load", string(arg))
	if err != nil {
		return r, err
	}
	out, err := io.ReadAll(h.out)
	if err := errors.Join(err, h.stop()); err != nil {
		return r, fmt.Errorf("the generator: %w", err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("the generator said %q: %w", out, err)
	}
	if r.Done == 0 {
		return r, r.Err()
	}
	return r, nil
}

func (s *stage) options(port int, rate float64) load.Options {
	return load.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), Rate: rate, Duration: time.Duration(s.seconds) * time.Second,
		Connections: s.connections, Path: s.path(), Post: s.post, NewConn: s.newConn}
}

// latencies sends at both rates. Without an entry it asks the backend itself.
func (s *stage) latencies(_ context.Context, port int, e *entry) (sample, error) {
	got := sample{}
	for _, share := range []float64{lowRate, highRate} {
		var before usage
		var err error
		if e != nil {
			if before, err = e.proc.cpu(); err != nil {
				return nil, err
			}
		}
		r, err := s.generate(s.options(port, s.most*share))
		if err != nil {
			return nil, err
		}
		if err := r.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "  at %.0f %%: %v\n", share*100, err)
		}
		at := fmt.Sprintf("_%.0f", share*100)
		got["p50"+at], got["p99"+at], got["p999"+at] = r.P50, r.P99, r.P999
		got["failed"] += float64(r.Failed + r.Unsent)
		got["load"+at] = r.CPU
		if e != nil {
			after, err := e.proc.cpu()
			if err != nil {
				return nil, err
			}
			got["cpu"+at] = float64(after.minus(before).all.Microseconds()) / max(float64(r.Done), 1)
		}
	}
	return got, nil
}

// reload sends at the low rate while the configuration is read again twice a
// second.
func (s *stage) reload(ctx context.Context, e *entry) (sample, error) {
	before, err := e.proc.cpu()
	if err != nil {
		return nil, err
	}
	since := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan error, 1)
	go func() { told <- s.keepReloading(ctx, e) }()
	r, err := s.generate(s.options(e.set.port, s.most*lowRate))
	cancel()
	if err := errors.Join(err, <-told); err != nil {
		return nil, err
	}
	return s.perRequest(e, before, since, sample{"requests": float64(r.Done), "p50": r.P50, "p99": r.P99, "p999": r.P999, "max": r.Max,
		"failed": float64(r.Failed + r.Unsent)})
}

func (s *stage) keepReloading(ctx context.Context, e *entry) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.reloads++
		e.set.edition = s.reloads
		for file, text := range e.peer.files(e.set) {
			if err := os.WriteFile(e.set.file(file), []byte(text), 0o644); err != nil {
				return err
			}
		}
		if err := e.peer.reload(e.proc, e.set); err != nil {
			return fmt.Errorf("reload: %w", err)
		}
	}
}

// idle tells by how much the proxy grows for each connection that has had one
// answer and then rests.
func (s *stage) idle(ctx context.Context, e *entry) (sample, error) {
	if _, err := e.launch(ctx); err != nil {
		return nil, err
	}
	defer e.stop()
	o := s.options(e.set.port, 0)
	o.WebSocket, o.Duration = s.webSocket, time.Minute
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	before, err := e.proc.memory()
	if err != nil {
		return nil, err
	}
	h, err := startHelper(s.loadCores, "hold", string(arg))
	if err != nil {
		return nil, err
	}
	ready := make([]byte, len(readyLine))
	if _, err := io.ReadFull(h.out, ready); err != nil {
		return nil, errors.Join(errors.New("the connections were not made"), h.stop())
	}
	pause(ctx, settleTime)
	after, err := e.proc.memory()
	if err := errors.Join(err, h.stop()); err != nil {
		return nil, err
	}
	return sample{"each": (after - before) / float64(s.connections) / kib, "empty": before / mib}, nil
}

// pause waits, but not for longer than the run.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// loadAverage is the machine's, over the last minute.
func loadAverage() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	f, _ := strconv.ParseFloat(first, 64)
	return f
}

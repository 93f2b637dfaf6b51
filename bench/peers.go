//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// The names of the candidates.
const (
	nginx     = "nginx"
	haproxy   = "haproxy"
	caddy     = "caddy"
	steelyard = "steelyard"
	plain     = "steelyard, plain"
	bare      = "no proxy" // in latency works: the backend alone, which is the generator's own share
)

// peer is one candidate: how it is configured, started and reloaded.
type peer struct {
	command string
	// files are its configuration, by file name; argv starts it with them.
	files func(s setting) map[string]string
	argv  func(s setting) []string
	// can tells whether it has what the work asks for; nil: it has all.
	can    func(w work) bool
	reload func(p *process, s setting) error
}

// setting is what a candidate is configured with.
type setting struct {
	work
	dir       string // of its own files
	binary    string // Steelyard's
	port      int
	adminPort int
	backends  []int // ports
	cores     []int // of the proxy
	cert, key string
	openFiles int // that a process may have
	edition   int // of the configuration, counted up by reloads
}

func (s setting) file(name string) string { return filepath.Join(s.dir, name) }

func (s setting) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s setting) url() string {
	if s.tls {
		return "https://" + s.address() + s.path()
	}
	return "http://" + s.address() + s.path()
}

var peers = map[string]peer{
	nginx: {
		command: "nginx",
		files:   func(s setting) map[string]string { return map[string]string{"nginx.conf": nginxConfig(s)} },
		argv:    func(s setting) []string { return []string{"nginx", "-e", "stderr", "-c", s.file("nginx.conf")} },
		can:     func(w work) bool { return nginxPolicies[w.policy] != missing },
		reload:  func(p *process, _ setting) error { return p.cmd.Process.Signal(syscall.SIGHUP) },
	},
	haproxy: {
		command: "haproxy",
		files:   haproxyFiles,
		argv:    func(s setting) []string { return []string{"haproxy", "-W", "-db", "-f", s.file("haproxy.cfg")} },
		can:     func(w work) bool { return haproxyPolicies[w.policy] != missing },
		reload:  func(p *process, _ setting) error { return p.cmd.Process.Signal(syscall.SIGUSR2) },
	},
	caddy: {
		command: "caddy",
		files:   func(s setting) map[string]string { return map[string]string{"Caddyfile": caddyConfig(s)} },
		argv: func(s setting) []string {
			return []string{"caddy", "run", "--adapter", "caddyfile", "--config", s.file("Caddyfile")}
		},
		can:    func(w work) bool { return !w.few && w.backends <= 3 && w.routes == 1 },
		reload: reloadCaddy,
	},
	steelyard: {
		files:  func(s setting) map[string]string { return map[string]string{"steelyard.yaml": steelyardConfig(s)} },
		argv:   func(s setting) []string { return []string{s.binary, "run", "-c", s.file("steelyard.yaml")} },
		reload: func(p *process, _ setting) error { return p.cmd.Process.Signal(syscall.SIGHUP) },
	},
}

// reloadCaddy gives caddy its own file again, in a way that is not "unchanged".
func reloadCaddy(_ *process, s setting) error {
	text := caddyConfig(s)
	r, err := http.NewRequest("POST", fmt.Sprintf("http://127.0.0.1:%d/load", s.adminPort), strings.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "text/caddyfile")
	r.Header.Set("Cache-Control", "must-revalidate")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		return fmt.Errorf("caddy refused its configuration: %s", b)
	}
	return nil
}

// entry is a running candidate.
type entry struct {
	name string
	peer peer
	set  setting
	proc *process
	out  *os.File
}

// newEntry writes the files of a candidate; launch starts it.
func newEntry(name string, s setting) (*entry, error) {
	e := &entry{name: name, set: s}
	if name == plain {
		name, e.set.work = steelyard, s.stripped()
		e.set.backends = s.backends[:3]
	}
	e.peer = peers[name]
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	for file, text := range e.peer.files(e.set) {
		if err := os.WriteFile(s.file(file), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// launch starts the candidate and returns how long it took until it answered.
func (e *entry) launch(ctx context.Context) (time.Duration, error) {
	var err error
	if e.out, err = os.OpenFile(e.set.file("output"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644); err != nil {
		return 0, err
	}
	since := time.Now()
	if e.proc, err = start(e.set.cores, e.out, e.set.dir, e.peer.argv(e.set)...); err != nil {
		return 0, err
	}
	for ; time.Since(since) < patience && ctx.Err() == nil; time.Sleep(500 * time.Microsecond) {
		if err = answers(e.set); err == nil {
			return time.Since(since), nil
		}
		select {
		case ended := <-e.proc.ended:
			e.proc.ended <- ended
			return 0, fmt.Errorf("%s ended: %w\n%s", e.name, ended, e.said())
		default:
		}
	}
	return 0, errors.Join(fmt.Errorf("%s does not answer: %w\n%s", e.name, err, e.said()), context.Cause(ctx))
}

func (e *entry) stop() {
	if e.proc != nil {
		e.proc.stop()
		e.proc = nil
	}
	if e.out != nil {
		e.out.Close()
	}
}

// said is the end of what the candidate printed.
func (e *entry) said() string {
	b, _ := os.ReadFile(e.set.file("output"))
	return string(b[max(0, len(b)-2000):])
}

// logged is how much the candidate has written into access logs.
func (e *entry) logged() int64 {
	var n int64
	for _, name := range []string{"access.log", "output"} {
		if info, err := os.Stat(e.set.file(name)); err == nil {
			n += info.Size()
		}
	}
	return n
}

// answers asks the candidate once.
func answers(s setting) error {
	resp, err := ask(s)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// ask sends one request over a connection of its own and reads the answer.
func ask(s setting) (*http.Response, error) {
	c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trustAll(),
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	resp, err := c.Get(s.url())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

var version = regexp.MustCompile(`\d+\.\d+[.\d]*`)

// versions tells what is measured.
func versions(binary string) map[string]string {
	got := map[string]string{}
	for name, argv := range map[string][]string{nginx: {"nginx", "-v"}, haproxy: {"haproxy", "-v"}, caddy: {"caddy", "version"},
		"wrk": {"wrk", "-v"}, steelyard: {binary, "version"}} {
		b, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if got[name] = version.FindString(string(b)); name == steelyard {
			got[name] = strings.TrimSpace(string(b))
		}
	}
	return got
}

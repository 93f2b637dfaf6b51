package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The cores and ports of the parts.
const (
	proxyCore     = 0
	loadCore      = 1
	nginxPort     = 19101
	steelyardPort = 19102
)

// backendConfig serves one file on three ports.
const backendConfig = `worker_processes 1; daemon off; pid DIR/NAME.pid; error_log DIR/NAME.log;
events { worker_connections 10000; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; default_type text/plain;
  server {
    listen 127.0.0.1:19001; listen 127.0.0.1:19002; listen 127.0.0.1:19003;
    root DIR;
    location / { rewrite ^ /body break; open_file_cache max=10; open_file_cache_valid 1h; sendfile on; tcp_nopush on; }
  }
}
`

// nginxConfig is nginx as its experts tune it for this work, with the headers
// that Steelyard adds by default.
const nginxConfig = `worker_processes 1; daemon off; pid DIR/NAME.pid; error_log DIR/NAME.log;
events { worker_connections 10000; }
http {
  access_log off; keepalive_requests 1000000000;
  upstream web {
    server 127.0.0.1:19001; server 127.0.0.1:19002; server 127.0.0.1:19003;
    keepalive 256; keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:19101;
    location / {
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-Id $request_id;
    }
  }
}
`

const steelyardConfig = `listeners: {web: {address: "127.0.0.1:19102"}}
routes: [{match: {path: /*}, pool: web}]
pools: {web: {backends: ["127.0.0.1:19001", "127.0.0.1:19002", "127.0.0.1:19003"]}}
`

// process is a started part and the process whose CPU time counts.
type process struct {
	cmd    *exec.Cmd
	worker int
}

// start runs a command on one core.
func start(core int, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command("taskset", append([]string{"-c", strconv.Itoa(core), name}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd, cmd.Start()
}

// startNginx runs an nginx with one worker, whose CPU time counts.
func startNginx(dir, name, config string, core int) (*process, error) {
	file := filepath.Join(dir, name+".conf")
	text := strings.NewReplacer("DIR", dir, "NAME", name).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd, err := start(core, "nginx", "-c", file)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if first, _, _ := strings.Cut(string(b), " "); err == nil && first != "" {
			p.worker, err = strconv.Atoi(first)
			return p, err
		}
	}
	p.stop()
	return nil, errors.New(name + ": no worker process appeared")
}

func startSteelyard(dir, binary string) (*process, error) {
	file := filepath.Join(dir, "steelyard.yaml")
	if err := os.WriteFile(file, []byte(steelyardConfig), 0o600); err != nil {
		return nil, err
	}
	cmd, err := start(proxyCore, binary, "run", "-c", file)
	if err != nil {
		return nil, err
	}
	return &process{cmd: cmd, worker: cmd.Process.Pid}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// cpu is the CPU time of the process, user and kernel (proc(5), in ticks of
// 10 ms).
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.worker))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	kernel, err2 := strconv.Atoi(f[12])
	return time.Duration(user+kernel) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// waitFor returns when something listens on the port.
func waitFor(port int) error {
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var nc net.Conn
		if nc, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return nc.Close()
		}
	}
	return err
}

var wrkTotal = regexp.MustCompile(`(\d+) requests in`)

// load runs wrk and returns the number of requests answered.
func load(o options, port int) (float64, error) {
	out, err := exec.Command("taskset", "-c", strconv.Itoa(loadCore), "wrk", "-t1", "-c", strconv.Itoa(o.connections),
		"-d", strconv.Itoa(o.seconds)+"s", fmt.Sprintf("http://127.0.0.1:%d/", port)).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	m := wrkTotal.FindSubmatch(out)
	if m == nil || bytes.Contains(out, []byte("Non-2xx")) || bytes.Contains(out, []byte("Socket errors")) {
		return 0, fmt.Errorf("wrk saw errors: %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

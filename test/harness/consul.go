package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// ConsulToken is the token that may do everything when access rules are on.
const ConsulToken = "6f2d4c1e-0c6b-4a2e-9d0f-3f5b8a7c1d20"

// ConsulAgent is a real Consul agent, server and client in one.
type ConsulAgent struct {
	t       testing.TB
	options consulOptions
	config  string // path of its configuration
	data    string // folder of its data; "" if it has none
	address string
	process *Process
}

type consulOptions struct {
	persistent bool
	acl        bool
	maxConns   int
	name       string
}

// ConsulOption changes how an agent is started.
type ConsulOption func(*consulOptions)

// ConsulPersistent gives the agent a folder, so that what it knows is still
// there when it is started again.
func ConsulPersistent() ConsulOption { return func(o *consulOptions) { o.persistent = true } }

// ConsulACL turns access rules on: without ConsulToken nothing can be read.
func ConsulACL() ConsulOption { return func(o *consulOptions) { o.acl = true } }

// ConsulMaxConns sets limits.http_max_conns_per_client, which is 200 otherwise.
func ConsulMaxConns(n int) ConsulOption { return func(o *consulOptions) { o.maxConns = n } }

// ConsulNode names the agent's node, which is "agent" otherwise.
func ConsulNode(name string) ConsulOption { return func(o *consulOptions) { o.name = name } }

var consulBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		script := filepath.Join(dir, "tools", "consul", "build")
		if _, err := os.Stat(script); err == nil {
			cmd := exec.Command(script)
			cmd.Stderr = os.Stderr // It says so when it takes minutes.
			out, err := cmd.Output()
			if err != nil {
				return "", fmt.Errorf("no Consul agent for the tests: %w; run tools/consul/build to see why, "+
					"or name one with STEELYARD_CONSUL", err)
			}
			return strings.TrimSpace(string(out)), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no tools/consul/build above the working directory")
		}
		dir = up
	}
})

// Consul starts an agent on free ports of 127.0.0.1 and waits until it has
// elected itself. Without an agent on this machine one is built, which takes
// minutes; make consul does that beforehand.
func Consul(t testing.TB, options ...ConsulOption) *ConsulAgent {
	t.Helper()
	c := &ConsulAgent{t: t, options: consulOptions{name: "agent"}}
	for _, option := range options {
		option(&c.options)
	}
	dir := t.TempDir()
	c.config = filepath.Join(dir, "agent.json")
	if c.options.persistent {
		c.data = filepath.Join(dir, "data")
	}
	c.address = FreeAddress(t)
	c.configure()
	c.Start()
	return c
}

// configure writes the agent's configuration, with ports that stay the same.
func (c *ConsulAgent) configure() {
	c.t.Helper()
	port := func(address string) int {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			c.t.Fatal(err)
		}
		n, err := net.LookupPort("tcp", text)
		if err != nil {
			c.t.Fatal(err)
		}
		return n
	}
	config := map[string]any{
		"node_name": c.options.name, "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"disable_update_check": true, "log_level": "warn",
		"ports": map[string]int{
			"http": port(c.address), "https": -1, "grpc": -1, "grpc_tls": -1, "dns": -1,
			"server":   port(FreeAddress(c.t)),
			"serf_lan": port(FreeAddress(c.t)), "serf_wan": -1,
		},
	}
	if c.data != "" {
		config["data_dir"], config["server"], config["bootstrap_expect"] = c.data, true, 1
		// A single server need not wait for others as long as a cluster does.
		config["performance"] = map[string]any{"raft_multiplier": 1}
	}
	if c.options.acl {
		config["primary_datacenter"] = "dc1"
		config["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny",
			"tokens": map[string]any{"initial_management": ConsulToken, "agent": ConsulToken},
		}
	}
	if c.options.maxConns != 0 {
		config["limits"] = map[string]any{"http_max_conns_per_client": c.options.maxConns}
	}
	text, err := json.Marshal(config)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.config, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// Start starts the agent, again with the same ports, and waits for its leader.
func (c *ConsulAgent) Start() {
	c.t.Helper()
	binary, err := consulBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	args := []string{"agent", "-config-file=" + c.config}
	if c.data == "" {
		args = append(args, "-dev")
	}
	c.process = start(c.t, "consul "+c.options.name, exec.Command(binary, args...))
	Eventually(c.t, 60*time.Second, "Consul has a leader", func() bool {
		if c.process.Ended() {
			c.t.Fatalf("the Consul agent ended instead of starting:\n%s", tail(c.process.Output(), 4<<10))
		}
		return c.ready()
	})
}

// ready reports whether the agent has a leader and knows its own node, after
// which services can be registered and found.
func (c *ConsulAgent) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	client := c.Client()
	opts := (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
	nodes, _, err := client.Catalog().Nodes(opts)
	return err == nil && len(nodes) > 0
}

// Forget removes the agent's data; it must have been killed.
func (c *ConsulAgent) Forget() {
	c.t.Helper()
	if !c.process.Ended() {
		c.t.Fatal("Forget: the agent is running")
	}
	if c.data != "" {
		if err := os.RemoveAll(c.data); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Address is host:port of the agent's HTTP API.
func (c *ConsulAgent) Address() string { return c.address }

// PID is the agent's process id.
func (c *ConsulAgent) PID() int { return c.process.PID() }

// Client speaks to the agent with all rights, over connections of its own.
func (c *ConsulAgent) Client() *api.Client {
	c.t.Helper()
	config := &api.Config{
		Address: c.address, Scheme: "http",
		HttpClient: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if c.options.acl {
		config.Token = ConsulToken
	}
	client, err := api.NewClient(config)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// Kill ends the agent with SIGKILL.
func (c *ConsulAgent) Kill() { c.t.Helper(); c.process.Kill(c.t) }

// Stop ends the agent in good order.
func (c *ConsulAgent) Stop() {
	c.t.Helper()
	c.process.Signal(c.t, syscall.SIGINT)
	c.process.ExitCode(c.t, 20*time.Second)
}

// Pause stops the agent's process as it is, so that connections to it stay and
// nothing answers; Resume lets it go on.
func (c *ConsulAgent) Pause()  { c.t.Helper(); c.process.Signal(c.t, syscall.SIGSTOP) }
func (c *ConsulAgent) Resume() { c.t.Helper(); c.process.Signal(c.t, syscall.SIGCONT) }

// Register registers an instance of a service, whose address is 127.0.0.1.
func (c *ConsulAgent) Register(service, id string, port int, change ...func(*api.AgentServiceRegistration)) {
	c.t.Helper()
	r := &api.AgentServiceRegistration{Name: service, ID: id, Address: "127.0.0.1", Port: port}
	for _, f := range change {
		f(r)
	}
	if err := c.Client().Agent().ServiceRegister(r); err != nil {
		c.t.Fatalf("registering %s in Consul: %v", id, err)
	}
}

// Deregister removes an instance.
func (c *ConsulAgent) Deregister(id string) {
	c.t.Helper()
	if err := c.Client().Agent().ServiceDeregister(id); err != nil {
		c.t.Fatalf("deregistering %s from Consul: %v", id, err)
	}
}

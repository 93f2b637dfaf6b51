package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Node is a running Node.js server.
type Node struct {
	*Process
	Address string // host:port or unix:/path
	ids     string // the file of the ids it counted
}

var listening = regexp.MustCompile(`(?m)^listening on (\S+)$`)

// App starts the fixture server testdata/app.mjs, which needs no npm package.
// env are NAME=value settings; see the script for what it understands.
func App(t testing.TB, name string, env ...string) *Node {
	t.Helper()
	n := launchApp(t, name, env...)
	n.ready(t)
	return n
}

// Apps starts one fixture server per name, at the same time.
func Apps(t testing.TB, names ...string) []*Node {
	t.Helper()
	apps := make([]*Node, len(names))
	for i, name := range names {
		apps[i] = launchApp(t, name)
	}
	for _, app := range apps {
		app.ready(t)
	}
	return apps
}

// StartNode runs a script, given by its path in the module, as a server on a
// free port (PORT=0 unless env says otherwise) and waits until it listens.
func StartNode(t testing.TB, script string, env ...string) *Node {
	t.Helper()
	n := launch(t, script, env...)
	n.ready(t)
	return n
}

func launchApp(t testing.TB, name string, env ...string) *Node {
	t.Helper()
	ids := filepath.Join(t.TempDir(), "ids")
	n := launch(t, "test/harness/testdata/app.mjs", append(env, "NAME="+name, "IDS="+ids)...)
	n.ids = ids
	return n
}

func launch(t testing.TB, script string, env ...string) *Node {
	t.Helper()
	cmd := NodeCommand(t, script)
	cmd.Env = append(append(os.Environ(), "PORT=0"), env...)
	return &Node{Process: start(t, script, cmd)}
}

func (n *Node) ready(t testing.TB) {
	t.Helper()
	Eventually(t, 20*time.Second, n.Name+" listens", func() bool {
		if n.Ended() {
			t.Fatalf("%s ended instead of listening", n.Name)
		}
		found := listening.FindStringSubmatch(n.Output())
		if found != nil {
			n.Address = found[1]
		}
		return found != nil
	})
}

// NodeCommand is a command that runs a script, given by its path in the
// module. The packages of its folder must have been installed.
func NodeCommand(t testing.TB, script string, args ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(Root(t), script)
	dir := filepath.Dir(path)
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err == nil {
		if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
			t.Fatalf("the npm packages of %s are not installed; run: make node-deps", filepath.Dir(script))
		}
	}
	return exec.Command("node", append([]string{path}, args...)...)
}

// Ask gets a JSON answer from the server itself, past any balancer.
func (n *Node) Ask(t testing.TB, path string, into any) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + n.Address + path)
	if err != nil {
		t.Fatalf("asking %s for %s: %v", n.Name, path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("asking %s for %s: %v", n.Name, path, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("asking %s for %s: %v in %q", n.Name, path, err, body)
	}
}

// Set changes the mood of a fixture server: Set(t, "health", 500), or a share of
// its answers with another status; see app.mjs.
func (n *Node) Set(t testing.TB, key string, value float64) {
	t.Helper()
	var zero int
	n.Ask(t, fmt.Sprintf("/_set?%s=%g", key, value), &zero)
}

// Stats is what a fixture server saw; see app.mjs.
type Stats struct {
	Checks   int   // requests to /healthz
	Begun    int   // requests to /slow, /hold and /stream that began
	Gone     int   // of those, how many lost their client
	Busy     int   // of those, how many there are now
	Peak     int   // of those, how many there were at the same time at most
	Received int64 // bytes of upload read
	Sent     int64 // bytes of download written
	Open     int   // connections open now
}

// IDs adds to counts how often each X-Id reached /count on this fixture
// server, which may have ended by now.
func (n *Node) IDs(t testing.TB, counts map[string]int) {
	t.Helper()
	file, err := os.ReadFile(n.ids)
	if err != nil {
		t.Fatal(err)
	}
	for id := range strings.Lines(string(file)) {
		counts[strings.TrimSpace(id)]++
	}
}

// Stats asks a fixture server what it saw.
func (n *Node) Stats(t testing.TB) Stats {
	t.Helper()
	var s Stats
	n.Ask(t, "/_stats", &s)
	return s
}

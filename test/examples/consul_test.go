package examples_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"steelyard/test/harness"
)

var processLine = regexp.MustCompile(`^process \d+\n$`)

// The Consul example, as its README says: apps come and go, and clients notice
// nothing but other answers.
func TestTheConsulExampleFollowsItsApps(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(harness.Root(t), "examples/consul/steelyard.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	agent := harness.Consul(t)
	app := func() *harness.Node {
		return harness.StartNode(t, "examples/consul/app.js", "CONSUL_HTTP_ADDR="+agent.Address())
	}
	apps := []*harness.Node{app(), app(), app()}
	s := harness.Start(t, strings.NewReplacer("127.0.0.1:8080", "LISTEN", "127.0.0.1:9400", "ADMIN",
		"127.0.0.1:8500", agent.Address(), "slow_start: 10s", "slow_start: 1s").Replace(string(file)))
	c := harness.Client(t)
	processes := func(want int) func() bool {
		return func() bool {
			seen := map[string]int{}
			for range 20 { // without a cookie jar each request is a new client
				status, body, err := harness.Do(c, "GET", s.URL, "")
				if err != nil || status != http.StatusOK || !processLine.MatchString(body) {
					t.Fatalf("%d %q %v", status, body, err)
				}
				seen[body]++
			}
			return len(seen) == want
		}
	}
	harness.Eventually(t, patience, "all three serve", processes(3))
	app()
	harness.Eventually(t, patience, "the fourth serves too", processes(4))
	apps[0].Signal(t, syscall.SIGTERM)
	harness.Eventually(t, patience, "three serve", processes(3))
	if code := apps[0].ExitCode(t, patience); code != 0 {
		t.Errorf("the app that left ended with %d:\n%s", code, apps[0].Output())
	}
}

package discovery_test

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/test/harness"
)

// What 200 pools cost one agent, with fewer connections than pools, which take
// turns then, and with more, which each wait for their change.
func TestTwoHundredPoolsCostOneAgentLittle(t *testing.T) {
	const pools = 200
	for _, c := range []struct {
		maxConnections int
		agentAllows    int
		perMinute      float64 // requests to the agent, at most
		cpu            float64 // share of a core, at most
	}{
		// turnRate of package discovery is 200 a second for all together.
		{maxConnections: 100, agentAllows: 200, perMinute: 200*60 + 600, cpu: 0.5},
		{maxConnections: 400, agentAllows: 1000, perMinute: 600, cpu: 0.1},
	} {
		t.Run(fmt.Sprintf("max_connections %d", c.maxConnections), func(t *testing.T) {
			t.Parallel()
			agent := harness.Consul(t, harness.ConsulMaxConns(c.agentAllows))
			backends := instances(t, 2)
			registerMany(t, agent, pools, backends[0])
			s := harness.Start(t, manyPools(agent, pools, c.maxConnections))
			harness.Eventually(t, patience, "all pools have members", func() bool {
				return strings.Count(s.Output(), "source answers ") == pools
			})
			used, asked, began := cpu(t, s.PID()), consul(t, s).Requests, time.Now()
			most := 0
			harness.Eventually(t, 20*time.Second, "10 s have passed", func() bool {
				time.Sleep(250 * time.Millisecond) // Looking costs, and the cost of the rest is measured.
				most = max(most, connections(t, s.PID(), agent.Address()))
				return time.Since(began) > 10*time.Second
			})
			v, seconds := consul(t, s), time.Since(began).Seconds()
			perMinute := float64(v.Requests-asked) / seconds * 60
			share := (cpu(t, s.PID()) - used) / seconds
			t.Logf("%d pools, max_connections %d: %d connections to the agent, %.0f requests a minute, %.1f %% of a core (idle)",
				pools, c.maxConnections, most, perMinute, share*100)
			if v.Watches != pools || v.Failing != 0 || v.Errors != 0 || v.MaxConnections != c.maxConnections || v.Connections > most+2 {
				t.Errorf("the admin API shows %+v", v)
			}
			if most > c.maxConnections || most == 0 {
				t.Errorf("%d connections to the agent; at most %d are allowed", most, c.maxConnections)
			}
			if perMinute > c.perMinute {
				t.Errorf("%.0f requests a minute; want at most %.0f", perMinute, c.perMinute)
			}
			if share > c.cpu {
				t.Errorf("%.1f %% of a core; want at most %.0f %%", share*100, c.cpu*100)
			}

			l := begin(t, s.URL, 2, "Host: p199.test")
			l.flows(20)
			var took []time.Duration
			for _, i := range []int{0, 17, 42, 63, 99, 100, 123, 150, 177, 199} {
				took = append(took, moves(t, s, agent, i, backends[1]))
			}
			slices.Sort(took)
			t.Logf("a change of one of them is followed after %v (median), %v (most)", took[len(took)/2], took[len(took)-1])
			l.end()
		})
	}
}

// moves registers the instance of one service elsewhere, and returns how long
// the pool takes to follow, which must be 2 s at most.
func moves(t *testing.T, s *harness.Steelyard, agent *harness.ConsulAgent, i int, to *instance) time.Duration {
	t.Helper()
	c := harness.Client(t)
	agent.Register(fmt.Sprintf("service-%d", i), fmt.Sprintf("id-%d", i), port(t, to.address))
	from := time.Now()
	harness.Eventually(t, 5*time.Second, fmt.Sprintf("pool p%d follows", i), func() bool {
		return harness.Get(t, c, s.URL, fmt.Sprintf("Host: p%d.test", i)) == to.name
	})
	took := time.Since(from)
	if took > 2*time.Second {
		t.Errorf("pool p%d followed after %v; want at most 2s", i, took)
	}
	return took.Round(time.Millisecond)
}

func registerMany(t *testing.T, agent *harness.ConsulAgent, n int, to *instance) {
	t.Helper()
	var wg sync.WaitGroup
	client, p := agent.Client().Agent(), port(t, to.address)
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				r := &api.AgentServiceRegistration{Name: fmt.Sprintf("service-%d", i), ID: fmt.Sprintf("id-%d", i), Address: "127.0.0.1", Port: p}
				if err := client.ServiceRegister(r); err != nil {
					t.Errorf("registering %s: %v", r.ID, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// manyPools has a pool for each service, by host. Their guard is off, since
// each has one member that moves.
func manyPools(agent *harness.ConsulAgent, n, maxConnections int) string {
	var routes, pools strings.Builder
	for i := range n {
		fmt.Fprintf(&routes, "  - {match: {host: p%d.test}, pool: p%d}\n", i, i)
		fmt.Fprintf(&pools, "  p%d: {source: {consul: {service: service-%d, max_removal: 100%%}}}\n", i, i)
	}
	return fmt.Sprintf("listeners: {web: {address: \"LISTEN\"}}\nadmin: ADMIN\nconsul: {address: \"%s\", max_connections: %d}\nroutes:\n%spools:\n%s",
		agent.Address(), maxConnections, routes.String(), pools.String())
}

// cpu is the time a process has used, in seconds.
func cpu(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / 100
}

// connections counts those that a process has established to an address of
// 127.0.0.1, as the kernel knows them.
func connections(t *testing.T, pid int, address string) int {
	t.Helper()
	sockets := map[string]bool{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, err := os.Readlink(dir + "/" + e.Name()); err == nil { // It may be closed by now.
			sockets[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const established = "01"
	remote, n := fmt.Sprintf("0100007F:%04X", port(t, address)), 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 9 && f[2] == remote && f[3] == established && sockets[f[9]] {
			n++
		}
	}
	return n
}

package consul_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/discovery"
	"steelyard/test/harness"
)

// TestTwoHundredPools measures what 200 pools cost one agent, with fewer
// connections than pools and with more.
func TestTwoHundredPools(t *testing.T) {
	const pools = 200
	for _, tc := range []struct {
		maxConnections int
		requests       float64       // a second, at most
		within         time.Duration // a change, on a machine that is busy with other things
	}{
		{100, 230, 5 * time.Second},
		{400, 10, 5 * time.Second},
	} {
		t.Run(fmt.Sprintf("max_connections %d", tc.maxConnections), func(t *testing.T) {
			agent := harness.Consul(t, harness.ConsulMaxConns(2*tc.maxConnections))
			for i := range pools {
				agent.Register(fmt.Sprintf("service-%d", i), fmt.Sprintf("id-%d", i), 1000+i)
			}
			c := connect(t, func(o *discovery.ConsulOptions) { o.MaxConnections = tc.maxConnections }, agent)
			sinks := make([]*sink, pools)
			began := time.Now()
			for i := range sinks {
				sinks[i], _ = run(t, c.Source(query(fmt.Sprintf("service-%d", i))))
			}
			for i, s := range sinks {
				s.waits(t, 10*time.Second, fmt.Sprintf("127.0.0.1:%d*1 serving", 1000+i))
			}
			t.Logf("all %d pools known after %v", pools, time.Since(began).Round(time.Millisecond))
			time.Sleep(2 * time.Second) // What begins is not what is idle.

			idle := measure(t, agent, c, func() { time.Sleep(5 * time.Second) })
			t.Logf("idle: %v", idle)
			var took []time.Duration
			busy := measure(t, agent, c, func() {
				for i := range pools {
					weight := 2 + i%3
					agent.Register(fmt.Sprintf("service-%d", i), fmt.Sprintf("id-%d", i), 1000+i, weights(weight, 1))
					took = append(took, sinks[i].waits(t, tc.within, fmt.Sprintf("127.0.0.1:%d*%d serving", 1000+i, weight)))
				}
			})
			slices.Sort(took)
			t.Logf("changing: %v; a change arrives after %v (median), %v (99 %%), %v (most)", busy,
				took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
			if median := took[len(took)/2]; median > time.Second {
				t.Errorf("half of the changes took more than %v", median)
			}
			if st := c.Stats(); st.Errors > 0 || st.Failing > 0 {
				t.Errorf("stats: %+v", st)
			}
			for what, m := range map[string]load{"idle": idle, "changing": busy} {
				if m.connections > tc.maxConnections {
					t.Errorf("%s: %d connections, more than %d", what, m.connections, tc.maxConnections)
				}
			}
			if idle.requests > tc.requests {
				t.Errorf("idle: %.1f requests a second, more than %.1f", idle.requests, tc.requests)
			}
		})
	}
}

// load is what was measured over a while.
type load struct {
	connections int     // to the agent's port, as the kernel counts them
	requests    float64 // a second
	own, agents float64 // share of a core
}

func (l load) String() string {
	return fmt.Sprintf("%d connections, %.0f requests a minute, CPU %.1f %% here and %.1f %% in the agent",
		l.connections, l.requests*60, l.own*100, l.agents*100)
}

func measure(t *testing.T, agent *harness.ConsulAgent, c *discovery.Consul, during func()) load {
	t.Helper()
	began, requests, own, agents := time.Now(), c.Stats().Requests, ownCPU(t), cpu(t, agent.PID())
	during()
	seconds := time.Since(began).Seconds()
	return load{
		connections: connections(t, agent.Address()),
		requests:    float64(c.Stats().Requests-requests) / seconds,
		own:         (ownCPU(t) - own) / seconds,
		agents:      (cpu(t, agent.PID()) - agents) / seconds,
	}
}

func ownCPU(t *testing.T) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
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

// connections counts those established to an address of 127.0.0.1.
func connections(t *testing.T, address string) int {
	t.Helper()
	_, port, _ := strings.Cut(address, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 3 && strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", number)) && fields[3] == "01" {
			n++
		}
	}
	return n
}

// TestNothingLeaks goes through 250 changes that all arrive, and sources that
// come and go. (A thousand are gone through in package discovery, without the
// clock.)
func TestNothingLeaks(t *testing.T) {
	agent := harness.Consul(t)
	c := connect(t, nil, agent)
	s, _ := run(t, c.Source(query("api")))
	step := func(from, to int) {
		for i := from; i < to; i++ {
			agent.Register("api", "a", 1000+i)
			s.waits(t, 2*time.Second, fmt.Sprintf("127.0.0.1:%d*1 serving", 1000+i))
			if i%10 == 0 {
				_, stop := run(t, c.Source(query(fmt.Sprintf("other-%d", i))))
				stop()
			}
		}
	}
	step(0, 50)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	step(50, 300)
	harness.Eventually(t, 5*time.Second, "as many goroutines and files as before", func() bool {
		return runtime.NumGoroutine() <= goroutines+4 && openFiles(t) <= files+2
	})
	st := c.Stats()
	if st.Watches != 1 || st.Connections > 4 || len(s.failures()) > 0 {
		t.Errorf("stats: %+v, failures %q", st, s.failures())
	}
	t.Logf("after %d requests: %d goroutines, %d open files", st.Requests, runtime.NumGoroutine(), openFiles(t))
}

func openFiles(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

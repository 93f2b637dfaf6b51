package healthcheck

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// targetEnv makes this test binary a target of checks instead.
const targetEnv = "STEELYARD_TEST_CHECK_TARGET"

func TestMain(m *testing.M) {
	if os.Getenv(targetEnv) != "" {
		serveTarget()
		return
	}
	os.Exit(m.Run())
}

// serveTarget answers every connection with 200 until its input ends. It says its
// port first.
func serveTarget() {
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := conn.Read(make([]byte, 1024)); err == nil {
				conn.Write(answer)
				conn.Read(make([]byte, 1)) // The check closes first.
			}
		}()
	}
}

// startTarget starts serveTarget in another process, whose CPU time is its own.
func startTarget(t *testing.T) (port string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), targetEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// cpuTime is what this process has used, in user and in system mode.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBudgetTenThousandChecks holds the promise that 10,000 http checks, each
// every 10s, take less than 15 % of a core.
func TestBudgetTenThousandChecks(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("the race detector slows checks down")
	}
	const (
		checks  = 10_000
		budget  = 0.15
		during  = time.Second
		windows = 3 // The best counts, because others use the machine too.
	)
	port := startTarget(t)
	o := DefaultOptions()
	o.Interval = 10 * time.Second
	probe, err := NewProbe(o)
	if err != nil {
		t.Fatal(err)
	}
	s := NewScheduler()
	defer s.Close()
	all := make([]*Check, checks)
	for i := range all {
		all[i] = s.Add(Target{Address: fmt.Sprintf("127.%d.%d.%d:%s", 1+i/62500, i/250%250, 1+i%250, port), Probe: probe, Options: &o})
	}
	waitFor(t, 10*time.Second, "every first check", func() bool { return all[checks-1].State() != Checking })
	var ran int
	results := func() (n int) {
		for _, c := range all {
			n += len(c.Results())
		}
		return n
	}
	share := math.Inf(1)
	for i := 0; i < windows && share > budget; i++ {
		before, cpu, start := results(), cpuTime(t), time.Now()
		time.Sleep(during)
		used, wall := cpuTime(t)-cpu, time.Since(start)
		ran = results() - before
		share = min(share, used.Seconds()/wall.Seconds())
		t.Logf("%d checks in %v: %.1f %% of a core, %v a check", ran, wall.Round(time.Millisecond),
			100*used.Seconds()/wall.Seconds(), (used / time.Duration(max(ran, 1))).Round(time.Microsecond))
	}
	for _, c := range all {
		if last, _ := c.Last(); c.State() != Healthy || !last.OK {
			t.Fatalf("%s is %v: %+v", c.Address(), c.State(), last)
		}
	}
	if ran < 900 || ran > 1100 {
		t.Errorf("%d checks in the last second, expected 1000", ran)
	}
	if share > budget {
		t.Errorf("%.1f %% of a core, budget %.0f %%", 100*share, 100*budget)
	}
}

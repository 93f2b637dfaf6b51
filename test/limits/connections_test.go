package limits_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

// fixed answers every request by itself.
const fixed = `
listeners: {web: {address: "LISTEN", %s}}
routes: [{respond: {status: 200, body: hello}}]
pools: {}
admin: "ADMIN"
`

// TestConnectionsBeyondTheLimitGetAnAnswer: max_connections holds, who comes beyond it
// reads at once why, and those who were there notice nothing. A reload changes it.
func TestConnectionsBeyondTheLimitGetAnAnswer(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, fmt.Sprintf(fixed, "max_connections: 3, max_connections_per_client: 3"))
	harness.Eventually(t, patience, "the connection that looked whether it listens is gone", func() bool { return metric(t, s, "steelyard_listener_connections") == 0 })
	var open []net.Conn
	for range 3 {
		open = append(open, served(t, "127.0.0.1", s))
	}
	c := harness.Dial(t, s.Address)
	began := time.Now()
	m := c.Exchange(t, hello)
	if m.Status() != 503 || m.Value("X-Steelyard-Cause") != "too_many_connections" || m.Value("Retry-After") != "1" || m.Value("Connection") != "close" {
		t.Errorf("the fourth got %q %q", m.First, m.Fields)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	c.End(t, patience)
	for range 300 { // more than can be shown out at a time
		c := from(t, "127.0.0.1", s.Address)
		_, _ = io.WriteString(c, hello)
	}
	harness.Eventually(t, patience, "all of them are counted", func() bool { return rejected(t, s, "max_connections") == 301 })
	if n := metric(t, s, "steelyard_errors_total", `cause="too_many_connections"`); n != 301 {
		t.Errorf("%v errors are counted", n)
	}
	if n, most := strings.Count(s.Output(), "a connection was not let in"), int(time.Since(began)/time.Second)+2; n < 1 || n > most {
		t.Errorf("it was told %d times in %v", n, time.Since(began))
	}
	if limit := metric(t, s, "steelyard_listener_connections_limit"); limit != 3 {
		t.Errorf("the limit is said to be %v", limit)
	}
	for i, c := range open {
		if got := ask(t, c, hello); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("connection %d got %q", i, got)
		}
	}
	open[0].Close()
	harness.Eventually(t, patience, "there is room again", func() bool {
		return strings.HasPrefix(ask(t, from(t, "127.0.0.1", s.Address), hello), "HTTP/1.1 200")
	})
	if g := s.Reload(t, fmt.Sprintf(fixed, "max_connections: 20, max_connections_per_client: 20")); !g.LastOK || !strings.Contains(strings.Join(g.Changes, " "), "max_connections 3 -> 20") {
		t.Fatal(g.Errors, g.Changes)
	}
	served(t, "127.0.0.1", s)
	served(t, "127.0.0.1", s)
	if got := ask(t, open[1], hello); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("who was there before the reload got %q", got)
	}
}

// TestOneAddressCannotTakeAll: by default one address gets half of the connections,
// others the rest; max_connections_per_client says another share, and trusted proxies
// are not counted.
func TestOneAddressCannotTakeAll(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, fmt.Sprintf(fixed, "max_connections: 6"))
	harness.Eventually(t, patience, "it is empty", func() bool { return metric(t, s, "steelyard_listener_connections") == 0 })
	beyond := func(address string) {
		t.Helper()
		if got := ask(t, from(t, address, s.Address), hello); !strings.HasPrefix(got, "HTTP/1.1 503") || !strings.Contains(got, "X-Steelyard-Cause: too_many_from_client\r\n") {
			t.Errorf("one more from %s got %q", address, got)
		}
	}
	first := served(t, "127.0.0.2", s)
	served(t, "127.0.0.2", s)
	served(t, "127.0.0.2", s)
	beyond("127.0.0.2")
	served(t, "127.0.0.3", s)
	if n := rejected(t, s, "max_connections_per_client"); n != 1 {
		t.Errorf("%v are counted", n)
	}
	first.Close()
	harness.Eventually(t, patience, "the address has room again", func() bool {
		return strings.HasPrefix(ask(t, from(t, "127.0.0.2", s.Address), hello), "HTTP/1.1 200")
	})

	const one = "max_connections: 40, max_connections_per_client: 1"
	if g := s.Reload(t, "trusted_proxies: 127.0.0.9\n"+fmt.Sprintf(fixed, one)); !g.LastOK {
		t.Fatal(g.Errors)
	}
	served(t, "127.0.0.4", s)
	beyond("127.0.0.4")
	for range 5 {
		served(t, "127.0.0.9", s)
	}
	if g := s.Reload(t, fmt.Sprintf(fixed, one)); !g.LastOK {
		t.Fatal(g.Errors)
	}
	beyond("127.0.0.9") // it was counted all the time
}

// TestWhenFullTheKernelKeepsThem: with when_full: wait nobody is turned away; who
// comes is served when there is room, after a reload too, and a stop does not wait.
func TestWhenFullTheKernelKeepsThem(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, fmt.Sprintf(fixed, "max_connections: 1, max_connections_per_client: 9, when_full: wait"))
	harness.Eventually(t, patience, "it is empty", func() bool { return metric(t, s, "steelyard_listener_connections") == 0 })
	first := served(t, "127.0.0.1", s)
	answers := make(chan string, 9)
	var wg sync.WaitGroup
	defer wg.Wait()
	come := func() net.Conn {
		c := from(t, "127.0.0.1", s.Address)
		wg.Go(func() { answers <- ask(t, c, hello) })
		return c
	}
	ok := func(what string) {
		t.Helper()
		select {
		case got := <-answers:
			if !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Errorf("%s got %q", what, got)
			}
		case <-time.After(patience):
			t.Fatalf("%s got nothing", what)
		}
	}
	come()
	harness.Eventually(t, patience, "it is told", func() bool { return strings.Contains(s.Output(), "more wait in the kernel") })
	if got := ask(t, first, hello); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("who was there got %q", got)
	}
	if len(answers) > 0 {
		t.Errorf("beyond the limit somebody got %q", <-answers)
	}
	first.Close()
	ok("the second, when the first had left,")
	come()
	if g := s.Reload(t, fmt.Sprintf(fixed, "max_connections: 2, max_connections_per_client: 9, when_full: wait")); !g.LastOK {
		t.Fatal(g.Errors)
	}
	ok("the third, after a reload,")
	come()
	if n := rejected(t, s, "max_connections"); n != 0 {
		t.Errorf("%v were turned away", n)
	}
	s.Signal(t, syscall.SIGTERM)
	if code := s.ExitCode(t, patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestFewFilesBoundConnections: without max_connections there are as many as open
// files allow, with one more each for a backend, over all listeners; the start says
// how to have more.
func TestFewFilesBoundConnections(t *testing.T) {
	t.Parallel()
	const most = 48 // of 128 files: a quarter is spared, and each takes two
	app := harness.App(t, "a")
	address, admin, file := harness.FreeAddress(t), harness.FreeAddress(t), filepath.Join(t.TempDir(), "steelyard.yaml")
	yaml := fmt.Sprintf("listeners: {web: %q, other: {address: %q, max_connections: 1000}}\nroutes: [{pool: web}]\npools: {web: {backends: [%s], timeouts: {response: 30s}}}\nadmin: %q\n",
		address, harness.FreeAddress(t), app.Address, admin)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 128 && exec "$0" run -c "$1"`, harness.Binary(t), file)
	s := &harness.Steelyard{Process: harness.Run(t, "steelyard", cmd), Address: address, Admin: admin, URL: "http://" + address}
	harness.Eventually(t, patience, "it serves", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for _, want := range []string{"few files may be open", "max_connections is more than open files allow"} {
		harness.Eventually(t, patience, "the log says "+want, func() bool { return strings.Contains(s.Output(), want) })
	}
	harness.Eventually(t, patience, "it is empty", func() bool { return metric(t, s, "steelyard_listener_connections", `"web"`) == 0 })
	if limit := metric(t, s, "steelyard_listener_connections_limit", `"web"`); limit != most {
		t.Errorf("the limit is %v, want %d", limit, most)
	}
	var conns []net.Conn
	for i := range most {
		conns = append(conns, from(t, fmt.Sprintf("127.0.0.%d", 1+i%3), address))
	}
	for _, c := range conns {
		_, _ = io.WriteString(c, "GET /slow?ms=1000 HTTP/1.1\r\nHost: a.test\r\n\r\n")
	}
	harness.Eventually(t, patience, "all are let in", func() bool { return metric(t, s, "steelyard_listener_connections", `"web"`) == most })
	if got := ask(t, from(t, "127.0.0.7", address), hello); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("one more got %q", got)
	}
	if n := metric(t, s, "steelyard_listener_connections_rejected_total", `"web"`, `reason="open_files"`); n != 1 {
		t.Errorf("%v are counted", n)
	}
	for i, c := range conns {
		if got := ask(t, c, ""); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("connection %d, all of which had a request at once, got %q", i, got)
		}
	}
}

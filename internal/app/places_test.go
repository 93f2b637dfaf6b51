package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestAddressesThatOverlap: every address of the machine and one of them cannot be
// listened on together, but each can take the place of the other, and no client is
// refused or reset meanwhile.
func TestAddressesThatOverlap(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddress(t))
	file := func(listeners string) string {
		return "listeners: {" + strings.ReplaceAll(listeners, "PORT", port) + "}\nroutes: [{respond: {body: \"{listener}\"}}]\n"
	}
	a, write := reloadable(t, file(`a: ":PORT"`))
	defer a.Stop()
	var stop atomic.Bool
	var asked atomic.Int64
	ended := make(chan error, 4)
	for range cap(ended) {
		go func() {
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
			for !stop.Load() {
				res, err := client.Get("http://127.0.0.1:" + port)
				if err != nil {
					ended <- err
					return
				}
				res.Body.Close()
				asked.Add(1)
			}
			ended <- nil
		}()
	}
	for i, step := range []struct {
		listeners string
		stays     bool
	}{
		{`b: "127.0.0.1:PORT"`, false},
		{`a: ":PORT"`, false},
		{`a: "0.0.0.0:PORT"`, true}, // another way to say it
		{`a: "[::]:PORT"`, true},
		{`c: "127.0.0.1:PORT", d: "127.0.0.2:PORT"`, false},
		{`c: "127.0.0.1:PORT"`, true},
		{`c: "localhost:PORT"`, true},
		{`e: ":PORT"`, false},
	} {
		before := a.Listeners()[0]
		write(file(step.listeners))
		if err := a.Reload(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if stays := a.Listeners()[0] == before; stays != step.stays {
			t.Errorf("step %d, %s: the socket stays: %v, want %v", i, step.listeners, stays, step.stays)
		}
		for had := asked.Load(); asked.Load() < had+50 && len(ended) == 0; {
			time.Sleep(time.Millisecond)
		}
	}
	a.leaving.Wait()
	if c, err := net.Dial("tcp", "127.0.0.2:"+port); err != nil {
		t.Error("the last listener is not on every address:", err)
	} else {
		c.Close()
	}
	stop.Store(true)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if ln, err := net.Listen("tcp", "127.0.0.1:"+port); !errors.Is(err, syscall.EADDRINUSE) {
		ln.Close()
		t.Error("another socket can be opened beside that of the listener")
	}
}

// TestAListenerAndTheAdminAPIChangePlaces in one reload, at ports and at paths.
func TestAListenerAndTheAdminAPIChangePlaces(t *testing.T) {
	dir := t.TempDir()
	for name, at := range map[string][2]string{
		"ports": {freeAddress(t), freeAddress(t)},
		"paths": {"unix:" + dir + "/a", "unix:" + dir + "/b"},
	} {
		t.Run(name, func(t *testing.T) {
			file := func(web, admin string) string {
				return fmt.Sprintf("listeners: {web: %q}\nadmin: %q\nroutes: [{respond: 418}]\n", web, admin)
			}
			a, write := reloadable(t, file(at[0], at[1]))
			defer a.Stop()
			for i := range 4 {
				web, admin := at[(i+1)%2], at[i%2]
				write(file(web, admin))
				if err := a.Reload(); err != nil {
					t.Fatal(err)
				}
				a.leaving.Wait() // both accept until then
				if got := statusAt(t, web); got != http.StatusTeapot {
					t.Errorf("reload %d: the listener answers %d", i, got)
				}
				if got := statusAt(t, admin); got != http.StatusOK {
					t.Errorf("reload %d: the admin API answers %d", i, got)
				}
			}
		})
	}
}

// statusAt is what /livez at an address answers.
func statusAt(t *testing.T, address string) int {
	t.Helper()
	network, where := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
	}
	c, err := net.Dial(network, where)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	status := 0
	if _, err := fmt.Fscanf(c, "HTTP/1.1 %d ", &status); err != nil {
		t.Fatal(err)
	}
	return status
}

// TestAddressOfAnotherProcessIsRefused although a listener of this port goes.
func TestAddressOfAnotherProcessIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	file := func(address string) string {
		return "listeners: {web: \"" + address + ":" + port + "\"}\nroutes: [{respond: 204}]\n"
	}
	a, write := reloadable(t, file("127.0.0.2"))
	defer a.Stop()
	for _, address := range []string{"127.0.0.1", ""} {
		write(file(address))
		if err := a.Reload(); err == nil || !strings.Contains(err.Error(), "cannot listen on "+address+":"+port) || !strings.Contains(err.Error(), "listens") {
			t.Errorf("%q: %v", address, err)
		}
		if got := statusAt(t, "127.0.0.2:"+port); got != http.StatusNoContent {
			t.Errorf("the listener in force answers %d", got)
		}
	}
}

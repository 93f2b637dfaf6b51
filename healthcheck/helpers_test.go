package healthcheck

import (
	"context"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// waitFor waits until cond holds.
func waitFor(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// serve runs handle for each connection to a new loopback port, and waits for
// all of them at the end of the test.
func serve(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, handle)
}

func serveOn(t *testing.T, ln net.Listener, handle func(net.Conn)) string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// say answers whatever comes first with text.
func say(text string) func(net.Conn) {
	return func(c net.Conn) {
		c.Read(make([]byte, 4096))
		c.Write([]byte(text))
	}
}

// untilClosed holds a connection until the peer ends it.
func untilClosed(c net.Conn) {
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// refusing is an address where nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func testOptions(kind string) Options {
	o := DefaultOptions()
	o.Type, o.Timeout = kind, 3*time.Second
	return o
}

// probeWith makes a probe.
func probeWith(t *testing.T, o Options) Probe {
	t.Helper()
	p, err := NewProbe(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runProbe runs a probe within the timeout of o.
func runProbe(t *testing.T, o Options, address string) (int, error) {
	t.Helper()
	p := probeWith(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), o.Timeout)
	defer cancel()
	return p.Run(ctx, address)
}

// wantError compares an error with what it must contain; "" is no error.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got error %q, expected none", err)
	case want != "" && err == nil:
		t.Errorf("got no error, expected %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("got error %q, expected %q", err, want)
	}
	if err != nil && len(err.Error()) > maxErr {
		t.Errorf("the error has %d bytes: %q", len(err.Error()), err)
	}
}

// leaks fails the test if, at its end, more goroutines or files are open than
// now. Call it before anything is started.
func leaks(t *testing.T) {
	t.Helper()
	percent := debug.SetGCPercent(-1) // The collector closes what was forgotten.
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		defer debug.SetGCPercent(percent)
		waitFor(t, 10*time.Second, "goroutines and files to go", func() bool {
			return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
		})
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range all {
		// Those of the runtime's poller come with the first connection and stay.
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:[event") {
			n++
		}
	}
	return n
}

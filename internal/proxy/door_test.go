package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestWhoeverIsLetInIsServed: a listener that stops resets nobody, not even those who
// come while it closes its socket.
func TestWhoeverIsLetInIsServed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can be told to let nobody in to a socket")
	}
	for network, rounds := range map[string]int{"tcp": 10, "unix": 40} {
		t.Run(network, func(t *testing.T) {
			f := newFixture(t, []string{cannedBackend(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")}, nil)
			address := "127.0.0.1:0"
			if network == "unix" {
				address = "unix:" + filepath.Join(t.TempDir(), "s")
			}
			var served atomic.Int64
			for round := range rounds {
				ln, err := Listen(address)
				if err != nil {
					t.Fatal(err)
				}
				if tcp, ok := ln.(*net.TCPListener); ok {
					ln = slowToClose{tcp}
				}
				l := f.NewListener("door", ln, testLimits())
				go func() { _ = l.Serve() }()
				var clients sync.WaitGroup
				for range 6 {
					clients.Go(func() {
						for {
							let, err := knock(network, ln.Addr().String())
							if !let {
								return
							}
							if err != nil {
								t.Errorf("round %d: let in, and then: %v", round, err)
								return
							}
							served.Add(1)
						}
					})
				}
				time.Sleep(5 * time.Millisecond)
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				l.Shutdown(ctx)
				cancel()
				clients.Wait()
			}
			t.Logf("%d were served in %d rounds", served.Load(), rounds)
		})
	}
}

// slowToClose makes the moment long between the last look at who waits and the close.
type slowToClose struct{ *net.TCPListener }

func (l slowToClose) Close() error {
	time.Sleep(20 * time.Millisecond)
	return l.TCPListener.Close()
}

// knock asks on a new connection, unless nobody lets it in.
func knock(network, address string) (let bool, err error) {
	c, err := net.DialTimeout(network, address, 100*time.Millisecond) // who is left without an answer would come again later
	if err != nil {
		// A reset of a connection that is being made is one of an accepted connection.
		return errors.Is(err, syscall.ECONNRESET), err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return true, err
	}
	answer, err := io.ReadAll(c)
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
		err = fmt.Errorf("the answer is %q", answer)
	}
	return true, err
}

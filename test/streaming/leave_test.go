package streaming_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"steelyard/test/harness"
)

func TestAClientThatLeavesIsNoticedWithinASecond(t *testing.T) {
	app := harness.App(t, "a")
	s := behind(t, app.Address)
	for _, c := range []struct {
		name, request string
		while         func(*testing.T, *harness.Conn)
	}{
		{"while the backend thinks", "GET /slow?ms=8000 HTTP/1.1\r\nHost: app.test\r\n\r\n", nil},
		{"while the backend thinks about a POST", "POST /slow?ms=8000 HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody", nil},
		{"while the backend sends", "GET /stream?ms=50 HTTP/1.1\r\nHost: app.test\r\n\r\n", readSome},
		{"while the backend is silent in the middle", "GET /stream?ms=8000 HTTP/1.1\r\nHost: app.test\r\n\r\n", readSome},
		{"while the backend is silent in the middle of a known length", "GET /stream?ms=8000&count=5&length HTTP/1.1\r\nHost: app.test\r\n\r\n", readSome},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := app.Stats(t)
			client := harness.Dial(t, s.Address)
			client.Send(t, c.request)
			harness.Eventually(t, patience, "the request arrives", func() bool { return app.Stats(t).Begun == before.Begun+1 })
			if c.while != nil {
				c.while(t, client)
			}
			client.Close()
			harness.Eventually(t, time.Second, "the backend sees its connection end", func() bool {
				return app.Stats(t).Gone == before.Gone+1
			})
		})
	}
	t.Run("with a reset", func(t *testing.T) {
		before := app.Stats(t)
		client := harness.Dial(t, s.Address)
		client.Send(t, "GET /slow?ms=8000 HTTP/1.1\r\nHost: app.test\r\n\r\n")
		harness.Eventually(t, patience, "the request arrives", func() bool { return app.Stats(t).Begun == before.Begun+1 })
		if err := client.Conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		client.Close()
		harness.Eventually(t, time.Second, "the backend sees its connection end", func() bool {
			return app.Stats(t).Gone == before.Gone+1
		})
	})
}

func readSome(t *testing.T, c *harness.Conn) {
	t.Helper()
	m, err := c.Head()
	if err != nil || m.Status() != 200 {
		t.Fatalf("%+v %v", m, err)
	}
	if _, err := c.R.ReadByte(); err != nil {
		t.Fatal(err)
	}
}

func TestAClientThatLeavesInItsUploadIsNoticedWithinASecond(t *testing.T) {
	ended := make(chan error, 1)
	arrived := make(chan struct{})
	backend := harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Head(); err != nil {
			return
		}
		close(arrived)
		_, err := io.Copy(io.Discard, c.R)
		ended <- err
	})
	s := behind(t, backend)
	client := harness.Dial(t, s.Address)
	client.Send(t, "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\n"+fmt.Sprintf("%100000d", 1))
	<-arrived
	client.Close()
	select {
	case <-ended:
	case <-time.After(time.Second):
		t.Error("the backend still waits for the body after 1s")
	}
}

// A backend that breaks off must not look like one that finished.
func TestABrokenResponseIsNotMadeWhole(t *testing.T) {
	for _, c := range []struct{ name, response string }{
		{"with Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			backend := harness.Backend(t, func(conn *harness.Conn) {
				if _, err := conn.Request(); err == nil {
					_, _ = io.WriteString(conn, c.response) // The client notices what is missing.
				}
			})
			s := behind(t, backend)
			status, body, err := harness.Do(harness.Client(t), "GET", s.URL, "")
			if status != 200 || body != "only this" || err == nil {
				t.Errorf("%d %q %v; want the part that came, and an error", status, body, err)
			}
		})
	}
}

package upgrade

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestListensOn(t *testing.T) {
	tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	unix := &net.UnixAddr{Name: "/run/a", Net: "unix"}
	for _, c := range []struct {
		name    string
		addr    net.Addr
		address string
		want    bool
	}{
		{"the same", tcp("127.0.0.1", 80), "127.0.0.1:80", true},
		{"another port", tcp("127.0.0.1", 80), "127.0.0.1:81", false},
		{"another address", tcp("127.0.0.1", 80), "127.0.0.2:80", false},
		{"every address", tcp("::", 80), ":80", true},
		{"every address, said otherwise", tcp("::", 80), "0.0.0.0:80", true},
		{"every address is not one", tcp("::", 80), "127.0.0.1:80", false},
		{"one is not every address", tcp("127.0.0.1", 80), ":80", false},
		{"no address", tcp("127.0.0.1", 80), "127.0.0.1", false},
		{"a path", unix, "unix:/run/a", true},
		{"a path, said otherwise", unix, "unix:/run//a", true},
		{"another path", unix, "unix:/run/b", false},
		{"a port, not a path", unix, "127.0.0.1:80", false},
		{"a path, not a port", tcp("127.0.0.1", 80), "unix:/run/a", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ListensOn(c.addr, c.address); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTakeOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := &Sockets{left: []Socket{{Listener: ln, Lent: true}}}
	if got, lent := s.Take(ln.Addr().String()); got != ln || !lent {
		t.Errorf("got %v, lent %v", got, lent)
	}
	if got, _ := s.Take(ln.Addr().String()); got != nil {
		t.Error("it was taken twice")
	}
}

func TestInheritRefuses(t *testing.T) {
	for _, n := range []string{"x", "-1", "100000"} {
		t.Setenv("LISTEN_FDS", n)
		t.Setenv("LISTEN_PID", "0")
		if s, err := Inherit(); err != nil || len(s.left) != 0 {
			t.Errorf("what is for another process was taken: %v", err)
		}
		t.Setenv("LISTEN_FDS", n)
		t.Setenv("LISTEN_PID", itoa(os.Getpid()))
		if _, err := Inherit(); err == nil {
			t.Errorf("LISTEN_FDS=%s was accepted", n)
		}
	}
}

func itoa(n int) string { return MainPID(n)[len("MAINPID="):] }

func TestWatchdogEvery(t *testing.T) {
	for _, c := range []struct {
		name, usec, pid string
		want            time.Duration
	}{
		{"half", "20000000", "", 10 * time.Second},
		{"mine", "20000000", "7", 10 * time.Second},
		{"of another process", "20000000", "8", 0},
		{"nobody asks", "", "", 0},
		{"nonsense", "soon", "", 0},
		{"negative", "-4", "", 0},
		{"more than a time can be", "9223372036854775807", "", 0},
	} {
		if got := watchdogEvery(c.usec, c.pid, 7); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWatchdogEndsWithWell(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "2000000")
	t.Setenv("WATCHDOG_PID", "")
	t.Setenv("NOTIFY_SOCKET", "")
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		Watchdog(context.Background(), func() bool { asked++; return asked < 3 })
		if took := time.Since(began); asked != 3 || took != 3*time.Second {
			t.Errorf("asked %d times in %v", asked, took)
		}
	})
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	Notify(MainPID(7), "READY=1")
	buf := make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(buf); string(buf[:n]) != "MAINPID=7\nREADY=1" {
		t.Errorf("got %q %v", buf[:n], err)
	}
}

// TestStartTellsWhy a program cannot be started.
func TestStartTellsWhy(t *testing.T) {
	for _, p := range []Program{{Path: "/nowhere/steelyard", Patience: time.Minute}, {Path: "/bin/false", Patience: time.Minute}} {
		if _, err := p.Start(context.Background(), nil); err == nil {
			t.Errorf("%s started", p.Path)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	began := time.Now()
	if _, err := (Program{Path: "/bin/sleep", Args: []string{"60"}, Patience: time.Minute}).Start(ctx, nil); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("a program that was given up: %v", err)
	}
}

package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/pool"
)

func upgradeRequest(protocol string) string {
	return "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: " + protocol + "\r\nSec-WebSocket-Key: x\r\n\r\n"
}

func switching(protocol string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
}

// tunnelOf sets a tunnel up. What the client sends behind its request at once is
// early; what the backend sends behind 101 at once is lateral.
func tunnelOf(t *testing.T, protocol, early, lateral string, change func(*fixture, *pool.Options, *Generation, *Limits)) (f *fixture, client, backend *peer) {
	t.Helper()
	backends := make(chan *peer, 1)
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	f = newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		head := p.head()
		if field(head, "Upgrade") != protocol || field(head, "Connection") != "Upgrade" || field(head, "Sec-WebSocket-Key") != "x" {
			p.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		p.say(switching(protocol) + lateral)
		backends <- p
		<-end
	})}, change)
	nc, r := f.dial(t)
	send(t, nc, upgradeRequest(protocol)+early)
	client = &peer{nc, r}
	head := client.head()
	if !strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n") || field(head, "Upgrade") != protocol ||
		field(head, "Connection") != "Upgrade" || field(head, "Sec-WebSocket-Accept") != "y" {
		t.Fatalf("got %q", head)
	}
	return f, client, <-backends
}

// gets reads exactly want.
func (p *peer) gets(t testing.TB, want string) {
	t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(p.r, b)
	if string(b[:n]) != want {
		t.Fatalf("got %q, want %q: %v", b[:n], want, err)
	}
}

// ends waits for the end of the connection: nil for a clean one.
func (p *peer) ends(t testing.TB) error {
	t.Helper()
	b, err := io.ReadAll(p.r)
	if len(b) > 0 {
		t.Errorf("before the end came %q", b)
	}
	return err
}

const (
	goingAway       = "\x88\x02\x03\xe9"
	goingAwayMasked = "\x88\x82\x00\x00\x00\x00\x03\xe9"
)

// TestTunnel carries bytes both ways and counts as one request.
func TestTunnel(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"websocket", "x-custom/1"} {
		t.Run(protocol, func(t *testing.T) {
			f, client, backend := tunnelOf(t, protocol, frame(1, true, "early"), frame(1, false, "lateral"), nil)
			backend.gets(t, frame(1, true, "early"))
			client.gets(t, frame(1, false, "lateral"))
			for range 20 {
				client.say(frame(1, true, "ping"))
				backend.gets(t, frame(1, true, "ping"))
				backend.say(frame(1, false, "pong"))
				client.gets(t, frame(1, false, "pong"))
			}
			if f.inFlight(0) != 1 {
				t.Errorf("%d in flight", f.inFlight(0))
			}
			client.Close()
			if err := backend.ends(t); err != nil {
				t.Errorf("the backend's connection ended with %v", err)
			}
			backend.Close()
			waitFor(t, "the tunnel ends", func() bool { return f.inFlight(0) == 0 && f.listener.Connections() == 0 })
		})
	}
}

// TestTunnelBulk carries much both ways at once.
func TestTunnelBulk(t *testing.T) {
	t.Parallel()
	_, client, backend := tunnelOf(t, "x", "", "", nil)
	data := bytes.Repeat([]byte("0123456789abcde\n"), 256<<10)
	for _, way := range []struct{ from, to *peer }{{client, backend}, {backend, client}} {
		go func() {
			_, _ = way.from.Write(data)
			_ = way.from.Conn.(*net.TCPConn).CloseWrite()
		}()
	}
	done := make(chan bool)
	for _, p := range []*peer{client, backend} {
		go func() {
			b, err := io.ReadAll(p.r)
			done <- err == nil && bytes.Equal(b, data)
		}()
	}
	if a, b := <-done, <-done; !a || !b {
		t.Error("the bytes differ")
	}
}

// TestTunnelHalfClose: one direction may end long before the other.
func TestTunnelHalfClose(t *testing.T) {
	t.Parallel()
	for _, fromClient := range []bool{true, false} {
		_, one, other := tunnelOf(t, "x", "", "", nil)
		if !fromClient {
			one, other = other, one
		}
		one.say("last words")
		_ = one.Conn.(*net.TCPConn).CloseWrite()
		other.gets(t, "last words")
		if err := other.ends(t); err != nil {
			t.Errorf("the direction ended with %v", err)
		}
		for range 3 {
			other.say("more")
			one.gets(t, "more")
		}
		other.Close()
		if err := one.ends(t); err != nil {
			t.Errorf("the other direction ended with %v", err)
		}
	}
}

// TestTunnelBreaks: what breaks on one side breaks on the other.
func TestTunnelBreaks(t *testing.T) {
	t.Parallel()
	for _, fromClient := range []bool{true, false} {
		f, one, other := tunnelOf(t, "x", "", "", nil)
		if !fromClient {
			one, other = other, one
		}
		one.reset()
		if err := other.ends(t); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client %v: the other side ended with %v, want a reset", fromClient, err)
		}
		waitFor(t, "the tunnel ends", func() bool { return f.inFlight(0) == 0 })
	}
}

// TestTunnelIdle: silence both ways ends a tunnel, traffic one way does not.
func TestTunnelIdle(t *testing.T) {
	t.Parallel()
	const idle = time.Second // long beside what a busy machine may lose between two frames
	short := func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) { lim.UpgradeTimeout = idle }
	t.Run("websocket", func(t *testing.T) {
		f, client, backend := tunnelOf(t, "websocket", "", "", short)
		for range 6 {
			time.Sleep(idle / 4)
			backend.say(frame(1, false, "x"))
			client.gets(t, frame(1, false, "x"))
		}
		client.gets(t, goingAway)
		backend.gets(t, goingAwayMasked)
		client.say(frame(opClose, true, "\x03\xe9"))
		client.Close()
		backend.Close()
		closed := time.Now()
		waitFor(t, "the tunnel ends", func() bool { return f.inFlight(0) == 0 })
		if took := time.Since(closed); took > closeHandshake*2/3 {
			t.Errorf("it took %v until both ends were seen", took)
		}
	})
	t.Run("other", func(t *testing.T) {
		_, client, backend := tunnelOf(t, "x", "", "", short)
		if err := errors.Join(client.ends(t), backend.ends(t)); err != nil {
			t.Errorf("the ends are %v", err)
		}
	})
	t.Run("never", func(t *testing.T) {
		_, client, backend := tunnelOf(t, "x", "", "", func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) { lim.UpgradeTimeout = 0 })
		client.say("x")
		backend.gets(t, "x")
	})
}

// shutdown stops a fixture's listener with patience, in the background.
func (f *fixture) shutdown() (cut chan int) {
	cut = make(chan int, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cut <- f.listener.Shutdown(ctx)
	}()
	return cut
}

// TestTunnelGoesAway tells both ends of a WebSocket, between two frames.
func TestTunnelGoesAway(t *testing.T) {
	t.Parallel()
	half := frame(2, false, strings.Repeat("x", 300))
	for _, tc := range []struct {
		name    string
		backend string // has been sent by the backend
		then    string // is sent when the client was told
		client  string // is what the client gets in all
	}{
		{"between frames", "", "", goingAway},
		{"behind a frame", frame(1, false, "abc"), "", frame(1, false, "abc") + goingAway},
		{"in a frame", half[:100], half[100:], half + goingAway},
		{"in a frame that others follow", half[:100], half[100:] + frame(1, false, "abc") + half[:7], half + frame(1, false, "abc") + goingAway},
		{"after the backend's own", frame(opClose, false, "\x03\xe8"), "", frame(opClose, false, "\x03\xe8")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, client, backend := tunnelOf(t, "websocket", "", "", nil)
			backend.say(tc.backend)
			client.gets(t, tc.client[:len(tc.backend)])
			cut := f.shutdown()
			backend.gets(t, goingAwayMasked)
			backend.say(tc.then)
			client.gets(t, tc.client[len(tc.backend):])
			// Whatever comes now is dropped, but the ends are awaited.
			client.say(frame(1, true, "late"))
			backend.say(frame(1, false, "late"))
			_ = client.Conn.(*net.TCPConn).CloseWrite()
			if err := backend.ends(t); err != nil {
				t.Errorf("the backend's connection ended with %v", err)
			}
			backend.Close()
			if err := client.ends(t); err != nil {
				t.Errorf("the client's connection ended with %v", err)
			}
			if n := <-cut; n != 0 {
				t.Errorf("%d connections were cut", n)
			}
		})
	}
}

// TestTunnelGoesAwayInVain bounds the wait for peers that do not answer, or
// whose bytes are no frames.
func TestTunnelGoesAwayInVain(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]string{"silent": "", "not frames": "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, client, backend := tunnelOf(t, "websocket", "", "", nil)
			backend.say(stream)
			client.gets(t, stream)
			began := time.Now()
			if n := <-f.shutdown(); n != 0 {
				t.Errorf("%d connections were cut", n)
			}
			if took := time.Since(began); took < closeHandshake/2 || took > closeHandshake+patience/2 {
				t.Errorf("it took %v, want about %v", took, closeHandshake)
			}
		})
	}
}

// TestTunnelCut: at the end of a shutdown tunnels end at once.
func TestTunnelCut(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"websocket", "x"} {
		f, client, backend := tunnelOf(t, protocol, "", "", nil)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if n := f.listener.Shutdown(ctx); n != 1 {
			t.Errorf("%d connections were cut, want 1", n)
		}
		for _, p := range []*peer{client, backend} {
			if _, err := io.Copy(io.Discard, p.r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a connection ended with %v", err)
			}
		}
		if f.inFlight(0) != 0 {
			t.Errorf("%d in flight", f.inFlight(0))
		}
	}
}

// TestTunnelEndsByWebSocketPeer: when one peer of a WebSocket has gone, the other
// gets a moment, not the idle timeout.
func TestTunnelEndsByWebSocketPeer(t *testing.T) {
	t.Parallel()
	f, client, backend := tunnelOf(t, "websocket", "", "", nil)
	backend.say(frame(opClose, false, "\x03\xe8"))
	backend.Close()
	client.gets(t, frame(opClose, false, "\x03\xe8"))
	if err := client.ends(t); err != nil {
		t.Errorf("the client's connection ended with %v", err)
	}
	waitFor(t, "the tunnel ends", func() bool { return f.inFlight(0) == 0 })
}

// TestUpgradeRefused: everything but 101 is an ordinary response.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, status("403 Forbidden", "no"), ok("yes")).addr}, nil)
	nc, r := f.dial(t)
	send(t, nc, upgradeRequest("websocket"))
	if resp, body := readResponse(t, r, "GET"); resp.StatusCode != 403 || body != "no" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	send(t, nc, get("/", ""))
	if _, body := readResponse(t, r, "GET"); body != "yes" {
		t.Errorf("got %q", body)
	}
}

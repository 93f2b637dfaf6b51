package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// watcher waits for rest more ticks, next apart, and then fails.
type watcher struct {
	next time.Duration
	rest int
	at   []time.Duration
	do   func() // at each tick, if set
}

var errEnough = errors.New("enough")

func (w *watcher) Tick() (time.Duration, error) {
	w.at = append(w.at, Now())
	if w.do != nil {
		w.do()
	}
	if w.rest--; w.rest < 0 {
		return 0, errEnough
	}
	return w.next, nil
}

// TestWatcher: a read that waits asks, when it was told to and every 600 ms, and
// ends with the Watcher's error.
func TestWatcher(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		c, _ := b.dial(b.endpoint(nil))
		defer c.Close()
		w := &watcher{next: 40 * time.Millisecond, rest: 2}
		c.Watcher = w
		start := Now()
		if err := c.Arm(start, 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != errEnough {
			t.Fatalf("the read ends with %v", err)
		}
		for i, want := range []time.Duration{20, 60, 100} {
			got := w.at[i] - start
			if want *= time.Millisecond; got < want || got > want+2*time.Second {
				t.Errorf("tick %d comes after %v, want %v", i, got, want)
			}
		}
	})
}

// TestTickAtLeast: whoever wants to wait long is asked every 600 ms still, so
// that a client that leaves is noticed; and what arrives in between is read.
func TestTickAtLeast(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	c, peer := b.dial(b.endpoint(nil))
	defer c.Close()
	w := &watcher{next: time.Hour, rest: 1, do: func() { _, _ = peer.Write([]byte("x")) }}
	c.Watcher = w
	start := Now()
	if err := c.Arm(start, time.Hour); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	if len(w.at) != 1 || w.at[0]-start < tick || w.at[0]-start > tick+2*time.Second {
		t.Errorf("ticks at %v", w.at)
	}
}

// TestArmSlack: deadlines are renewed only when too little is left of them.
func TestArmSlack(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	c, _ := b.dial(b.endpoint(nil))
	defer c.Close()
	const ms = time.Millisecond
	at := Now()
	steps := []struct {
		after, wait, want time.Duration // want: the deadline then
	}{
		{0, time.Hour, tick},
		{100 * ms, time.Hour, tick},
		{tick - tickSlack, time.Hour, tick},
		{tick - tickSlack + 1, time.Hour, 2*tick - tickSlack + 1},
		{400 * ms, 50 * ms, 450 * ms},
		{401 * ms, 49 * ms, 450 * ms},
		{500 * ms, 50 * ms, 550 * ms},
		{500 * ms, time.Hour, 500*ms + tick},
	}
	for i, s := range steps {
		if err := c.Arm(at+s.after, s.wait); err != nil {
			t.Fatal(err)
		}
		if got := c.readBy - at; got != s.want {
			t.Errorf("step %d: the deadline is %v, want %v", i, got, s.want)
		}
	}
	if _, err := c.Send([]byte("x"), at); err != nil || c.writeBy != at+writeStall {
		t.Errorf("write deadline %v, %v", c.writeBy-at, err)
	}
	if _, err := c.Send([]byte("x"), at+writeStall-writeSlack); err != nil || c.writeBy != at+writeStall {
		t.Errorf("renewed too early: %v, %v", c.writeBy-at, err)
	}
	if _, err := c.Send([]byte("x"), at+writeStall-writeSlack+1); err != nil || c.writeBy == at+writeStall {
		t.Errorf("not renewed: %v, %v", c.writeBy-at, err)
	}
}

func TestReadWithoutWatcher(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	c, _ := b.dial(b.endpoint(nil))
	defer c.Close()
	if err := c.Arm(Now(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestInterrupt: reads and writes end at once, those that wait and those that
// come later, also where they would renew their deadline.
func TestInterrupt(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		c, peer := b.dial(b.endpoint(nil))
		defer c.Close()
		w := &watcher{next: time.Hour, rest: 1000}
		c.Watcher = w
		if err := c.Arm(Now(), time.Hour); err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the read ends with %v", err)
			}
		})
		waiting.Go(func() {
			if n, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
				t.Errorf("the write ends after %d with %v", n, err)
			}
		})
		var other Socket
		if err := other.Init(peer); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the write begins", func() bool { return other.Peek() == SocketData })
		c.Interrupt()
		waiting.Wait()
		if len(w.at) > 1 { // one may have come by itself, on a slow machine
			t.Errorf("the Watcher is asked %d times after the interruption", len(w.at))
		}
		for _, at := range []time.Duration{Now(), Now() + time.Hour} {
			start := time.Now()
			if _, err := c.Send([]byte("x"), at); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a later write ends with %v", err)
			}
			if err := c.Arm(at, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) && at > Now() {
				t.Errorf("a later Arm returns %v", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("a later write waits %v", d)
			}
		}
	})
}

// TestInterruptRace: a write that renews its deadline at this moment does not
// undo the interruption, whichever comes first.
func TestInterruptRace(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "unix")
	e := b.endpoint(nil)
	for range 200 {
		c, _ := b.dial(e)
		var both sync.WaitGroup
		both.Go(func() { _, _ = c.Send([]byte("x"), Now()) })
		both.Go(c.Interrupt)
		both.Wait()
		if _, err := c.Send([]byte("x"), Now()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a write after the interruption ends with %v", err)
		}
		c.Close()
	}
}

// TestLargeWrite: a write of more than the buffers hold waits for a slow reader
// and loses nothing.
func TestLargeWrite(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		c, peer := b.dial(b.endpoint(nil))
		defer c.Close()
		sent := make([]byte, 16<<20)
		for i := range sent {
			sent[i] = byte(i>>16 ^ i>>8 ^ i)
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			got := make([]byte, 0, len(sent))
			buf := make([]byte, 700_000)
			for len(got) < len(sent) {
				n, err := peer.Read(buf)
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, buf[:n]...)
				time.Sleep(100 * time.Microsecond)
			}
			if !bytes.Equal(got, sent) {
				t.Error("other bytes arrive")
			}
		})
		if n, err := c.Write(sent); n != len(sent) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		reading.Wait()
	})
}

// TestSocketEnds: end of stream, reset, deadlines, and what Peek sees of them.
func TestSocketEnds(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		e := b.endpoint(nil)
		buf := make([]byte, 10)

		c, peer := b.dial(e)
		s := &c.Socket
		if s.Peek() != SocketQuiet {
			t.Error("a new socket is not quiet")
		}
		if n, err := s.Read(nil); n != 0 || err != nil {
			t.Errorf("reading nothing: %d, %v", n, err)
		}
		if n, err := s.Write(nil); n != 0 || err != nil {
			t.Errorf("writing nothing: %d, %v", n, err)
		}
		_ = s.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		if s.in.p != nil {
			t.Error("the buffer of a read that is over is held")
		}
		_ = s.SetReadDeadline(time.Time{})
		_, _ = peer.Write([]byte("hello"))
		_ = peer.(interface{ CloseWrite() error }).CloseWrite()
		b.seen(c, SocketData)
		if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		b.seen(c, SocketClosed)
		for range 2 {
			if n, err := s.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
		}
		if _, err := s.Write([]byte("still")); err != nil {
			t.Errorf("the other direction: %v", err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "still" || err != nil {
			t.Errorf("the peer reads %q, %v", got, err)
		}
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("writing after CloseWrite works")
		}
		c.Close()

		c, peer = b.dial(e)
		reset(t, peer)
		b.seen(c, SocketClosed)
		if _, err := c.Socket.Read(buf); err == nil {
			t.Error("reading after a reset works")
		}
		for range 2 {
			if _, err := c.Socket.Write([]byte("x")); err == nil && network == "unix" {
				t.Error("writing after a close works")
			}
		}
		c.Close()
		if _, err := c.Socket.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading after Close: %v", err)
		}
	})
}

// TestFill reads what is there into a Reader, and leaves it empty at the end.
func TestFill(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		c, peer := b.dial(b.endpoint(nil))
		defer c.Close()
		_ = c.Socket.SetReadDeadline(time.Now().Add(time.Millisecond))
		if err := c.Socket.Fill(&c.Reader); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		_ = c.Socket.SetReadDeadline(time.Time{})
		time.AfterFunc(5*time.Millisecond, func() {
			_, _ = peer.Write([]byte("hello"))
			_ = peer.Close()
		})
		if err := c.Socket.Fill(&c.Reader); err != nil || string(c.Reader.Bytes()) != "hello" {
			t.Errorf("filled %q, %v", c.Reader.Bytes(), err)
		}
		c.Reader.Release()
		if err := c.Socket.Fill(&c.Reader); err != io.EOF || c.Reader.Buffered() != 0 {
			t.Errorf("at the end: %v", err)
		}
		if c.Socket.filling != nil {
			t.Error("the reader is held when Fill is over")
		}
	})
}

func TestInitRefusesOthers(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if err := (&Socket{}).Init(a); err == nil {
		t.Error("a pipe has no socket")
	}
}

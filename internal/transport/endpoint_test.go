package transport

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestLIFO: the connection used last is used first, so that the others may age.
func TestLIFO(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		b := newBackend(t, network)
		e := b.endpoint(nil)
		at := Now()
		list := b.idle(e, at, at, at)
		if list[0].Reused() {
			t.Error("a new connection counts as reused")
		}
		for i := len(list) - 1; i >= 0; i-- {
			c := e.Get(true, at+time.Millisecond)
			if c != list[i] {
				t.Fatalf("connection %d is not the next", i)
			}
			if !c.Reused() || c.IdleFor() != time.Millisecond {
				t.Errorf("reused %v, idle for %v", c.Reused(), c.IdleFor())
			}
			defer c.Close()
		}
		if c := e.Get(true, at); c != nil {
			t.Error("there is a fourth connection")
		}
		if e.Open() != 3 || e.Dials() != 3 || e.Idle() != 0 {
			t.Errorf("open %d, dials %d, idle %d", e.Open(), e.Dials(), e.Idle())
		}
	})
}

func TestMaxIdle(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(func(o *Options) { o.MaxIdle = 2 })
	at := Now()
	b.idle(e, at, at, at)
	if e.Idle() != 2 || e.Open() != 2 {
		t.Errorf("idle %d, open %d, want 2", e.Idle(), e.Open())
	}
	o := *e.Options()
	o.MaxIdle = 1
	e.SetOptions(o)
	e.Sweep()
	if e.Idle() != 1 || e.Open() != 1 {
		t.Errorf("with less allowed: idle %d, open %d, want 1", e.Idle(), e.Open())
	}
	o.MaxIdle = 0
	e.SetOptions(o)
	c := e.Get(true, at)
	e.Put(c, at)
	if e.Open() != 0 {
		t.Errorf("with none allowed: open %d", e.Open())
	}
}

func TestIdleTimeout(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(func(o *Options) { o.IdleTimeout = 10 * time.Second })
	at := Now()
	b.idle(e, at, at)
	if c := e.Get(true, at+10*time.Second-1); c == nil {
		t.Error("not reused just before the timeout")
	} else {
		e.Put(c, at)
	}
	if c := e.Get(true, at+10*time.Second); c != nil || e.Open() != 0 {
		t.Errorf("reused at the timeout, or left open: %v, %d", c, e.Open())
	}
	b.idle(e, Now()-9*time.Second, Now()-10*time.Second, Now()-11*time.Second)
	if e.Sweep(); e.Idle() != 1 {
		t.Errorf("%d connections are left by Sweep, want the one that is young enough", e.Idle())
	}
}

// TestSaidLimit: a connection is not reused in the last second that the backend
// grants it.
func TestSaidLimit(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	for seconds, want := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 5: 4 * time.Second, 30: 29 * time.Second} {
		e := b.endpoint(nil)
		for _, repeatable := range []bool{true, false} {
			at := Now()
			c, _ := b.dial(e)
			c.LearnKeepAlive(seconds)
			c.LearnKeepAlive(0) // a later response does not say it
			if c.SaidLimit() != time.Duration(seconds)*time.Second {
				t.Errorf("said %v, want %d s", c.SaidLimit(), seconds)
			}
			e.Put(c, at)
			if c = e.Get(repeatable, at+want-1); c == nil {
				t.Errorf("timeout=%d: not reused after %v", seconds, want-1)
				continue
			}
			e.Put(c, at)
			if c = e.Get(repeatable, at+want); c != nil || e.Open() != 0 {
				t.Errorf("timeout=%d: reused after %v", seconds, want)
			}
		}
	}
	e := b.endpoint(nil)
	for _, age := range []time.Duration{3900 * time.Millisecond, 4100 * time.Millisecond} {
		c, _ := b.dial(e)
		c.LearnKeepAlive(5)
		e.Put(c, Now()-age)
	}
	if e.Sweep(); e.Idle() != 1 {
		t.Errorf("Sweep leaves %d, want 1", e.Idle())
	}
}

// TestCautious: while nothing is known of the backend's limit, a request that
// must not be sent twice gets only a connection that was used just before.
func TestCautious(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	at := Now()
	b.idle(e, at)
	if c := e.Get(false, at+cautiousIdle); c != nil {
		t.Fatal("got a connection idle for 400 ms")
	}
	if e.Idle() != 1 {
		t.Fatal("the connection is not kept for others")
	}
	c := e.Get(true, at+cautiousIdle)
	if c == nil {
		t.Fatal("a repeatable request does not get it")
	}
	e.Put(c, at)
	if c = e.Get(false, at+cautiousIdle-1); c == nil {
		t.Fatal("a connection idle for less is not used")
	}
	e.Put(c, at)
}

// TestLearnedLimit: a close by the backend shows its idle limit.
func TestLearnedLimit(t *testing.T) {
	const sec = time.Second
	cases := []struct {
		name       string
		idle, seen time.Duration // ages at which it was looked at and last seen open
		said       int
		do         func(*backend, *Conn)
		want       time.Duration
	}{
		{"closed by the backend", 5 * sec, 4800 * time.Millisecond, 0, closeLast, 3600 * time.Millisecond},
		{"reset by the backend", 5 * sec, 4800 * time.Millisecond, 0, resetLast, 3600 * time.Millisecond},
		{"never looked at before", 5 * sec, 0, 0, closeLast, 375 * time.Millisecond},
		{"closed too young", 400 * time.Millisecond, 0, 0, closeLast, 0},
		{"limit was said", 3 * sec, 2 * sec, 5, closeLast, 0},
		{"bytes that nobody asked for", 5 * sec, 4 * sec, 0, sayLast, 0},
	}
	for _, c := range cases {
		for _, bySweep := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				noLeaks(t)
				b := newBackend(t, "tcp")
				e := b.endpoint(nil)
				conn, _ := b.dial(e)
				conn.LearnKeepAlive(c.said)
				at := Now()
				e.Put(conn, at-c.idle)
				conn.seenAlive = conn.lastUsed + c.seen
				c.do(b, conn)
				if bySweep {
					e.Sweep()
				} else if e.Get(true, at) != nil {
					t.Error("a dead connection is handed out")
				}
				if e.Open() != 0 {
					t.Error("the connection is kept")
				}
				if got := e.learnedLimit(at); got != c.want {
					t.Errorf("learned %v, want %v", got, c.want)
				}
				if got := e.learnedLimit(Now() + learnedFor + sec); got != 0 {
					t.Errorf("still believed after %v: %v", learnedFor, got)
				}
			})
		}
	}
}

func closeLast(b *backend, c *Conn) {
	_ = b.conns[len(b.conns)-1].Close()
	b.seen(c, SocketClosed)
}

func resetLast(b *backend, c *Conn) {
	reset(b.t, b.conns[len(b.conns)-1])
	b.seen(c, SocketClosed)
}

func sayLast(b *backend, c *Conn) {
	if _, err := b.conns[len(b.conns)-1].Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n")); err != nil {
		b.t.Fatal(err)
	}
	b.seen(c, SocketData)
}

// TestLearnedLimitIsUsed: other connections follow it, requests that cannot be
// repeated included.
func TestLearnedLimitIsUsed(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	at := Now()
	e.learned.Store(int64(3 * time.Second))
	e.learnedAt.Store(int64(at))
	b.idle(e, at)
	c := e.Get(false, at+3*time.Second-1)
	if c == nil {
		t.Fatal("not reused although the limit is known")
	}
	e.Put(c, at)
	if e.Get(true, at+3*time.Second) != nil || e.Open() != 0 {
		t.Error("reused beyond the learned limit")
	}
}

// TestStale: a connection that the backend has closed, reset or written to is
// never handed out, and Sweep finds it too.
func TestStale(t *testing.T) {
	both(t, func(t *testing.T, network string) {
		for name, do := range map[string]func(*backend, *Conn){"closed": closeLast, "reset": resetLast, "unread bytes": sayLast} {
			b := newBackend(t, network)
			e := b.endpoint(nil)
			at := Now()
			do(b, b.idle(e, at)[0])
			if e.Get(true, at) != nil || e.Open() != 0 {
				t.Errorf("%s: handed out or kept", name)
			}
			do(b, b.idle(e, at)[0])
			if e.Sweep(); e.Idle() != 0 || e.Open() != 0 {
				t.Errorf("%s: kept by Sweep", name)
			}
		}
	})
}

// TestPutWithUnreadBytes: bytes behind a response belong to nobody.
func TestPutWithUnreadBytes(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	c, _ := b.dial(e)
	sayLast(b, c)
	if err := c.Socket.Fill(&c.Reader); err != nil {
		t.Fatal(err)
	}
	if e.Put(c, Now()); e.Idle() != 0 || e.Open() != 0 {
		t.Error("the connection is kept")
	}
}

// TestGoodOneBehindStale: Get goes on to the next connection.
func TestGoodOneBehindStale(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	at := Now()
	list := b.idle(e, at, at, at)
	for i, c := range list[1:] {
		_ = b.conns[i+1].Close()
		b.seen(c, SocketClosed)
	}
	c := e.Get(true, at)
	if c != list[0] {
		t.Fatal("the good connection is not found")
	}
	e.Put(c, at)
}

func TestEndpointClose(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	at := Now()
	inUse, _ := b.dial(e)
	b.idle(e, at, at)
	e.Close()
	if e.Idle() != 0 || e.Open() != 1 {
		t.Errorf("idle %d, open %d; want the one in use", e.Idle(), e.Open())
	}
	if _, err := inUse.Write([]byte("x")); err != nil {
		t.Errorf("the connection in use is broken: %v", err)
	}
	if e.Put(inUse, at); e.Open() != 0 || e.Get(true, at) != nil {
		t.Error("a connection is kept after Close")
	}
	e.Close()
}

// TestSweepBatches: more connections than one batch, with dead ones anywhere;
// the living stay, in their order.
func TestSweepBatches(t *testing.T) {
	for name, dead := range map[string]func(i int) bool{
		"none":        func(int) bool { return false },
		"all":         func(int) bool { return true },
		"every third": func(i int) bool { return i%3 == 0 },
		"a batch":     func(i int) bool { return i < sweepBatch },
		"the last":    func(i int) bool { return i == 3*sweepBatch+1 },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			b := newBackend(t, "unix")
			e := b.endpoint(nil)
			times := make([]time.Duration, 3*sweepBatch+2)
			at := Now()
			for i := range times {
				times[i] = at
			}
			var living []*Conn
			for i, c := range b.idle(e, times...) {
				if !dead(i) {
					living = append(living, c)
					continue
				}
				_ = b.conns[i].Close()
				b.seen(c, SocketClosed)
			}
			e.Sweep()
			if e.Idle() != len(living) || e.Open() != int64(len(living)) {
				t.Fatalf("idle %d, open %d, want %d", e.Idle(), e.Open(), len(living))
			}
			for i, c := range e.idle {
				if c != living[i] {
					t.Fatalf("connection %d is another", i)
				}
			}
		})
	}
}

func TestDialErrors(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	_ = b.ln.Close()
	if _, err := e.Dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	if _, err := NewEndpoint("unix:/nowhere/s", DefaultOptions()).Dial(); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no such socket: %v", err)
	}
	if e.Open() != 0 || e.Dials() != 0 {
		t.Errorf("open %d, dials %d", e.Open(), e.Dials())
	}
}

// TestConcurrentUse: nobody gets a connection that another has, while the
// backend closes some, Sweep runs, and in the end Close.
func TestConcurrentUse(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "unix")
	e := b.endpoint(func(o *Options) { o.MaxIdle = 20 })
	var backendSide sync.WaitGroup
	backendSide.Go(func() {
		for {
			nc, err := b.ln.Accept()
			if err != nil {
				return
			}
			backendSide.Go(func() {
				defer func() { _ = nc.Close() }()
				buf := make([]byte, 1)
				for n := rand.IntN(50); n > 0; n-- {
					if _, err := nc.Read(buf); err != nil {
						return
					}
					if _, err := nc.Write(buf); err != nil {
						return
					}
				}
			})
		}
	})
	var users sync.WaitGroup
	var held sync.Map
	var failed, reused atomic.Int64
	for range 8 {
		users.Go(func() { useMany(t, e, &held, &failed, &reused) })
	}
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				e.Sweep()
			}
		}
	})
	users.Wait()
	close(stop)
	sweeper.Wait()
	e.Close()
	_ = b.ln.Close()
	backendSide.Wait()
	if e.Open() != 0 || reused.Load() == 0 {
		t.Errorf("open %d, reused %d, failed %d", e.Open(), reused.Load(), failed.Load())
	}
}

func useMany(t *testing.T, e *Endpoint, held *sync.Map, failed, reused *atomic.Int64) {
	buf := make([]byte, 1)
	for range 500 {
		c := e.Get(rand.IntN(2) == 0, Now())
		if c == nil {
			var err error
			if c, err = e.Dial(); err != nil {
				t.Error(err)
				return
			}
		}
		if _, other := held.LoadOrStore(c, true); other {
			t.Error("a connection is in use twice")
			return
		}
		if c.Reused() {
			reused.Add(1)
		}
		_, err := c.Write([]byte("x"))
		if err == nil {
			_, err = c.Read(buf)
		}
		held.Delete(c)
		if err != nil {
			failed.Add(1)
			c.Close()
		} else {
			e.Put(c, Now())
		}
	}
}

func TestAllocations(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	b.idle(e, Now())
	at := Now()
	if n := testing.AllocsPerRun(1000, func() { e.Put(e.Get(false, at), at) }); n != 0 {
		t.Errorf("Get and Put cost %v allocations", n)
	}
	e.Put(e.Get(true, at), Now()-time.Second)
	if n := testing.AllocsPerRun(100, e.Sweep); n != 0 {
		t.Errorf("Sweep costs %v allocations", n)
	}
}

func BenchmarkGetPut(b *testing.B) {
	be := newBackend(b, "tcp")
	e := be.endpoint(nil)
	at := Now()
	be.idle(e, at)
	b.ReportAllocs()
	for b.Loop() {
		e.Put(e.Get(false, at), at)
	}
}

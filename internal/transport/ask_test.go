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

// taken makes a connection that was idle and that nobody has looked at since.
func (b *backend) taken(e *Endpoint) (*Conn, net.Conn) {
	b.t.Helper()
	made, peer := b.dial(e)
	e.Put(made, Now())
	c := e.Take("", true, Now())
	if c != made || c.Looked() {
		b.t.Fatalf("took %p for %p, looked at: %v", c, made, c.Looked())
	}
	return c, peer
}

// got reads n bytes that a peer was sent.
func got(t testing.TB, peer net.Conn, n int) string {
	t.Helper()
	_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	p := make([]byte, n)
	if _, err := io.ReadFull(peer, p); err != nil {
		t.Error(err)
	}
	return string(p)
}

// TestAsk: a request is written and its answer waited for in one go, with the same
// results as in two.
func TestAsk(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 8<<20)
	for name, tc := range map[string]struct {
		request []byte
		before  func(b *backend, c *Conn, peer net.Conn)
		peer    func(t testing.TB, peer net.Conn)
		sent    int
		err     error
		answer  string
		end     error // of the wait
	}{
		"an answer": {request: []byte("ask"), sent: 3, answer: "answer", peer: func(t testing.TB, peer net.Conn) {
			got(t, peer, 3)
			_, _ = peer.Write([]byte("answer"))
		}},
		"an answer after a while": {request: []byte("ask"), sent: 3, answer: "answer", peer: func(t testing.TB, peer net.Conn) {
			got(t, peer, 3)
			time.Sleep(100 * time.Millisecond) // the answer comes while it is waited for, over a tick
			_, _ = peer.Write([]byte("answer"))
		}},
		"the end instead": {request: []byte("ask"), sent: 3, end: io.EOF, peer: func(t testing.TB, peer net.Conn) {
			got(t, peer, 3)
			_ = peer.Close()
		}},
		"closed before": {request: []byte("ask"), err: ErrGone, before: func(b *backend, c *Conn, peer net.Conn) {
			_ = peer.Close()
			b.seen(c, SocketClosed)
		}},
		"bytes before": {request: []byte("ask"), err: ErrGone, before: func(b *backend, c *Conn, peer net.Conn) {
			_, _ = peer.Write([]byte("nobody asked"))
			b.seen(c, SocketData)
		}},
		"more than the kernel takes": {request: long, sent: len(long), answer: "answer", peer: func(t testing.TB, peer net.Conn) {
			got(t, peer, len(long))
			_, _ = peer.Write([]byte("answer"))
		}},
		"a deadline that has passed": {request: []byte("ask"), sent: 3, answer: "answer", before: func(_ *backend, c *Conn, _ net.Conn) {
			_ = c.Socket.SetReadDeadline(past)
		}, peer: func(t testing.TB, peer net.Conn) {
			got(t, peer, 3)
			_, _ = peer.Write([]byte("answer"))
		}},
		"interrupted": {request: []byte("ask"), err: os.ErrDeadlineExceeded, before: func(_ *backend, c *Conn, _ net.Conn) {
			c.Interrupt()
		}},
		"interrupted while it waits": {request: []byte("ask"), sent: 3, end: os.ErrDeadlineExceeded, before: func(_ *backend, c *Conn, peer net.Conn) {
			go func() {
				_, _ = peer.Read(make([]byte, 3))
				c.Interrupt()
			}()
		}},
		"enough": {request: []byte("ask"), sent: 3, end: errEnough},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, network string) {
				b := newBackend(t, network)
				e := b.endpoint(nil)
				c, peer := b.taken(e)
				defer c.Close()
				w := &watcher{next: 20 * time.Millisecond, rest: 100}
				if tc.end == errEnough {
					w.rest = 2
				}
				c.Watcher = w
				if err := c.Arm(Now(), 20*time.Millisecond); err != nil {
					t.Fatal(err)
				}
				if tc.before != nil {
					tc.before(b, c, peer)
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				if tc.peer != nil {
					wg.Go(func() { tc.peer(t, peer) })
				}
				n, err := c.Ask(tc.request)
				if n != tc.sent || !errors.Is(err, tc.err) || !c.Looked() {
					t.Fatalf("sent %d, %v, want %d, %v", n, err, tc.sent, tc.err)
				}
				if err != nil {
					return
				}
				if c.Reader.Buffered() == 0 {
					err = c.Await(false)
				}
				if !errors.Is(err, tc.end) || string(c.Reader.Bytes()) != tc.answer {
					t.Errorf("got %q, %v, want %q, %v", c.Reader.Bytes(), err, tc.answer, tc.end)
				}
				if tc.end == errEnough && len(w.at) != 3 {
					t.Errorf("the watcher was asked %d times", len(w.at))
				}
			})
		})
	}
}

// TestAskNeverSleepsOver: whatever the timing, an answer ends the wait. No deadline
// helps: it is later than the test's.
func TestAskNeverSleepsOver(t *testing.T) {
	noLeaks(t)
	b := newBackend(t, "tcp")
	e := b.endpoint(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 8 {
		c, peer := b.dial(e)
		e.Put(c, Now())
		wg.Go(func() { // answers at once, so that the answer is there before the wait
			p := make([]byte, 8)
			for {
				n, err := peer.Read(p)
				if err != nil {
					return
				}
				if _, err := peer.Write(p[:n]); err != nil {
					return
				}
			}
		})
	}
	defer e.Close()
	var askers sync.WaitGroup
	defer askers.Wait()
	for range 8 {
		askers.Go(func() {
			for range 3000 {
				c := e.Take("", true, Now())
				err := c.Socket.SetReadDeadline(time.Now().Add(20 * time.Second))
				if err == nil {
					_, err = c.Ask([]byte("ask"))
				}
				if err != nil || string(c.Reader.Bytes()) != "ask" {
					t.Errorf("got %q, %v, the wait ended with %v", c.Reader.Bytes(), err, c.endOfAsk())
					c.Close()
					return
				}
				c.Reader.Discard(c.Reader.Buffered())
				e.Put(c, Now())
			}
		})
	}
}

//go:build linux

package load

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHistogramIsExactToASixtyFourth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 20000 {
		d := time.Duration(rnd.Int64N(int64(1) << (1 + rnd.IntN(40))))
		h.Record(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want, got := all[max(int(q*float64(len(all))+0.5), 1)-1], h.Quantile(q)
		if got < want || got > want+want/subs+1 {
			t.Errorf("quantile %g is %d, want %d and at most a 64th above", q, got, want)
		}
	}
	if h.Max() != all[len(all)-1] || h.Count() != int64(len(all)) {
		t.Errorf("max %d of %d", h.Max(), h.Count())
	}
}

func TestHistogramAtItsEdges(t *testing.T) {
	for name, d := range map[string]time.Duration{"none": 0, "negative": -5, "last exact": subs - 1, "first shared": subs, "longest": 1<<63 - 1} {
		t.Run(name, func(t *testing.T) {
			var h Histogram
			if h.Quantile(.5) != 0 {
				t.Error("an empty histogram has a quantile")
			}
			h.Record(d)
			if got := h.Quantile(.5); got != max(d, 0) {
				t.Errorf("%d became %d", d, got)
			}
		})
	}
}

func TestOptionsRefuseWhatIsNotBounded(t *testing.T) {
	good := Options{Addr: "127.0.0.1:1", Duration: time.Second, Connections: 1}
	if _, err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"another machine":      func(o *Options) { o.Addr = "192.0.2.1:80" },
		"a name":               func(o *Options) { o.Addr = "localhost:80" },
		"no end":               func(o *Options) { o.Duration = 0 },
		"an hour":              func(o *Options) { o.Duration = time.Hour },
		"too many connections": func(o *Options) { o.Connections = maxConnections + 1 },
		"a negative rate":      func(o *Options) { o.Rate = -1 },
		"a huge message":       func(o *Options) { o.Message = 1 << 20 },
		"upgrades each time":   func(o *Options) { o.WebSocket, o.NewConn = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			if _, err := o.validate(); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// server answers on loopback until the test ends; handle gets each connection.
func server(t *testing.T, handle func(nc net.Conn, br *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				handle(nc, bufio.NewReader(nc))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait() // The generator has closed its connections, so all handlers end.
	})
	return l.Addr().String()
}

// answer reads requests and answers each with what reply makes of it.
func answer(reply func(n int, r *http.Request) string) func(net.Conn, *bufio.Reader) {
	return func(nc net.Conn, br *bufio.Reader) {
		for n := 0; ; n++ {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if _, err := io.WriteString(nc, reply(n, r)); err != nil {
				return
			}
		}
	}
}

func two(int, *http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }

// A server that stands still is charged with every request that was due then:
// that is what a closed loop, which waits with it, would hide.
func TestLatencyCountsFromTheDueTime(t *testing.T) {
	const stall = 400 * time.Millisecond
	addr := server(t, answer(func(n int, r *http.Request) string {
		if n == 0 {
			time.Sleep(stall) // The stall is what is measured.
		}
		return two(n, r)
	}))
	r, err := Run(t.Context(), Options{Addr: addr, Rate: 1000, Duration: time.Second, Connections: 1})
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if r.Done < 990 || r.Done > 1000 {
		t.Errorf("%d requests in a second at 1,000/s", r.Done)
	}
	// Requests were due evenly over the stall, so a fifth of all waited for
	// half of it or longer.
	if r.P90 < 200_000 || r.Max < 400_000 {
		t.Errorf("p90 %.0f µs, longest %.0f µs; the stall of 400 ms went unseen", r.P90, r.Max)
	}
}

func TestWorks(t *testing.T) {
	long := "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300000)
	for name, c := range map[string]struct {
		o     Options
		reply func(int, *http.Request) string
	}{
		"get":              {reply: two},
		"at most":          {reply: two, o: Options{Rate: -1}},
		"many connections": {reply: two, o: Options{Connections: 300}},
		"no content":       {reply: func(int, *http.Request) string { return "HTTP/1.1 204 No Content\r\n\r\n" }},
		"large body":       {reply: func(int, *http.Request) string { return long }, o: Options{Rate: 100}},
		"large post":       {o: Options{Post: 1 << 20, Rate: 50}, reply: func(n int, r *http.Request) string { return two(n, r) }},
		"new connection":   {reply: two, o: Options{NewConn: true}},
		"closed by server": {reply: func(int, *http.Request) string {
			return "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.o
			o.Addr, o.Duration = server(t, answer(c.reply)), 300*time.Millisecond
			if o.Connections == 0 {
				o.Connections = 8
			}
			want := 0.0
			if o.Rate == 0 {
				o.Rate = 500
			}
			if o.Rate > 0 {
				want = o.Rate * .3
			}
			o.Rate = max(o.Rate, 0)
			r, err := Run(t.Context(), o)
			if err != nil || r.Failed+r.Unsent > 0 || r.Done == 0 {
				t.Fatalf("%v, %+v", err, r)
			}
			if want > 0 && (float64(r.Done) < want-2 || float64(r.Done) > want+2) {
				t.Errorf("%d done, want %.0f", r.Done, want)
			}
			if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.P999 || r.P999 > r.Max || r.CPU <= 0 {
				t.Errorf("quantiles do not grow: %+v", r)
			}
		})
	}
}

func TestMessagesAreEchoed(t *testing.T) {
	for name, size := range map[string]int{"short": 5, "two bytes of length": 1000} {
		t.Run(name, func(t *testing.T) {
			addr := server(t, func(nc net.Conn, br *bufio.Reader) {
				if _, err := http.ReadRequest(br); err != nil {
					return
				}
				_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				in := frame(size)
				for {
					if _, err := io.ReadFull(br, in); err != nil {
						return
					}
					if _, err := nc.Write(in[4:]); err != nil { // As long as without the mask.
						return
					}
				}
			})
			r, err := Run(t.Context(), Options{Addr: addr, Rate: 500, Duration: 300 * time.Millisecond, Connections: 4, WebSocket: true, Message: size})
			if err != nil || r.Failed+r.Unsent > 0 || r.Done < 148 {
				t.Fatalf("%v, %+v", err, r)
			}
		})
	}
}

func TestFailuresAreCounted(t *testing.T) {
	for name, c := range map[string]struct{ reply, reason string }{
		"status":          {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "2xx"},
		"no length":       {"HTTP/1.1 200 OK\r\n\r\n", "Content-Length"},
		"too much":        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", "length"},
		"not HTTP at all": {"220 mail.example.com ESMTP\r\n\r\n", "no response"},
		"a bad length":    {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "content-length"},
		"an endless head": {"HTTP/1.1 200 OK\r\n" + strings.Repeat("x: y\r\n", 5000), "head"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := server(t, answer(func(int, *http.Request) string { return c.reply }))
			r, err := Run(t.Context(), Options{Addr: addr, Rate: 100, Duration: 100 * time.Millisecond, Connections: 2})
			if err != nil || r.Failed == 0 || r.Done > 0 || r.Err() == nil || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%v, %+v", err, r)
			}
		})
	}
	t.Run("closes", func(t *testing.T) {
		addr := server(t, func(_ net.Conn, br *bufio.Reader) { _, _ = http.ReadRequest(br) })
		r, err := Run(t.Context(), Options{Addr: addr, Rate: 100, Duration: 100 * time.Millisecond, Connections: 2})
		if err != nil || r.Failed == 0 || r.Done > 0 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := server(t, answer(func(n int, r *http.Request) string {
		cancel()
		return two(n, r)
	}))
	since := time.Now()
	if _, err := Run(ctx, Options{Addr: addr, Rate: 100, Duration: time.Minute, Connections: 2}); err == nil || time.Since(since) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(since))
	}
}

func TestHoldKeepsConnectionsOpen(t *testing.T) {
	var mu sync.Mutex
	open, most := 0, 0
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		open += n
		most = max(most, open)
	}
	serve := answer(two)
	addr := server(t, func(nc net.Conn, br *bufio.Reader) {
		count(1)
		defer count(-1)
		serve(nc, br)
	})
	done := make(chan struct{})
	if err := Hold(Options{Addr: addr, Duration: time.Minute, Connections: 20}, func() { close(done) }, done); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 20 {
		t.Errorf("%d connections at once, want 20", most)
	}
}

func FuzzTake(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), uint8(3))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		one, two := conn{fd: -1}, conn{fd: -1}
		whole, err := one.take(b)
		at := min(int(cut), len(b))
		first, err1 := two.take(b[:at])
		if err1 != nil || first || at == 0 || at == len(b) {
			return
		}
		second, err2 := two.take(b[at:])
		if whole != second || (err == nil) != (err2 == nil) {
			t.Errorf("in one piece %v, %v; in two %v, %v", whole, err, second, err2)
		}
	})
}

package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
	"steelyard/internal/wire"
)

// TestResponsePassesThrough compares what a client gets, byte for byte.
func TestResponsePassesThrough(t *testing.T) {
	t.Parallel()
	const chunky = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
	for _, tc := range []struct {
		name    string
		request string
		says    act
		got     string
	}{
		{"case, order, repetition and reason", "GET / HTTP/1.1", says("HTTP/1.1 299 Läuft doch\r\nx-b: 1\r\nSet-Cookie: b=2;a\r\nSET-cookie: c\r\nX-B:  2 \r\nContent-length: 2\r\n\r\nhi"),
			"HTTP/1.1 299 Läuft doch\r\nx-b: 1\r\nSet-Cookie: b=2;a\r\nSET-cookie: c\r\nX-B:  2 \r\nContent-length: 2\r\n\r\nhi"},
		{"hop-by-hop fields", "GET / HTTP/1.1", says("HTTP/1.1 200 OK\r\nConnection: X-Mine, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nX: 2\r\nContent-Length: 0\r\n\r\n"),
			"HTTP/1.1 200 OK\r\nX: 2\r\nContent-Length: 0\r\n\r\n"},
		{"chunked with trailers", "GET / HTTP/1.1", says(chunky),
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"chunked for HTTP/1.0", "GET / HTTP/1.0", says(chunky), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"},
		{"chunked for HTTP/1.0 that would stay", "GET / HTTP/1.0\r\nConnection: keep-alive", says(chunky), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"},
		{"ended by the connection", "GET / HTTP/1.1", saysAndEnds("HTTP/1.1 200 OK\r\nX: 1\r\n\r\nabc"),
			"HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"ended by the connection for HTTP/1.0", "GET / HTTP/1.0", saysAndEnds("HTTP/1.0 200 OK\r\n\r\nabc"), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"},
		{"an empty one ended by the connection", "GET / HTTP/1.1", saysAndEnds("HTTP/1.0 200 OK\r\n\r\n"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"HTTP/1.0 backend that stays", "GET / HTTP/1.1", says("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na"), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"},
		{"HEAD with length", "HEAD / HTTP/1.1", says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
		{"HEAD of something chunked", "HEAD / HTTP/1.1", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"HEAD without either", "HEAD / HTTP/1.1", says("HTTP/1.1 200 OK\r\n\r\n"), "HTTP/1.1 200 OK\r\n\r\n"},
		{"204 without what it must not have", "GET / HTTP/1.1", says("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: 1\r\n\r\n"), "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"},
		{"204 with what it must have even less", "GET / HTTP/1.1", says("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n"), "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"},
		{"304 with length", "GET / HTTP/1.1", says("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"},
		{"early hints", "GET / HTTP/1.1", says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
			"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"early hints for HTTP/1.0", "GET / HTTP/1.0", says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"426 says which protocols would do", "GET / HTTP/1.1", says("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n"),
			"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, []string{newStation(t, tc.says).addr}, bare)
			nc, r := f.dial(t)
			send(t, nc, tc.request+"\r\nHost: a\r\n\r\n")
			got := make([]byte, len(tc.got))
			n, _ := io.ReadFull(r, got)
			if string(got[:n]) != tc.got {
				t.Fatalf("got\n%q, want\n%q", got[:n], tc.got)
			}
			closes := strings.Contains(tc.got, "Connection: close")
			method, _, _ := strings.Cut(tc.request, " ")
			send(t, nc, method+" / HTTP/1.0\r\n\r\n")
			rest, _ := io.ReadAll(r)
			if closes != (len(rest) == 0) {
				t.Errorf("then came %q", rest)
			}
		})
	}
}

// TestBackendConnectionAfterResponse says which connections are used again.
func TestBackendConnectionAfterResponse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		says string
		kept bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", true},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"says close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false},
		{"more than it said", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", false},
		{"a second response", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, []string{newStation(t, says(tc.says)).addr}, nil)
			_, first := f.do(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			want := int64(2)
			if tc.kept {
				want = 1
				f.waitIdle(t, 1)
			}
			_, second := f.do(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if n := f.pool.Snapshot().Endpoints[0].Conns.Dials(); n != want || first != second {
				t.Errorf("%d connections, want %d; bodies %q and %q", n, want, first, second)
			}
		})
	}
}

// TestNothingIsHeldBack: each piece that a backend flushes reaches the client
// before the next is sent.
func TestNothingIsHeldBack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, head, piece string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", "%s"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\n%s\r\n"},
		{"ended by the connection", "HTTP/1.1 200 OK\r\n\r\n", "%s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pieces := make(chan string)
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				p.head()
				p.say(tc.head)
				for s := range pieces {
					p.say(fmt.Sprintf(tc.piece, s))
				}
			})}, nil)
			nc, r := f.dial(t)
			send(t, nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			for line := ""; line != "\r\n"; {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatal(err) // the head comes alone
				}
			}
			for i := range 10 {
				pieces <- fmt.Sprintf("<%d>", i)
				if s, err := r.ReadString('>'); err != nil || !strings.HasSuffix(s, fmt.Sprintf("<%d>", i)) {
					t.Fatalf("piece %d: %q, %v", i, s, err)
				}
			}
			close(pieces)
		})
	}
}

// wantReset reads to the end of a connection, which has to be a reset.
func wantReset(t *testing.T, r *bufio.Reader, before string) {
	t.Helper()
	b, err := io.ReadAll(r)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset; before it came %q", err, b)
	}
	// A reset may overtake what was sent before it.
	if !strings.HasPrefix(before, string(b)) {
		t.Errorf("got %q before the reset, want %q at most", b, before)
	}
}

// TestBrokenResponse: a part never looks like the whole.
func TestBrokenResponse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		request string
		head    string
		body    string
		breaks  func(*peer)
		broken  bool
	}{
		{"short of its length", "GET / HTTP/1.1", "Content-Length: 10\r\n", "abc", nil, true},
		{"short of its length, reset", "GET / HTTP/1.1", "Content-Length: 10\r\n", "abc", (*peer).reset, true},
		{"chunked without end", "GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", nil, true},
		{"a chunk cut short", "GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n", "9\r\nabc", nil, true},
		{"chunked without end for HTTP/1.0", "GET / HTTP/1.0", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", nil, true},
		{"not a chunk", "GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\nxyz\r\n", (*peer).waitClosed, true},
		{"reset where the end would be", "GET / HTTP/1.1", "", "abc", (*peer).reset, true},
		{"reset where the end would be, for HTTP/1.0", "GET / HTTP/1.0", "", "abc", (*peer).reset, true},
		{"whole", "GET / HTTP/1.0", "", "abc", nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{})
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				p.head()
				p.say("HTTP/1.1 200 OK\r\n" + tc.head + "\r\n")
				<-begun
				p.say(tc.body)
				if tc.breaks != nil {
					tc.breaks(p)
				}
			})}, nil)
			nc, r := f.dial(t)
			send(t, nc, tc.request+"\r\nHost: a\r\n\r\n")
			if _, err := r.Peek(1); err != nil {
				t.Fatal(err)
			}
			close(begun)
			b, err := io.ReadAll(r)
			if reset := errors.Is(err, syscall.ECONNRESET); reset != tc.broken {
				t.Errorf("the connection ended with %v after %q", err, b)
			}
			causes := f.Errors()
			if tc.broken && causes["response_truncated"] != 1 || !tc.broken && len(causes) != 0 {
				t.Errorf("errors counted: %v", causes)
			}
			// One request of the backend, which did not answer before it failed.
			st, err := f.pool.Status()
			if err != nil {
				t.Fatal(err)
			}
			if b := st.Backends[0]; b.Requests != 1 || (b.Failures == 1) != tc.broken {
				t.Errorf("the backend is said to have failed %d of %d requests", b.Failures, b.Requests)
			}
		})
	}
}

// TestClientLeaves: the backend's connection ends when the client's does.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"while the backend thinks":   "",
		"in the middle of a body":    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"between interim and final":  "HTTP/1.1 102 Processing\r\n\r\n",
		"in a silent event stream":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"in one without any framing": "HTTP/1.1 200 OK\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, left := make(chan struct{}), make(chan struct{})
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				p.head()
				p.say(answer)
				close(asked)
				p.waitClosed()
				close(left)
			})}, nil)
			nc, r := f.dial(t)
			send(t, nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-asked
			if answer != "" {
				if _, err := r.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			nc.Close()
			select {
			case <-left:
			case <-time.After(patience):
				t.Fatal("the backend's connection is still open")
			}
			waitFor(t, "the error is counted", func() bool { return f.Errors()["client_gone"] == 1 })
			if n := len(f.Errors()); n != 1 {
				t.Errorf("errors counted: %v", f.Errors())
			}
		})
	}
}

// TestSlowClient: a client that takes nothing is cut, and not the backend's
// fault; the cut of a response without framing does not look like its end.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\n\r\n")
		for p.say(strings.Repeat("x", 64<<10)) {
		}
	})}, func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) {
		lim.WriteTimeout = 100 * time.Millisecond
	})
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.(*net.TCPConn).SetReadBuffer(4096)
	send(t, nc, "GET / HTTP/1.0\r\n\r\n")
	waitFor(t, "the client is given up", func() bool { return f.Errors()["write_timeout"] == 1 })
	waitFor(t, "its connection is closed", func() bool { return f.listener.Connections() == 0 })
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, nc); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
	if n := len(f.Errors()); n != 1 {
		t.Errorf("errors counted: %v", f.Errors())
	}
}

// TestSilence: a backend that is silent in a body is given up, a client that
// takes its time is not the backend's silence.
func TestSilence(t *testing.T) {
	t.Parallel()
	t.Run("of the backend", func(t *testing.T) {
		f := newFixture(t, []string{newStation(t, func(p *peer, _ string) bool {
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
			p.waitClosed()
			return false
		}).addr}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
			po.Transport.BodyTimeout = 50 * time.Millisecond
		})
		nc, r := f.dial(t)
		send(t, nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		wantReset(t, r, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		if f.Errors()["response_truncated"] != 1 {
			t.Errorf("errors counted: %v", f.Errors())
		}
	})
	t.Run("of the client", func(t *testing.T) {
		const size = 16 << 20
		sent := make(chan struct{})
		f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
			p.head()
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size))
			part := strings.Repeat("x", size/8)
			for range 8 {
				p.say(part)
			}
			close(sent)
			p.waitClosed()
		})}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
			po.Transport.BodyTimeout = time.Second
		})
		nc, r := f.dial(t)
		send(t, nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := r.Peek(1); err != nil {
			t.Fatal(err)
		}
		// The client's pause is longer than the backend may be silent. What is
		// waited for is that this time passes.
		time.Sleep(1500 * time.Millisecond)
		resp, body := readResponse(t, r, "GET")
		if len(body) != size {
			t.Errorf("got %d bytes of %d", len(body), resp.ContentLength)
		}
		<-sent
	})
}

// TestLateEndOfSilentResponse: the end of a response may come long after its
// last byte, later than the client's write timeout.
func TestLateEndOfSilentResponse(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, func(p *peer, _ string) bool {
		p.say("HTTP/1.1 200 OK\r\n\r\nabc")
		time.Sleep(200 * time.Millisecond)
		return false
	}).addr}, func(_ *fixture, _ *pool.Options, _ *Generation, lim *Limits) {
		lim.WriteTimeout = 100 * time.Millisecond
	})
	if _, body := f.do(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "abc" {
		t.Errorf("got %q", body)
	}
	if n := len(f.Errors()); n != 0 {
		t.Errorf("errors counted: %v", f.Errors())
	}
}

// TestResponseHeaders says what a route can make of a response's head.
func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{newStation(t, says("HTTP/1.1 200 OK\r\nServer: x\r\nVia: a\r\nX: 1\r\nX: 2\r\nContent-Length: 0\r\n\r\n")).addr},
		func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
			f.route.ResponseHeaders = headers(t, rewrite.Headers{
				Remove: []string{"server"}, Set: []rewrite.Header{{Name: "x", Value: "3"}},
				Add: []rewrite.Header{{Name: "Via", Value: "{listener}"}, {Name: "X-None", Value: "{header.none}"}},
			})
		})
	got := f.exchangeRaw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if want := "HTTP/1.1 200 OK\r\nVia: a\r\nContent-Length: 0\r\nx: 3\r\nVia: test\r\nConnection: close\r\n\r\n"; got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// TestPipelining answers in order, whatever the requests are.
func TestPipelining(t *testing.T) {
	t.Parallel()
	s := newStation(t, func(p *peer, head string) bool {
		path, _, _ := strings.Cut(strings.TrimPrefix(head, "GET "), " ")
		return ok(path)(p, head)
	})
	f := newFixture(t, []string{s.addr}, nil)
	nc, r := f.dial(t)
	var all strings.Builder
	for i := range 50 {
		fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Fill: %s\r\n\r\nabc", i, strings.Repeat("x", i*7))
	}
	go func() { _, _ = io.WriteString(nc, all.String()) }()
	for i := range 50 {
		if _, body := readResponse(t, r, "GET"); body != fmt.Sprintf("/%d", i) {
			t.Fatalf("response %d is %q", i, body)
		}
	}
	if _, bodies := s.seen(); len(bodies) != 50 || strings.Join(bodies, "") != strings.Repeat("abc", 50) {
		t.Errorf("the backend got the bodies %q", bodies)
	}
}

// TestResetBehindAFullBuffer: a reset that comes right behind a head that fills its
// buffer never looks like the end of a body without a length.
func TestResetBehindAFullBuffer(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.0 200 OK\r\n\r\n"
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		p.say(head + strings.Repeat("x", wire.SmallBuffer-len(head)))
		p.reset()
	})}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) { f.target.Retry.Attempts = 1 })
	for range 200 {
		nc, r := f.dial(t)
		send(t, nc, "GET / HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(r); err == nil && strings.HasPrefix(string(b), "HTTP/1.1 200") {
			t.Fatalf("%d bytes look like the whole", len(b))
		}
		nc.Close()
	}
}

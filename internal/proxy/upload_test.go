package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/internal/pool"
	"steelyard/internal/wire"
)

// TestUploads streams bodies of every framing and in every cut.
func TestUploads(t *testing.T) {
	t.Parallel()
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 32<<10))
	for _, tc := range []struct{ name, fields, body, got string }{
		{"small", "Content-Length: 3\r\n", "abc", "abc"},
		{"empty", "Content-Length: 0\r\n", "", ""},
		{"large", fmt.Sprintf("Content-Length: %d\r\n", len(big)), big, big},
		{"chunked", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", "abcde"},
		{"chunked and empty", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""},
		{"chunked with trailers", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n", "abc"},
		{"chunked and large", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(big), big), big},
	} {
		for _, cut := range []string{"in one", "behind the head", "anywhere"} {
			t.Run(tc.name+", "+cut, func(t *testing.T) {
				t.Parallel()
				got := make(chan string, 1)
				f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
					got <- readContent(p)
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					p.waitClosed()
				})}, nil)
				nc, r := f.dial(t)
				for _, part := range cutUp("POST / HTTP/1.1\r\nHost: a\r\n"+tc.fields+"\r\n", tc.body, cut) {
					send(t, nc, part)
				}
				if resp, _ := readResponse(t, r, "POST"); resp.StatusCode != 200 {
					t.Errorf("got %d", resp.StatusCode)
				}
				if s := <-got; s != tc.got {
					t.Errorf("the backend got %d bytes, want %d", len(s), len(tc.got))
				}
				f.waitIdle(t, 1)
			})
		}
	}
}

func cutUp(head, body, cut string) (parts []string) {
	switch cut {
	case "in one":
		return []string{head + body}
	case "behind the head":
		return []string{head, body}
	}
	rest := head + body
	for len(rest) > 0 {
		n := min(1+rand.IntN(len(rest)/5+1), len(rest))
		parts, rest = append(parts, rest[:n]), rest[n:]
	}
	return parts
}

// readContent reads a request and decodes its body with package wire.
func readContent(p *peer) string {
	var rd wire.Reader
	rd.Reset(p.r)
	head, err := rd.Head(64 << 10)
	if err != nil {
		return err.Error()
	}
	var req wire.Request
	if err := req.Parse(head); err != nil {
		return err.Error()
	}
	framing := wire.FramingLength
	if req.Chunked() {
		framing = wire.FramingChunked
	}
	var b wire.Body
	b.Init(&rd, framing, req.Length)
	var content strings.Builder
	for {
		part, err := b.Next()
		content.Write(part)
		if err == io.EOF {
			return content.String()
		}
		if err != nil {
			return err.Error()
		}
	}
}

// TestTrailersOfRequests pass, but not those that would change the framing.
func TestTrailersOfRequests(t *testing.T) {
	t.Parallel()
	for _, cut := range []string{"in one", "behind the head"} {
		got := make(chan string, 1)
		f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
			head := p.head()
			var b strings.Builder
			for !strings.HasSuffix(b.String(), "\r\n\r\n") {
				c, err := p.r.ReadByte()
				if err != nil {
					break
				}
				b.WriteByte(c)
			}
			got <- field(head, "Trailer") + "|" + b.String()
			p.say("HTTP/1.1 204 No Content\r\n\r\n")
		})}, nil)
		nc, r := f.dial(t)
		for _, part := range cutUp("POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n", cut) {
			send(t, nc, part)
		}
		readResponse(t, r, "POST")
		if s := <-got; s != "X-Sum|3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" {
			t.Errorf("%s: the backend got %q", cut, s)
		}
	}
}

// TestBrokenUploads: the client's errors are the client's, whoever waits.
func TestBrokenUploads(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	for _, tc := range []struct {
		name   string
		first  string // comes with the head
		then   string // comes when the backend has the head
		status int
		cause  string
		asked  bool // the backend got the head
	}{
		{"not a chunk, at once", "xyz\r\n", "", 400, "bad_request", false},
		{"not a chunk, later", "3\r\nabc\r\n", "xyz\r\n", 400, "bad_request", true},
		{"a chunk longer than its size", "3\r\n", "abcd\r\n", 400, "bad_request", true},
		{"too large, at once", "bb8\r\n" + long + "\r\n", "", 413, "body_too_large", false},
		{"too large, later", "3\r\nabc\r\n", "bb8\r\n" + long + "\r\n", 413, "body_too_large", true},
		{"silent", "3\r\nabc\r\n", "3\r\na", 408, "body_timeout", true},
		{"too large trailers", "3\r\nabc\r\n", "0\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 20) + "\r\n", 431, "head_too_large", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{}, 1)
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				if p.head() != "" {
					asked <- struct{}{}
				}
				p.waitClosed()
			})}, func(f *fixture, _ *pool.Options, _ *Generation, lim *Limits) {
				lim.MaxBodySize = 2000
				if tc.name == "silent" {
					lim.BodyTimeout = 50 * time.Millisecond
				}
			})
			nc, r := f.dial(t)
			send(t, nc, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+tc.first)
			if tc.asked {
				<-asked
				send(t, nc, tc.then)
			}
			resp, _ := readResponse(t, r, "PUT")
			if c := resp.Header.Get("X-Steelyard-Cause"); resp.StatusCode != tc.status || c != tc.cause || !resp.Close {
				t.Errorf("got %d %q, closes: %v", resp.StatusCode, c, resp.Close)
			}
			if n := len(f.Errors()); n != 1 || f.Errors()[tc.cause] != 1 {
				t.Errorf("errors counted: %v", f.Errors())
			}
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

// TestUploadBreaksDuringResponse: the response is cut, and it is the client's
// fault.
func TestUploadBreaksDuringResponse(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		p.waitClosed()
	})}, nil)
	nc, r := f.dial(t)
	send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	if _, err := r.Peek(1); err != nil {
		t.Fatal(err)
	}
	send(t, nc, "xyz\r\n")
	wantReset(t, r, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
	if n := len(f.Errors()); n != 1 || f.Errors()["bad_request"] != 1 {
		t.Errorf("errors counted: %v", f.Errors())
	}
}

// TestClientLeavesDuringUpload ends the exchange, and blames nobody else.
func TestClientLeavesDuringUpload(t *testing.T) {
	t.Parallel()
	asked, left := make(chan struct{}), make(chan struct{})
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		close(asked)
		p.waitClosed()
		close(left)
	})}, nil)
	nc, _ := f.dial(t)
	send(t, nc, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
	<-asked
	nc.Close()
	<-left
	waitFor(t, "the error is counted", func() bool { return f.Errors()["client_gone"] == 1 })
	if n := len(f.Errors()); n != 1 {
		t.Errorf("errors counted: %v", f.Errors())
	}
}

// TestEarlyResponse: a backend may answer before it has read the body, and the
// client may read that although the rest of its body goes nowhere.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*peer){"stays": (*peer).waitClosed, "closes": func(*peer) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
				p.head()
				p.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
				end(p)
			})}, nil)
			nc, r := f.dial(t)
			send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
			resp, body := readResponse(t, r, "POST")
			if resp.StatusCode != 403 || body != "no" {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
			send(t, nc, strings.Repeat("x", 1000))
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("the connection ended with %v, want a clean end", err)
			}
			f.waitIdle(t, 0)
			if n := len(f.Errors()); n != 0 {
				t.Errorf("errors counted: %v", f.Errors())
			}
		})
	}
}

// TestBothWaysAtOnce: request and response stream at the same time.
func TestBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		_, _ = io.Copy(p, p.r) // chunks are chunks
	})}, nil)
	nc, r := f.dial(t)
	send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := range 50 {
		want := fmt.Sprintf("5\r\n<%03d>\r\n", i)
		send(t, nc, want)
		for line := ""; !strings.HasPrefix(line, "<"); {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "<") && line != want[3:] {
				t.Fatalf("got %q, want %q", line, want[3:])
			}
		}
	}
	send(t, nc, "0\r\n\r\n")
	if line, err := r.ReadString('\n'); line != "0\r\n" {
		t.Errorf("the end is %q, %v", line, err)
	}
	f.waitIdle(t, 1)
}

// TestBackPressure: what a backend does not read, the client cannot send.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	const size = 64 << 20
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		<-free
		n, _ := io.CopyN(io.Discard, p.r, size)
		p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: %d\r\n\r\n", n))
		p.waitClosed()
	})}, nil)
	nc, r := f.dial(t)
	send(t, nc, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size))
	var sent atomic.Int64
	go func() {
		part := bytes.Repeat([]byte("x"), 64<<10)
		for sent.Load() < size {
			n, err := nc.Write(part)
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	}()
	var before int64
	waitFor(t, "the client is held back", func() bool {
		time.Sleep(50 * time.Millisecond)
		now := sent.Load()
		same := now == before && now > 0
		before = now
		return same
	})
	if before > size/2 {
		t.Errorf("the client could send %d bytes that nobody read", before)
	}
	close(free)
	if resp, _ := readResponse(t, r, "POST"); resp.Header.Get("X-Got") != fmt.Sprint(size) {
		t.Errorf("the backend got %s bytes", resp.Header.Get("X-Got"))
	}
}

// TestStalledBackendIsGivenUp: when a backend takes no more of the body and says
// nothing either, the wait ends, also without a response timeout.
func TestStalledBackendIsGivenUp(t *testing.T) {
	t.Parallel()
	x := &exchange{c: &clientConn{}, scratch: newScratch()}
	x.req = &x.c.req
	x.up.running = true
	x.up.stalled.Store(true)
	if _, err := x.Tick(); !errors.Is(err, errResponseTimeout) {
		t.Errorf("the wait goes on: %v", err)
	}
}

// TestResponseTimeoutBeginsWithTheEndOfTheRequest.
func TestResponseTimeoutBeginsWithTheEndOfTheRequest(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	limits := func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) { po.Transport.ResponseTimeout = timeout }
	t.Run("slow body", func(t *testing.T) {
		f := newFixture(t, []string{newStation(t, ok("")).addr}, limits)
		nc, r := f.dial(t)
		send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
		for range 3 {
			time.Sleep(timeout)
			send(t, nc, "a")
		}
		if resp, _ := readResponse(t, r, "POST"); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
	t.Run("slow head", func(t *testing.T) {
		f := newFixture(t, []string{newStation(t, func(p *peer, head string) bool {
			time.Sleep(timeout / 2)
			return ok("")(p, head)
		}).addr}, limits)
		nc, r := f.dial(t)
		send(t, nc, get("/", "")) // makes a connection that is used again
		readResponse(t, r, "GET")
		f.waitIdle(t, 1)
		for _, part := range []string{"GET / HT", "TP/1.1\r\nHo", "st: a\r\n\r\n"} {
			time.Sleep(timeout)
			send(t, nc, part)
		}
		if resp, _ := readResponse(t, r, "GET"); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	})
	t.Run("silence after a body", func(t *testing.T) {
		asked := make(chan struct{})
		f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
			p.head()
			close(asked)
			p.waitClosed()
		})}, limits)
		nc, r := f.dial(t)
		send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
		<-asked
		send(t, nc, "abc")
		if resp, _ := readResponse(t, r, "POST"); resp.Header.Get("X-Steelyard-Cause") != "response_timeout" {
			t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("X-Steelyard-Cause"))
		}
	})
}

// TestStopUploadInTheMiddle joins the goroutine wherever it waits.
func TestStopUploadInTheMiddle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, []string{scripted(t, func(p *peer, _ int) {
		p.head()
		p.reset()
	})}, nil)
	for range 20 {
		nc, r := f.dial(t)
		send(t, nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
		if resp, _ := readResponse(t, r, "POST"); resp.StatusCode != 502 {
			t.Errorf("got %d", resp.StatusCode)
		}
		nc.Close()
	}
	if f.inFlight(0) != 0 {
		t.Errorf("%d in flight", f.inFlight(0))
	}
}

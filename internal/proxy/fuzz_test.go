package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/internal/pool"
	"steelyard/internal/router"
	"steelyard/internal/wire"
)

// message is a request as package wire reads it.
type message struct {
	method, target, body string
	last                 bool // the connection is not to be used again
}

// readMessages reads requests until the end, or to the first that is not valid
// or not complete. With all it goes on behind one that is the last.
func readMessages(r io.Reader, limit int, all bool, each func(message)) error {
	var rd wire.Reader
	rd.Reset(r)
	defer rd.Release()
	for {
		rd.EndMessage()
		head, err := rd.RequestHead(limit)
		if err != nil {
			return err
		}
		var req wire.Request
		if err := req.Parse(head); err != nil {
			return err
		}
		m := message{method: string(req.Method), target: string(req.Path), last: !req.KeepAlive}
		if req.HasQuery {
			m.target += "?" + string(req.Query)
		}
		framing := wire.FramingLength
		if req.Chunked() {
			framing = wire.FramingChunked
		}
		var b wire.Body
		b.Init(&rd, framing, req.Length)
		for err == nil {
			var p []byte
			p, err = b.Next()
			m.body += string(p)
		}
		if err != io.EOF {
			return errors.Join(errIncomplete, err)
		}
		each(m)
		if m.last && !all {
			return io.EOF
		}
	}
}

var errIncomplete = errors.New("the body is not complete")

// recorder is a backend that keeps every request, and what it could not read.
type recorder struct {
	mu       sync.Mutex
	messages []message
	bad      []error
}

func (rec *recorder) serve(nc net.Conn, _ int) {
	err := readMessages(nc, 1<<20, true, func(m message) {
		rec.mu.Lock()
		rec.messages = append(rec.messages, m)
		rec.mu.Unlock()
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	var we *wire.Error
	if errors.As(err, &we) || errors.Is(err, io.ErrUnexpectedEOF) {
		rec.mu.Lock()
		rec.bad = append(rec.bad, err)
		rec.mu.Unlock()
	}
}

func (rec *recorder) take() (messages []message, bad []error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	messages, bad = rec.messages, rec.bad
	rec.messages, rec.bad = nil, nil
	return messages, bad
}

// FuzzProxy sends arbitrary bytes as a client. Whatever they are, the backend
// gets what our own parser finds in them: those requests, in that order, with
// those bodies, and nothing else.
func FuzzProxy(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost:\r\n\r\nPOST //b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /d HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcdeGET",
		"GET http://b HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 1\r\n\r\nx",
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000) + "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
		"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: x\r\n\r\n",
	} {
		f.Add([]byte(s), uint16(len(s)))
		f.Add([]byte(s), uint16(20))
	}
	text, err := os.ReadFile(filepath.Join("..", "wire", "testdata", "requests.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		s, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(s+"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"), uint16(len(s)/2))
	}
	rec := &recorder{}
	const limit = 16 << 10
	fx := newFixture(f, []string{rawBackend(f, rec.serve)}, func(_ *fixture, _ *pool.Options, g *Generation, lim *Limits) {
		g.Paths, lim.MaxHeaderSize = router.PathsPass, limit
	})
	l := fx.unixListener(f)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		var want []message
		_ = readMessages(bytes.NewReader(data), limit, false, func(m message) { want = append(want, m) })
		responses := fuzzOnce(t, l.Addr(), data, int(cut))
		waitFor(t, "the client's connection is closed", func() bool { return l.Connections() == 0 })
		got, bad := rec.take()
		for _, err := range bad {
			t.Errorf("the backend got something that is not a request: %v", err)
		}
		if len(got) != len(want) {
			t.Fatalf("the backend got %d requests, want %d: %+v", len(got), len(want), got)
		}
		for i := range got {
			got[i].last, want[i].last = false, false
			if got[i] != want[i] {
				t.Errorf("request %d is %+v, want %+v", i, got[i], want[i])
			}
		}
		if responses > len(want) {
			t.Errorf("%d responses to %d requests", responses, len(want))
		}
		if fx.inFlight(0) != 0 {
			t.Errorf("%d in flight", fx.inFlight(0))
		}
	})
}

// unixListener serves a socket as well: ports would run out.
func (f *fixture) unixListener(t testing.TB) *Listener {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "front.sock"))
	if err != nil {
		t.Fatal(err)
	}
	lim := f.listener.limits.Load()
	l := f.NewListener("unix", atOnce{ln}, *lim)
	go l.Serve()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Shutdown(ctx)
	})
	return l
}

// fuzzOnce sends data in two pieces and the end, and counts what was answered by
// the backend.
func fuzzOnce(t *testing.T, addr net.Addr, data []byte, cut int) (responses int) {
	nc, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	go func() {
		cut = min(cut, len(data))
		_, _ = nc.Write(data[:cut])
		_, _ = nc.Write(data[cut:])
		_ = nc.(*net.UnixConn).CloseWrite()
	}()
	r := bufio.NewReader(nc)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return responses
		}
		if strings.HasPrefix(line, "HTTP/1.1 200 ") {
			responses++
		} else if strings.HasPrefix(line, "HTTP/1.1 5") && !strings.HasPrefix(line, "HTTP/1.1 50") {
			t.Errorf("answered with %q", line)
		}
	}
}

package proxy

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"steelyard/balancer"
	"steelyard/internal/pool"
	"steelyard/internal/sticky"
)

const smallResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

const smallGet = "GET /hello?a=b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\nX-User-Id: 4711\r\n\r\n"

// roundTrip sends a request and reads n bytes of response, without allocating.
func roundTrip(t testing.TB, nc net.Conn, request, buf []byte, n int) {
	if _, err := nc.Write(request); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < n; {
		m, err := nc.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += m
	}
}

// postBackend answers every n bytes with the same response, without allocating.
func postBackend(t testing.TB, suffix, response string) string {
	answer, end := []byte(response), suffix
	return rawBackend(t, func(nc net.Conn, _ int) {
		buf := make([]byte, 64<<10)
		for n := 0; ; {
			m, err := nc.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
			if n >= len(end) && string(buf[n-len(end):n]) == end {
				n = 0
				if _, err := nc.Write(answer); err != nil {
					return
				}
			}
		}
	})
}

// costs are the ways of requests that have a budget of allocations. The budget
// is for the whole path: sockets, routing, picking, both heads and the response.
func costs(t testing.TB) []struct {
	name     string
	request  string
	response string
	backend  func(response string) string
	change   func(*fixture, *pool.Options, *Generation, *Limits)
	budget   float64
} {
	canned := func(response string) string { return cannedBackend(t, response) }
	large := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 16<<10, strings.Repeat("x", 16<<10))
	post := "POST /hello HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"name\":\"me\"}"
	sends := func(fields string) string { return strings.Replace(smallGet, "\r\n\r\n", "\r\n"+fields+"\r\n", 1) }
	bound := sticky.ID("", "web", "")
	c := sticky.DefaultCookie()
	return []struct {
		name     string
		request  string
		response string
		backend  func(response string) string
		change   func(*fixture, *pool.Options, *Generation, *Limits)
		budget   float64
	}{
		{"GET", smallGet, smallResponse, canned, nil, 0},
		{"POST", post, smallResponse, func(r string) string { return postBackend(t, `{"name":"me"}`, r) }, nil, 0},
		{"sticky cookie", sends("Cookie: sy=" + bound + "\r\n"), smallResponse, canned, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
			f.target.Sticky = &sticky.Options{Cookie: &c}
			po.Sticky = f.target.Sticky
		}, 0},
		{"sticky client_ip behind a proxy", sends("X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n"), smallResponse, canned, func(f *fixture, po *pool.Options, g *Generation, _ *Limits) {
			ip := sticky.DefaultClientIP()
			f.target.Sticky = &sticky.Options{ClientIP: &ip}
			po.Sticky = f.target.Sticky
			trusting(g)
		}, 0},
		{"consistent_hash", smallGet, smallResponse, canned, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
			f.target.Key = balancer.Key{Source: "header", Name: "x-user-id"}
			po.Policy = balancer.Options{Policy: "consistent_hash", Key: f.target.Key}
		}, 0},
		{"16 KiB", smallGet, large, canned, nil, 0},
		{"chunked", smallGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", canned, nil, 0},
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they are given under the race detector")
	}
	for _, tc := range costs(t) {
		t.Run(tc.name, func(t *testing.T) {
			var id string
			f := newFixture(t, []string{tc.backend(tc.response), tc.backend(tc.response)}, tc.change)
			if id = f.pool.Snapshot().ID(0); tc.name == "sticky cookie" {
				tc.request = strings.Replace(tc.request, sticky.ID("", "web", ""), id, 1)
			}
			nc, _ := f.dial(t)
			request, buf := []byte(tc.request), make([]byte, 32<<10)
			for range 200 {
				roundTrip(t, nc, request, buf, len(tc.response))
			}
			if allocs := testing.AllocsPerRun(1000, func() { roundTrip(t, nc, request, buf, len(tc.response)) }); allocs > tc.budget {
				t.Errorf("%v allocations, want %v at most", allocs, tc.budget)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, tc := range costs(b) {
		b.Run(strings.ReplaceAll(tc.name, " ", "_"), func(b *testing.B) {
			f := newFixture(b, []string{tc.backend(tc.response), tc.backend(tc.response)}, tc.change)
			if tc.name == "sticky cookie" {
				tc.request = strings.Replace(tc.request, sticky.ID("", "web", ""), f.pool.Snapshot().ID(0), 1)
			}
			nc, _ := f.dial(b)
			request, buf := []byte(tc.request), make([]byte, 32<<10)
			b.ReportAllocs()
			for b.Loop() {
				roundTrip(b, nc, request, buf, len(tc.response))
			}
		})
	}
}

// BenchmarkHead builds heads as requests of browsers have them.
func BenchmarkHead(b *testing.B) {
	const fields = "Host: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://shop.example.com/\r\nCookie: session=0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\nSec-Fetch-Mode: navigate\r\n\r\n"
	f := newFixture(b, []string{cannedBackend(b, smallResponse)}, nil)
	c := &clientConn{listener: f.listener, peerText: []byte("192.0.2.1")}
	if err := c.req.Parse([]byte("GET /a/b?c=d HTTP/1.1\r\n" + fields)); err != nil {
		b.Fatal(err)
	}
	x := acquireExchange(c)
	defer x.release()
	x.route, x.target, x.snap, x.index = f.route, f.target, f.pool.Snapshot(), 0
	if err := x.resp.Parse([]byte("HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1234\r\nETag: W/\"4d2\"\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"), false); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.idLen = 0
			buf = x.appendRequestHead(buf[:0], x.snap.Endpoints[0])
		}
	})
	b.Run("response", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = x.appendResponseHead(buf[:0], false)
		}
	})
}

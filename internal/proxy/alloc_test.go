package proxy

import (
	"net"
	"testing"
)

const smallResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

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

// TestSmallGetAllocations holds the budget of the whole path: sockets, fasthttp,
// routing, picking, both heads and the response. The one allocation is the
// single byte by which fasthttp waits for a request without holding a buffer.
func TestSmallGetAllocations(t *testing.T) {
	f := newFixture(t, []string{cannedBackend(t, smallResponse), cannedBackend(t, smallResponse)}, nil)
	nc, _ := f.dial(t)
	request := []byte("GET /hello?a=b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\n\r\n")
	buf := make([]byte, 4096)
	for range 100 {
		roundTrip(t, nc, request, buf, len(smallResponse))
	}
	if allocs := testing.AllocsPerRun(2000, func() { roundTrip(t, nc, request, buf, len(smallResponse)) }); allocs > 1 {
		t.Errorf("a small GET costs %v allocations, want 1 at most", allocs)
	}
}

func BenchmarkSmallGet(b *testing.B) {
	f := newFixture(b, []string{cannedBackend(b, smallResponse), cannedBackend(b, smallResponse)}, nil)
	nc, _ := f.dial(b)
	request := []byte("GET /hello?a=b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\n\r\n")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		roundTrip(b, nc, request, buf, len(smallResponse))
	}
}

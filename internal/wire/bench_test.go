package wire

import (
	"strings"
	"testing"
	"time"
)

// browserHead is what a browser sends: 15 fields, about 900 octets.
var browserHead = lines("GET /assets/app.js?v=3f2a91 HTTP/1.1", "Host: www.example.com", "Connection: keep-alive",
	`sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"`, "sec-ch-ua-mobile: ?0",
	`sec-ch-ua-platform: "Linux"`, "Upgrade-Insecure-Requests: 1",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
	"Referer: https://www.example.com/start", "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-GB,en;q=0.9",
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; sy=AbCdEfGh")

var nodeHead = lines("HTTP/1.1 200 OK", "X-Powered-By: Express", "Content-Type: application/json; charset=utf-8",
	"Content-Length: 27", `ETag: W/"1b-QRS0tuVwXyZ"`, "Vary: Accept-Encoding", "Date: Mon, 03 Nov 2025 10:00:00 GMT",
	"Connection: keep-alive", "Keep-Alive: timeout=5")

// endless repeats s.
type endless struct {
	s  string
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.s[e.at:])
	e.at = (e.at + n) % len(e.s)
	return n, nil
}

// TestAllocations: heads and bodies are read without any.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	head := strings.Replace(nodeHead, "Content-Length: 27", "Transfer-Encoding: chunked", 1)
	chunks := "5\r\nhello\r\n3;a=b\r\nxyz\r\n0\r\n\r\n"
	var req Request
	var resp Response
	var body Body
	requests, responses := newReader(&endless{s: browserHead}), newReader(&endless{s: head + chunks})
	once := func() {
		head, err := requests.Head(1 << 16)
		if err == nil {
			err = req.Parse(head)
		}
		if err != nil {
			t.Fatal(err)
		}
		requests.EndMessage()
		if head, err = responses.Head(1 << 16); err == nil {
			err = resp.Parse(head, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		body.Init(responses, resp.Framing, resp.Length)
		for !body.Done() {
			if _, err := body.Next(); err != nil && !body.Done() {
				t.Fatal(err)
			}
		}
		responses.EndMessage()
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n != 0 {
		t.Errorf("a request and a response cost %v allocations, want 0", n)
	}
	out := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() { out = AppendLastChunk(AppendChunk(out[:0], out[:3]), nil) }); n != 0 {
		t.Errorf("writing a chunk costs %v allocations", n)
	}
}

// The budgets of the heads, several times what they cost here (1.1 µs and 0.6
// µs on a shared core), so that only work of another order breaks them.
const (
	requestBudget  = 5 * time.Microsecond
	responseBudget = 2500 * time.Nanosecond
)

func TestParseBudget(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("times mean nothing here")
	}
	var req Request
	var resp Response
	for name, c := range map[string]struct {
		run    func() error
		budget time.Duration
	}{
		"request":  {func() error { return req.Parse([]byte(browserHead)) }, requestBudget},
		"response": {func() error { return resp.Parse([]byte(nodeHead), false) }, responseBudget},
	} {
		const n = 5000
		best := time.Hour
		for range 20 {
			start := time.Now()
			for range n {
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
			}
			best = min(best, time.Since(start)/n)
		}
		if best > c.budget {
			t.Errorf("%s: %v, the budget is %v", name, best, c.budget)
		}
	}
}

func BenchmarkRequestHead(b *testing.B) {
	var r Request
	head := []byte(browserHead)
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if err := r.Parse(head); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResponseHead(b *testing.B) {
	var r Response
	head := []byte(nodeHead)
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if err := r.Parse(head, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHead(b *testing.B) {
	rd := newReader(&endless{s: browserHead})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rd.Head(1 << 16); err != nil {
			b.Fatal(err)
		}
		rd.EndMessage()
	}
}

func BenchmarkChunkedBody(b *testing.B) {
	s := string(AppendLastChunk(AppendChunk(nil, []byte(strings.Repeat("x", 16<<10))), nil))
	rd := newReader(&endless{s: s})
	var body Body
	b.ReportAllocs()
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		body.Init(rd, FramingChunked, -1)
		for !body.Done() {
			if _, err := body.Next(); err != nil && !body.Done() {
				b.Fatal(err)
			}
		}
	}
}

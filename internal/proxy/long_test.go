package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// content is n bytes that no other seed has anywhere near the same place.
func content(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i < n; i += 8 {
		v := r.Uint64()
		for j := i; j < min(n, i+8); j++ {
			b[j] = byte(v >> (8 * (j - i)))
		}
	}
	return b
}

// TestLongBodiesStayWhole: bodies around the length from which they go by inside the
// kernel arrive as they were sent, both ways, one behind the other on the same
// connections, after others that broke off in the middle.
func TestLongBodiesStayWhole(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, err := io.ReadAll(r.Body)
			if err == nil {
				fmt.Fprintf(w, "%x", sha256.Sum256(b))
			}
			return
		}
		n, _ := strconv.Atoi(r.FormValue("n"))
		seed, _ := strconv.ParseUint(r.FormValue("seed"), 10, 64)
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = w.Write(content(n, seed))
	}))
	t.Cleanup(backend.Close)
	f := newFixture(t, []string{strings.TrimPrefix(backend.URL, "http://")}, nil)
	sizes := []int{minPiped - 1, minPiped, minPiped + 1, 100_000, 128 << 10, 300_000, 1 << 20, 3<<20 + 7}
	var all sync.WaitGroup
	for c := range uint64(8) { // who leaves first, leaves nothing behind for the others
		all.Go(func() { f.leaveDuring(t, 8<<20, c) })
	}
	all.Wait()
	for c := range uint64(8) {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for i, n := range sizes {
				seed := c*100 + uint64(i)
				url := fmt.Sprintf("http://%s/?n=%d&seed=%d", f.addr, n, seed)
				want := content(n, seed)
				res, err := client.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes down: %d arrived, not those that were sent; %v", n, len(got), err)
				}
				if res, err = client.Post(url, "application/octet-stream", bytes.NewReader(want)); err != nil {
					t.Error(err)
					return
				}
				got, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if sum := fmt.Sprintf("%x", sha256.Sum256(want)); err != nil || string(got) != sum {
					t.Errorf("%d bytes up: the backend got others; %q, %v", n, got, err)
				}
			}
		})
	}
	all.Wait()
}

// leaveDuring is a client that goes away in the middle of a response that it keeps
// waiting, and then one that goes away in the middle of its request. n is to be much more
// than the kernel keeps for a slow reader.
func (f *fixture) leaveDuring(t testing.TB, n int, seed uint64) {
	for _, request := range []string{
		fmt.Sprintf("GET /?n=%d&seed=%d HTTP/1.1\r\nHost: a\r\n\r\n", n, seed),
		fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", n, content(n/2, seed)),
	} {
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Error(err)
			return
		}
		_ = nc.(*net.TCPConn).SetReadBuffer(4096)
		if _, err := io.WriteString(nc, request); err == nil && strings.HasPrefix(request, "GET") {
			_, _ = io.ReadFull(nc, make([]byte, 10_000))
		}
		_ = nc.Close()
	}
}

package streaming_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

const (
	gigabyte = 1 << 30
	// allowed is how much a transfer of any size may add to steelyard's memory.
	allowed = 32 << 20
	// inKernel is how much the socket buffers between two ends, with a proxy
	// in the middle, may hold while the receiving end does not read.
	inKernel = 32 << 20
)

// block is what downloads repeat; app.mjs makes the same.
var block = func() []byte {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i*31 + i>>8)
	}
	return b
}()

// warm moves a little, so that what is measured later is not the start.
func warm(t *testing.T, s *harness.Steelyard) {
	t.Helper()
	c := harness.Client(t)
	for range 4 {
		upload(t, c, s.URL+"/upload", 8<<20, true)
		download(t, c, s.URL+"/download?bytes=8388608", 8<<20)
	}
}

// grows runs a transfer and fails if it adds more to steelyard's memory than allowed.
func grows(t *testing.T, s *harness.Steelyard, transfer func()) {
	t.Helper()
	s.ResetPeak(t)
	before, _ := s.Memory(t)
	began := time.Now()
	transfer()
	_, peak := s.Memory(t)
	t.Logf("memory %d MiB, at most %d MiB, in %v", before>>20, peak>>20, time.Since(began).Round(10*time.Millisecond))
	if peak-before > allowed {
		t.Errorf("memory grew from %d MiB to %d MiB", before>>20, peak>>20)
	}
}

// repeated reads as size bytes of blocks.
type repeated struct{ left, at int }

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.left)], block[r.at:])
	r.at = (r.at + n) % len(block)
	r.left -= n
	return n, nil
}

func upload(t *testing.T, c *http.Client, url string, size int, chunked bool) {
	t.Helper()
	hash := sha256.New()
	req, err := http.NewRequest("POST", url, io.TeeReader(&repeated{left: size}, hash))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(size)
	if chunked {
		req.ContentLength = -1
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct {
		Size   int
		SHA256 string
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatalf("the answer to the upload (%s): %v", res.Status, err)
	}
	if want := hex.EncodeToString(hash.Sum(nil)); got.Size != size || got.SHA256 != want {
		t.Fatalf("uploaded %d bytes with SHA-256 %s, but %+v arrived", size, want, got)
	}
}

func download(t *testing.T, c *http.Client, url string, size int) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, buf := 0, make([]byte, len(block))
	for got < size {
		n, err := io.ReadFull(res.Body, buf[:min(len(buf), size-got)])
		if err != nil || !bytes.Equal(buf[:n], block[:n]) {
			t.Fatalf("the download differs after %d bytes: %v", got, err)
		}
		got += n
	}
	if n, err := res.Body.Read(buf); n > 0 || err != io.EOF {
		t.Fatalf("after the download: %d more bytes, %v", n, err)
	}
}

func TestAGigabyteEachWayInBoundedMemory(t *testing.T) {
	app := harness.App(t, "a")
	s := behind(t, app.Address)
	warm(t, s)
	for _, chunked := range []bool{false, true} {
		framing, query := "with Content-Length", ""
		if chunked {
			framing, query = "chunked", "&chunked"
		}
		t.Run("upload "+framing, func(t *testing.T) {
			grows(t, s, func() { upload(t, harness.Client(t), s.URL+"/upload", gigabyte, chunked) })
		})
		t.Run("download "+framing, func(t *testing.T) {
			url := fmt.Sprintf("%s/download?bytes=%d%s", s.URL, gigabyte, query)
			grows(t, s, func() { download(t, harness.Client(t), url, gigabyte) })
		})
	}
}

// pace is how slow the slow side is, in bytes per second, for how long it is watched.
const (
	pace  = 1_000_000
	watch = 5 * time.Second
)

func TestASlowReaderSlowsTheSender(t *testing.T) {
	for _, query := range []string{"", "&chunked"} {
		t.Run("download"+query, func(t *testing.T) {
			t.Parallel()
			app := harness.App(t, "a")
			s := behind(t, app.Address)
			warm(t, s)
			sentBefore := app.Stats(t).Sent
			grows(t, s, func() {
				res, err := harness.Client(t).Get(fmt.Sprintf("%s/download?bytes=%d%s", s.URL, gigabyte, query))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				var read int64
				for began := time.Now(); time.Since(began) < watch; {
					n, err := io.CopyN(io.Discard, res.Body, pace/20)
					if err != nil {
						t.Fatal(err)
					}
					read += n
					time.Sleep(50 * time.Millisecond) // The pace of the reader.
				}
				if sent := app.Stats(t).Sent - sentBefore; sent > read+inKernel {
					t.Errorf("the backend had sent %d MiB when the client had read %d MiB", sent>>20, read>>20)
				}
			})
		})
	}
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("upload chunked=%v", chunked), func(t *testing.T) {
			t.Parallel()
			app := harness.App(t, "a")
			s := behind(t, app.Address)
			warm(t, s)
			receivedBefore := app.Stats(t).Received
			grows(t, s, func() {
				var given atomic.Int64
				stop := make(chan struct{})
				body := readerFunc(func(p []byte) (int, error) {
					select {
					case <-stop:
						return 0, io.ErrUnexpectedEOF
					default:
					}
					p = p[:min(len(p), 64<<10)]
					given.Add(int64(len(p)))
					return len(p), nil
				})
				req, err := http.NewRequest("POST", fmt.Sprintf("%s/upload?bps=%d", s.URL, pace), body)
				if err != nil {
					t.Fatal(err)
				}
				if !chunked {
					req.ContentLength = gigabyte
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					if res, err := harness.Client(t).Do(req); err == nil {
						res.Body.Close()
						t.Errorf("an upload that was broken off was answered with %s", res.Status)
					}
				}()
				time.Sleep(watch) // How long the upload is watched, not a wait for anything.
				gave, received := given.Load(), app.Stats(t).Received-receivedBefore
				close(stop)
				<-done
				if gave > received+inKernel {
					t.Errorf("the client had sent %d MiB when the backend had read %d MiB", gave>>20, received>>20)
				}
				if received == 0 {
					t.Error("nothing arrived")
				}
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

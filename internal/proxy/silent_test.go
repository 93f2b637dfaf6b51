package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/healthcheck"
	"steelyard/internal/pool"
)

// freezing is a backend that answers with its name until it is frozen; then it
// takes requests, its checks included, and never answers.
type freezing struct {
	*httptest.Server
	frozen atomic.Bool
	posts  atomic.Int64 // requests other than checks
}

func newFreezing(t *testing.T, name string) *freezing {
	f := &freezing{}
	stop := make(chan struct{})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if r.URL.Path != "/check" {
			f.posts.Add(1)
		}
		if f.frozen.Load() {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
			return
		}
		fmt.Fprint(w, name)
	}))
	t.Cleanup(func() { close(stop); f.Close() })
	return f
}

func (f *freezing) address() string { return strings.TrimPrefix(f.URL, "http://") }

// TestRequestsLeaveASilentBackend: what waits for a backend that its checks find
// silent goes to another one, if it may be repeated, and nothing else does.
func TestRequestsLeaveASilentBackend(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: 1\r\n"
	for _, c := range []struct {
		name    string
		request string
		change  func(*fixture, *pool.Options)
		moves   bool
	}{
		{"GET", request("GET", "", ""), nil, true},
		{"PUT with body", request("PUT", "", "payload"), nil, true},
		{"POST", request("POST", "", "payload"), nil, false},
		{"POST with Idempotency-Key", request("POST", key, "payload"), nil, true},
		{"one attempt", request("GET", "", ""), func(f *fixture, _ *pool.Options) { f.target.Retry.Attempts = 1 }, false},
		{"repeated after failed connections alone", request("GET", "", ""), func(f *fixture, _ *pool.Options) { f.target.Retry.Reset = false }, false},
		{"body beyond the limit", request("PUT", "", "payload"), func(f *fixture, _ *pool.Options) { f.target.Retry.BodyLimit = 6 }, false},
		{"nobody else", request("GET", "", ""), func(_ *fixture, po *pool.Options) { po.Backends = po.Backends[:1] }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first, second := newFreezing(t, "first"), newFreezing(t, "second")
			checks := healthcheck.NewScheduler()
			t.Cleanup(checks.Close)
			f := newFixture(t, []string{first.address(), second.address()}, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				withBackup(po)
				o := healthcheck.DefaultOptions()
				o.Interval, o.FastInterval, o.Timeout, o.Fall, o.HTTP.Path = 50*time.Millisecond, 50*time.Millisecond, 250*time.Millisecond, 2, "/check"
				po.Check, po.Checks = &o, checks
				po.Transport.ResponseTimeout = 4 * time.Second // far beyond what the checks take
				if c.change != nil {
					c.change(f, po)
				}
			})
			<-f.pool.Ready()
			first.frozen.Store(true)
			resp, body := f.do(t, c.request)
			if c.moves && (resp.StatusCode != 200 || body != "second") {
				t.Errorf("got %d %q, want the second backend", resp.StatusCode, body)
			}
			if !c.moves && resp.Header.Get("X-Steelyard-Cause") != "response_timeout" {
				t.Errorf("got %d %q, want response_timeout", resp.StatusCode, body)
			}
			if n := second.posts.Load(); (n == 1) != c.moves {
				t.Errorf("the second backend got %d requests", n)
			}
			if n := f.pool.Stats.Ejections.Load(); n != 0 {
				t.Errorf("%d backends were ejected for what their checks have told", n)
			}
		})
	}
}

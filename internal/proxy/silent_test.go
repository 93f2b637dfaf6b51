package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
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
		if r.URL.Path == "/begins" {
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush() // A client that has left is seen below.
			f.frozen.Store(true)
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
				o := quickChecks()
				po.Check, po.Checks = &o, checks
				po.Transport.ResponseTimeout = 5 * time.Second // far beyond what the checks take
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

// TestBodyOfASilentBackend: a body of which nothing comes any more is cut after
// the time for a head, if the checks wait in vain too, though bodies may be quiet
// for as long as they like.
func TestBodyOfASilentBackend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		checked bool
	}{{"checked", true}, {"without a check", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newFreezing(t, "only")
			checks := healthcheck.NewScheduler()
			t.Cleanup(checks.Close)
			f := newFixture(t, []string{b.address()}, func(_ *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				if c.checked {
					o := quickChecks()
					po.Check, po.Checks = &o, checks
				}
				po.Transport.ResponseTimeout = 200 * time.Millisecond
			})
			<-f.pool.Ready()
			nc, r := f.dial(t)
			send(t, nc, "GET /begins HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if !c.checked { // It is still there after the time that the other case takes.
				if err := nc.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			body, err := io.ReadAll(resp.Body)
			if string(body) != "begun" || err == nil || errors.Is(err, os.ErrDeadlineExceeded) == c.checked {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
}

// quickChecks find a backend silent within a second.
func quickChecks() healthcheck.Options {
	o := healthcheck.DefaultOptions()
	o.Interval, o.FastInterval, o.Timeout, o.Fall, o.HTTP.Path = 50*time.Millisecond, 50*time.Millisecond, 500*time.Millisecond, 2, "/check"
	return o
}

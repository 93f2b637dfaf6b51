package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"steelyard/internal/errorlog"
	"steelyard/internal/pool"
	"steelyard/internal/router"
)

// TestErrorsAreRecorded: what Steelyard answered or cut, and 5xx that backends
// gave, with every attempt; what went well and clients that left are not.
func TestErrorsAreRecorded(t *testing.T) {
	t.Parallel()
	const failing = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
	cases := []struct {
		name     string
		first    func(testing.TB) string
		second   func(testing.TB) string
		request  string
		cause    string
		status   int
		attempts []string // backend/cause/class/status
	}{
		{"ok", cannedResponse(smallResponse), nil, "", "", 0, nil},
		{"a backend's 404", cannedResponse("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), nil, "", "", 0, nil},
		{"a backend's 503", cannedResponse(failing), nil, "", "", 503, []string{"0///503"}},
		{"refused, then a backend's 503", refusedBackend, cannedResponse(failing), "", "", 503,
			[]string{"0/connect_refused/unsent/0", "1///503"}},
		{"refused, then closed", refusedBackend, closingBackend, "", "reset_before_response", 502,
			[]string{"0/connect_refused/unsent/0", "1/reset_before_response/possibly_processed/0"}},
		{"a status that is repeated, then cut", cannedResponse("HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n"), cutBackend("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell"), "",
			"response_truncated", 0, []string{"0/status/possibly_processed/429", "1/response_truncated/possibly_processed/200"}},
		{"no request at all", cannedResponse(smallResponse), nil, "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "bad_request", 400, nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			backends := []string{tc.first(t)}
			if tc.second != nil {
				backends = append(backends, tc.second(t))
			}
			f := newFixture(t, backends, func(f *fixture, po *pool.Options, _ *Generation, _ *Limits) {
				withBackup(po)
				f.target.Retry.Statuses = []int{429}
			})
			if tc.request == "" {
				tc.request = "GET /some/path?secret HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
			}
			f.exchangeRaw(t, tc.request)
			if tc.cause == "" && tc.status == 0 {
				waitFor(t, "it is counted", func() bool { return f.pool.Stats.Classes.Read() != [6]int64{} })
				if records, total := f.ErrorLog().Last(); total != 0 {
					t.Errorf("recorded: %+v", records)
				}
				return
			}
			var records []errorlog.Record
			waitFor(t, "it is recorded", func() bool { records, _ = f.ErrorLog().Last(); return len(records) == 1 })
			r := records[0]
			var attempts []string
			for _, a := range r.Attempts {
				n := 0
				for n < len(backends) && backends[n] != a.Backend {
					n++
				}
				attempts = append(attempts, fmt.Sprintf("%d/%s/%s/%d", n, a.Cause, a.Class, a.Status))
			}
			if r.Cause != tc.cause || r.Status != tc.status || fmt.Sprint(attempts) != fmt.Sprint(tc.attempts) {
				t.Errorf("got %q %d %q, want %q %d %q", r.Cause, r.Status, attempts, tc.cause, tc.status, tc.attempts)
			}
			if len(r.RequestID) != 32 || r.Listener != "test" || r.Client != "127.0.0.1" || r.At.IsZero() || r.Total <= 0 {
				t.Errorf("got %+v", r)
			}
			if r.Cause != "bad_request" && (r.Method != "GET" || r.Host != "example.com" || r.Path != "/some/path" || r.Route != "all" || r.Pool != "web") {
				t.Errorf("got %+v", r)
			}
			if (r.Cause == "") != (r.Hint == "") {
				t.Errorf("cause %q with the hint %q", r.Cause, r.Hint)
			}
		})
	}
}

func refusedBackend(t testing.TB) string { return refused(t) }

// TestAFloodOfErrorsIsCounted: beyond the bound errors are counted and not kept.
func TestAFloodOfErrorsIsCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, func(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) {
		g.Routes = nil
		g.Table, _ = router.New(nil)
	})
	f.Proxy.records.lines, f.Proxy.records.second = recordsPerSecond, never // as if the second were full
	now, dropped := 0, 0
	for range 3 {
		if ok, n := f.records.allow(recordsPerSecond); ok {
			now, dropped = now+1, n
		}
	}
	if now != 3 || dropped != 0 { // another second began
		t.Errorf("%d of 3 allowed, %d dropped", now, dropped)
	}
	nc, r := f.dial(t)
	const n = 3 * recordsPerSecond
	go io.WriteString(nc, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", n))
	for range n {
		if resp, _ := readResponse(t, r, "GET"); resp.StatusCode != 404 {
			t.Fatalf("got %d", resp.StatusCode)
		}
	}
	waitFor(t, "all are counted", func() bool { _, total := f.ErrorLog().Last(); return total == n })
}

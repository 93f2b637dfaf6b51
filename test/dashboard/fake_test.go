package dashboard_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/internal/admin/ui"
)

// fake is an admin API that says what a test wants, for what is hard to bring
// about, or too hostile to be run. Its answers are of the shape of the real one,
// which the other tests use.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	json  map[string]any // by path
	live  map[string]any
	posts []string

	streams atomic.Int64 // that are open
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{json: map[string]any{
		"/api/v1/generation": map[string]any{"id": 3, "since": time.Now().Add(-time.Hour), "file": "shop.yaml", "reloads": 2, "reloads_failed": 0, "last_reload_ok": true},
		"/api/v1/audit":      map[string]any{"total": 0, "orders": []any{}},
		"/api/v1/errors":     map[string]any{"total": 0, "errors": []any{}},
		"/api/v1/routes":     map[string]any{"routes": []any{}},
	}}
	m := http.NewServeMux()
	m.Handle("GET /{$}", ui.Handler())
	m.Handle("GET /ui/", ui.Handler())
	m.HandleFunc("GET /api/v1/stream", f.stream)
	m.HandleFunc("GET /api/v1/history", history)
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Method == "POST" {
			body, _ := io.ReadAll(r.Body)
			f.posts = append(f.posts, r.URL.EscapedPath()+" "+string(body))
		}
		v, known := f.json[r.URL.Path]
		if !known {
			v = map[string]any{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	})
	f.Server = httptest.NewServer(m)
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections)
	return f
}

// set changes what is answered at a path; the path "live" is the stream.
func (f *fake) set(path string, v map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path == "live" {
		f.live = v
	} else {
		f.json[path] = v
	}
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	f.streams.Add(1)
	defer f.streams.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		if f.live != nil {
			f.live["at"] = time.Now()
		}
		text, err := json.Marshal(f.live)
		f.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "event: live\ndata: %s\n\n", text); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// history is 15 minutes of waves.
func history(w http.ResponseWriter, r *http.Request) {
	columns := map[string][]any{}
	for _, name := range []string{"rps", "errors", "p50_ms", "p95_ms", "p99_ms"} {
		for i := range 900 {
			x := float64(i)
			v := map[string]float64{"rps": 120, "errors": 0.4, "p50_ms": 4, "p95_ms": 11, "p99_ms": 24}[name]
			columns[name] = append(columns[name], v*(1+0.3*math.Sin(x/60)+0.05*math.Sin(x*1.7)))
		}
	}
	if r.URL.Query().Has("causes") {
		columns = map[string][]any{"connect_refused": columns["errors"]}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"step_ms": 1000, "from": time.Now().Add(-900 * time.Second), "columns": columns})
}

// liveOf is an event with one pool of these backends.
func liveOf(pool string, more map[string]any, backends ...map[string]any) map[string]any {
	p := map[string]any{
		"name": pool, "policy": "round_robin", "healthy": len(backends), "total": len(backends), "rps": 120.5, "error_share": 0.012,
		"p50_ms": 4.1, "p95_ms": 11.5, "p99_ms": 24.9, "waiting": 0, "fail_open": false, "held": 0, "sources_failing": 0, "backends": backends,
	}
	for k, v := range more {
		p[k] = v
	}
	return map[string]any{
		"total": map[string]any{"rps": 120.5, "error_share": 0.012, "p50_ms": 4.1, "p95_ms": 11.5, "p99_ms": 24.9, "connections": 48, "causes": []any{}},
		"pools": []any{p},
	}
}

func liveBackend(address, state string) map[string]any {
	return map[string]any{
		"address": address, "state": state, "usable": state == "healthy", "weight": 2, "percent": 100, "backup": false, "rps": 40.2,
		"share": 0.34, "intended_share": 0.33, "error_share": 0.0, "first_byte_ms": 3.9, "in_flight": 2, "open": 6, "idle": 4, "upgraded": 1,
	}
}

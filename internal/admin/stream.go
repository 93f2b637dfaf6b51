package admin

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	maxViewers  = 1000             // that watch at a time
	quietEvery  = 3 * time.Second  // between signs of life when there are no events
	viewerStall = 10 * time.Second // that a write may take before the viewer is dropped
	viewerQueue = 4                // events that a slow viewer may be behind
)

// hub hands events to all who watch. An event is encoded once; whoever is too
// slow for them is dropped and comes again.
type hub struct {
	mu      sync.Mutex
	viewers map[*viewer]struct{}
	last    []byte
	over    bool
}

// viewer is one who watches. Its channel is closed by whoever takes it out of the
// hub.
type viewer struct{ events chan []byte }

func (h *hub) init() { h.viewers = make(map[*viewer]struct{}) }

// join returns nil when there are too many, or none any more.
func (h *hub) join() *viewer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || len(h.viewers) >= maxViewers {
		return nil
	}
	v := &viewer{events: make(chan []byte, viewerQueue)}
	if h.last != nil {
		v.events <- h.last
	}
	h.viewers[v] = struct{}{}
	return v
}

func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, in := h.viewers[v]; in {
		delete(h.viewers, v)
		close(v.events)
	}
	if len(h.viewers) == 0 {
		h.last = nil // It would be old when the next one comes.
	}
}

// watched reports whether anybody wants events.
func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.viewers) > 0
}

// publish hands an event to all; it must not be changed any more.
func (h *hub) publish(event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = event
	for v := range h.viewers {
		select {
		case v.events <- event:
		default:
			delete(h.viewers, v)
			close(v.events)
		}
	}
}

// close ends all streams and lets no other begin.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	for v := range h.viewers {
		delete(h.viewers, v)
		close(v.events)
	}
}

// stream sends events until the viewer leaves.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	v := s.hub.join()
	if v == nil {
		(&failure{status: http.StatusServiceUnavailable, why: "too many watch already, or Steelyard is stopping", cure: "close other dashboards, or ask GET /api/v1/pools from time to time", retryAfter: "5"}).write(w)
		return
	}
	defer s.hub.leave(v)
	conn := http.NewResponseController(w)
	send := func(event []byte) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(viewerStall))
		_, err := w.Write(event)
		return err == nil && conn.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for an nginx in front
	if !send([]byte("retry: 1000\n\n")) {
		return
	}
	quiet := time.NewTicker(quietEvery)
	defer quiet.Stop()
	for {
		event := []byte(": nothing new\n\n")
		select {
		case <-r.Context().Done():
			return
		case live, ok := <-v.events:
			if !ok {
				return
			}
			event = live
			quiet.Reset(quietEvery)
		case <-quiet.C:
		}
		if !send(event) {
			return
		}
	}
}

// feed publishes each second of the history, encoded once, while somebody
// watches.
func (s *Server) feed(ctx context.Context, h *History) {
	for {
		changed := h.Changed()
		if s.hub.watched() {
			if live := h.Now(); live != nil {
				s.hub.publish(slices.Concat([]byte("event: live\ndata: "), live.JSON(), []byte("\n\n")))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

package admin

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxAudit is how many orders are remembered.
const maxAudit = 200

// order is one thing that somebody wanted changed.
type order struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`  // loopback, unix socket, token, token_file, certificate NAME
	From   string    `json:"from"` // address; "" for a unix socket
	What   string    `json:"what"` // drain, enable, disable, weight, release, reload, log level
	Pool   string    `json:"pool,omitempty"`
	On     string    `json:"backend,omitempty"`
	Value  string    `json:"value,omitempty"` // of a drain, a weight or a level
	Result string    `json:"result"`          // "ok", or why it was not done
}

// audit keeps the last orders.
type audit struct {
	mu    sync.Mutex
	ring  [maxAudit]order
	count int64
}

func (a *audit) add(o *order) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ring[a.count%maxAudit] = *o
	a.count++
}

// last returns the orders, newest first, and how many there ever were.
func (a *audit) last() (list []order, total int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list = make([]order, 0, min(a.count, maxAudit))
	for i := range min(a.count, maxAudit) {
		list = append(list, a.ring[(a.count-1-i)%maxAudit])
	}
	return list, a.count
}

// orderOf is what a request orders, by its path alone: for orders that are refused
// before anybody reads them.
func orderOf(r *http.Request) order {
	o := order{What: r.PathValue("action"), Pool: r.PathValue("pool"), On: r.PathValue("address")}
	if o.What == "" { // release, reload and log end with what they are
		_, o.What, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/api"), "/v1/")
		o.What = o.What[strings.LastIndexByte(o.What, '/')+1:]
	}
	if o.What == "log" {
		o.What = "log level"
	}
	return o
}

// told writes an order and what came of it into the audit and the log.
func (s *Server) told(r *http.Request, o order, err error) {
	c := callerOf(r)
	o.At, o.Who, o.From, o.Result = time.Now(), c.who, c.from, "ok"
	level := slog.LevelInfo
	if err != nil {
		o.Result, level = clip(err.Error(), 500), slog.LevelWarn
	}
	o.What, o.Pool, o.On, o.Value = clip(o.What, 20), clip(o.Pool, 100), clip(o.On, 300), clip(o.Value, 100)
	s.memory.audit.add(&o)
	attrs := []slog.Attr{slog.String("what", o.What), slog.String("who", o.Who), slog.String("result", o.Result)}
	for _, a := range [][2]string{{"from", o.From}, {"pool", o.Pool}, {"backend", o.On}, {"value", o.Value}} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	slog.LogAttrs(context.Background(), level, "told by the operator", attrs...)
}

func (s *Server) showAudit(w http.ResponseWriter, _ *http.Request) {
	list, total := s.memory.audit.last()
	writeJSON(w, http.StatusOK, map[string]any{"total": total, "orders": list})
}

// clip bounds a text that others chose.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Package admin serves the admin API: what the process is doing, and what the
// operator tells it. It listens apart from the traffic and decides who may use
// it. It knows pools and the words of package explain, and nothing of how
// requests are served; what it needs of the process it asks of Control.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"steelyard/config"
	"steelyard/internal/admin/ui"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
)

const (
	maxBody        = 64 << 10        // of a command, in bytes
	maxConnections = maxViewers + 64 // at a time
)

// Options say where the API listens and who may use it, and what runs.
type Options struct {
	config.Admin
	Build metrics.Build
}

// Server is the admin API of one process.
type Server struct {
	control Control
	access  *access
	memory  *memory
	version string
	hub     hub
	http    http.Server
	stop    context.CancelFunc // ends feed
	running sync.WaitGroup     // what Serve has started
	clients *limited           // connections that Serve has accepted
	letsIn  sync.WaitGroup     // accepts them
}

// New makes the API for a process. It reads the files that the options name, and
// fails when they are not what they should be.
func New(c Control, o Options) (*Server, error) { return build(c, o, newMemory(c)) }

// With makes a server with other options that remembers what s does. It is to
// take the place of s, which is closed behind that.
func (s *Server) With(o Options) (*Server, error) { return build(s.control, o, s.memory) }

func build(c Control, o Options, m *memory) (*Server, error) {
	a, err := newAccess(o.Admin)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	s := &Server{control: c, access: a, memory: m, version: o.Build.Version}
	s.hub.init()
	s.http = http.Server{
		Handler:           s.guarded(s.routes(o)),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Serve answers on ln until Close.
func (s *Server) Serve(ln net.Listener) {
	s.clients = &limited{Listener: ln, most: maxConnections}
	ln = s.clients
	if s.access.tls != nil {
		s.access.tls.Start()
		ln = tlsListener{ln, s.access.tls}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	h := s.memory.join()
	s.running.Go(func() { s.feed(ctx, h) })
	s.letsIn.Go(func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			slog.Error("the admin API has stopped", "error", err)
		}
	})
}

// Close ends what is being answered within a second. Serve must have been called.
func (s *Server) Close() {
	s.stop()
	s.hub.close()
	s.letFinish()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.running.Wait()
	if s.access.tls != nil {
		s.access.tls.Close()
	}
	s.memory.leave()
}

// finishWithin is how long those who have connected may take to ask and be
// answered when the server ends.
const finishWithin = 500 * time.Millisecond

// letFinish lets nobody in any more, and gives those who are in their answers, also
// who came in at the last moment and is not counted yet. http.Server.Shutdown drops
// requests that it is reading at that moment.
func (s *Server) letFinish() {
	_ = s.clients.Listener.Close()
	s.letsIn.Wait()
	s.http.SetKeepAlivesEnabled(false)
	for end := time.Now().Add(finishWithin); s.clients.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}

// endpoint is one call of the API.
type endpoint struct {
	pattern string // method and path
	command bool   // it changes something
	answer  http.HandlerFunc
}

// endpoints are all calls of the API; openapi.json describes them.
func (s *Server) endpoints(o Options) []endpoint {
	return []endpoint{
		{"GET /livez", false, func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }},
		{"GET /readyz", false, s.readyz},
		{"GET /metrics", false, metrics.NewHandler(s.control.Sample, o.Build).ServeHTTP},
		{"GET /api/v1/pools", false, s.listPools},
		{"GET /api/v1/pools/{pool}", false, s.withPool(s.showPool)},
		{"GET /api/v1/backends", false, s.listBackends},
		{"POST /api/v1/pools/{pool}/release", true, s.withPool(s.release)},
		{"POST /api/v1/pools/{pool}/backends/{address}/{action}", true, s.withPool(s.operate)},
		{"GET /api/v1/listeners", false, s.listListeners},
		{"GET /api/v1/routes", false, s.listRoutes},
		{"POST /api/v1/explain", false, s.explain},
		{"GET /api/v1/errors", false, s.listErrors},
		{"GET /api/v1/session", false, s.showSession},
		{"GET /api/v1/generation", false, s.showGeneration},
		{"POST /api/v1/reload", true, s.reload},
		{"GET /api/v1/consul", false, s.showConsul},
		{"GET /api/v1/audit", false, s.showAudit},
		{"GET /api/v1/log", false, s.showLog},
		{"PUT /api/v1/log", true, s.setLog},
		{"GET /api/v1/history", false, s.showHistory},
		{"GET /api/v1/stream", false, s.stream},
		{"GET /api/v1/openapi.json", false, showOpenAPI},
	}
}

func (s *Server) routes(o Options) *http.ServeMux {
	m := http.NewServeMux()
	for _, e := range s.endpoints(o) {
		answer := e.answer
		if e.command && o.ReadOnly {
			answer = s.refuseCommand
		}
		m.HandleFunc(e.pattern, answer)
	}
	files := ui.Handler()
	m.Handle("GET /{$}", files)
	m.Handle("GET /ui/", files)
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { nothing(m, w, r) })
	return m
}

// nothing answers what no endpoint takes: 405 where another method would be right.
func nothing(m *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		if _, pattern := m.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeFailure(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not for %s; %s is", clip(r.Method, 20), clip(r.URL.Path, 100), strings.Join(allowed, " or ")))
		return
	}
	writeFailure(w, http.StatusNotFound, fmt.Errorf("there is nothing at %s %s; the pools are at GET /api/v1/pools, and GET /api/v1/openapi.json describes the rest", clip(r.Method, 20), clip(r.URL.Path, 100)))
}

// refuseCommand stands in the place of all that changes something.
func (s *Server) refuseCommand(w http.ResponseWriter, r *http.Request) {
	f := &failure{
		status: http.StatusForbidden, why: readOnly + ", so nothing was changed",
		cure: "set admin.read_only to false in the configuration file and send SIGHUP",
	}
	s.told(r, orderOf(r), f)
	f.write(w)
}

// readyz says whether new requests are to be sent here: not before the pools know
// whom they may send them to, and not any more once Steelyard stops. It does not
// ask whether backends are healthy: whoever is in front would take away what
// explains that, and fails open. Names of pools are for who needs no token.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.control.Stopping() {
		writeText(w, http.StatusServiceUnavailable, "stopping\n")
		return
	}
	for _, p := range s.control.Pools() {
		select {
		case <-p.Ready():
		default:
			which := "a pool"
			if s.access.tokens == nil {
				which = "pool " + p.Name()
			}
			writeText(w, http.StatusServiceUnavailable, which+" waits for its first checks and sources\n")
			return
		}
	}
	writeText(w, http.StatusOK, "ok\n")
}

// withPool looks up the pool that the path names.
func (s *Server) withPool(f func(http.ResponseWriter, *http.Request, *pool.Pool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, pools := r.PathValue("pool"), s.control.Pools()
		i := slices.IndexFunc(pools, func(p *pool.Pool) bool { return p.Name() == name })
		if i < 0 {
			err := unknownPool(name, pools)
			if r.Method == http.MethodPost {
				s.told(r, orderOf(r), err)
			}
			writeFailure(w, http.StatusNotFound, err)
			return
		}
		f(w, r, pools[i])
	}
}

// unknownPool says which pools there are.
func unknownPool(name string, pools []*pool.Pool) error {
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name()
	}
	return fmt.Errorf("there is no pool %q; %s", clip(name, 100), instead(name, names))
}

// instead says what there is in the place of what was asked for: the one that was
// probably meant, or all.
func instead(got string, names []string) string {
	if near := config.Nearest(got, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return choice(names)
}

// choice lists names.
func choice(names []string) string {
	const most = 20
	if more := len(names) - most; more > 0 {
		names = append(names[:most:most], fmt.Sprintf("and %d more", more))
	}
	if len(names) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(names, ", ")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // cannot happen with the views of this package
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// writeCompact is writeJSON for what is long and read by programs alone.
func writeCompact(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// writeFailure answers with an error; status is for one that says none itself.
func writeFailure(w http.ResponseWriter, status int, err error) { failureOf(status, err).write(w) }

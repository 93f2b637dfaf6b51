// Package admin serves the admin API: what the pools are doing, and what the
// operator tells them. It listens apart from the traffic, for this machine
// alone, because it knows no users yet. It knows pools and nothing of requests.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"steelyard/discovery"
	"steelyard/internal/pool"
)

// maxBody bounds the body of a command, in bytes.
const maxBody = 64 << 10

// Server is the admin API of one process.
type Server struct {
	pools  []*pool.Pool
	consul *discovery.Consul
	http   http.Server
	done   chan struct{}
}

// New makes the API for pools, which are listed in this order, and for the
// connection to Consul, nil if there is none.
func New(pools []*pool.Pool, consul *discovery.Consul) *Server {
	s := &Server{pools: pools, consul: consul, done: make(chan struct{})}
	s.http = http.Server{
		Handler:           s.guarded(s.routes()),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on ln until Close.
func (s *Server) Serve(ln net.Listener) {
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("the admin API has stopped", "error", err)
		}
	}()
}

// Close ends what is being answered within a second. Serve must have been called.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

func (s *Server) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	m.HandleFunc("GET /readyz", s.readyz)
	m.HandleFunc("GET /api/v1/pools", s.listPools)
	m.HandleFunc("GET /api/v1/pools/{pool}", s.withPool(s.showPool))
	m.HandleFunc("POST /api/v1/pools/{pool}/release", s.withPool(s.release))
	m.HandleFunc("POST /api/v1/pools/{pool}/backends/{address}/{action}", s.withPool(s.operate))
	m.HandleFunc("GET /api/v1/consul", s.showConsul)
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, fmt.Errorf("there is nothing at %s %s; the pools are at GET /api/v1/pools", r.Method, r.URL.Path))
	})
	return m
}

// guarded keeps web pages that a browser on this machine shows from using the
// API: they would name another origin, or another host that was made to resolve
// to this machine, and cannot send JSON elsewhere unasked.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case !local(r.Host):
			writeError(w, http.StatusForbidden, fmt.Errorf("host %q is not this machine; use localhost or 127.0.0.1", r.Host))
		case !sameOrigin(r):
			writeError(w, http.StatusForbidden, errors.New("requests of other origins are refused"))
		case r.Method != http.MethodGet && r.Method != http.MethodHead && !isJSON(r):
			writeError(w, http.StatusUnsupportedMediaType, errors.New("commands need Content-Type: application/json"))
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next.ServeHTTP(w, r)
		}
	})
}

// local reports whether a Host header names this machine.
func local(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if name == "localhost" || name == "" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// isJSON reports whether a request says that its body is JSON, with a charset or
// without.
func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	for _, p := range s.pools {
		select {
		case <-p.Ready():
		default:
			writeText(w, http.StatusServiceUnavailable, fmt.Sprintf("pool %s waits for its first checks and sources\n", p.Name()))
			return
		}
	}
	writeText(w, http.StatusOK, "ok\n")
}

func (s *Server) listPools(w http.ResponseWriter, _ *http.Request) {
	list := make([]poolView, 0, len(s.pools))
	for _, p := range s.pools {
		st, err := p.Status()
		if err != nil {
			writeError(w, http.StatusServiceUnavailable, err)
			return
		}
		list = append(list, viewPool(p, &st, false))
	}
	writeJSON(w, http.StatusOK, map[string]any{"pools": list})
}

// withPool looks up the pool that the path names.
func (s *Server) withPool(f func(http.ResponseWriter, *http.Request, *pool.Pool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("pool")
		i := slices.IndexFunc(s.pools, func(p *pool.Pool) bool { return p.Name() == name })
		if i < 0 {
			var names []string
			for _, p := range s.pools {
				names = append(names, p.Name())
			}
			writeError(w, http.StatusNotFound, fmt.Errorf("there is no pool %q; there are %v", name, names))
			return
		}
		f(w, r, s.pools[i])
	}
}

func (s *Server) showPool(w http.ResponseWriter, _ *http.Request, p *pool.Pool) {
	st, err := p.Status()
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err)
		return
	}
	writeJSON(w, http.StatusOK, viewPool(p, &st, true))
}

func (s *Server) showConsul(w http.ResponseWriter, _ *http.Request) {
	if s.consul == nil {
		writeError(w, http.StatusNotFound, errors.New("no pool has a source in Consul, and the configuration has no key consul"))
		return
	}
	st := s.consul.Stats()
	writeJSON(w, http.StatusOK, viewConsul(&st))
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

func writeError(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

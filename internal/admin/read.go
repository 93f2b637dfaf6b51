package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"steelyard/internal/explain"
	"steelyard/internal/pool"
)

func (s *Server) listPools(w http.ResponseWriter, _ *http.Request) {
	pools := s.control.Pools()
	list := make([]poolView, 0, len(pools))
	for _, p := range pools {
		st, err := p.Status()
		if err != nil {
			writeFailure(w, http.StatusServiceUnavailable, err)
			return
		}
		list = append(list, viewPool(p, &st, false))
	}
	writeJSON(w, http.StatusOK, map[string]any{"pools": list})
}

func (s *Server) showPool(w http.ResponseWriter, _ *http.Request, p *pool.Pool) {
	st, err := p.Status()
	if err != nil {
		writeFailure(w, http.StatusServiceUnavailable, err)
		return
	}
	writeJSON(w, http.StatusOK, viewPool(p, &st, true))
}

// listBackends lists those of all pools.
func (s *Server) listBackends(w http.ResponseWriter, _ *http.Request) {
	type inPool struct {
		Pool string `json:"pool"`
		backendView
	}
	list := []inPool{}
	for _, p := range s.control.Pools() {
		st, err := p.Status()
		if err != nil {
			writeFailure(w, http.StatusServiceUnavailable, err)
			return
		}
		for i := range st.Backends {
			list = append(list, inPool{st.Name, viewBackend(&st.Backends[i], false)})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"backends": list})
}

func (s *Server) listRoutes(w http.ResponseWriter, _ *http.Request) {
	routes := s.control.Routes()
	list := make([]routeJSON, len(routes))
	for i := range routes {
		list[i] = viewRoute(&routes[i])
	}
	writeJSON(w, http.StatusOK, map[string]any{"routes": list})
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var q explain.Question
	if err := readBody(r.Body, &q); err != nil {
		writeFailure(w, http.StatusBadRequest, &failure{
			status: http.StatusBadRequest, why: "the body is not a question: " + err.Error(),
			cure: `send {"method": "GET", "host": "example.com", "path": "/", "headers": {"cookie": "…"}, "client_ip": "192.0.2.1"}; each may be left out`,
		})
		return
	}
	answer, err := s.control.Explain(q)
	if err != nil {
		writeFailure(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) listErrors(w http.ResponseWriter, _ *http.Request) {
	records, total := s.control.Errors()
	list := make([]errorJSON, len(records))
	for i := range records {
		list[i] = viewError(&records[i])
	}
	writeJSON(w, http.StatusOK, map[string]any{"total": total, "errors": list})
}

func (s *Server) showGeneration(w http.ResponseWriter, _ *http.Request) {
	g := s.control.Generation()
	writeJSON(w, http.StatusOK, viewGeneration(&g))
}

func (s *Server) showConsul(w http.ResponseWriter, _ *http.Request) {
	c := s.control.Consul()
	if c == nil {
		writeFailure(w, http.StatusNotFound, errors.New("no pool has a source in Consul, and the configuration has no key consul"))
		return
	}
	st := c.Stats()
	writeJSON(w, http.StatusOK, viewConsul(&st))
}

// showHistory gives the last seconds of the process, a pool, a backend, or of the
// errors by cause.
func (s *Server) showHistory(w http.ResponseWriter, r *http.Request) {
	q, seconds := r.URL.Query(), historySteps
	if text := q.Get("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > historySteps {
			writeFailure(w, http.StatusBadRequest, fmt.Errorf("seconds: %q is not a whole number from 1 to %d", clip(text, 20), historySteps))
			return
		}
		seconds = n
	}
	pool, backend, h := q.Get("pool"), q.Get("backend"), s.memory.recorded()
	switch causes := q.Get("causes"); {
	case backend != "" && pool == "":
		writeFailure(w, http.StatusBadRequest, errors.New("backend: say of which pool, with pool=NAME"))
	case causes == "true" && pool == "":
		writeCompact(w, h.Causes(seconds))
	case causes != "" && (causes != "false" || pool != ""):
		writeFailure(w, http.StatusBadRequest, errors.New("causes: is true, without pool and backend, or is left out"))
	default:
		writeCompact(w, h.Read(pool, backend, seconds))
	}
}

func (s *Server) showLog(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"level": s.control.LogLevel()})
}

// readBody reads one JSON value, which may be left out.
func readBody(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON")
	}
	return nil
}

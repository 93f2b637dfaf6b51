package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"steelyard/balancer"
	"steelyard/internal/pool"
)

// command is the body of a command; each action knows its own field.
type command struct {
	// For bounds a drain, as "30s"; "" is the pool's drain_timeout.
	For string `json:"for"`
	// Weight is the new weight; null takes the configured one again.
	Weight *int `json:"weight"`
}

// release carries out what the registry guard holds.
func (s *Server) release(w http.ResponseWriter, _ *http.Request, p *pool.Pool) {
	n, err := p.ReleaseHeld()
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err)
		return
	}
	slog.Info("released by the operator", "pool", p.Name(), "backends", n)
	writeJSON(w, http.StatusOK, map[string]int{"released": n})
}

// operate drains, enables or disables a backend, or sets its weight.
func (s *Server) operate(w http.ResponseWriter, r *http.Request, p *pool.Pool) {
	c, err := readCommand(r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, err)
		return
	}
	address, action := r.PathValue("address"), r.PathValue("action")
	switch err = act(p, address, action, c); {
	case errors.Is(err, pool.ErrNoBackend):
		writeError(w, http.StatusNotFound, err)
	case err != nil:
		writeError(w, http.StatusBadRequest, err)
	default:
		slog.Info("told by the operator", "pool", p.Name(), "backend", address, "action", action)
		s.showPool(w, r, p)
	}
}

func readCommand(body io.Reader) (c command, err error) {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("the body is not a command: %w", err)
	}
	return c, nil
}

func act(p *pool.Pool, address, action string, c command) error {
	switch action {
	case "drain":
		bound := time.Duration(0)
		if c.For != "" {
			var err error
			if bound, err = time.ParseDuration(c.For); err != nil || bound <= 0 {
				return fmt.Errorf("for: %q is not a duration above 0, as 30s or 5m", c.For)
			}
		}
		return p.Drain(address, bound)
	case "enable":
		return p.Enable(address)
	case "disable":
		return p.Disable(address)
	case "weight":
		if c.Weight == nil {
			return p.SetWeight(address, -1)
		}
		if *c.Weight < 0 {
			return fmt.Errorf("weight: %d is not within 0 to %d, or null for the configured one", *c.Weight, balancer.MaxWeight)
		}
		return p.SetWeight(address, *c.Weight)
	}
	return fmt.Errorf("there is no action %q; there are drain, enable, disable, weight", action)
}

package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"steelyard/balancer"
	"steelyard/internal/pool"
)

// maxDrain is the longest a drain may be given, as in the configuration.
const maxDrain = 24 * time.Hour

// command is the body of a command. Each action knows its own field alone.
type command struct {
	// For bounds a drain, as "30s"; "" is the pool's drain_timeout.
	For *string `json:"for"`
	// Weight is the new weight, a number, or null for the configured one; it is
	// empty when the body does not name it.
	Weight json.RawMessage `json:"weight"`
}

// release carries out what the registry guard holds.
func (s *Server) release(w http.ResponseWriter, r *http.Request, p *pool.Pool) {
	n, err := p.ReleaseHeld()
	s.told(r, order{What: "release", Pool: p.Name(), Value: count(n, "backend")}, err)
	if err != nil {
		writeFailure(w, http.StatusServiceUnavailable, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"released": n})
}

// operate drains, enables or disables a backend, or sets its weight.
func (s *Server) operate(w http.ResponseWriter, r *http.Request, p *pool.Pool) {
	var c command
	address, action := r.PathValue("address"), r.PathValue("action")
	err := readBody(r.Body, &c)
	if err != nil {
		err = fmt.Errorf("the body is not a command: %w", err)
	} else {
		err = act(p, address, action, c)
	}
	if errors.Is(err, pool.ErrNoBackend) {
		err = fmt.Errorf("%w; %s", err, choice(addresses(p))) // the nearest name may be the wrong machine
	}
	s.told(r, order{What: action, Pool: p.Name(), On: address, Value: c.value()}, err)
	switch {
	case errors.Is(err, pool.ErrNoBackend):
		writeFailure(w, http.StatusNotFound, err)
	case err != nil:
		writeFailure(w, http.StatusBadRequest, err)
	default:
		s.showPool(w, r, p)
	}
}

// addresses are those of a pool's backends.
func addresses(p *pool.Pool) (list []string) {
	st, err := p.Status()
	if err != nil {
		return nil
	}
	for i := range st.Backends {
		list = append(list, st.Backends[i].Address)
	}
	return list
}

// reload reads the configuration file anew.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	err := s.control.Reload()
	s.told(r, order{What: "reload"}, err)
	g := s.control.Generation()
	if err != nil {
		lines := g.Errors
		if len(lines) == 0 {
			lines = strings.Split(err.Error(), "\n")
		}
		(&failure{
			status: http.StatusUnprocessableEntity, errors: lines,
			why: "the configuration was not taken over; the one before goes on", cure: "mend what errors lists and reload again; steelyard check -c FILE finds the same",
		}).write(w)
		return
	}
	writeJSON(w, http.StatusOK, viewGeneration(&g))
}

// setLog sets the level of the log.
func (s *Server) setLog(w http.ResponseWriter, r *http.Request) {
	var c struct {
		Level string `json:"level"`
	}
	err := readBody(r.Body, &c)
	if err != nil {
		err = fmt.Errorf("the body is not a command: %w", err)
	} else {
		err = s.control.SetLogLevel(c.Level)
	}
	s.told(r, order{What: "log level", Value: c.Level}, err)
	if err != nil {
		writeFailure(w, http.StatusBadRequest, err)
		return
	}
	s.showLog(w, r)
}

// value is what the audit says of a command.
func (c *command) value() string {
	if c.For != nil {
		return *c.For
	}
	return string(c.Weight)
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func act(p *pool.Pool, address, action string, c command) error {
	if c.For != nil && action != "drain" {
		return fmt.Errorf("for: %s does not know it; it belongs to drain", action)
	}
	if c.Weight != nil && action != "weight" {
		return fmt.Errorf("weight: %s does not know it; it belongs to weight", action)
	}
	switch action {
	case "drain":
		bound, err := c.bound()
		if err != nil {
			return err
		}
		return p.Drain(address, bound)
	case "enable":
		return p.Enable(address)
	case "disable":
		return p.Disable(address)
	case "weight":
		weight, err := c.weight()
		if err != nil {
			return err
		}
		return p.SetWeight(address, weight)
	}
	return fmt.Errorf("there is no action %q; there are drain, enable, disable, weight", action)
}

// bound is how long a drain may last; 0 leaves it to the pool.
func (c *command) bound() (time.Duration, error) {
	if c.For == nil || *c.For == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(*c.For)
	if err != nil || d <= 0 || d > maxDrain {
		return 0, fmt.Errorf("for: %q is not a duration above 0 and at most 24h, as 30s or 5m", *c.For)
	}
	return d, nil
}

// weight is the weight to set; -1 takes the configured one again.
func (c *command) weight() (int, error) {
	n := -1
	switch text := string(c.Weight); {
	case text == "":
		return 0, errors.New(`weight: is missing; send {"weight": 5}, or null for the configured one`)
	case text == "null":
		return n, nil
	case json.Unmarshal(c.Weight, &n) != nil, n < 0, n > balancer.MaxWeight:
		return 0, fmt.Errorf("weight: %s is not a whole number within 0 to %d, or null for the configured one", text, balancer.MaxWeight)
	}
	return n, nil
}

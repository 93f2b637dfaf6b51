package admin

import (
	"time"

	"steelyard/internal/errorlog"
)

type routeJSON struct {
	Name     string         `json:"name"`
	Line     int            `json:"line,omitempty"`
	Match    map[string]any `json:"match"`
	Action   string         `json:"action"`
	To       []string       `json:"to,omitempty"`
	Requests int64          `json:"requests"`
}

func viewRoute(r *RouteView) routeJSON {
	v := routeJSON{Name: r.Name, Line: r.Line, Match: r.Match, Action: r.Action, To: r.To, Requests: r.Requests}
	if v.Match == nil {
		v.Match = map[string]any{} // matches everything
	}
	return v
}

type errorJSON struct {
	At        time.Time     `json:"at"`
	Cause     string        `json:"cause,omitempty"`
	Status    int           `json:"status,omitempty"`
	Hint      string        `json:"hint,omitempty"`
	Detail    string        `json:"detail,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
	Listener  string        `json:"listener,omitempty"`
	Client    string        `json:"client,omitempty"`
	Method    string        `json:"method,omitempty"`
	Host      string        `json:"host,omitempty"`
	Path      string        `json:"path,omitempty"`
	Route     string        `json:"route,omitempty"`
	Pool      string        `json:"pool,omitempty"`
	Backend   string        `json:"backend,omitempty"`
	Total     float64       `json:"total_ms"`
	Attempts  []attemptJSON `json:"attempts,omitempty"`
}

type attemptJSON struct {
	Backend string  `json:"backend"`
	Cause   string  `json:"cause,omitempty"`
	Class   string  `json:"class,omitempty"`
	Status  int     `json:"status,omitempty"`
	Took    float64 `json:"took_ms"`
}

func viewError(r *errorlog.Record) errorJSON {
	v := errorJSON{
		At: r.At, Cause: r.Cause, Status: r.Status, Hint: r.Hint, Detail: r.Detail, RequestID: r.RequestID,
		Listener: r.Listener, Client: r.Client, Method: r.Method, Host: r.Host, Path: r.Path,
		Route: r.Route, Pool: r.Pool, Backend: r.Backend, Total: milliseconds(r.Total),
	}
	for _, a := range r.Attempts {
		v.Attempts = append(v.Attempts, attemptJSON{Backend: a.Backend, Cause: a.Cause, Class: a.Class, Status: a.Status, Took: milliseconds(a.Took)})
	}
	return v
}

type generationJSON struct {
	ID         uint64     `json:"id"`
	Since      time.Time  `json:"since"`
	File       string     `json:"file,omitempty"`
	Reloads    int64      `json:"reloads"`
	Failed     int64      `json:"reloads_failed"`
	LastOK     bool       `json:"last_reload_ok"`
	LastAt     *time.Time `json:"last_reload_at,omitempty"`
	Errors     []string   `json:"errors,omitempty"`
	Changes    []string   `json:"changes,omitempty"`
	RolledBack string     `json:"rolled_back,omitempty"`
}

func viewGeneration(g *GenerationView) generationJSON {
	return generationJSON{
		ID: g.ID, Since: g.Since, File: g.File, Reloads: g.Reloads, Failed: g.Failed, LastOK: g.LastOK, LastAt: when(g.LastAt),
		Errors: g.Errors, Changes: g.Changes, RolledBack: g.RolledBack,
	}
}

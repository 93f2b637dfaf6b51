// Package explain has the words for the question "what would become of this
// request?" and its answer. The request path answers; the admin API, the command
// line and the dashboard ask.
package explain

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"steelyard/internal/wire"
)

// Question describes a request that is not sent.
type Question struct {
	Method   string            `json:"method"` // default GET
	Host     string            `json:"host"`
	Path     string            `json:"path"` // with its query; default /
	Headers  map[string]string `json:"headers,omitempty"`
	ClientIP string            `json:"client_ip,omitempty"` // default 127.0.0.1
}

// Head is the head of the request, as a client would send it, and the address of
// the client. It is not checked as a request, but cannot be more than one. The
// error says what about the question makes no sense.
func (q Question) Head() ([]byte, netip.Addr, error) {
	ip, err := netip.ParseAddr(cmp.Or(q.ClientIP, "127.0.0.1"))
	if err != nil {
		return nil, ip, fmt.Errorf("client_ip %q is not an IP address", clip(q.ClientIP))
	}
	for _, part := range []struct{ name, text string }{{"method", q.Method}, {"host", q.Host}, {"path", q.Path}} {
		if !wire.IsValue([]byte(part.text)) || strings.ContainsAny(part.text, " \t") {
			return nil, ip, fmt.Errorf("%s %q has a space or a control character", part.name, clip(part.text))
		}
	}
	host := q.Host
	var fields strings.Builder
	for _, name := range slices.Sorted(maps.Keys(q.Headers)) {
		value := strings.Trim(q.Headers[name], " \t")
		switch {
		case !wire.IsToken([]byte(name)):
			return nil, ip, fmt.Errorf("header %q: that is not a header name", clip(name))
		case !wire.IsValue([]byte(value)):
			return nil, ip, fmt.Errorf("header %s: the value %q has a control character", name, clip(value))
		case strings.EqualFold(name, "Host"):
			host = cmp.Or(host, value)
		default:
			fmt.Fprintf(&fields, "%s: %s\r\n", name, value)
		}
	}
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", cmp.Or(q.Method, "GET"), cmp.Or(q.Path, "/"), host, &fields), ip.Unmap().WithZone(""), nil
}

// clip shortens what is quoted in an error.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Answer says what would become of it.
type Answer struct {
	// Route is the name of the route that takes the request; "" with Cause
	// no_route.
	Route     string `json:"route,omitempty"`
	RouteLine int    `json:"route_line,omitempty"`
	Action    string `json:"action,omitempty"` // pool, split, redirect, respond
	// Gates say, one each and in order, what the route asks of a request before it
	// does anything with it, and what this one would meet.
	Gates []string    `json:"gates,omitempty"`
	Tried []RouteStep `json:"tried,omitempty"` // routes in match order up to the one that takes it, at most 50
	// TriedLeft counts the routes that were looked at and are not in Tried.
	TriedLeft int `json:"tried_left,omitempty"`
	// Sends is the request line as the backend would get it, after rewrites.
	Sends    string `json:"sends,omitempty"`
	Redirect string `json:"redirect,omitempty"` // Location
	Status   int    `json:"status,omitempty"`   // of a redirect or fixed response
	Pool     string `json:"pool,omitempty"`
	Split    string `json:"split,omitempty"` // how the branch was chosen
	Policy   string `json:"policy,omitempty"`
	Key      string `json:"key,omitempty"` // what a hash policy hashes, and its value
	// Affinity says whether and how the client is bound, and to whom.
	Affinity string `json:"affinity,omitempty"`
	// Backend is who would get it now; for policies that take turns or draw, one
	// that could. "" with Cause no_backend.
	Backend    string      `json:"backend,omitempty"`
	Candidates []Candidate `json:"candidates,omitempty"`
	Cause      string      `json:"cause,omitempty"` // of the error that it would get
	// Why says what is behind Cause, or that a backend is chosen although none is
	// healthy, or what the request would wait for: then Backend and Cause are "".
	Why string `json:"why,omitempty"`
	// Notes say what the answer does not know.
	Notes []string `json:"notes,omitempty"`
}

// RouteStep is one route that was looked at, and why it does not match.
type RouteStep struct {
	Route string `json:"route"`
	Line  int    `json:"line,omitempty"`
	Why   string `json:"why"` // "takes it", "host differs", "method is not GET, HEAD", …
}

// Candidate is one backend, and why it would be chosen or not.
type Candidate struct {
	Address string  `json:"address"`
	Chosen  bool    `json:"chosen"`
	State   string  `json:"state"`
	Share   float64 `json:"share"` // intended share of new requests, 0 to 1
	Why     string  `json:"why"`
}

// Package explain has the words for the question "what would become of this
// request?" and its answer. The request path answers; the admin API, the command
// line and the dashboard ask.
package explain

// Question describes a request that is not sent.
type Question struct {
	Method   string            `json:"method"` // default GET
	Host     string            `json:"host"`
	Path     string            `json:"path"` // with its query; default /
	Headers  map[string]string `json:"headers,omitempty"`
	ClientIP string            `json:"client_ip,omitempty"` // default 127.0.0.1
}

// Answer says what would become of it.
type Answer struct {
	// Route is the name of the route that takes the request; "" with Cause
	// no_route.
	Route     string      `json:"route,omitempty"`
	RouteLine int         `json:"route_line,omitempty"`
	Action    string      `json:"action,omitempty"` // pool, split, redirect, respond
	Tried     []RouteStep `json:"tried,omitempty"`  // routes in match order up to the one that takes it, at most 50
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
	Why        string      `json:"why,omitempty"`
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

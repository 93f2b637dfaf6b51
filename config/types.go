// Package config reads Steelyard's YAML file into typed, defaulted and
// validated configuration. Every error carries file:line:col and the YAML path.
//
// A mapping of the file is declared once, in spec*.go, with its keys, their
// kinds, defaults and meaning; reading, the hints for unknown keys and the tables
// of docs/configuration.md all go by that declaration. What a value may be is
// asked of the package that owns the option; config adds where in the file it
// stands. Checks across the file are in check.go. To add a key, add a field
// to its mapping, an example to examples/full.yaml, and run go test ./config -update.
//
// The package must not know how anything is built from a configuration.
package config

import (
	"net/netip"
	"time"

	"steelyard/balancer"
	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/adaptive"
	"steelyard/internal/auth"
	"steelyard/internal/browser"
	"steelyard/internal/certs"
	"steelyard/internal/outlier"
	"steelyard/internal/rewrite"
	"steelyard/internal/router"
	"steelyard/internal/sticky"
	"steelyard/internal/transport"
)

// Config is one whole configuration file.
type Config struct {
	Listeners []Listener // in file order
	Routes    []Route    // in file order
	Pools     []Pool     // in file order
	// TrustedProxies are the peers whose X-Forwarded-*, Forwarded and
	// X-Request-Id are believed. Default none.
	TrustedProxies []netip.Prefix
	// Forwarded says which forwarding headers backends receive.
	Forwarded Forwarded
	// Paths is one of router.PathsNames: what becomes of paths that can be read
	// in more than one way; default normalize.
	Paths string
	// ShutdownTimeout bounds a graceful stop; default 30s.
	ShutdownTimeout time.Duration
	// ShutdownDelay is how long all goes on as before when a stop has begun, but
	// for /readyz; default 0.
	ShutdownDelay time.Duration
	// Consul is how to reach Consul; nil when nothing asks for it.
	Consul *discovery.ConsulOptions
	// Admin is where the admin API listens; nil: nowhere.
	Admin *Admin
	// Log is Steelyard's own log.
	Log Log
	// AccessLog is nil when there is none.
	AccessLog *AccessLog
	// Errors says how errors that Steelyard makes look.
	Errors ErrorPages
	// Reload says when the file is read anew, and when that is undone.
	Reload Reload
	// Warnings are things that are allowed and hardly meant, in file order.
	Warnings []*Error
}

// Reload says when the file is read anew without being asked, and when that is
// undone.
type Reload struct {
	Watch    bool      // reload when the file changes; default false
	Rollback *Rollback // nil: no reload is undone
}

// Rollback says when a reload is undone.
type Rollback struct {
	// Window is how long a reload is watched, and how far back it is compared
	// with; default 30s.
	Window time.Duration
	// Errors is by how much the share of 5xx may rise, 0 to 1; default 0.05.
	Errors float64
	// MinRequests is how many responses a share needs to count; default 20.
	MinRequests int
}

// Forwarded switches the headers that tell a backend who asked.
type Forwarded struct {
	XForwarded bool // X-Forwarded-For, -Proto, -Host; default true
	Standard   bool // Forwarded (RFC 7239), key `forwarded`; default false
	RequestID  bool // X-Request-Id; default true
}

// Listener is an address that accepts client connections.
type Listener struct {
	Name string
	// Address is host:port, :port or unix:/path.
	Address string
	// IdleTimeout closes a keep-alive connection without a request; default 75s.
	IdleTimeout time.Duration
	// HeaderTimeout bounds the time from the first byte of a request to the
	// end of its head; default 10s.
	HeaderTimeout time.Duration
	// BodyTimeout bounds the silence of a client in the middle of its body; default 60s.
	BodyTimeout time.Duration
	// WriteTimeout bounds how long a client may accept nothing of its response; default 60s.
	WriteTimeout time.Duration
	// MaxHeaderSize is the most bytes of a request head; default 32KiB, 1KiB to 1MiB.
	MaxHeaderSize int
	// MaxBodySize is the most bytes of a request body; default 0, no limit.
	MaxBodySize int64
	// UpgradeTimeout closes a WebSocket or other upgraded connection that was
	// silent both ways for this long; default 1h, 0 means never.
	UpgradeTimeout time.Duration
	// TLS is how it speaks TLS; nil: plain HTTP.
	TLS *certs.Options
	// HSTS is nil when browsers are not told to stay with TLS.
	HSTS *HSTS
	// HTTPSPort is where all requests are sent to by a redirect; 0: they are
	// served. Key redirect_to_https.
	HTTPSPort int
	// MaxConnections bounds the connections of clients; default 0, as many as open
	// files allow. MaxConnectionsPerClient bounds those of one address; default 0, half of that.
	MaxConnections, MaxConnectionsPerClient int
	// WhenFull is reject (default) or wait.
	WhenFull string
	// MaxHandshakes is the most TLS handshakes at once; default 1000.
	MaxHandshakes int
	// MaxRequests bounds the requests of one connection; default 0, no limit.
	MaxRequests int
	// MaxHeaderFields is the most fields of a request head; default 200.
	MaxHeaderFields int
	// MaxTargetLength is the most bytes of a request target; default 8KiB.
	MaxTargetLength int
	// MinBodyRate and MinResponseRate are how many bytes a client has to send or take
	// for each second that it keeps others waiting, beyond BodyTimeout and
	// WriteTimeout; default 240, 0 means any.
	MinBodyRate, MinResponseRate int64
	// ProxyProtocol are the networks whose connections begin with a PROXY header.
	// Default none.
	ProxyProtocol []netip.Prefix
	// ErrorPages go before those of Config.Errors.
	ErrorPages []ErrorPage
}

// Route is a match and what to do with what it takes. Exactly one of Pool,
// Split, Redirect and Respond is set.
type Route struct {
	// Name is shown in logs and in the variable {route}; default host+path of the match.
	Name     string
	Match    router.Match
	Pool     string
	Split    *Split
	Redirect *Redirect
	Respond  *Respond
	Rewrite  rewrite.Path
	// Host is the Host header the backend gets: "" or "preserve" keeps the
	// client's, "backend" sends the backend's address, anything else is sent as it is.
	Host            string
	RequestHeaders  rewrite.Headers
	ResponseHeaders rewrite.Headers
	// AccessLog gives requests that went well a line in the access log; default
	// true. Those that failed have one in any case, see AccessLog.Errors.
	AccessLog bool
	// Allow and Deny say which addresses may come in: none of Deny, and if there is
	// an Allow, those alone.
	Allow, Deny []netip.Prefix
	// RateLimit is one for all routes that an item of the file makes.
	RateLimit *RateLimit
	// CORS answers what browsers ask for scripts of other origins.
	CORS *browser.CORS
	// BasicAuth asks who the client is.
	BasicAuth *auth.Options
	// ForwardAuth asks another server whether a request may come in.
	ForwardAuth *ForwardAuth
	// SecurityHeaders say what browsers are to be careful with.
	SecurityHeaders *browser.Security
	// Line is where the route stands in its file.
	Line int
}

// Split spreads a route over pools by weight.
type Split struct {
	To     []WeightedPool
	Sticky *sticky.Options // keeps a client in its pool; nil: each request is drawn anew
}

// WeightedPool is one branch of a split.
type WeightedPool struct {
	Pool   string
	Weight int // 0 to balancer.MaxWeight, not all zero
}

// Redirect answers with a Location.
type Redirect struct {
	To     string // template, see package rewrite
	Status int    // 301, 302, 303, 307 or 308 (default)
}

// Respond answers with a fixed response.
type Respond struct {
	Status  int // 200 to 599; default 200
	Body    string
	Headers map[string]string
}

// Pool is a named set of backends that serve the same thing.
type Pool struct {
	Name     string
	Policy   balancer.Options
	Backends []Backend // may be empty when there are Sources
	// Sources name further backends, while it runs.
	Sources []Source
	// Check probes each backend; nil: none is probed.
	Check *healthcheck.Options
	// Outlier says when real traffic takes a backend out.
	Outlier outlier.Options
	// SlowStart is how long the weight of a backend that comes back rises to
	// its own; default 0, at once.
	SlowStart time.Duration
	// DrainTimeout bounds how long a backend that is drained, or has left its
	// source, keeps what is bound to it; default 5m, 0 means no limit.
	DrainTimeout time.Duration
	// WhenAllUnhealthy is use_all (default) or reject.
	WhenAllUnhealthy string
	Sticky           *sticky.Options
	Retry            Retry
	// MaxConnections bounds the requests in flight per backend unless the
	// backend says otherwise; default 0, no limit.
	MaxConnections int
	// MaxInFlight bounds the requests of the whole pool; default 0, no limit.
	MaxInFlight int
	// AdaptiveLimit finds out how many requests the pool can work on and sheds
	// the rest; nil (default): it does not.
	AdaptiveLimit *adaptive.Options
	// Queue holds requests while every backend is at its MaxConnections.
	Queue     Queue
	Transport transport.Options
	// ProxyProtocol is v1 or v2: connections to the backends begin with a PROXY
	// header; off (default): they do not.
	ProxyProtocol string
	// TLS secures the connections to the backends, and the checks that say
	// nothing else; nil: they are plain.
	TLS  *transport.TLSOptions
	Line int
}

// Backend is one app server address in a pool.
type Backend struct {
	Address        string // host:port or unix:/path
	Weight         int    // default 1
	Backup         bool   // used only when no other backend can take the request
	MaxConnections int    // overrides the pool's
	Line           int
}

// Source is where backends of a pool come from. Exactly one of its pointers is set.
type Source struct {
	Consul *discovery.ConsulQuery
	DNS    *discovery.DNSOptions
	File   *discovery.FileOptions
	Line   int
}

// Queue is a pool's waiting room.
type Queue struct {
	Size    int           // default 0: none
	Timeout time.Duration // default 5s
}

// Retry says when a failed attempt is repeated on another backend.
type Retry struct {
	// Attempts is the most attempts in all, 1 to 16; default 2. 1 turns retries off.
	Attempts int
	// On lists the failures that are repeated; see RetryReasons.
	// Default connect, reset.
	On []string
	// Budget is the share of recent requests that may be retried because an
	// attempt failed after it was written, 0 to 1; default 0.2.
	Budget float64
	// BodyLimit is the most bytes of a request body kept for a retry; default 64KiB.
	BodyLimit int64
	// Methods are repeated although they are not idempotent, for example POST. Default none.
	Methods []string
}

// RetryReasons are the values of Retry.On: connect (dial failed or nothing was
// sent), reset (connection ended before the response head), timeout (no
// response head in time), bad_response (what came was not HTTP), and the
// statuses 500, 502, 503, 504 and 429.
func RetryReasons() []string {
	return []string{"connect", "reset", "timeout", "bad_response", "429", "500", "502", "503", "504"}
}

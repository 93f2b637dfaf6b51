package proxy

import (
	"net/netip"
	"time"

	"steelyard/balancer"
	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
	"steelyard/internal/router"
	"steelyard/internal/sticky"
)

// Generation is everything requests need, built from one configuration.
// It is immutable.
type Generation struct {
	Table *router.Table
	// Routes are indexed as the matches given to the table.
	Routes []*Route
	// Trusted are the peers whose forwarding headers are believed.
	Trusted []netip.Prefix
	Forward ForwardOptions
	// Paths is how paths are read before they are routed.
	Paths router.Paths
	// AccessLog is nil when there is none.
	AccessLog *AccessLog
	// Errors is how errors look; nil: as they do by themselves.
	Errors *ErrorPages
}

// Generation is the one in force.
func (p *Proxy) Generation() *Generation { return p.generation.Load() }

// ForwardOptions says which headers tell a backend who asked.
type ForwardOptions struct {
	XForwarded bool // X-Forwarded-For, -Proto, -Host
	Standard   bool // Forwarded (RFC 7239)
	RequestID  bool // X-Request-Id
}

// Route is what to do with the requests it takes: exactly one of Pool, Split,
// Redirect and Respond is set.
type Route struct {
	Name string
	Line int // in its file; 0: unknown
	// Stats is where the route's requests are counted; nil: nowhere. Whoever
	// builds generations gives routes of one name the same over all of them.
	Stats           *RouteStats
	Pool            *Target
	Split           *Split
	Redirect        *Redirect
	Respond         *Respond
	Path            *rewrite.PathRewriter
	RequestHeaders  *rewrite.HeaderRewriter
	ResponseHeaders *rewrite.HeaderRewriter
	// Unlogged leaves requests that went well out of the access log.
	Unlogged bool
	// Gate is what a request has to pass first; nil: nothing.
	Gate *Gate
	// ACME says that the route names a path below that of ACME challenges, so that
	// it is served where all others are sent to https.
	ACME bool
	// Host replaces the Host header: "" keeps the client's, HostBackend sends
	// the backend's address.
	Host string
}

// HostBackend as a Route's Host sends the backend's address.
const HostBackend = "backend"

// Target is a pool with how requests use it.
type Target struct {
	Pool   *pool.Pool
	Key    balancer.Key // what the policy hashes
	Sticky *sticky.Options
	Retry  Retry
	// ProxyProtocol is the version of the PROXY header with which connections to
	// the backends begin; 0: they have none.
	ProxyProtocol int
	// ID stands for the pool in the cookie of a sticky split.
	ID string
}

// Retry says when a failed attempt is repeated.
type Retry struct {
	Attempts  int
	BodyLimit int
	Methods   []string
	// On has the failures to repeat; Statuses the response statuses.
	Connect, Reset, Timeout, BadResponse bool
	Statuses                             []int
}

// Split spreads requests over targets by weight.
type Split struct {
	To     []*Target
	bounds []uint32 // cumulative weights
	Sticky *sticky.Options
}

// NewSplit makes a split; weights has one weight per target, not all 0.
func NewSplit(to []*Target, weights []int, s *sticky.Options) *Split {
	sp := &Split{To: to, Sticky: s}
	sum := uint32(0)
	for _, w := range weights {
		sum += uint32(w)
		sp.bounds = append(sp.bounds, sum)
	}
	return sp
}

// at returns the target for a point of the whole range of n.
func (s *Split) at(n uint64) *Target {
	sum := uint64(s.bounds[len(s.bounds)-1])
	point := uint32(n % sum)
	for i, b := range s.bounds {
		if point < b {
			return s.To[i]
		}
	}
	return s.To[len(s.To)-1]
}

// Redirect answers with a Location.
type Redirect struct {
	Status int
	To     *rewrite.Template
}

// Respond answers with a fixed response.
type Respond struct {
	Status  int
	Body    []byte
	Headers []rewrite.Header
}

// Limits are the limits and timeouts of one listener.
type Limits struct {
	IdleTimeout    time.Duration
	HeaderTimeout  time.Duration
	BodyTimeout    time.Duration
	WriteTimeout   time.Duration
	UpgradeTimeout time.Duration // 0: none
	MaxHeaderSize  int
	MaxBodySize    int64 // 0: none
	HTTPSPort      int   // where all requests are sent to by a redirect; 0: they are served

	MaxHeaderFields int   // 0: those of package wire alone
	MaxTarget       int   // bytes of a request target; 0: none
	MaxHandshakes   int   // at once; 0: none
	MaxRequests     int   // of one connection; 0: none
	MinBodyRate     int64 // bytes a second; 0: none
	MinResponseRate int64 // bytes a second; 0: none
	MaxConnections  int   // at once; 0: none
	MaxPerClient    int   // of them; 0: half of what is let in
	WaitWhenFull    bool  // connections beyond them wait in the kernel
	// ProxyFrom are the peers whose connections begin with a PROXY header.
	ProxyFrom []netip.Prefix
}

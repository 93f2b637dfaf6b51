package metrics

import "time"

// Sample is everything that is counted, at one moment. Counts only grow while
// the process runs; whoever wants a rate keeps the sample before. It is filled
// by the application and read by the Prometheus collector, by the dashboard and
// by its history.
type Sample struct {
	// WithBound is for who asks: clients that are bound to backends are to be
	// counted too, which is too costly to be done every second.
	WithBound bool

	At         time.Time
	Generation GenerationSample
	Listeners  []ListenerSample
	Routes     []RouteSample // in match order
	Refused    []RefusedCount
	RateLimits RateLimitSample
	Pools      []PoolSample // in the order of the file
	// Errors counts what Steelyard answered or cut itself, by cause.
	Errors []CauseCount
	// Unpooled counts those of Errors that came before a pool was found.
	Unpooled []CauseCount
	// Retries counts repeated attempts by what had become of the one before.
	Retries   []RetryCount
	AccessLog AccessLogSample
}

// GenerationSample is the configuration in force, and what became of reloads.
type GenerationSample struct {
	ID            uint64 // 1 is that of the start
	Since         time.Time
	Reloads       int64 // that were taken over
	FailedReloads int64
	LastReload    time.Time // that was tried; zero: none
	LastReloadOK  bool      // true at the start
	Rollbacks     int64
}

// ListenerSample is one listener.
type ListenerSample struct {
	Name        string
	Address     string
	Connections int64 // now
	Accepted    int64
	TLS         *TLSSample // nil: plain HTTP
	// Limit is how many connections there may be at once; 0: no limit.
	Limit int64
	// Rejected counts connections that were not let in, by the limit that was reached.
	Rejected []CauseCount
}

// TLSSample is the TLS of a listener.
type TLSSample struct {
	// Handshakes counts those that went well, by version (1.2, 1.3) and by whether
	// a session was resumed.
	Handshakes [2][2]int64
	// Failed counts the others by reason.
	Failed       []CauseCount
	Certificates []CertificateSample // in the order of the file
	// ClientProblem is what is wrong with the file of the CAs of clients; "": nothing.
	ClientProblem string
}

// CertificateSample is one certificate of a listener.
type CertificateSample struct {
	File                    string
	Hosts                   []string
	KeyType, Issuer, Serial string
	From, Until             time.Time
	Expiring                bool      // the end is near, or over
	Problem                 string    // with the files as they are now; "": none
	OCSP                    string    // good, none, or what is wrong
	Stapled                 time.Time // until when the OCSP response holds; zero: there is none
}

// RouteSample is one route.
type RouteSample struct {
	Name    string
	Classes [6]int64 // see Classes
}

// RefusedCount counts requests that the gate of a route did not let in.
type RefusedCount struct {
	Route int // its index in Routes
	Cause string
	Count int64
}

// RateLimitSample is what all rate limits have together.
type RateLimitSample struct {
	Memory    int64 // bytes
	Forgotten int64 // buckets in use that were given up for others
}

// CauseCount counts errors of one cause.
type CauseCount struct {
	Cause string
	Count int64
}

// RetryCount counts retries of one class and reason.
type RetryCount struct {
	Class, Reason string
	Count         int64
}

// AccessLogSample is the access log's own account.
type AccessLogSample struct {
	Lines   int64 // written
	Dropped int64 // because the buffer was full
	Failed  int64 // could not be written
}

// PoolSample is one pool.
type PoolSample struct {
	Name    string
	Policy  string
	Classes [6]int64     // what clients got, errors of Steelyard included
	Latency Distribution // from a request's first byte to the end of its response
	Queued  Distribution // waits in the queue, of those who waited
	Waiting int          // in the queue now
	// Errors counts what Steelyard answered or cut itself for requests of the
	// pool, of the causes there were, in the order of the list.
	Errors []CauseCount
	// PassedOn counts the responses of 500 and above that clients got from
	// backends.
	PassedOn int64
	FailOpen bool
	Why      string // no backend is healthy; "" while one is

	InFlightLimit int64         // of the whole pool; 0: none
	Admitted      int64         // requests that count for one of its limits
	AdaptiveLimit int64         // what the pool is thought to work on at once; 0: not asked
	Pending       int64         // what it works on
	BaseLatency   time.Duration // of an answer without a queue; 0: unknown

	Requests         int64 // begun
	Attempts         int64
	RetriesDenied    int64
	Ejections        int64
	FailOpens        int64
	FailOpenRequests int64

	Bindings bool // it knows who is bound to which backend
	Backends []BackendSample
	Sources  []SourceSample
}

// BackendSample is one backend.
type BackendSample struct {
	Address  string
	State    string // as in the admin API
	Reason   string // of a state that is not healthy
	Usable   bool   // can get new requests
	Left     bool   // is not named any more and finishes what it has
	Weight   int
	Percent  int // of its weight
	Backup   bool
	InFlight int64
	Upgraded int
	Bound    int // clients bound to it; counted only in pools with Bindings

	Classes   [6]int64 // of its responses
	Requests  int64    // attempts that ended
	Failures  int64    // those that spoke against it
	FirstByte Distribution
	Open      int64 // connections
	Idle      int
	Dials     int64

	Checked      bool // it has a check
	ChecksPassed int64
	ChecksFailed int64
	CheckLatency time.Duration // of the last one
}

// SourceSample is one source of a pool.
type SourceSample struct {
	Name    string
	Members int
	Failing bool
	Held    int // members that the guard keeps
}

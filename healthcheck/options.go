package healthcheck

import (
	"crypto/tls"
	"time"
)

// Options says how the backends of one pool are checked. Start from
// DefaultOptions. Exactly one probe is used: the one that Type names; the
// fields of the others must be zero.
type Options struct {
	// Type is the probe: http (default), tcp, grpc or exec.
	Type string
	// Interval is the time from the start of one check to the start of the
	// next, 10ms to 24h; default 5s. A check may begin a hundredth of it sooner,
	// at most 20ms, to begin together with others.
	Interval time.Duration
	// FastInterval replaces Interval while a backend is changing: checked for
	// the first time, or on its way from one state to the other. 10ms to
	// Interval; 0 is the lesser of Interval and 1s.
	FastInterval time.Duration
	// Timeout bounds one check, 1ms to 1h; default 2s. A check that has not
	// ended when the next is due delays only itself.
	Timeout time.Duration
	// Rise is how many checks in a row must pass to bring an unhealthy backend
	// back, 1 to 100; default 2.
	Rise int
	// Fall is how many checks in a row must fail to take a healthy backend
	// out, 1 to 100; default 3.
	Fall int
	// Start is what a backend is before its first check has ended: checking
	// (default: no traffic, and that check decides), healthy or unhealthy.
	Start string
	// Port is checked instead of the backend's own, 1 to 65535; 0 is the
	// backend's.
	Port int
	// TLS, when set, wraps http, tcp and grpc probes.
	TLS *TLS
	// NoTLS says that the probe is without TLS, whatever else speaks to the
	// backends; it goes before what a caller would put into TLS by default.
	NoTLS bool
	// Preface is written on each connection of an http, tcp or grpc probe before
	// anything else, TLS included.
	Preface string

	HTTP HTTP
	TCP  TCP
	GRPC GRPC
	Exec Exec
}

// TLS is how a probe speaks TLS.
type TLS struct {
	// ServerName is sent (SNI) and expected in the certificate; "" is HTTP.Host
	// without its port, else the backend's host.
	ServerName string
	// Insecure accepts any certificate.
	Insecure bool
	// CAFile has the PEM certificates to trust; "" is the system's.
	CAFile string
	// From, when set, takes the place of all of the above: checks speak TLS as
	// what it belongs to does.
	From TLSSource
}

// TLSSource has the TLS configuration of others, in the state of the moment.
type TLSSource interface {
	// ForHost is the configuration for a backend whose address has that host; ""
	// is one without, on a unix socket. The caller may change it.
	ForHost(host string) (*tls.Config, error)
}

// HTTP is a request and what is expected of its response.
type HTTP struct {
	Path   string // begins with /, may have a query; default "/"
	Method string // default GET
	Host   string // Host header; "" is the backend's address
	// Headers are added to the request, in this order.
	Headers []Header
	// Status lists what passes; default 200 to 399.
	Status []StatusRange
	// Body must be in the response body; "" is not looked for.
	Body string
	// BodyRegex (RE2) must match the response body; "" is not looked for.
	BodyRegex string
}

// Header is one field of a request.
type Header struct{ Name, Value string }

// StatusRange is an inclusive range of statuses, within 100 to 599.
type StatusRange struct{ From, To int }

// TCP is a connection, and optionally what is said on it.
type TCP struct {
	// Send is written when the connection is open; "" writes nothing.
	Send string
	// Expect must be in what comes back; "" does not wait for anything.
	Expect string
}

// GRPC is a call of grpc.health.v1.Health/Check.
type GRPC struct {
	// Service is asked for; "" is the server as a whole.
	Service string
}

// Exec is a command that passes with exit status 0. There is no shell.
type Exec struct {
	// Command is the program and its arguments. {address}, {host} and {port} in
	// arguments stand for the backend's; the environment has them as
	// STEELYARD_ADDRESS, STEELYARD_HOST and STEELYARD_PORT.
	Command []string
}

// OptionError is one thing that is wrong with Options. Option is the option in
// the spelling of the configuration ("interval", "path", "tls.ca", "send"), so
// that the caller can say where in its file that is.
type OptionError struct {
	Option  string
	Problem string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }

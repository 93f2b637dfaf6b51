package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Probe checks one backend once. It is made once for all backends of a pool, and
// Run is safe for concurrent use.
type Probe interface {
	// Run checks the backend at address (host:port, [v6]:port or unix:/path)
	// until ctx ends. status is that of Result. The error says what happened and
	// what was expected; it wraps ErrNotChecked if nothing was learned, and
	// ErrSilent if nothing came from the backend.
	Run(ctx context.Context, address string) (status int, err error)
}

// NewProbe makes the probe that o describes, or returns what o.Validate does.
// Files that o names are read now.
func NewProbe(o Options) (Probe, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	switch o.probeType() {
	case "http":
		return newHTTPProbe(&o)
	case "tcp":
		return newTCPProbe(&o)
	case "grpc":
		return newGRPCProbe(&o)
	case "exec":
		return newExecProbe(&o), nil
	}
	panic("healthcheck: type " + o.Type + " is in Types but not in NewProbe")
}

// lingering is a probe whose connection is closed after the result is known, so
// that it is closed kindly and the result is not late.
type lingering interface {
	check(ctx context.Context, address string) (status int, left leaving, err error)
}

// runLingering is Run of a lingering probe.
func runLingering(ctx context.Context, p lingering, address string) (int, error) {
	status, left, err := p.check(ctx, address)
	left.close()
	return status, err
}

// lingerTime bounds how long a connection is kept after a check for the peer to
// close it too, and lingerBytes what is read in that time.
const (
	lingerTime  = 20 * time.Millisecond
	lingerBytes = 64 << 10
)

// leaving is a connection of a check that has ended; the zero value is none.
type leaving struct{ conn net.Conn }

// close ends the connection. A socket that is closed with bytes unread, or before
// bytes arrive, answers them with a reset, which servers log as an error. So the
// peer is told first and may finish, for a moment.
func (l leaving) close() {
	if l.conn == nil {
		return
	}
	defer l.conn.Close()
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || l.conn.SetDeadline(time.Now().Add(lingerTime)) != nil || half.CloseWrite() != nil {
		return
	}
	var scratch [2048]byte
	for total := 0; total < lingerBytes; {
		n, err := l.conn.Read(scratch[:])
		if err != nil {
			return
		}
		total += n
	}
}

// place is where a probe connects to.
type place struct {
	network, dial string
	host, port    string // "" for a unix socket
}

// locate parses an address and puts another port in place of its own, if port is
// not 0.
func locate(address string, port int) (place, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if port != 0 {
			return place{}, errors.New("port is set, but a unix socket has none; leave port out of the check")
		}
		return place{network: "unix", dial: path}, nil
	}
	host, own, err := net.SplitHostPort(address)
	if err != nil {
		return place{}, errors.New("address " + quote(address) + ": " + cause(err) + "; expected host:port or unix:/path")
	}
	if port == 0 {
		return place{network: "tcp", dial: address, host: host, port: own}, nil
	}
	own = strconv.Itoa(port)
	return place{network: "tcp", dial: net.JoinHostPort(host, own), host: host, port: own}, nil
}

// authority is the value of Host and :authority for the backend itself.
func (p *place) authority() string {
	if p.network == "unix" {
		return "localhost"
	}
	if strings.Contains(p.host, "%") { // A zone means something here only.
		host, _, _ := strings.Cut(p.host, "%")
		return net.JoinHostPort(host, p.port)
	}
	return p.dial
}

// connector opens the connections of a probe.
type connector struct {
	dialer  net.Dialer
	port    int
	timeout time.Duration // for texts; contexts do the work
	tls     *tls.Config   // nil: without TLS of its own
	named   bool          // tls has the name to expect

	preface   string    // comes first
	from      TLSSource // of TLS that is not its own; nil: there is none
	protocols []string
}

// newConnector makes a connector. Its TLS expects the name of the options, else
// host without its port, else the host of the backend.
func newConnector(o *Options, host string, protocols ...string) (*connector, error) {
	c := &connector{
		preface: o.Preface,
		port:    o.Port, timeout: o.Timeout,
		// Connections are too short to be kept alive, and each option of a socket
		// is a system call.
		dialer: net.Dialer{KeepAlive: -1},
	}
	if o.TLS == nil {
		return c, nil
	}
	if o.TLS.From != nil {
		c.from, c.protocols = o.TLS.From, protocols
		return c, nil
	}
	c.tls = &tls.Config{InsecureSkipVerify: o.TLS.Insecure, NextProtos: protocols}
	if o.TLS.CAFile != "" {
		pool, err := loadCA(o.TLS.CAFile)
		if err != nil {
			return nil, &OptionError{Option: "tls.ca", Problem: err.Error()}
		}
		c.tls.RootCAs = pool
	}
	c.tls.ServerName = o.TLS.ServerName
	if c.tls.ServerName == "" && host != "" {
		c.tls.ServerName = withoutPort(host)
	}
	c.named = c.tls.ServerName != "" || o.TLS.Insecure
	return c, nil
}

// withoutPort is the host of a Host header.
func withoutPort(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

// connect opens a connection. It lasts at most until ctx ends: then all that
// waits on it fails. release ends that bond and must be called before the
// connection is closed or left.
func (c *connector) connect(ctx context.Context, at place) (conn net.Conn, release func() bool, err error) {
	raw, err := c.dial(ctx, at)
	if err != nil {
		err = dialError(ctx, err, c.timeout)
		if c.port != 0 { // Who reads this sees the backend's own beside it.
			err = fmt.Errorf("port %d: %w", c.port, err)
		}
		return nil, nil, err
	}
	release = context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	if c.preface != "" {
		if _, err := io.WriteString(raw, c.preface); err != nil {
			release()
			raw.Close()
			return nil, nil, dialError(ctx, err, c.timeout)
		}
	}
	if c.tls == nil && c.from == nil {
		return raw, release, nil
	}
	conf, err := c.config(at)
	if err == nil {
		secured := tls.Client(raw, conf)
		if err = secured.HandshakeContext(ctx); err == nil {
			return secured, release, nil
		}
		err = tlsError(ctx, err, conf.ServerName, c.timeout)
	}
	release()
	raw.Close()
	return nil, nil, err
}

// dial opens a connection without TLS. It must be DialContext: Dialer.DialTCP binds
// the socket before it connects, even to no address, and a port that was bound is
// a port of this machine alone for a minute, for whatever destination. A few hundred
// checks a second would take them all.
func (c *connector) dial(ctx context.Context, at place) (net.Conn, error) {
	return c.dialer.DialContext(ctx, at.network, at.dial)
}

// config is the TLS configuration for one backend.
func (c *connector) config(at place) (*tls.Config, error) {
	if c.from != nil {
		conf, err := c.from.ForHost(at.host)
		if err == nil {
			conf.NextProtos = c.protocols
		}
		return conf, err
	}
	if c.tls.ServerName != "" {
		return c.tls, nil
	}
	if at.network == "unix" && !c.named {
		return nil, errors.New("a unix socket has no name to expect in a certificate; set tls.server_name")
	}
	conf := c.tls.Clone()
	conf.ServerName = at.host
	if a, err := netip.ParseAddr(at.host); err == nil {
		conf.ServerName = a.WithZone("").String() // Expected in the certificate, but not sent as SNI.
	}
	return conf, nil
}

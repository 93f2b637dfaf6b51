//go:build linux

// Package load sends requests to a server on this machine at a fixed rate and
// measures how long each took.
//
// The load is open: requests are due at times that are fixed before the run
// begins, and a request's latency counts from when it was due, not from when a
// connection was free to send it. A server that stands still for a second is
// charged with every request that fell into that second, and not with the one
// that was waiting for it ("coordinated omission").
//
// One thread does it all, over epoll and with its own system calls, because
// the generator shares a core with the backends and what it costs is taken
// from them. It knows Content-Length only, no chunked bodies and no TLS, and
// sends to loopback addresses alone.
package load

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The longest run, and the most connections.
const (
	maxDuration    = 10 * time.Minute
	maxConnections = 20000
)

// Options of a run.
type Options struct {
	Addr        string        // a loopback address with port
	Rate        float64       // requests or messages a second; 0: the next one when one is done
	Duration    time.Duration // of the time in which requests are due
	Connections int           // and requests at work at once, at most
	Path        string        // default /
	Header      string        // complete header lines, each with CRLF
	Post        int           // bytes of a request body; 0 sends a GET
	NewConn     bool          // a connection for each request
	WebSocket   bool          // messages of Message bytes on upgraded connections, echoed by the server
	Message     int
}

// Result of a run. Times are in microseconds.
type Result struct {
	Done    int64   // answered with 2xx
	Failed  int64   // answered otherwise, or not at all
	Unsent  int64   // due, but no connection became free in time
	Seconds float64 // from the first request to the last answer
	P50     float64
	P90     float64
	P99     float64
	P999    float64
	Max     float64
	CPU     float64 // of the generator, per request
	Reason  string  // of the first failure
}

// Err tells of a run in which more than a hundredth went wrong.
func (r Result) Err() error {
	if bad := r.Failed + r.Unsent; r.Done == 0 || bad*100 > r.Done {
		return fmt.Errorf("%d requests done, %d failed, %d never sent; the first failure: %s", r.Done, r.Failed, r.Unsent, r.Reason)
	}
	return nil
}

func (o *Options) validate() (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(o.Addr)
	switch {
	case err != nil:
		return addr, fmt.Errorf("address: %w", err)
	case !addr.Addr().Is4() || !addr.Addr().IsLoopback():
		return addr, fmt.Errorf("address %s: loads go to 127.0.0.0/8 only", o.Addr)
	case o.Duration <= 0 || o.Duration > maxDuration:
		return addr, fmt.Errorf("duration %s: above 0 and up to %s", o.Duration, maxDuration)
	case o.Connections < 1 || o.Connections > maxConnections:
		return addr, fmt.Errorf("connections %d: 1 to %d", o.Connections, maxConnections)
	case o.Rate < 0 || o.Rate > 1e6:
		return addr, fmt.Errorf("rate %g: 0 to 1000000", o.Rate)
	case o.Post < 0 || o.Post > 16<<20 || o.Message < 0 || o.Message > 1<<16:
		return addr, errors.New("a body has up to 16 MiB, a message up to 64 KiB")
	case o.WebSocket && (o.NewConn || o.Post > 0):
		return addr, errors.New("messages are sent on connections that stay, and without a request body")
	}
	return addr, nil
}

// request is the bytes of one request.
func (o *Options) request() []byte {
	var b strings.Builder
	method, path := "GET", o.Path
	if o.Post > 0 {
		method = "POST"
	}
	if path == "" {
		path = "/"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, path, o.Addr, o.Header)
	switch {
	case o.WebSocket:
		key := base64.StdEncoding.EncodeToString([]byte("sixteen bytes ok"))
		b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n")
	case o.NewConn:
		b.WriteString("Connection: close\r\n")
	}
	if o.Post > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", o.Post)
	}
	b.WriteString("\r\n" + strings.Repeat("x", o.Post))
	return []byte(b.String())
}

// frame is a masked text message (RFC 6455, section 5.2) of n bytes. The mask
// is zero, so the payload stands as it is.
func frame(n int) []byte {
	b := []byte{0x81}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, strings.Repeat("x", n)...)
}

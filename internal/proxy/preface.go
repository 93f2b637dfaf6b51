package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"

	"steelyard/internal/pool"
	"steelyard/internal/proxyproto"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// owesPreface reports whether a new connection has to begin with a PROXY header:
// if it comes from one who is believed to say whose connection it is. Who comes
// through a unix socket was let in by the rights of its file.
func (c *clientConn) owesPreface() bool {
	from := c.listener.limits.Load().ProxyFrom
	return len(from) > 0 && (!c.peer.IsValid() || contains(from, c.peer))
}

// readPreface reads the PROXY header, before anything else and within
// header_timeout, and takes the client's address from it. On error the connection
// is to be closed; whatever was to be said has been said.
func (c *clientConn) readPreface() error {
	c.owes = false
	c.started = c.at
	c.state.Store(connIdle)
	if err := c.armRead(c.at+c.listener.limits.Load().HeaderTimeout, 0); err != nil {
		return err
	}
	if c.interrupted.Load() {
		return os.ErrDeadlineExceeded
	}
	var h proxyproto.Header
	some := false
	buf := wire.GetBuffer(wire.SmallBuffer)
	err := c.socket.ReadPreface(buf.B[:proxyproto.MaxLen], func(b []byte) (n int, err error) {
		some = true
		h, n, err = proxyproto.Parse(b)
		return n, err
	})
	buf.Put()
	c.at = transport.Now()
	if !c.state.CompareAndSwap(connIdle, connBusy) {
		return os.ErrDeadlineExceeded // released
	}
	if err != nil {
		c.refusePreface(err, some)
		return err
	}
	if !h.Src.IsValid() {
		return nil
	}
	c.setPeer(netip.AddrPortFrom(h.Src.Addr().Unmap().WithZone(""), h.Src.Port()))
	c.dst = h.Dst
	var why refusal
	if c.seat, why = c.listener.reseat(c.seat, c.peer); why != admitted {
		c.listener.rejected[why].Add(1)
		c.refuseUnread(refusalInfo[why].cause, "")
		return errTooManyOfClient
	}
	return nil
}

var errTooManyOfClient = errors.New("the client has too many connections")

// setPeer says who the client is.
func (c *clientConn) setPeer(p netip.AddrPort) {
	c.peer, c.peerPort = p.Addr(), p.Port()
	c.peerText = c.peer.AppendTo(c.peerText[:0])
	c.trustedBy = nil
}

// refusePreface answers who sends no header, or none that can be read. To connect and
// say nothing, as some checks do, is no error.
func (c *clientConn) refusePreface(err error, some bool) {
	var detail string
	switch {
	case !some, errors.Is(err, net.ErrClosed):
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		detail = "the rest of the PROXY header did not come within header_timeout"
	case errors.Is(err, io.EOF):
		detail = "the connection ended within the PROXY header"
	default:
		detail = err.Error()
	}
	c.refuseUnread(CauseProxyHeader, detail)
}

// refuseUnread answers a client of whom nothing has been read.
func (c *clientConn) refuseUnread(cause Cause, detail string) {
	c.closing = true
	x := acquireExchange(c)
	x.req = nil
	if c.tls != nil { // who would not understand
		x.report(cause, detail)
		x.cut = true
	} else {
		c.linger = true
		c.readBy = 0
		x.answerCause(cause, 0, detail)
	}
	x.settleSafely()
	x.release()
}

// maxPrefaced bounds how many backends with connections of its own a client's
// connection remembers; what is beyond that ends by being idle.
const maxPrefaced = 8

// prefaced is where connections that belong to one client may wait.
type prefaced struct {
	conns   *transport.Endpoint
	preface string
}

// preface is what a connection to the backend begins with: the PROXY header with
// the client's address. A connection serves only requests with the same.
func (x *exchange) preface(ep *pool.Endpoint, version int) string {
	c := x.c
	src := netip.AddrPortFrom(c.peer, c.peerPort)
	if ip := x.clientIP(); !bytes.Equal(ip, c.peerText) {
		if a, err := netip.ParseAddr(string(ip)); err == nil {
			src = netip.AddrPortFrom(a, 0) // a proxy in front has told no port
		}
	}
	dst := c.dst
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok && !dst.IsValid() {
		dst = a.AddrPort()
	}
	p := prefaced{ep.Conns, string(proxyproto.Append(nil, version, proxyproto.Header{Src: src, Dst: dst}))}
	if len(c.prefaced) < maxPrefaced && !c.hasPrefaced(p) {
		c.prefaced = append(c.prefaced, p)
	}
	return p.preface
}

func (c *clientConn) hasPrefaced(p prefaced) bool {
	for _, q := range c.prefaced {
		if p == q {
			return true
		}
	}
	return false
}

// dropPrefaced closes connections that nobody else can use.
func (c *clientConn) dropPrefaced() {
	for _, p := range c.prefaced {
		p.conns.Drop(p.preface)
	}
	c.prefaced = nil
}

package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"syscall"

	"steelyard/internal/certs"
	"steelyard/internal/transport"
)

// TLS is how a listener speaks it. It is immutable.
type TLS struct {
	Store *certs.Store
	// HSTS is the value of Strict-Transport-Security; "": it is not sent.
	HSTS string
	// Guards says that clients are asked for certificates, so that one that was
	// let in for one site must not speak to another.
	Guards bool
}

// SetTLS makes the connections that are accepted from now on speak TLS; nil:
// plain HTTP.
func (l *Listener) SetTLS(t *TLS) { l.tls.Store(t) }

// TLS is what SetTLS was given last.
func (l *Listener) TLS() *TLS { return l.tls.Load() }

// clientTLS is the TLS of one connection.
type clientTLS struct {
	*TLS
	raw     net.Conn // below TLS
	done    bool     // the handshake is over
	version string   // such as 1.3
	sni     string
	client  *certs.Client // nil: it has shown no certificate
}

// initSocket prepares the connection for what the listener speaks.
func (c *clientConn) initSocket(nc net.Conn) error {
	t := c.listener.tls.Load()
	if t == nil {
		return c.socket.Init(nc)
	}
	c.tls = &clientTLS{TLS: t, raw: nc}
	return c.socket.InitTLS(nc, func(below net.Conn) *tls.Conn { return tls.Server(below, t.Store.Config()) })
}

// handshake begins the connection's TLS, on the goroutine that serves it and
// within header_timeout. On error the client has been told what there is to tell,
// and the connection is to be closed.
func (c *clientConn) handshake() error {
	c.started = c.at
	by := c.at + c.listener.limits.Load().HeaderTimeout
	c.readBy, c.writeBy = by, by
	if err := c.socket.SetDeadline(transport.Deadline(by)); err != nil {
		return err
	}
	err := c.waitHello()
	if err == nil {
		err = c.handshakeInTurn(by)
	}
	c.at = transport.Now()
	if err != nil {
		c.handshakeFailed(err)
		return err
	}
	state := c.socket.TLS().ConnectionState()
	t := c.tls
	t.done, t.version, t.sni, t.client = true, versionName(state.Version), state.ServerName, certs.ClientOf(&state)
	c.listener.shakes.ok(&state)
	return nil
}

// waitHello waits for the first byte, as an idle connection that may be let go.
func (c *clientConn) waitHello() error {
	c.state.Store(connIdle)
	if err := c.waitReadable(); err != nil {
		return err
	}
	if !c.state.CompareAndSwap(connIdle, connBusy) {
		return os.ErrDeadlineExceeded // released
	}
	return nil
}

// waitReadable waits for bytes, or for the end, below TLS.
func (c *clientConn) waitReadable() error {
	sc, ok := c.tls.raw.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var b [1]byte
	return raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
}

// handshakeFailed counts the failure and tells the client what it can still be
// told: crypto/tls has sent an alert, and who speaks plain HTTP gets an answer in
// that.
func (c *clientConn) handshakeFailed(err error) {
	reason := certs.ReasonOf(err)
	c.listener.shakes.failed[reason].Add(1)
	if log := slog.Default(); log.Enabled(context.Background(), slog.LevelDebug) {
		log.Debug("TLS handshake failed", "listener", c.listener.Name(), "client", string(c.peerText), "reason", reason.String(), "error", err)
	}
	c.closing = true
	if reason == certs.ReasonClientLeft || reason == certs.ReasonTimeout {
		return
	}
	// From here on the connection is a plain one, so that the alert or the answer
	// reaches the client before the end does.
	c.socket = transport.Socket{}
	if c.socket.Init(c.tls.raw) != nil {
		return
	}
	c.linger = true
	if reason != certs.ReasonPlainHTTP {
		return
	}
	c.readBy, c.writeBy = 0, 0
	x := acquireExchange(c)
	x.req = nil
	x.answerCause(CausePlainHTTP, 0, "")
	x.settleSafely()
	x.release()
}

// versionName is a version as configurations have it.
func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return tls.VersionName(v)
}

// misdirected reports whether a request is for another site than the one that the
// client has named to TLS, where that decides who may speak to it (RFC 9110,
// section 15.5.20).
func (c *clientConn) misdirected(host []byte) bool {
	t := c.tls
	if !t.Guards {
		return false
	}
	host = withoutHostPort(host)
	if string(host) == t.sni {
		return false
	}
	return !t.Store.SameSite(t.sni, string(host))
}

// withoutHostPort takes the port, and the brackets of IPv6, off a Host.
func withoutHostPort(host []byte) []byte {
	if len(host) == 0 {
		return host
	}
	return withoutPort(host)
}

// tlsVersion, tlsSNI and tlsClient are empty without TLS.

func (c *clientConn) tlsVersion() string {
	if c.tls == nil {
		return ""
	}
	return c.tls.version
}

func (c *clientConn) tlsSNI() string {
	if c.tls == nil {
		return ""
	}
	return c.tls.sni
}

// noClient is who shows no certificate.
var noClient certs.Client

func (c *clientConn) tlsClient() *certs.Client {
	if c.tls == nil || c.tls.client == nil {
		return &noClient
	}
	return c.tls.client
}

// tlsVerified is true for clients that have shown a certificate.
func (c *clientConn) tlsVerified() string {
	if c.tlsClient() == &noClient {
		return "false"
	}
	return "true"
}

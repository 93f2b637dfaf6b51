package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// TLSError is a TLS handshake with a backend that has failed. Its text says why,
// and what to do about it.
type TLSError struct {
	Text string
	Err  error
}

func (e *TLSError) Error() string { return e.Text }
func (e *TLSError) Unwrap() error { return e.Err }

// Timeout reports whether time was up.
func (e *TLSError) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

// Temporary is part of net.Error.
func (e *TLSError) Temporary() bool { return false }

// maxSessions is how many sessions are kept for one backend, to be resumed.
const maxSessions = 4

// secured is the TLS configuration of an endpoint, made of what was in force then.
type secured struct {
	base   *tls.Config
	config *tls.Config
}

// tlsConfig is the configuration for the endpoint's next connection, with the
// sessions of those before.
func (e *Endpoint) tlsConfig(t *ClientTLS) (*tls.Config, error) {
	base := t.config.Load()
	if s := e.secured.Load(); s != nil && s.base == base {
		return s.config, nil
	}
	host := ""
	if e.network == "tcp" {
		host, _, _ = net.SplitHostPort(e.address)
	}
	c, err := t.ForHost(host)
	if err != nil {
		return nil, &TLSError{Text: err.Error(), Err: err}
	}
	// Whoever is trusted now need not have been when a session began, so what has
	// changed begins without any.
	c.ClientSessionCache = tls.NewLRUClientSessionCache(maxSessions)
	e.secured.Store(&secured{base, c})
	return c, nil
}

// secure makes TLS of a new connection until the deadline.
func (c *Conn) secure(nc net.Conn, t *ClientTLS, by time.Time, timeout time.Duration) error {
	cfg, err := c.endpoint.tlsConfig(t)
	if err != nil {
		return err
	}
	if err := c.Socket.InitTLS(nc, func(below net.Conn) *tls.Conn { return tls.Client(below, cfg) }); err != nil {
		return err
	}
	_ = c.Socket.SetDeadline(by)
	ctx := context.WithValue(context.Background(), askedKey{}, &c.asked)
	if err := c.Socket.TLS().HandshakeContext(ctx); err != nil {
		return &TLSError{Text: c.explain(err, cfg, timeout), Err: err}
	}
	return c.Socket.SetDeadline(time.Time{})
}

// Secured reports whether the connection is TLS.
func (c *Conn) Secured() bool { return c.Socket.TLS() != nil }

// Refusal says how a backend has refused TLS after the handshake, which in TLS 1.3
// is when it looks at a certificate, or at its lack; "" if err is something else.
// What was sent on the connection has not been read then.
func (c *Conn) Refusal(err error) string {
	var op *net.OpError
	if c.uses > 1 || !c.Secured() || !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	return c.explainAlert(op.Err)
}

// Suspicion is why a backend may have closed a new connection without a word, ""
// if there is no suspicion: some servers look at certificates when TLS is done.
func (c *Conn) Suspicion() string {
	switch {
	case c.uses > 1:
	case c.asked == askedInVain:
		return "the backend had asked for a client certificate and the pool has none to show; set tls.cert and tls.key"
	case c.asked == askedAndShown:
		return "the backend had asked for a client certificate and may not accept that of tls.cert"
	}
	return ""
}

// explain says why there is no TLS and what to do, in the keys of a pool.
func (c *Conn) explain(err error, cfg *tls.Config, timeout time.Duration) string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("the backend did not finish the TLS handshake within %v (timeouts.connect)", timeout)
	case errors.As(err, &host):
		return fmt.Sprintf("the backend's certificate is not for %s%s; set tls.server_name to a name that it is for", cfg.ServerName, namesOf(host.Certificate))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the backend's certificate is not valid now: " + validity(invalid.Cert) + "; renew it"
	case errors.As(err, &invalid):
		return "the backend's certificate is not accepted: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	case errors.As(err, &unknown):
		return "the backend's certificate is signed by an authority that is not trusted" + issuerOf(unknown.Cert) + "; set tls.ca to the file of its CA"
	case errors.As(err, &record):
		return "the backend does not speak TLS on this port; remove tls from the pool, or use the port that does"
	case errors.As(err, &op) && op.Op == "remote error":
		return c.explainAlert(op.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the backend closed the connection within the TLS handshake; does it speak TLS on this port?"
	}
	return "the TLS handshake failed: " + strings.TrimPrefix(err.Error(), "tls: ")
}

// explainAlert says what the backend's alert means.
func (c *Conn) explainAlert(alert error) string {
	text := strings.TrimPrefix(alert.Error(), "tls: ")
	switch {
	case c.asked == askedInVain:
		return "the backend wants a client certificate and refuses a connection without (" + text + "); set tls.cert and tls.key"
	case strings.Contains(text, "certificate"):
		return "the backend does not accept the certificate of tls.cert (" + text + ")"
	case strings.Contains(text, "unrecognized name"):
		return "the backend does not know the name that it was asked for (" + text + "); set tls.server_name"
	}
	return "the backend refused TLS: " + text
}

func validity(c *x509.Certificate) string {
	const layout = "2006-01-02 15:04 MST"
	if time.Now().Before(c.NotBefore) {
		return "it begins on " + c.NotBefore.UTC().Format(layout)
	}
	return "it expired on " + c.NotAfter.UTC().Format(layout)
}

// namesOf lists the first names of a certificate.
func namesOf(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 3
	switch {
	case len(names) == 0:
		return " (it has no names)"
	case len(names) > most:
		names = append(names[:most], "…")
	}
	return fmt.Sprintf(" (it is for %s)", printable(strings.Join(names, ", ")))
}

func issuerOf(c *x509.Certificate) string {
	if c == nil || c.Issuer.CommonName == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", printable(c.Issuer.CommonName))
}

// printable is what a certificate says, made fit for a log: short, and without
// characters that do something.
func printable(s string) string {
	const most = 100
	s = strings.ToValidUTF8(s[:min(len(s), most)], "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

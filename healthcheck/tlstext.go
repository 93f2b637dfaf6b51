package healthcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"
)

// tlsError says why there is no TLS: because of the certificate, because of what
// the peers speak, or because of the connection.
func tlsError(ctx context.Context, err error, name string, timeout time.Duration) error {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case timedOut(ctx, err):
		return errors.New("no TLS handshake within " + timeout.String())
	case errors.As(err, &host):
		return errors.New("certificate is not for " + quote(name) + namesOf(host.Certificate) + "; set tls.server_name")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("certificate is not valid now: " + validity(invalid.Cert))
	case errors.As(err, &invalid):
		return errors.New("certificate is not accepted: " + strings.TrimPrefix(invalid.Error(), "x509: "))
	case errors.As(err, &unknown):
		return errors.New("certificate is signed by an unknown authority" + issuerOf(unknown.Cert) + "; set tls.ca")
	case errors.As(err, &record):
		return errors.New("the backend does not speak TLS on this port")
	case errors.As(err, &op) && op.Op == "remote error": // An alert.
		return errors.New("the backend refused the TLS handshake: " + strings.TrimPrefix(op.Err.Error(), "tls: "))
	case isEOF(err):
		return errors.New("connection closed within the TLS handshake")
	}
	return errors.New("TLS handshake: " + strings.TrimPrefix(cause(err), "tls: "))
}

func validity(c *x509.Certificate) string {
	const layout = "2006-01-02 15:04 MST"
	if now := time.Now(); now.Before(c.NotBefore) {
		return "it begins on " + c.NotBefore.UTC().Format(layout)
	}
	return "it expired on " + c.NotAfter.UTC().Format(layout)
}

// namesOf lists the first names of a certificate.
func namesOf(c *x509.Certificate) string {
	const most = 3
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return " (it has no names)"
	}
	more := ""
	if len(names) > most {
		names, more = names[:most], ", …"
	}
	return " (it is for " + clip(strings.Join(names, ", "), 80) + more + ")"
}

func issuerOf(c *x509.Certificate) string {
	if c == nil || c.Issuer.CommonName == "" {
		return ""
	}
	return " (" + clip(c.Issuer.CommonName, 60) + ")"
}

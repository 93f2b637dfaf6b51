package certs

import "crypto/tls"

// Options say how TLS is spoken to clients.
type Options struct {
	// Certificates has at least one; the first is shown to clients that name no
	// host, or one that no certificate has.
	Certificates []Files
	// MinVersion is the lowest version of TLS: 1.2 (default) or 1.3.
	MinVersion string
	// ClientAuth asks clients for a certificate; nil: they are not asked.
	ClientAuth *ClientAuth
	// OCSP staples OCSP responses to certificates that have one to be had; default true.
	OCSP bool
}

// Files are a certificate and its key.
type Files struct {
	// CertFile is a PEM file with the certificate, and behind it those between it
	// and its CA.
	CertFile string
	KeyFile  string // PEM; may be CertFile
	// Hosts are those it is shown to clients for; it has to be valid for each.
	// None: all that it is valid for.
	Hosts []string
	// Line is where it stands in its configuration; 0: unknown.
	Line int
}

// ClientAuth says which certificates are asked of clients.
type ClientAuth struct {
	// Mode is require (default: no connection without one) or optional (one that
	// is shown has to be right).
	Mode string
	// CAFile is a PEM file with the CAs that certificates of clients come from.
	CAFile string
}

// The modes of ClientAuth.
const (
	Require  = "require"
	Optional = "optional"
)

// Modes are the values of ClientAuth.Mode.
func Modes() []string { return []string{Require, Optional} }

// Versions are the values of Options.MinVersion.
func Versions() []string { return []string{"1.2", "1.3"} }

// suites are those of TLS 1.2 that keep what was said secret when the key of the
// certificate becomes known, and that authenticate what they encrypt. Those of
// TLS 1.3 all do.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// protocol is what is spoken within TLS.
const protocol = "http/1.1"

// base is the part of a tls.Config that no file is needed for.
func (o *Options) base() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites, NextProtos: []string{protocol}}
	if o.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if o.ClientAuth != nil {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		if o.ClientAuth.Mode == Optional {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return c
}

package certs

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Reason says why a handshake failed. The list is closed: it is a label of a
// metric.
type Reason uint8

// The reasons.
const (
	ReasonOther      Reason = iota
	ReasonClientLeft        // the client closed the connection
	ReasonTimeout           // it took too long
	ReasonPlainHTTP         // a request came without TLS
	ReasonNotTLS            // something else came
	ReasonVersion           // no version of TLS in common
	ReasonCipher            // no cipher suite, or no key exchange, in common
	ReasonALPN              // the client wants other protocols than HTTP/1.1
	ReasonNoCert            // the client showed no certificate
	ReasonBadCert           // the certificate of the client is not right
	ReasonRejected          // the client does not accept what it was shown
	ReasonCount             // how many there are
)

var reasonNames = [ReasonCount]string{
	"other", "client_left", "timeout", "plain_http", "not_tls", "version", "cipher", "alpn",
	"no_client_certificate", "bad_client_certificate", "rejected_by_client",
}

// String is the reason as metrics and logs have it.
func (r Reason) String() string { return reasonNames[r] }

// said are the beginnings of what crypto/tls says in words alone.
var said = []struct {
	text   string
	reason Reason
}{
	{"tls: client offered only unsupported versions", ReasonVersion},
	{"tls: client using inappropriate protocol fallback", ReasonVersion},
	{"tls: no cipher suite supported by both", ReasonCipher},
	{"tls: no key exchanges supported by both", ReasonCipher},
	{"tls: client requested unsupported application protocols", ReasonALPN},
	{"tls: client didn't provide a certificate", ReasonNoCert},
	{"tls: failed to parse client certificate", ReasonBadCert},
	{"tls: client sent certificate containing", ReasonBadCert},
	{"tls: client certificate", ReasonBadCert},
	{"tls: invalid signature by the client certificate", ReasonBadCert},
}

// ReasonOf says why a handshake of a server ended with an error.
func ReasonOf(err error) Reason {
	var header tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &header):
		if header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
			return ReasonPlainHTTP
		}
		return ReasonNotTLS
	case errors.As(err, &verify):
		return ReasonBadCert
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.As(err, &op) && op.Op == "remote error":
		return ReasonRejected
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ReasonClientLeft
	}
	for _, s := range said {
		if strings.HasPrefix(err.Error(), s.text) {
			return s.reason
		}
	}
	return ReasonOther
}

// looksLikeHTTP reports whether the first bytes of a connection are those of a
// request: a method and a space, or the beginning of a longer method.
func looksLikeHTTP(b [5]byte) bool {
	n := 0
	for n < len(b) && 'A' <= b[n] && b[n] <= 'Z' {
		n++
	}
	return n == len(b) || n >= 3 && b[n] == ' '
}

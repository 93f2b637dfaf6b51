package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"strings"
)

// Client is what the certificate of a client says. It has been verified.
type Client struct {
	// Subject is the whole name (RFC 2253), CN its common name.
	Subject, CN string
	// SAN has the alternative names, separated by commas: dns:, email:, ip: and
	// uri: with the name behind. A comma in a name is %2C.
	SAN string
	// Fingerprint is the SHA-256 of the certificate in hexadecimal.
	Fingerprint string
}

// ClientOf is the client of a connection; nil: it has shown no certificate.
func ClientOf(s *tls.ConnectionState) *Client {
	if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return nil
	}
	leaf := s.PeerCertificates[0]
	var san []string
	add := func(kind, name string) { san = append(san, kind+strings.ReplaceAll(name, ",", "%2C")) }
	for _, n := range leaf.DNSNames {
		add("dns:", n)
	}
	for _, n := range leaf.EmailAddresses {
		add("email:", n)
	}
	for _, ip := range leaf.IPAddresses {
		add("ip:", ip.String())
	}
	for _, u := range leaf.URIs {
		add("uri:", u.String())
	}
	sum := sha256.Sum256(leaf.Raw)
	return &Client{Subject: leaf.Subject.String(), CN: leaf.Subject.CommonName, SAN: strings.Join(san, ","), Fingerprint: hex.EncodeToString(sum[:])}
}

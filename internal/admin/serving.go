package admin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"steelyard/config"
	"steelyard/internal/certs"
)

// newServing is how the API serves HTTPS. The certificate is read again when its
// file changes; while it cannot be used, the last one holds.
func newServing(o *config.AdminTLS) (*certs.Store, error) {
	options := certs.Options{Certificates: []certs.Files{{CertFile: o.CertFile, KeyFile: o.KeyFile}}}
	if o.ClientCAFile != "" {
		options.ClientAuth = &certs.ClientAuth{Mode: certs.Require, CAFile: o.ClientCAFile}
	}
	s, err := certs.Open(options, nil, slog.With("listener", "admin"))
	var problems certs.Problems
	if !errors.As(err, &problems) {
		return s, err
	}
	var all []error
	for _, p := range problems {
		key := p.Key
		if key == "ca" {
			key = "client_ca"
		}
		all = append(all, fmt.Errorf("tls.%s: %w", key, p))
	}
	return nil, errors.Join(all...)
}

// tlsListener speaks TLS by the configuration of each moment.
type tlsListener struct {
	net.Listener
	store *certs.Store
}

// Accept implements net.Listener.
func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, l.store.Config()), nil
}

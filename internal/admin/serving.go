package admin

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"steelyard/config"
)

// serving is how the API serves HTTPS. The certificate is read again when its file
// changes; while it cannot be read, the last one holds.
type serving struct {
	config.AdminTLS
	conf *tls.Config

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]fileState
	broken bool
}

func newServing(o *config.AdminTLS) (*serving, error) {
	s := &serving{AdminTLS: *o}
	var err error
	s.seen = s.state()
	if s.pair, err = s.read(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	s.conf = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current(), nil },
		NextProtos:     []string{"http/1.1"},
	}
	if o.ClientCAFile == "" {
		return s, nil
	}
	pem, err := os.ReadFile(o.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	s.conf.ClientCAs = x509.NewCertPool()
	if !s.conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.client_ca: %s has no certificate in PEM", o.ClientCAFile)
	}
	s.conf.ClientAuth = tls.RequireAndVerifyClientCert
	return s, nil
}

func (s *serving) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	return &pair, err
}

// state tells whether one of the files has changed.
func (s *serving) state() (state [2]fileState) {
	for i, path := range []string{s.CertFile, s.KeyFile} {
		if info, err := os.Stat(path); err == nil {
			state[i] = fileState{info.ModTime(), info.Size()}
		}
	}
	return state
}

// current is the certificate that the files have now.
func (s *serving) current() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state()
	if state == s.seen {
		return s.pair
	}
	pair, err := s.read()
	switch {
	case err == nil:
		s.pair, s.seen, s.broken = pair, state, false
		slog.Info("the admin certificate was read anew", "file", s.CertFile)
	case !s.broken: // The key is perhaps still to come: seen stays, so it is tried again.
		s.broken = true
		slog.Error("the admin certificate cannot be read; the one before still holds", "error", err)
	}
	return s.pair
}

// names reports whether the certificate is of a host.
func (s *serving) names(host string) bool {
	return s != nil && s.current().Leaf.VerifyHostname(host) == nil
}

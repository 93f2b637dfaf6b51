package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// TLSOptions says how the connections to the backends of a pool are secured.
// Start from DefaultTLSOptions.
type TLSOptions struct {
	// CAFile has the PEM certificates to trust; "" is the system's.
	CAFile string
	// ServerName is sent (SNI) and expected in the certificate; "" is the host of
	// each backend's address.
	ServerName string
	// CertFile and KeyFile are what backends that ask for it are shown; "" is
	// nothing.
	CertFile, KeyFile string
	// MinVersion is the oldest version spoken: 1.2 (default) or 1.3.
	MinVersion string
	// Verify refuses backends whose certificate is not trusted, not valid now or
	// not for the name; default true.
	Verify bool
}

// DefaultTLSOptions are those of tls: true.
func DefaultTLSOptions() TLSOptions { return TLSOptions{MinVersion: "1.2", Verify: true} }

// TLSVersions are the values of TLSOptions.MinVersion.
func TLSVersions() []string { return []string{"1.2", "1.3"} }

// OptionError is one thing that is wrong with TLSOptions. Option is in the
// spelling of the configuration ("server_name", "ca").
type OptionError struct {
	Option  string
	Problem string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }

// maxPEM is the largest file of certificates that is read.
const maxPEM = 16 << 20

// Load reports everything that is wrong with o and with what is in its files, as
// *OptionError values joined into one error. With a file that is not there, the
// others are not looked into.
func (o TLSOptions) Load() error {
	for _, name := range []string{o.CAFile, o.CertFile, o.KeyFile} {
		if _, err := os.Stat(name); name != "" && errors.Is(err, fs.ErrNotExist) {
			return errors.Join(o.check()...)
		}
	}
	_, err := o.load()
	return err
}

// check is Load without the files.
func (o *TLSOptions) check() (errs []error) {
	add := func(option, format string, args ...any) {
		errs = append(errs, &OptionError{option, fmt.Sprintf(format, args...)})
	}
	if !isServerName(o.ServerName) {
		add("server_name", "%q is not a host name; such as api.internal, without port", o.ServerName)
	}
	switch {
	case o.CertFile != "" && o.KeyFile == "":
		add("key", "is missing; a certificate needs its key")
	case o.CertFile == "" && o.KeyFile != "":
		add("cert", "is missing; a key needs its certificate")
	}
	if o.MinVersion != "1.2" && o.MinVersion != "1.3" {
		add("min_version", "%q is not a version; allowed are 1.2 and 1.3", o.MinVersion)
	}
	if !o.Verify && o.CAFile != "" {
		add("ca", "would not be used: verify is false, so any certificate is accepted; leave one of them out")
	}
	return errs
}

func isServerName(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || s == "" {
		return true
	}
	return len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`:/[]@?#,"\`, r)
	})
}

// load makes a configuration of o, with what is in its files.
func (o *TLSOptions) load() (*tls.Config, error) {
	errs := o.check()
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: !o.Verify,
		NextProtos:         []string{"http/1.1"},
		// A record for each segment helps browsers far away; backends are near.
		DynamicRecordSizingDisabled: true,
		Renegotiation:               tls.RenegotiateNever,
	}
	if o.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	var err error
	if o.CAFile != "" {
		if c.RootCAs, err = loadCA(o.CAFile); err != nil {
			errs = append(errs, &OptionError{"ca", err.Error()})
		}
	}
	shown := new(tls.Certificate) // no certificate at all, which is what a client without one says
	if o.CertFile != "" && o.KeyFile != "" {
		if shown, err = loadPair(o.CertFile, o.KeyFile); err != nil {
			errs = append(errs, err)
		}
	}
	c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if note, ok := asked.Context().Value(askedKey{}).(*asking); ok {
			*note = askedInVain
			if len(shown.Certificate) > 0 {
				*note = askedAndShown
			}
		}
		// Shown whatever CAs the backend lists: those lists are often short of one.
		return shown, nil
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// askedKey finds in a handshake's context where it is to note what was asked.
type askedKey struct{}

// asking is whether a backend has asked for a certificate.
type asking uint8

const (
	notAsked asking = iota
	askedInVain
	askedAndShown
)

func readPEM(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", name)
	case err == nil && info.Size() > maxPEM:
		return nil, fmt.Errorf("%s has %d bytes; allowed are %d", name, info.Size(), maxPEM)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("cannot read %s: %w", name, path.Err)
	}
	return text, err
}

// loadCA reads the certificates of a PEM file. One that cannot be read is an
// error, because what it signs would then fail without anybody knowing why.
func loadCA(name string) (*x509.CertPool, error) {
	text, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		n++
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %s is not valid: %w", n, name, err)
		}
		pool.AddCert(cert)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----", name)
	}
	return pool, nil
}

// loadPair reads a certificate with its key; the error is of one of the options.
func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := readPEM(certFile)
	if err != nil {
		return nil, &OptionError{"cert", err.Error()}
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return nil, &OptionError{"key", err.Error()}
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return &pair, nil
	case !bytes.Contains(cert, []byte("-----BEGIN CERTIFICATE-----")):
		return nil, &OptionError{"cert", certFile + " holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----"}
	case strings.Contains(err.Error(), "private key"):
		return nil, &OptionError{"key", fmt.Sprintf("%s does not go with %s: %s", keyFile, certFile, strings.TrimPrefix(err.Error(), "tls: "))}
	}
	return nil, &OptionError{"cert", fmt.Sprintf("%s cannot be used: %s", certFile, strings.TrimPrefix(err.Error(), "tls: "))}
}

// ClientTLS is TLSOptions with what is in the files they name, which are read
// again when they change. New connections go by what was read last; those that
// exist stay as they are.
type ClientTLS struct {
	opts   TLSOptions
	config atomic.Pointer[tls.Config]

	mu     sync.Mutex
	seen   [3]os.FileInfo // the files when they were read last
	failed [3]os.FileInfo // the files when reading them failed the last time
}

// NewClientTLS reads the files of o. The error has the same form as that of Load.
func NewClientTLS(o TLSOptions) (*ClientTLS, error) {
	t := &ClientTLS{opts: o}
	t.seen = t.look()
	c, err := o.load()
	if err != nil {
		return nil, err
	}
	t.config.Store(c)
	return t, nil
}

// Options are those it was made of.
func (t *ClientTLS) Options() TLSOptions { return t.opts }

func (t *ClientTLS) look() (files [3]os.FileInfo) {
	for i, name := range []string{t.opts.CAFile, t.opts.CertFile, t.opts.KeyFile} {
		if name != "" {
			files[i], _ = os.Stat(name) // nil if it is not there
		}
	}
	return files
}

func sameFiles(a, b [3]os.FileInfo) bool {
	for i := range a {
		x, y := a[i], b[i]
		if x == nil || y == nil {
			if x != y {
				return false
			}
		} else if !os.SameFile(x, y) || x.Size() != y.Size() || !x.ModTime().Equal(y.ModTime()) {
			return false
		}
	}
	return true
}

// Refresh reads the files again if they have changed, and reports whether there
// is something new in them. On error what was read before stays in force; the
// error is returned once, and only if the files are the same at the next look: a
// certificate may have been written whose key is about to be.
func (t *ClientTLS) Refresh() (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.look()
	if sameFiles(now, t.seen) {
		return false, nil
	}
	c, err := t.opts.load()
	if err == nil {
		t.seen = now
		t.config.Store(c)
		return true, nil
	}
	if !sameFiles(now, t.failed) {
		t.failed = now
		return false, nil
	}
	t.seen = now
	return false, err
}

// ForHost is the configuration for a backend whose address has that host; "" is
// one without, on a unix socket. The caller may change it.
func (t *ClientTLS) ForHost(host string) (*tls.Config, error) {
	c := t.config.Load().Clone()
	c.ServerName = t.opts.ServerName
	if c.ServerName == "" {
		c.ServerName = host
		if a, err := netip.ParseAddr(host); err == nil {
			c.ServerName = a.WithZone("").String() // expected, but not sent as SNI
		}
	}
	if c.ServerName == "" && t.opts.Verify {
		return nil, errors.New("a unix socket has no name to expect in a certificate; set tls.server_name")
	}
	return c, nil
}

package config

import (
	"net"
	"net/netip"
	"strings"

	"steelyard/internal/transport"
)

// poolTLSMapping reads how connections to backends are secured.
func poolTLSMapping() mapping[transport.TLSOptions] {
	return mapping[transport.TLSOptions]{
		noun:  "settings of tls",
		fresh: transport.DefaultTLSOptions,
		fields: []field[transport.TLSOptions]{
			key("ca", filePath(), func(t *transport.TLSOptions) *string { return &t.CAFile },
				"PEM file with the certificates to trust. It is read again when it changes, as the others are.").defaults("those of the system"),
			key("server_name", anyText("a host name", nil), func(t *transport.TLSOptions) *string { return &t.ServerName },
				"Sent (SNI) and expected in the certificate.").defaults("the host of each backend's address"),
			key("cert", filePath(), func(t *transport.TLSOptions) *string { return &t.CertFile },
				"PEM file with the certificate to show to backends that ask for one (mTLS), and those between it and its CA.").defaults("none"),
			key("key", filePath(), func(t *transport.TLSOptions) *string { return &t.KeyFile },
				"PEM file with its key.").defaults("none"),
			key("min_version", enum(transport.TLSVersions()), func(t *transport.TLSOptions) *string { return &t.MinVersion },
				"The oldest version of TLS that is spoken."),
			key("verify", boolean(), func(t *transport.TLSOptions) *bool { return &t.Verify },
				"`false` accepts any certificate: whoever gets between Steelyard and a backend can read and change everything."),
		},
		check: checkPoolTLS,
	}
}

// checkPoolTLS reads the files, unless one is not there: a configuration can be
// checked on another machine than the one it is for.
func checkPoolTLS(w *walker, s section, t *transport.TLSOptions) {
	for _, f := range []struct{ name, path string }{{"ca", t.CAFile}, {"cert", t.CertFile}, {"key", t.KeyFile}} {
		if f.path != "" && w.missing(f.path) {
			w.warnf(s.at[f.name], "there is no file %s; Steelyard does not start without it", f.path)
			return
		}
	}
	if !s.good("ca", "server_name", "cert", "key", "min_version", "verify") {
		return
	}
	for _, f := range faults(t.Load()) {
		w.failf(s.where(f.option), "%s", f.msg)
	}
	if !t.Verify {
		w.warnf(s.where("verify"), "false: any certificate is accepted, so whoever gets between Steelyard and a backend can read and change everything; set ca, or server_name, and leave verify out")
	}
}

// checkNames finds backends whose certificate could not be held against a name.
func checkNames(w *walker, s section, p *poolDraft) {
	if p.TLS == nil || p.TLS.ServerName != "" || !p.TLS.Verify || !s.good("tls") {
		return
	}
	for _, b := range p.backends {
		if strings.HasPrefix(b.Address, "unix:") {
			w.failf(b.at, "is a unix socket, which has no name to expect in a certificate; set tls.server_name")
			return
		}
	}
	for _, src := range p.sources {
		if src.Consul != nil || src.DNS != nil {
			w.warnf(s.where("tls"), "the source names backends by their addresses, which each certificate would have to have in it; set tls.server_name if they have a name instead")
			return
		}
	}
	for _, b := range p.backends {
		host, _, _ := net.SplitHostPort(b.Address)
		if a, err := netip.ParseAddr(host); err == nil && !a.IsLoopback() && p.TLS.CAFile == "" {
			w.warnf(b.at, "is an address without a name, which few certificates of public CAs have in them; set tls.server_name, or tls.ca")
			return
		}
	}
}

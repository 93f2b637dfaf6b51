package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"steelyard/internal/certs"
)

// HSTS is Strict-Transport-Security (RFC 6797), which tells browsers to come over
// TLS alone from then on.
type HSTS struct {
	// MaxAge is for how long; default 365d, 0 takes the word back.
	MaxAge            time.Duration
	IncludeSubdomains bool
	// Preload agrees to the lists that browsers come with.
	Preload bool
}

// Header is the value of the header.
func (h *HSTS) Header() string {
	s := "max-age=" + strconv.FormatInt(int64(h.MaxAge/time.Second), 10)
	if h.IncludeSubdomains {
		s += "; includeSubDomains"
	}
	if h.Preload {
		s += "; preload"
	}
	return s
}

// tlsFields are the keys of a listener that are about TLS.
func tlsFields() []field[listenerDraft] {
	return []field[listenerDraft]{
		key("tls", optional(listenerTLSMapping().kind()), func(l *listenerDraft) **certs.Options { return &l.TLS },
			"Speaks TLS: HTTPS in place of plain HTTP.").defaults("none, plain HTTP"),
		key("hsts", orTrue(hstsMapping()), func(l *listenerDraft) **HSTS { return &l.HSTS },
			"Tells browsers to come over TLS alone from now on (`Strict-Transport-Security`). Only beside `tls`.").defaults("none"),
		key("redirect_to_https", httpsPort(), func(l *listenerDraft) *int { return &l.HTTPSPort },
			"Sends every request to the same host and path over https (308), at port 443 or at the port given. Only without `tls`."),
	}
}

// checkListenerTLS finds keys that do not go together.
func checkListenerTLS(w *walker, s section, l *listenerDraft) {
	switch {
	case s.has("hsts") && l.HSTS != nil && !s.has("tls") && s.good("hsts", "tls"):
		w.fail(s.at["hsts"], Error{Msg: "this listener does not speak TLS, and browsers do not believe it without (RFC 6797, section 7.2); move it to the listener that has tls"})
	case l.HTTPSPort != 0 && s.has("tls") && s.good("tls"):
		w.fail(s.at["redirect_to_https"], Error{Msg: "this listener speaks TLS already; put it on the listener for plain HTTP"})
	}
	if s.has("address") && s.good("address") {
		_, port, _ := net.SplitHostPort(l.Address)
		if l.HTTPSPort != 0 && port == strconv.Itoa(l.HTTPSPort) {
			w.fail(s.at["redirect_to_https"], Error{Msg: "this is the port of the listener itself; requests would go in a circle"})
		}
	}
}

// httpsPort is true for port 443, a port, or false.
func httpsPort() kind[int] {
	return scalar("boolean, or a port", "true, false, or a port from 1 to 65535", func(s string) (int, *wrong) {
		switch s {
		case "true":
			return 443, nil
		case "false":
			return 0, nil
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 65535 {
			bad := &wrong{msg: fmt.Sprintf("%q is neither true nor false nor a port", clip(s))}
			if strings.EqualFold(s, "yes") || strings.EqualFold(s, "on") {
				bad.suggest = "true"
			}
			return 0, bad
		}
		return n, nil
	}, func(n int) string {
		if n == 0 {
			return "false"
		}
		return strconv.Itoa(n)
	})
}

func listenerTLSMapping() mapping[certs.Options] {
	return mapping[certs.Options]{
		noun:  "settings of tls",
		fresh: func() certs.Options { return certs.Options{MinVersion: "1.2", OCSP: true} },
		fields: []field[certs.Options]{
			key("certificates", oneOrMore(certificateMapping().kind()), func(o *certs.Options) *[]certs.Files { return &o.Certificates },
				"The certificates, chosen by the host that a client names (SNI). The first is for clients that name none, or one that no certificate has. Of several for one host the client gets one that it understands, ECDSA before RSA.").needed(),
			key("min_version", enum(certs.Versions()), func(o *certs.Options) *string { return &o.MinVersion },
				"Lowest version of TLS. There is 1.2 and 1.3; what is older is not safe."),
			key("client_auth", optional(clientAuthMapping().kind()), func(o *certs.Options) **certs.ClientAuth { return &o.ClientAuth },
				"Asks clients for a certificate (mutual TLS).").defaults("none, clients need no certificate"),
			key("ocsp_stapling", boolean(), func(o *certs.Options) *bool { return &o.OCSP },
				"Sends with a certificate the word of its CA that it has not been revoked: from the file `<cert>.ocsp` if there is one, else from the responder that the certificate names, if it names one."),
		},
		check: checkListenerCertificates,
	}
}

func checkListenerCertificates(w *walker, s section, o *certs.Options) {
	if s.has("certificates") && s.good("certificates") && len(o.Certificates) == 0 {
		w.fail(s.at["certificates"], Error{Msg: "is empty; TLS takes at least one certificate"})
	}
	if !w.disk || !s.good("certificates") {
		return
	}
	var pairs []*certs.Pair
	for _, f := range o.Certificates {
		p, bad := certs.Load(f, time.Now())
		if bad != nil {
			return // told where it stands
		}
		pairs = append(pairs, p)
	}
	for i, text := range certs.NeverShown(pairs) {
		w.warnf(value{line: pairs[i].Line, col: 1, path: fmt.Sprintf("%s[%d]", s.at["certificates"].path, i)}, "%s", text)
	}
}

func certificateMapping() mapping[certs.Files] {
	return mapping[certs.Files]{
		noun: "a certificate with its key",
		fields: []field[certs.Files]{
			key("cert", filePath(), func(f *certs.Files) *string { return &f.CertFile },
				"PEM file with the certificate, and behind it those between it and its CA. It is read again when it changes; what cannot be used then changes nothing.").needed(),
			key("key", filePath(), func(f *certs.Files) *string { return &f.KeyFile },
				"PEM file with its key, without a passphrase. It may be the file of the certificate.").needed(),
			key("hosts", oneOrMore(tlsHost()), func(f *certs.Files) *[]string { return &f.Hosts },
				"Hosts that it is shown for. It has to be valid for each.").defaults("all that it is valid for"),
		},
		check: checkCertificate,
	}
}

// checkCertificate looks into the files, where there are any.
func checkCertificate(w *walker, s section, f *certs.Files) {
	f.Line = s.line
	if !w.disk || !s.has("cert") || !s.has("key") || !s.good("cert", "key", "hosts") {
		return
	}
	p, problems := certs.Load(*f, time.Now())
	for _, bad := range problems {
		reportFile(w, s.where(bad.Key), bad)
	}
	if p == nil {
		return
	}
	for _, text := range p.Warnings {
		w.warnf(s.at["cert"], "%s", text)
	}
}

// reportFile tells what is wrong with a file. That one is missing is a warning:
// it may be there where Steelyard is to run.
func reportFile(w *walker, at value, bad *certs.Problem) {
	if bad.Missing {
		w.warnf(at, "there is no file %s; Steelyard does not start without it", bad.File)
		return
	}
	w.failf(at, "%s", bad.Error())
}

// tlsHost is a host that a certificate is for.
func tlsHost() kind[string] {
	return anyText("a host such as shop.example.com, or *.example.com", func(s string) *wrong {
		name := strings.TrimPrefix(s, "*.")
		if name == "" || strings.ContainsAny(name, "*/: ") {
			return &wrong{msg: fmt.Sprintf("%q is not a host", clip(s))}
		}
		return nil
	})
}

func clientAuthMapping() mapping[certs.ClientAuth] {
	ca := filePath()
	return mapping[certs.ClientAuth]{
		noun:    "settings of client_auth",
		shortIs: "the path of ca",
		short: func(w *walker, v value, c *certs.ClientAuth) bool {
			return isText(v.node) && (ca.read(w, v, &c.CAFile) || true)
		},
		fresh: func() certs.ClientAuth { return certs.ClientAuth{Mode: certs.Require} },
		fields: []field[certs.ClientAuth]{
			key("ca", ca, func(c *certs.ClientAuth) *string { return &c.CAFile },
				"PEM file with the CAs that certificates of clients must come from. It is read again when it changes.").needed(),
			key("mode", enum(certs.Modes()), func(c *certs.ClientAuth) *string { return &c.Mode },
				"`require` lets nobody in without a certificate; `optional` lets in who shows none, see the variables `{tls_client_…}`. One that is shown has to be right in both."),
		},
		check: func(w *walker, s section, c *certs.ClientAuth) {
			if !w.disk || c.CAFile == "" || !s.good("ca") {
				return
			}
			if bad := certs.CheckCAs(c.CAFile, time.Now()); bad != nil {
				at := s.value
				if s.has("ca") {
					at = s.at["ca"]
				}
				reportFile(w, at, bad)
			}
		},
	}
}

func hstsMapping() mapping[HSTS] {
	return mapping[HSTS]{
		noun:  "settings of hsts",
		fresh: func() HSTS { return HSTS{MaxAge: 365 * day} },
		fields: []field[HSTS]{
			key("max_age", duration(time.Second, 3650*day, "browsers forget it"), func(h *HSTS) *time.Duration { return &h.MaxAge },
				"For how long browsers keep to it after each answer."),
			key("include_subdomains", boolean(), func(h *HSTS) *bool { return &h.IncludeSubdomains },
				"Holds for all hosts below this one as well: be sure that each of them speaks TLS."),
			key("preload", boolean(), func(h *HSTS) *bool { return &h.Preload },
				"Agrees to be put into the lists that browsers come with, which is hard to undo."),
		},
		check: func(w *walker, s section, h *HSTS) {
			if h.Preload && s.good("max_age", "include_subdomains", "preload") && (!h.IncludeSubdomains || h.MaxAge < 365*day) {
				w.fail(s.at["preload"], Error{Msg: "the lists take no host without include_subdomains: true and max_age: 365d or more"})
			}
		},
	}
}

// checkUncovered warns of hosts of routes that no certificate is for, where
// every listener either speaks TLS or sends requests to one that does.
func (d *draft) checkUncovered(w *walker, routes []Route, at []value) {
	if !w.disk || len(w.errs) > 0 {
		return
	}
	var names []string
	for _, l := range d.listeners {
		switch {
		case l.TLS == nil && l.HTTPSPort == 0:
			return
		case l.TLS == nil:
			continue
		}
		for _, f := range l.TLS.Certificates {
			p, bad := certs.Load(f, time.Now())
			if bad != nil {
				return
			}
			names = append(names, p.Names...)
		}
	}
	if len(names) == 0 {
		return
	}
	warned := map[string]bool{}
	for i, r := range routes {
		h := r.Match.Host
		if h == "" || strings.HasPrefix(h, "~") || warned[h] || coveredBy(names, h) {
			continue
		}
		warned[h] = true
		w.warnf(at[i], "no certificate is for the host %s, and clients that ask for it refuse the one they are shown", h)
	}
}

// coveredBy reports whether one of the names of certificates, in lower case, is
// for a host of a route.
func coveredBy(names []string, host string) bool {
	host = strings.ToLower(host)
	for _, n := range names {
		rest, pattern := strings.CutPrefix(n, "*.")
		if n == host {
			return true
		}
		if _, above, ok := strings.Cut(host, "."); pattern && ok && above == rest {
			return true
		}
	}
	return false
}

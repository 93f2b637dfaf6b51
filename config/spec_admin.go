package config

import (
	"fmt"
	"net"
	"strings"
	"time"

	"steelyard/internal/certs"
)

// MinToken is the fewest characters of an admin token.
const MinToken = 16

// Admin is the admin API's own listener, and who may use it.
type Admin struct {
	// Address is host:port, :port or unix:/path. One that other machines can reach
	// comes with a token or with client certificates.
	Address string
	// Token and TokenFile name what a request has to show; either is right.
	Token     string
	TokenFile string
	TLS       *AdminTLS // nil: plain HTTP
	// ReadOnly refuses what would change something.
	ReadOnly bool
	Line     int
}

// AdminTLS are PEM files.
type AdminTLS struct {
	CertFile, KeyFile string
	// ClientCAFile has the certificates that those of clients must come from; "":
	// clients need none.
	ClientCAFile string
}

// Local reports whether only this machine can reach the admin API.
func (a *Admin) Local() bool {
	if strings.HasPrefix(a.Address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	return err == nil && isLoopback(host)
}

type adminDraft struct {
	Admin
	at value // of its address
}

func adminMapping() mapping[adminDraft] {
	return mapping[adminDraft]{
		noun:    "the admin API",
		shortIs: "an address",
		short: func(w *walker, v value, a *adminDraft) bool {
			return isText(v.node) && (adminAddress().read(w, v, &a.Address) || true)
		},
		fields: []field[adminDraft]{
			key("address", adminAddress(), func(a *adminDraft) *string { return &a.Address },
				"Where to listen. What other machines can reach needs `token`, `token_file` or `tls.client_ca`.").needed(),
			key("token", anyText(fmt.Sprintf("at least %d characters, no spaces", MinToken), checkToken), func(a *adminDraft) *string { return &a.Token },
				"What a request must show (`Authorization: Bearer …`), better as `${NAME}` than written out.").defaults("none"),
			key("token_file", filePath(), func(a *adminDraft) *string { return &a.TokenFile },
				"File with such a token. It is read again when it changes. With `token` as well either is right.").defaults("none"),
			key("tls", optional(adminTLSMapping().kind()), func(a *adminDraft) **AdminTLS { return &a.TLS },
				"Serves HTTPS.").defaults("none, plain HTTP"),
			key("read_only", boolean(), func(a *adminDraft) *bool { return &a.ReadOnly },
				"Refuses what would change something: orders about backends, reloads, the log level."),
		},
		check: checkAdmin,
	}
}

func checkAdmin(w *walker, s section, a *adminDraft) {
	a.Line, a.at = s.line, s.value
	if s.has("address") {
		a.at = s.at["address"]
	}
	if s.has("token_file") && s.good("token_file") && w.missing(a.TokenFile) {
		w.warnf(s.at["token_file"], "there is no file %s; Steelyard does not start without it", a.TokenFile)
	}
	if a.Address == "" || !s.good("address", "token", "token_file", "tls") || a.Local() {
		return
	}
	hasToken := s.has("token") || s.has("token_file")
	switch {
	case !hasToken && (a.TLS == nil || a.TLS.ClientCAFile == ""):
		_, port, _ := net.SplitHostPort(a.Address)
		w.fail(a.at, Error{
			Msg:     fmt.Sprintf("%s can be reached from other machines and nothing says who may use it; add token_file, token or tls.client_ca, or listen on 127.0.0.1 or a unix socket", a.Address),
			Suggest: "127.0.0.1:" + port,
		})
	case hasToken && a.TLS == nil:
		w.warnf(a.at, "%s can be reached from other machines, and the token crosses the network in the clear; add tls with cert and key", a.Address)
	}
}

// checkToken reports what is wrong with a token.
func checkToken(s string) *wrong {
	switch {
	case len(s) < MinToken:
		return &wrong{msg: fmt.Sprintf("has %d characters and could be guessed; openssl rand -hex 32 makes a good one", len(s))}
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return &wrong{msg: "has spaces or characters beyond ASCII, which a header cannot carry"}
	}
	return nil
}

func adminTLSMapping() mapping[AdminTLS] {
	return mapping[AdminTLS]{
		noun: "settings of tls",
		fields: []field[AdminTLS]{
			key("cert", filePath(), func(t *AdminTLS) *string { return &t.CertFile },
				"PEM file with the certificate, and those between it and its CA. It is read again when it changes.").needed(),
			key("key", filePath(), func(t *AdminTLS) *string { return &t.KeyFile },
				"PEM file with its key.").needed(),
			key("client_ca", filePath(), func(t *AdminTLS) *string { return &t.ClientCAFile },
				"PEM file with the CAs that certificates of clients must come from; others cannot connect.").defaults("none, clients need no certificate"),
		},
		check: func(w *walker, s section, t *AdminTLS) {
			if !w.disk || t.CertFile == "" || t.KeyFile == "" || !s.good("cert", "key", "client_ca") {
				return
			}
			p, problems := certs.Load(certs.Files{CertFile: t.CertFile, KeyFile: t.KeyFile}, time.Now())
			for _, bad := range problems {
				reportFile(w, s.where(bad.Key), bad)
			}
			if p != nil {
				for _, text := range p.Warnings {
					w.warnf(s.at["cert"], "%s", text)
				}
			}
			if t.ClientCAFile != "" {
				if bad := certs.CheckCAs(t.ClientCAFile, time.Now()); bad != nil {
					reportFile(w, s.at["client_ca"], bad)
				}
			}
		},
	}
}

// adminAddress is where the admin API may listen.
func adminAddress() kind[string] {
	return scalar("address", "127.0.0.1:port, [::1]:port, localhost:port or unix:/path; with a token or client certificates any host:port or :port", func(s string) (string, *wrong) {
		got, bad := parseAddress(s, true)
		if bad != nil {
			if _, local := parseAddress(s, false); local != nil {
				bad = local // guesses 127.0.0.1 where a listener may leave the host out
			}
			return "", bad
		}
		return got, nil
	}, func(s string) string { return s })
}

// Log is Steelyard's own log.
type Log struct {
	Level string // debug, info (default), warn, error
}

// LogLevels are the values of Log.Level.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

func logMapping() mapping[Log] {
	level := enum(LogLevels())
	return mapping[Log]{
		noun:    "settings of the log",
		shortIs: "a level",
		short: func(w *walker, v value, l *Log) bool {
			return isText(v.node) && (level.read(w, v, &l.Level) || true)
		},
		fields: []field[Log]{
			key("level", level, func(l *Log) *string { return &l.Level },
				"The least that is logged. The admin API can change it while Steelyard runs, until the next reload."),
		},
	}
}

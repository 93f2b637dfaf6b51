package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"steelyard/config"
	"steelyard/internal/certs"
)

// access decides who may use the API.
type access struct {
	config.Admin
	tokens *tokens // nil: no token is needed
	tls    *certs.Store
	wrong  guesses
	noted  noted // wrong tokens
	failed noted // calls that panicked
}

func newAccess(o config.Admin) (*access, error) {
	a := &access{Admin: o}
	var err error
	if a.tokens, err = newTokens(o.Token, o.TokenFile); err != nil {
		return nil, err
	}
	if o.TLS != nil {
		if a.tls, err = newServing(o.TLS); err != nil {
			return nil, err
		}
	}
	if !a.Local() && a.tokens == nil && (o.TLS == nil || o.TLS.ClientCAFile == "") {
		return nil, fmt.Errorf("%s can be reached from other machines, so it needs a token or tls.client_ca", o.Address)
	}
	return a, nil
}

// caller is who sent a request.
type caller struct{ who, from string }

type callerKey struct{}

// callerOf is for requests that have passed guarded.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// guarded keeps out who may not use the API: web pages of others, which a browser
// shows to somebody who may (they would name another origin, or another host that
// was made to resolve to this one, and cannot send JSON elsewhere unasked), and
// whoever shows no token if there is one.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &answered{ResponseWriter: w}
		defer s.survive(out, r)
		head := w.Header()
		head.Set("Cache-Control", "no-store")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		if f := s.access.refuse(r); f != nil {
			f.write(out)
			return
		}
		c, f := s.access.identify(r)
		if f != nil {
			f.write(out)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// refuse finds requests that a web page of somebody else may have made.
func (a *access) refuse(r *http.Request) *failure {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !a.knowsHost(r):
		return &failure{status: http.StatusForbidden, why: fmt.Sprintf("host %q is not this machine; use localhost or 127.0.0.1", clip(r.Host, 100))}
	case !sameOrigin(r), crossSite(r) && !(reads && followed(r)):
		return &failure{status: http.StatusForbidden, why: "requests of other origins are refused", cure: "use the dashboard of this address, or a client that is no browser"}
	case !reads && !isJSON(r):
		return &failure{status: http.StatusUnsupportedMediaType, why: "commands need Content-Type: application/json"}
	}
	return nil
}

// knowsHost reports whether the Host header is one that leads here by the
// operator's will. It matters where no token is needed: a token is not sent by a
// browser unasked.
func (a *access) knowsHost(r *http.Request) bool {
	switch {
	case a.tokens != nil:
		return true
	case a.Local():
		return local(r.Host)
	}
	return a.tls != nil && a.tls.Valid(hostOf(r.Host))
}

// local reports whether a Host header names this machine.
func local(host string) bool {
	name := hostOf(host)
	if name == "localhost" || name == "" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// hostOf is a Host header without its port.
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

// isJSON reports whether a request says that its body is JSON, with a charset or
// without.
func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// crossSite reports whether the browser itself says that another site asks.
func crossSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// followed reports whether somebody has followed a link, as from a chat to the
// dashboard: what comes of it is shown to them, and the page with the link sees
// nothing of it. What pages of others load as pictures, scripts, frames or
// streams is something else.
func followed(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// identify says who sends a request, or why they may not.
func (a *access) identify(r *http.Request) (caller, *failure) {
	from, port := from(r)
	c := caller{who: "loopback", from: port}
	switch {
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		c.who = "certificate " + clip(r.TLS.PeerCertificates[0].Subject.CommonName, 100)
	case strings.HasPrefix(a.Address, "unix:"):
		c.who = "unix socket"
	}
	if a.tokens == nil || free(r.URL.Path) {
		return c, nil
	}
	if wait := a.wrong.wait(from, time.Now()); wait > 0 {
		seconds := strconv.Itoa(int(wait/time.Second) + 1)
		return c, &failure{status: http.StatusTooManyRequests, why: "too many wrong tokens came from this address", cure: "try again in " + seconds + " s", retryAfter: seconds}
	}
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return c, unauthorized("a token is needed")
	}
	if c.who = a.tokens.match(strings.TrimSpace(shown)); c.who == "" {
		a.wrong.wrong(from, time.Now())
		a.noted.note(func(more int) {
			slog.Warn("a wrong admin token was refused", "from", port, "path", clip(r.URL.Path, 100), "not_logged_before", more)
		})
		return c, unauthorized("the token is not right")
	}
	return c, nil
}

func unauthorized(why string) *failure {
	return &failure{status: http.StatusUnauthorized, why: why, cure: "send the header Authorization: Bearer TOKEN with what admin.token or admin.token_file has; steelyard's commands take it from STEELYARD_ADMIN_TOKEN or --token-file"}
}

// free reports whether a path needs no token: whether the process lives and is
// ready, which those who run it ask without one, and the files of the dashboard,
// which hold nothing of this process.
func free(path string) bool {
	return path != "/metrics" && path != "/api" && !strings.HasPrefix(path, "/api/")
}

// from is the address of a request, and how it is written. Both are empty for
// unix sockets.
func from(r *http.Request) (netip.Addr, string) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, ""
	}
	return ap.Addr(), ap.Addr().Unmap().String()
}

// noted bounds how often something is logged that others can make happen.
type noted struct {
	mu   sync.Mutex
	last time.Time
	more int // that were not logged
}

// note calls log at most once a second, with how many were left out since.
func (n *noted) note(log func(more int)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); now.Sub(n.last) >= time.Second {
		log(n.more)
		n.last, n.more = now, 0
		return
	}
	n.more++
}

// failure is an answer that says what is wrong, and what to do about it where the
// first does not say it.
type failure struct {
	status     int
	why, cure  string
	retryAfter string // seconds
	errors     []string
}

func (f *failure) Error() string { return f.why }

func (f *failure) write(w http.ResponseWriter) {
	if f.retryAfter != "" {
		w.Header().Set("Retry-After", f.retryAfter)
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="steelyard"`)
	}
	writeJSON(w, f.status, struct {
		Error  string   `json:"error"`
		Cure   string   `json:"cure,omitempty"`
		Errors []string `json:"errors,omitempty"`
	}{f.why, f.cure, f.errors})
}

// failureOf makes an answer of an error.
func failureOf(status int, err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{status: status, why: err.Error()}
}

// Package browser has what browsers are to be told of a site: which other sites
// may use it (CORS) and what they are to be careful with (security headers).
//
// It knows nothing of requests: whoever asks gives values of headers and gets
// lines of headers to send.
package browser

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"steelyard/internal/wire"
)

// CORS says which scripts of other origins may use what is here (WHATWG Fetch,
// section 3.3, "CORS protocol").
type CORS struct {
	// Origins are https://app.example.com, https://*.example.com for all names
	// below it, null (sandboxed pages, files), or * for any.
	Origins []string
	// Methods that are allowed beside GET, HEAD and POST; * for any.
	Methods []string
	// Headers that are allowed in requests; * for any.
	Headers []string
	// Expose has the response headers that scripts may read beyond those that they
	// always may; * for any.
	Expose []string
	// Credentials lets browsers send cookies and passwords.
	Credentials bool
	// MaxAge is how long browsers remember the answer to a preflight; whole seconds.
	MaxAge time.Duration
}

// DefaultCORS is what holds where nothing is said.
func DefaultCORS() CORS {
	return CORS{Methods: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, Headers: []string{"*"}, MaxAge: 10 * time.Minute}
}

// Validate reports everything that browsers would not take, or that would open
// more than can be meant.
func (c CORS) Validate() error {
	var errs []error
	if len(c.Origins) == 0 {
		errs = append(errs, errors.New("browser: origins is empty, so no origin could use it"))
	}
	for _, o := range c.Origins {
		errs = append(errs, ValidOrigin(o))
	}
	if c.Credentials && slices.Contains(c.Origins, "*") {
		errs = append(errs, errors.New("browser: origins * with credentials would let every site act for the people who are logged in here, and browsers refuse it; name the origins"))
	}
	if c.Credentials && slices.Contains(c.Expose, "*") {
		errs = append(errs, errors.New("browser: expose * does not work with credentials; name the headers"))
	}
	for _, list := range [][]string{c.Methods, c.Headers, c.Expose} {
		for _, name := range list {
			if !wire.IsToken([]byte(name)) {
				errs = append(errs, fmt.Errorf("browser: %q is not a name of a method or header", name))
			}
		}
	}
	if c.MaxAge < 0 || c.MaxAge > 24*time.Hour || c.MaxAge%time.Second != 0 {
		errs = append(errs, fmt.Errorf("browser: max_age %v is not in whole seconds from 0 to 24h", c.MaxAge))
	}
	return errors.Join(errs...)
}

// ValidOrigin says why a text can be no origin.
func ValidOrigin(o string) error {
	if o == "*" || o == "null" {
		return nil
	}
	u, err := url.Parse(strings.Replace(o, "://*.", "://", 1))
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return fmt.Errorf("browser: %q is not an origin; one is https://app.example.com, https://*.example.com, null or *", o)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("browser: %q is more than an origin, which ends with the host or port: %s://%s", o, u.Scheme, u.Host)
	case o != strings.ToLower(o):
		return fmt.Errorf("browser: %q is not as browsers send it, which is in lower case", o)
	case strings.Contains(u.Host, "*"):
		return fmt.Errorf("browser: %q: a * stands for all names below a domain, and only in front of it: https://*.example.com", o)
	case u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443":
		return fmt.Errorf("browser: %q: browsers leave the usual port out: %s://%s", o, u.Scheme, u.Hostname())
	}
	return nil
}

// CORSPolicy is a compiled CORS. It is immutable and safe for concurrent use.
type CORSPolicy struct {
	any         bool
	exact       map[string]struct{}
	below       []wildcard
	anyMethod   bool
	methods     []string
	anyHeader   bool
	headers     []string // in lower case
	credentials bool

	// Lines that are the same for all who are allowed.
	response, preflight string
}

// wildcard is what stands before and behind the * of an origin.
type wildcard struct{ scheme, domain string }

// CompileCORS compiles c, which must be valid.
func CompileCORS(c CORS) *CORSPolicy {
	p := &CORSPolicy{
		exact: map[string]struct{}{}, any: slices.Contains(c.Origins, "*"), credentials: c.Credentials,
		anyMethod: slices.Contains(c.Methods, "*"), anyHeader: slices.Contains(c.Headers, "*"),
	}
	for _, o := range c.Origins {
		if scheme, domain, ok := strings.Cut(o, "*."); ok {
			p.below = append(p.below, wildcard{scheme, "." + domain})
		} else {
			p.exact[o] = struct{}{}
		}
	}
	p.methods = append([]string{"GET", "HEAD", "POST"}, c.Methods...)
	for _, h := range c.Headers {
		p.headers = append(p.headers, strings.ToLower(h))
	}
	if c.Credentials {
		p.response = "Access-Control-Allow-Credentials: true\r\n"
	}
	p.preflight = p.response
	if len(c.Expose) > 0 {
		p.response += "Access-Control-Expose-Headers: " + strings.Join(c.Expose, ", ") + "\r\n"
	}
	if !p.anyMethod {
		p.preflight += "Access-Control-Allow-Methods: " + strings.Join(c.Methods, ", ") + "\r\n"
	}
	if !p.anyHeader && len(c.Headers) > 0 {
		p.preflight += "Access-Control-Allow-Headers: " + strings.Join(c.Headers, ", ") + "\r\n"
	}
	if c.MaxAge > 0 {
		p.preflight += "Access-Control-Max-Age: " + strconv.Itoa(int(c.MaxAge/time.Second)) + "\r\n"
	}
	return p
}

// Allows reports whether scripts of an origin may use what is here.
func (p *CORSPolicy) Allows(origin []byte) bool {
	if len(origin) == 0 || !plainOrigin(origin) {
		return false
	}
	if p.any {
		return true
	}
	if _, ok := p.exact[string(origin)]; ok {
		return true
	}
	for _, w := range p.below {
		if w.matches(origin) {
			return true
		}
	}
	return false
}

// matches reports whether an origin is a name below the domain.
func (w *wildcard) matches(origin []byte) bool {
	from, to := len(w.scheme), len(origin)-len(w.domain)
	return to > from && string(origin[:from]) == w.scheme && string(origin[to:]) == w.domain && !bytes.ContainsAny(origin[from:to], "/:[]")
}

// plainOrigin reports whether an origin has no more than one may have: it is sent
// back as it came.
func plainOrigin(o []byte) bool {
	for _, c := range o {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', 'A' <= c && c <= 'Z':
		case c == '-', c == '.', c == ':', c == '/', c == '[', c == ']', c == '_', c == '+':
		default:
			return false
		}
	}
	return len(o) <= 300
}

// Varies reports whether responses depend on the origin.
func (p *CORSPolicy) Varies() bool { return !p.any || p.credentials }

// AppendResponse appends what every response carries, to whatever origin; nil is
// none.
func (p *CORSPolicy) AppendResponse(dst, origin []byte) []byte {
	if p.Varies() {
		dst = append(dst, "Vary: Origin\r\n"...)
	}
	if !p.Allows(origin) {
		return dst
	}
	dst = p.appendOrigin(dst, origin)
	return append(dst, p.response...)
}

func (p *CORSPolicy) appendOrigin(dst, origin []byte) []byte {
	dst = append(dst, "Access-Control-Allow-Origin: "...)
	if p.Varies() {
		dst = append(dst, origin...)
	} else {
		dst = append(dst, '*')
	}
	return append(dst, '\r', '\n')
}

// Preflight says why a request that a browser announces is not allowed; "" if it
// is. method and headers are what it announces.
func (p *CORSPolicy) Preflight(origin, method, headers []byte) (why string) {
	switch {
	case !p.Allows(origin):
		return fmt.Sprintf("the origin %q is not in cors.origins", clip(origin))
	case !wire.IsToken(method) || !p.anyMethod && !slices.Contains(p.methods, string(method)):
		return fmt.Sprintf("the method %q is not in cors.methods", clip(method))
	}
	for item, rest := wire.NextItem(headers); item != nil; item, rest = wire.NextItem(rest) {
		if !wire.IsToken(item) || !p.anyHeader && !slices.Contains(p.headers, strings.ToLower(string(item))) {
			return fmt.Sprintf("the header %q is not in cors.headers", clip(item))
		}
	}
	return ""
}

// AppendPreflight appends the answer to a preflight that is allowed.
func (p *CORSPolicy) AppendPreflight(dst, origin, method, headers []byte) []byte {
	dst = p.appendOrigin(dst, origin)
	dst = append(dst, p.preflight...)
	vary := "Vary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
	if p.Varies() {
		vary = "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
	}
	if p.anyMethod {
		dst = appendLine(dst, "Access-Control-Allow-Methods: ", method)
	}
	if p.anyHeader && len(headers) > 0 {
		dst = appendLine(dst, "Access-Control-Allow-Headers: ", headers)
	}
	return append(dst, vary...)
}

func appendLine(dst []byte, name string, value []byte) []byte {
	dst = append(append(dst, name...), value...)
	return append(dst, '\r', '\n')
}

// corsFields are the response headers that only the policy sets.
var corsFields = []string{
	"access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
	"access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
}

// Drops reports whether a header of a response is left to the policy.
func (p *CORSPolicy) Drops(name []byte) bool {
	const prefix = "access-control-"
	if p == nil || len(name) <= len(prefix) || !wire.EqualFold(name[:len(prefix)], prefix) {
		return false
	}
	return slices.ContainsFunc(corsFields, func(f string) bool { return wire.EqualFold(name, f) })
}

// clip shortens what is quoted.
func clip(b []byte) []byte { return b[:min(len(b), 100)] }

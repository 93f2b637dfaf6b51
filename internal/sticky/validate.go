package sticky

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"steelyard/internal/wire"
)

const (
	// maxAge is the longest that browsers keep a cookie (RFC 6265bis, section 5.5).
	maxAge  = 400 * 24 * time.Hour
	maxTTL  = 10 * 365 * 24 * time.Hour
	maxSize = 10_000_000
)

// Validate reports everything that is wrong with o, joined by errors.Join. Each
// error names the key, its value and what is allowed. Defaults must be set.
func (o Options) Validate() error {
	var errs []error
	n := 0
	if o.Cookie != nil {
		n++
		errs = append(errs, o.Cookie.Validate())
	}
	if o.Header != nil {
		n++
		if !isToken(o.Header.Name) {
			errs = append(errs, fmt.Errorf("header name %q: is not a header name", o.Header.Name))
		}
		errs = append(errs, checkTable(o.Header.TTL, o.Header.Size))
	}
	if o.ClientIP != nil {
		n++
		errs = append(errs, checkTable(o.ClientIP.TTL, o.ClientIP.Size))
	}
	if n != 1 {
		errs = append(errs, fmt.Errorf("%d of cookie, header and client_ip are given; exactly one is needed", n))
	}
	return errors.Join(errs...)
}

func checkTable(ttl time.Duration, size int) error {
	var errs []error
	if ttl < time.Second || ttl > maxTTL {
		errs = append(errs, fmt.Errorf("ttl %s: allowed are 1s to %s", ttl, maxTTL))
	}
	if size < 1 || size > maxSize {
		errs = append(errs, fmt.Errorf("size %d: allowed are 1 to %d", size, maxSize))
	}
	return errors.Join(errs...)
}

// Validate reports everything that is wrong with c, joined by errors.Join.
func (c *Cookie) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !isToken(c.Name) {
		bad("name %q: is not a cookie name; allowed are letters, digits and !#$%%&'*+-.^_`|~", c.Name)
	}
	if c.TTL != 0 && (c.TTL < time.Second || c.TTL > maxAge) {
		bad("ttl %s: allowed are 0 (until the browser ends) and 1s to %s (400 days, where browsers stop)", c.TTL, maxAge)
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsFunc(c.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' }) {
		bad("path %q: must begin with / and have no white space, semicolon, control or non-ASCII character", c.Path)
	}
	if why := domainProblem(c.Domain); why != "" {
		bad("domain %q: %s; allowed is a host name such as example.com", c.Domain, why)
	}
	if !slices.Contains([]string{"auto", "true", "false"}, c.Secure) {
		bad("secure %q: allowed are auto, true and false", c.Secure)
	}
	if !slices.Contains([]string{"lax", "strict", "none"}, c.SameSite) {
		bad("same_site %q: allowed are lax, strict and none", c.SameSite)
	}
	if c.SameSite == "none" && c.Secure == "false" {
		bad("secure false: browsers refuse a cookie with same_site none that is not secure")
	}
	return errors.Join(append(errs, c.checkPrefix())...)
}

// checkPrefix holds the cookie to what its name promises (RFC 6265bis, section
// 4.1.3); browsers drop it otherwise.
func (c *Cookie) checkPrefix() error {
	name := strings.ToLower(c.Name)
	host := strings.HasPrefix(name, "__host-")
	switch {
	case (host || strings.HasPrefix(name, "__secure-")) && c.Secure == "false":
		return fmt.Errorf("secure false: browsers refuse a cookie named %s that is not secure", c.Name)
	case host && c.Path != "/":
		return fmt.Errorf("path %q: browsers refuse a cookie named %s with another path than /", c.Path, c.Name)
	case host && c.Domain != "":
		return fmt.Errorf("domain %q: browsers refuse a cookie named %s with a domain", c.Domain, c.Name)
	}
	return nil
}

// domainProblem says why s cannot be the Domain of a cookie, or "".
func domainProblem(s string) string {
	if s == "" {
		return ""
	}
	if strings.HasPrefix(s, ".") {
		return "begins with a dot; subdomains are covered without it"
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "is an address, which browsers refuse; leave it out"
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return "has an empty label or one of more than 63 bytes"
		}
		for i := 0; i < len(label); i++ {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return "is not a host name"
			}
		}
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool { return wire.IsToken([]byte(s)) }

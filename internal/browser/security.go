package browser

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"steelyard/internal/wire"
)

// Security says what browsers are to be careful with.
type Security struct {
	// NoSniff sends X-Content-Type-Options: nosniff.
	NoSniff bool
	// Frames says who may show pages in a frame: self, none or any, which sends
	// nothing. It is X-Frame-Options and Content-Security-Policy: frame-ancestors.
	Frames string
	// Referrer is Referrer-Policy; "off" sends none.
	Referrer string
	// Policy is Content-Security-Policy; "": none.
	Policy string
	// Override replaces what the backend has sent of these.
	Override bool
	// HideServer removes Server and X-Powered-By.
	HideServer bool
}

// DefaultSecurity suits an app of which nothing is known.
func DefaultSecurity() Security {
	return Security{NoSniff: true, Frames: "self", Referrer: "strict-origin-when-cross-origin"}
}

// Frames and Referrers are the values of Security.Frames and Security.Referrer.
func Frames() []string { return []string{"self", "none", "any"} }

// Referrers are those of the W3C's Referrer Policy, and off.
func Referrers() []string {
	return []string{"no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
		"strict-origin", "strict-origin-when-cross-origin", "unsafe-url", "off"}
}

// Validate reports everything that is not a value of its key.
func (s Security) Validate() error {
	var errs []error
	if !slices.Contains(Frames(), s.Frames) {
		errs = append(errs, fmt.Errorf("browser: frames %q is none of %s", s.Frames, strings.Join(Frames(), ", ")))
	}
	if !slices.Contains(Referrers(), s.Referrer) {
		errs = append(errs, fmt.Errorf("browser: referrer %q is none of %s", s.Referrer, strings.Join(Referrers(), ", ")))
	}
	if !wire.IsValue([]byte(s.Policy)) {
		errs = append(errs, errors.New("browser: policy has a line break or control character"))
	}
	if s.Frames != "any" && strings.Contains(s.Policy, "frame-ancestors") {
		errs = append(errs, errors.New("browser: policy and frames both say who may show pages in a frame; with frames: any it is policy alone"))
	}
	return errors.Join(errs...)
}

// SecurityPolicy is a compiled Security. It is immutable and safe for concurrent
// use.
type SecurityPolicy struct {
	noSniff, frameOptions, policy, referrer string // whole lines, "" for none
	bare                                    string // policy without a word on frames
	override, hideServer                    bool
}

// CompileSecurity compiles s, which must be valid.
func CompileSecurity(s Security) *SecurityPolicy {
	p := &SecurityPolicy{override: s.Override, hideServer: s.HideServer}
	line := func(name, value string) string { return name + ": " + value + "\r\n" }
	if s.NoSniff {
		p.noSniff = line("X-Content-Type-Options", "nosniff")
	}
	policy := s.Policy
	if policy != "" {
		p.bare = line("Content-Security-Policy", policy)
	}
	switch s.Frames {
	case "self":
		p.frameOptions = line("X-Frame-Options", "SAMEORIGIN")
		policy = joined(policy, "frame-ancestors 'self'")
	case "none":
		p.frameOptions = line("X-Frame-Options", "DENY")
		policy = joined(policy, "frame-ancestors 'none'")
	}
	if policy != "" {
		p.policy = line("Content-Security-Policy", policy)
	}
	if s.Referrer != "off" {
		p.referrer = line("Referrer-Policy", s.Referrer)
	}
	return p
}

func joined(policy, directive string) string {
	if policy = strings.TrimRight(policy, "; "); policy != "" {
		policy += "; "
	}
	return policy + directive
}

// Drops reports whether a header of a backend's response is not passed on.
func (p *SecurityPolicy) Drops(name []byte) bool {
	if p == nil || !p.override && !p.hideServer {
		return false
	}
	switch len(name) {
	case len("server"):
		return p.hideServer && wire.EqualFold(name, "server")
	case len("x-powered-by"):
		return p.hideServer && wire.EqualFold(name, "x-powered-by")
	case len("x-frame-options"), len("x-content-type-options"), len("content-security-policy"):
		return p.override && (p.frameOptions != "" && wire.EqualFold(name, "x-frame-options") || p.policy != "" && wire.EqualFold(name, "content-security-policy") ||
			p.noSniff != "" && wire.EqualFold(name, "x-content-type-options") || p.referrer != "" && wire.EqualFold(name, "referrer-policy"))
	}
	return false
}

// Response is what is known of a response before these headers.
type Response interface {
	// Sets reports whether the route sets or removes a header.
	Sets(name string) bool
	// Peek is the value of a header that the backend has sent, nil if none.
	Peek(name string) []byte
}

// Append appends the headers that the response does not have. A policy of the
// backend stays the only one, and if the backend says who may show its page in a
// frame, nothing else does.
func (p *SecurityPolicy) Append(dst []byte, r Response) []byte {
	has := func(name string) bool { return r.Sets(name) || !p.override && r.Peek(name) != nil }
	if !has("x-content-type-options") {
		dst = append(dst, p.noSniff...)
	}
	framed := has("x-frame-options")
	switch {
	case has("content-security-policy"):
		if !framed && !bytes.Contains(r.Peek("content-security-policy"), []byte("frame-ancestors")) {
			dst = append(dst, p.frameOptions...)
		}
	case framed:
		dst = append(dst, p.bare...)
	default:
		dst = append(append(dst, p.frameOptions...), p.policy...)
	}
	if !has("referrer-policy") {
		dst = append(dst, p.referrer...)
	}
	return dst
}

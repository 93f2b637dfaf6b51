package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	minGuardTimeout = time.Second
	maxGuardTimeout = 24 * time.Hour

	minDNSTimeout = 10 * time.Millisecond
	maxDNSTimeout = 30 * time.Second
	minDNSPace    = 100 * time.Millisecond
	maxDNSPace    = 24 * time.Hour
	maxRepeats    = 100
	// maxServers is far more than a resolv.conf may have (3); each that is
	// silent costs one timeout.
	maxServers = 16
)

// DefaultDNS is what a DNS source does unless told otherwise; Name and, with
// type a, Port are still needed.
func DefaultDNS() DNSOptions {
	return DNSOptions{
		Type:            "a",
		Timeout:         2 * time.Second,
		MinTTL:          time.Second,
		MaxTTL:          time.Minute,
		NXDomainRepeats: 3,
		Guard:           GuardOptions{MaxRemoval: 0.5, Timeout: 10 * time.Minute},
	}
}

// DefaultFile is what a file source does unless told otherwise; Path is still
// needed. Its guard is off: a file says what a person wrote.
func DefaultFile() FileOptions {
	return FileOptions{Guard: GuardOptions{MaxRemoval: 1, Timeout: 10 * time.Minute}}
}

// Validate reports everything that is wrong with o, as *OptionError values
// joined into one error, or nil. Timeout must be set even if the guard is off.
func (o GuardOptions) Validate() error {
	var p problems
	if !(o.MaxRemoval >= 0 && o.MaxRemoval <= 1) { // Not-a-number fails both.
		p.add("max_removal", "%v is out of range; allowed are 0%% to 100%%, where 100%% turns the guard off", o.MaxRemoval)
	}
	p.between("guard_timeout", o.Timeout, minGuardTimeout, maxGuardTimeout)
	return errors.Join(p...)
}

// Validate reports everything that is wrong with o, as *OptionError values
// joined into one error, or nil. Start from DefaultDNS.
func (o DNSOptions) Validate() error {
	var p problems
	if problem := nameProblem(o.Name); problem != "" {
		p.add("name", "%s", problem)
	}
	switch o.Type {
	case "", "a":
		switch {
		case o.Port == 0:
			p.add("port", "is missing: an address record has no port, say which one all members listen on")
		case o.Port < 1 || o.Port > 65535:
			p.add("port", "%d is out of range; allowed are 1 to 65535", o.Port)
		}
	case "srv":
		if o.Port != 0 {
			p.add("port", "%d is given, but srv records bring their own; leave it out, or use type a", o.Port)
		}
	default:
		p.add("type", "unknown type %q; allowed are a (A and AAAA) and srv", o.Type)
	}
	if len(o.Servers) > maxServers {
		p.add("servers", "%d are given; allowed are at most %d", len(o.Servers), maxServers)
	}
	for _, s := range o.Servers {
		if _, err := serverAddress(s); err != nil {
			p.add("servers", "%v", err)
		}
	}
	p.between("timeout", o.Timeout, minDNSTimeout, maxDNSTimeout)
	p.between("min_ttl", o.MinTTL, minDNSPace, maxDNSPace)
	p.between("max_ttl", o.MaxTTL, minDNSPace, maxDNSPace)
	if o.MinTTL > o.MaxTTL {
		p.add("min_ttl", "%s is longer than max_ttl (%s)", o.MinTTL, o.MaxTTL)
	}
	if o.NXDomainRepeats < 1 || o.NXDomainRepeats > maxRepeats {
		p.add("nxdomain_repeats", "%d is out of range; allowed are 1 to %d", o.NXDomainRepeats, maxRepeats)
	}
	return errors.Join(errors.Join(p...), o.Guard.Validate())
}

// Validate reports everything that is wrong with o, as *OptionError values
// joined into one error, or nil. The file need not be there.
func (o FileOptions) Validate() error {
	var p problems
	switch {
	case o.Path == "":
		p.add("path", "is missing; give the path of the file")
	case strings.ContainsRune(o.Path, 0):
		p.add("path", "%q has a zero byte", o.Path)
	case strings.HasSuffix(o.Path, "/"), o.Path == ".", o.Path == "..":
		p.add("path", "%q names a folder; give the path of a file", o.Path)
	}
	return errors.Join(errors.Join(p...), o.Guard.Validate())
}

// nameProblem says what is wrong with a domain name, or "". It takes letters,
// digits, hyphens and underscores, which host names must not have (RFC 1123)
// and which names of services and of containers have all the same.
func nameProblem(name string) string {
	bare := strings.TrimSuffix(name, ".")
	switch {
	case name == "":
		return "is missing; give the name to ask for"
	case bare == "":
		return "the root has no members; give the name to ask for"
	case len(bare) > 253:
		return fmt.Sprintf("%.40q… is %d characters long; allowed are 253", bare, len(bare))
	}
	if _, err := netip.ParseAddr(strings.Trim(bare, "[]")); err == nil {
		return fmt.Sprintf("%q is an address and not a name; list it under backends", name)
	}
	for label := range strings.SplitSeq(bare, ".") {
		switch {
		case label == "":
			return fmt.Sprintf("%q has two dots in a row, or begins with one", name)
		case len(label) > 63:
			return fmt.Sprintf("%.80q has a label of %d characters; allowed are 63", name, len(label))
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Sprintf("%q has a label that begins or ends with a hyphen", name)
		}
		for _, c := range label {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			case c > 127:
				return fmt.Sprintf("%q has the character %q; write such a name in its ASCII form (xn--…)", name, c)
			default:
				return fmt.Sprintf("%q has the character %q; allowed are letters, digits, -, _ and dots", name, c)
			}
		}
	}
	return ""
}

// serverAddress brings a DNS server's address into the form host:port.
func serverAddress(s string) (string, error) {
	const forms = "use host or host:port, with an IPv6 address in brackets as in [::1]:53"
	host, port := s, "53"
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", fmt.Errorf("%q has no closing bracket; %s", s, forms)
		}
		addr, err := netip.ParseAddr(s[1:end])
		if err != nil || !addr.Is6() {
			return "", fmt.Errorf("%q has no IPv6 address between its brackets; %s", s, forms)
		}
		rest := s[end+1:]
		if rest != "" && rest[0] != ':' {
			return "", fmt.Errorf("%q has %q after the bracket; %s", s, rest, forms)
		}
		host = s[:end+1]
		if rest != "" {
			port = rest[1:]
		}
	} else {
		if strings.Count(s, ":") > 1 {
			return "", fmt.Errorf("%q is no host:port; %s", s, forms)
		}
		if h, p, found := strings.Cut(s, ":"); found {
			host, port = h, p
		}
		if _, err := netip.ParseAddr(host); err != nil {
			if problem := nameProblem(host); problem != "" {
				return "", fmt.Errorf("%q has no valid host: %s; %s", s, problem, forms)
			}
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q has the port %q; allowed are 1 to 65535", s, port)
	}
	return host + ":" + strconv.FormatUint(n, 10), nil
}

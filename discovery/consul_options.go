package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	healthPassing = "passing"
	healthWarning = "warning"
	healthIgnore  = "ignore"

	maxNameLength = 256
	maxTags       = 64
)

// DefaultConsul is how Consul is reached if nothing else is said.
func DefaultConsul() ConsulOptions { return ConsulOptions{MaxConnections: 100} }

// DefaultConsulQuery is a query that lacks only its Service.
func DefaultConsulQuery() ConsulQuery {
	return ConsulQuery{
		MaxStale:   30 * time.Second,
		Health:     healthPassing,
		WeightMeta: "weight",
		Guard:      GuardOptions{MaxRemoval: 0.5, Timeout: 10 * time.Minute},
	}
}

// DefaultRegistration announces Steelyard under its own name.
func DefaultRegistration() Registration {
	return Registration{Name: "steelyard", TTL: 15 * time.Second, DeregisterAfter: 10 * time.Minute}
}

// problems collects what is wrong with options.
type problems []error

func (p *problems) add(option, format string, args ...any) {
	*p = append(*p, &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)})
}

// Validate reports everything that is wrong with o: *OptionError values joined
// by errors.Join. Files are not opened; NewConsul does that.
func (o ConsulOptions) Validate() error {
	var p problems
	https := len(o.Addresses) == 0 // The environment may name an https address.
	for i, a := range o.Addresses {
		scheme, _, err := parseAgent(a)
		if err != nil {
			p.add("address", "%q %v; allowed are host:port, http://host:port, https://host:port and unix:///path", a, err)
		}
		if slices.Contains(o.Addresses[:i], a) {
			p.add("address", "%q is there twice", a)
		}
		https = https || scheme == "https"
	}
	if o.Token != "" && o.TokenFile != "" {
		p.add("token_file", "token is given as well; one of the two is enough")
	}
	// Header values with such bytes are refused by net/http, with a worse message.
	if strings.ContainsFunc(o.Token, notInToken) {
		p.add("token", "has white space, control or non-ASCII characters; allowed is the SecretID of a Consul token")
	}
	p.scope(o.Datacenter, o.Namespace, o.Partition)
	if o.TLS != (ConsulTLS{}) && !https {
		p.add("tls", "is given, but no address begins with https://")
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		option, missing := "tls.cert", "tls.key"
		if o.TLS.CertFile == "" {
			option, missing = missing, option
		}
		p.add(option, "needs %s as well; a certificate is used together with its key", missing)
	}
	if o.MaxConnections < 2 || o.MaxConnections > 1000 {
		p.add("max_connections", "is %d; allowed are 2 to 1000", o.MaxConnections)
	}
	if o.Register != nil {
		o.Register.validate(&p, "register.")
	}
	return errors.Join(p...)
}

// Validate reports everything that is wrong with r, like ConsulOptions.Validate.
// The names of options have no prefix here and "register." there.
func (r Registration) Validate() error {
	var p problems
	r.validate(&p, "")
	return errors.Join(p...)
}

func (r Registration) validate(p *problems, prefix string) {
	p.name(prefix+"name", r.Name, true)
	p.name(prefix+"id", r.ID, false)
	if r.Address != "" && (strings.ContainsFunc(r.Address, notPlain) || net.ParseIP(r.Address) == nil && strings.Contains(r.Address, ":")) {
		p.add(prefix+"address", "%q is not a host or an IP address (the port has a key of its own)", r.Address)
	}
	if r.Port < 0 || r.Port > 65535 {
		p.add(prefix+"port", "is %d; allowed are 1 to 65535, or 0 for that of the first listener", r.Port)
	}
	p.tags(prefix+"tags", r.Tags)
	// What Consul enforces of meta.
	if len(r.Meta) > 64 {
		p.add(prefix+"meta", "has %d keys; Consul allows 64", len(r.Meta))
	}
	for key, value := range r.Meta {
		if key == "" || len(key) > 128 || strings.ContainsFunc(key, notMetaKey) {
			p.add(prefix+"meta", "key %q: allowed are 1 to 128 letters, digits, - and _", key)
		}
		if len(value) > 512 {
			p.add(prefix+"meta", "the value of %q has %d bytes; Consul allows 512", key, len(value))
		}
	}
	p.between(prefix+"ttl", r.TTL, time.Second, time.Hour)
	p.between(prefix+"deregister_after", r.DeregisterAfter, time.Minute, 30*24*time.Hour)
}

// Validate reports everything that is wrong with q, like ConsulOptions.Validate.
func (q ConsulQuery) Validate() error {
	var p problems
	p.name("service", q.Service, true)
	p.tags("tag", q.Tags)
	if len(q.Filter) > 4096 || strings.ContainsFunc(q.Filter, unicode.IsControl) {
		p.add("filter", "has control characters or more than 4096 bytes; allowed is an expression of Consul's filter language, such as Service.Meta.version == \"2\"")
	}
	p.scope(q.Datacenter, q.Namespace, q.Partition)
	p.name("near", q.Near, false)
	if q.MaxStale != 0 {
		p.between("max_stale", q.MaxStale, 0, 24*time.Hour)
	}
	if !slices.Contains([]string{healthPassing, healthWarning, healthIgnore}, q.Health) {
		p.add("health", "is %q; allowed are passing, warning and ignore", q.Health)
	}
	if len(q.WeightMeta) > 128 || strings.ContainsFunc(q.WeightMeta, notMetaKey) {
		p.add("weight_meta", "%q is not a key of Consul's meta; allowed are up to 128 letters, digits, - and _", q.WeightMeta)
	}
	var guard interface{ Unwrap() []error }
	if errors.As(q.Guard.Validate(), &guard) {
		p = append(p, guard.Unwrap()...)
	}
	return errors.Join(p...)
}

func (p *problems) scope(datacenter, namespace, partition string) {
	p.name("datacenter", datacenter, false)
	p.name("namespace", namespace, false)
	p.name("partition", partition, false)
}

func (p *problems) name(option, value string, needed bool) {
	switch {
	case value == "" && needed:
		p.add(option, "is missing; a name is needed")
	case len(value) > maxNameLength:
		p.add(option, "has %d bytes; allowed are %d", len(value), maxNameLength)
	case strings.ContainsFunc(value, notPlain):
		p.add(option, "%q has white space, control characters or a slash", value)
	}
}

func (p *problems) tags(option string, tags []string) {
	if len(tags) > maxTags {
		p.add(option, "there are %d; allowed are %d", len(tags), maxTags)
	}
	for i, tag := range tags {
		switch {
		case tag == "":
			p.add(option, "number %d is empty", i+1)
		case len(tag) > maxNameLength || strings.ContainsFunc(tag, unicode.IsControl):
			p.add(option, "%q has control characters or more than %d bytes", tag, maxNameLength)
		case slices.Contains(tags[:i], tag):
			p.add(option, "%q is there twice", tag)
		}
	}
}

func (p *problems) between(option string, d, from, to time.Duration) {
	if d < from || d > to {
		p.add(option, "is %s; allowed are %s to %s", d, from, to)
	}
}

// notPlain reports what may not be in a name that becomes a part of a URL's path.
func notPlain(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }

func notMetaKey(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

// parseAgent takes the address of an agent apart: rest is host:port, or the
// path of a socket with scheme unix. The error says what the address is or has.
func parseAgent(address string) (scheme, rest string, err error) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "http", address
	}
	switch scheme {
	case "unix":
		if !strings.HasPrefix(rest, "/") {
			return "", "", errors.New("has no absolute path")
		}
		return scheme, rest, nil
	case "http", "https":
	default:
		return "", "", fmt.Errorf("has the scheme %q", scheme)
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return "", "", errors.New("is not a host and a port")
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return "", "", errors.New("has no port from 1 to 65535")
	}
	if u.Hostname() == "" {
		return "", "", errors.New("has no host")
	}
	return scheme, u.Host, nil
}

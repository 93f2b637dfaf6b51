package healthcheck

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of options.
const (
	minInterval = 10 * time.Millisecond
	maxInterval = 24 * time.Hour
	minTimeout  = time.Millisecond
	maxTimeout  = time.Hour
	maxStreak   = 100 // of rise and fall

	maxPathLen    = 8 << 10
	maxHeaders    = 100
	maxHeaderLen  = 8 << 10
	maxExpectLen  = 4 << 10 // of texts that are looked for
	maxSendLen    = 64 << 10
	maxServiceLen = 1 << 10
	maxCAFile     = 16 << 20
)

// DefaultOptions are those of a check that says nothing: GET / over HTTP every
// 5s.
func DefaultOptions() Options {
	return Options{
		Type:     "http",
		Interval: 5 * time.Second,
		Timeout:  2 * time.Second,
		Rise:     2,
		Fall:     3,
		Start:    "checking",
		HTTP:     HTTP{Path: "/", Method: "GET", Status: []StatusRange{{200, 399}}},
	}
}

// Types lists the types of probes, the default first.
func Types() []string { return []string{"http", "tcp", "grpc", "exec"} }

// Validate reports everything that is wrong with o, as *OptionError values
// joined into one error, or nil. Files and programs that o names must exist.
func (o Options) Validate() error {
	var p problems
	if !slices.Contains(Types(), o.probeType()) {
		p.add("type", "unknown type %q%s; allowed are %s", o.Type, typeHint(o.Type), strings.Join(Types(), ", "))
	} else {
		o.validateProbe(&p)
		o.validateUnused(&p)
	}
	o.validateTiming(&p)
	if o.Start != "" && !slices.Contains([]string{"checking", "healthy", "unhealthy"}, o.Start) {
		p.add("start", "unknown state %q; allowed are checking, healthy and unhealthy", o.Start)
	}
	if o.Port < 0 || o.Port > 65535 {
		p.add("port", "%d is out of range; allowed are 1 to 65535, or 0 for the backend's own", o.Port)
	}
	return errors.Join(p...)
}

// probeType is Type with its default.
func (o *Options) probeType() string {
	if o.Type == "" {
		return "http"
	}
	return o.Type
}

// problems collects what is wrong.
type problems []error

func (p *problems) add(option, format string, args ...any) {
	*p = append(*p, &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)})
}

func typeHint(name string) string {
	switch strings.ToLower(name) {
	case "https":
		return "; did you mean http, with tls?"
	case "grpcs", "grpc_health", "h2":
		return "; did you mean grpc?"
	case "cmd", "command", "script", "external":
		return "; did you mean exec?"
	case "connect", "port", "tcps", "ssl":
		return "; did you mean tcp?"
	}
	return ""
}

func (o *Options) validateTiming(p *problems) {
	intervalOK := o.Interval >= minInterval && o.Interval <= maxInterval
	if !intervalOK {
		p.add("interval", "%v is out of range; allowed are %v to %v", o.Interval, minInterval, maxInterval)
	}
	switch {
	case o.FastInterval == 0:
	case o.FastInterval < minInterval || o.FastInterval > maxInterval:
		p.add("fast_interval", "%v is out of range; allowed are %v to the interval", o.FastInterval, minInterval)
	case intervalOK && o.FastInterval > o.Interval:
		p.add("fast_interval", "%v is longer than the interval of %v; it must be at most that", o.FastInterval, o.Interval)
	}
	if o.Timeout < minTimeout || o.Timeout > maxTimeout {
		p.add("timeout", "%v is out of range; allowed are %v to %v", o.Timeout, minTimeout, maxTimeout)
	}
	if o.Rise < 1 || o.Rise > maxStreak {
		p.add("rise", "%d is out of range; allowed are 1 to %d", o.Rise, maxStreak)
	}
	if o.Fall < 1 || o.Fall > maxStreak {
		p.add("fall", "%d is out of range; allowed are 1 to %d", o.Fall, maxStreak)
	}
}

func (o *Options) validateProbe(p *problems) {
	switch o.probeType() {
	case "http":
		o.HTTP.validate(p)
	case "tcp":
		o.TCP.validate(p)
	case "grpc":
		if len(o.GRPC.Service) > maxServiceLen || hasControl(o.GRPC.Service) {
			p.add("grpc.service", "%s is not the name of a service; such as my.package.Service, or leave it out for the whole server", quote(o.GRPC.Service))
		}
	case "exec":
		o.Exec.validate(p)
	}
	if o.TLS != nil && o.probeType() != "exec" {
		o.TLS.validate(p)
	}
	if o.Preface != "" && o.probeType() == "exec" {
		p.add("preface", "a check of type exec makes no connection; leave it out or change type")
	}
	if o.TLS != nil && o.NoTLS {
		p.add("tls", "contradicts no_tls; leave one of them out")
	}
}

// validateUnused reports what belongs to a probe that is not chosen: it would
// do nothing. The defaults of the http probe do not count.
func (o *Options) validateUnused(p *problems) {
	used := o.probeType()
	unused := func(belongs, option string, set bool) {
		if set && used != belongs {
			p.add(option, "belongs to checks of type %s, but this one is of type %s; leave it out or change type", belongs, used)
		}
	}
	h, d := &o.HTTP, DefaultOptions().HTTP
	unused("http", "path", h.Path != "" && h.Path != d.Path)
	unused("http", "method", h.Method != "" && h.Method != d.Method)
	unused("http", "host", h.Host != "")
	unused("http", "headers", len(h.Headers) > 0)
	unused("http", "status", len(h.Status) > 0 && !slices.Equal(h.Status, d.Status))
	unused("http", "body", h.Body != "")
	unused("http", "body_regex", h.BodyRegex != "")
	unused("tcp", "tcp.send", o.TCP.Send != "")
	unused("tcp", "tcp.expect", o.TCP.Expect != "")
	unused("grpc", "grpc.service", o.GRPC.Service != "")
	unused("exec", "exec.command", len(o.Exec.Command) > 0)
	if o.TLS != nil && used == "exec" {
		p.add("tls", "a check of type exec makes no connection; leave it out or change type")
	}
}

func (h *HTTP) validate(p *problems) {
	switch {
	case !strings.HasPrefix(h.Path, "/"):
		p.add("path", "%s does not begin with /", quote(h.Path))
	case len(h.Path) > maxPathLen:
		p.add("path", "has %d bytes; allowed are %d", len(h.Path), maxPathLen)
	case strings.ContainsFunc(h.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }):
		p.add("path", "%s has a space, #, control or non-ASCII character; write it percent-encoded, such as %%20", quote(h.Path))
	}
	switch upper := strings.ToUpper(h.Method); {
	case !isToken(h.Method):
		p.add("method", "%s is not a method; such as GET, HEAD or OPTIONS", quote(h.Method))
	case upper == "CONNECT":
		p.add("method", "CONNECT asks for a tunnel and cannot check anything; use GET or HEAD")
	case upper != h.Method && slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE"}, upper):
		p.add("method", "%s is not a method, they are case-sensitive; did you mean %s?", quote(h.Method), upper)
	}
	if strings.ContainsFunc(h.Host, notHost) || len(h.Host) > 255 {
		p.add("host", "%s is not a host; such as example.com or example.com:8080", quote(h.Host))
	}
	h.validateHeaders(p)
	if len(h.Status) == 0 {
		p.add("status", "is empty, so that nothing would pass; such as 200 or 200-399")
	}
	for _, r := range h.Status {
		if r.From < 100 || r.To > 599 || r.From > r.To {
			p.add("status", "%d-%d is not a range of statuses; allowed are 100 to 599, the lower first", r.From, r.To)
		}
	}
	h.validateBody(p)
}

func (h *HTTP) validateHeaders(p *problems) {
	if len(h.Headers) > maxHeaders {
		p.add("headers", "%d are given; allowed are %d", len(h.Headers), maxHeaders)
		return
	}
	for _, f := range h.Headers {
		switch name := strings.ToLower(f.Name); {
		case !isToken(f.Name):
			p.add("headers", "%s is not the name of a header; allowed are letters, digits and !#$%%&'*+-.^_`|~", quote(f.Name))
		case name == "host":
			p.add("headers", "Host is not set here; use the option host")
		case slices.Contains([]string{"connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "trailer", "keep-alive"}, name):
			p.add("headers", "%s cannot be set: it says how the message is sent, which the check decides", f.Name)
		case len(f.Value) > maxHeaderLen:
			p.add("headers", "the value of %s has %d bytes; allowed are %d", f.Name, len(f.Value), maxHeaderLen)
		case strings.ContainsFunc(f.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			p.add("headers", "the value of %s has a control character: %s", f.Name, quote(f.Value))
		}
	}
}

func (h *HTTP) validateBody(p *problems) {
	if h.Body != "" && h.BodyRegex != "" {
		p.add("body_regex", "body is given too; use one of them")
	}
	if h.Method == "HEAD" && h.Body != "" {
		p.add("body", "a response to HEAD has no body; use method GET")
	}
	if h.Method == "HEAD" && h.BodyRegex != "" {
		p.add("body_regex", "a response to HEAD has no body; use method GET")
	}
	if len(h.Body) > maxExpectLen {
		p.add("body", "has %d bytes; allowed are %d", len(h.Body), maxExpectLen)
	}
	if len(h.BodyRegex) > maxExpectLen {
		p.add("body_regex", "has %d bytes; allowed are %d", len(h.BodyRegex), maxExpectLen)
	} else if _, err := regexp.Compile(h.BodyRegex); err != nil {
		p.add("body_regex", "%s (RE2 syntax, see https://github.com/google/re2/wiki/Syntax)", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

func (t *TCP) validate(p *problems) {
	if len(t.Send) > maxSendLen {
		p.add("tcp.send", "has %d bytes; allowed are %d", len(t.Send), maxSendLen)
	}
	if len(t.Expect) > maxExpectLen {
		p.add("tcp.expect", "has %d bytes; allowed are %d", len(t.Expect), maxExpectLen)
	}
}

func (e *Exec) validate(p *problems) {
	if len(e.Command) == 0 || e.Command[0] == "" {
		p.add("exec.command", "names no program; give the program and its arguments as a list, such as [/usr/bin/check, \"{address}\"]")
		return
	}
	for _, arg := range e.Command {
		if strings.Contains(arg, "\x00") {
			p.add("exec.command", "%s has a NUL byte, which no argument can have", quote(arg))
			return
		}
	}
	name := e.Command[0]
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
	case len(e.Command) == 1 && strings.ContainsAny(name, " \t"):
		p.add("exec.command", "there is no program %s; there is no shell that would split it: give the program and each argument as an element of a list", quote(name))
	case errors.Is(err, exec.ErrDot):
		p.add("exec.command", "%s is only in the current directory; write ./%s or its full path", quote(name), name)
	case errors.Is(err, os.ErrPermission):
		p.add("exec.command", "%s may not be executed; chmod +x it", quote(name))
	case strings.Contains(name, "/"):
		p.add("exec.command", "there is no program %s; correct the path or install it", quote(name))
	default:
		p.add("exec.command", "there is no program %s in PATH; install it or give its full path", quote(name))
	}
}

func (t *TLS) validate(p *problems) {
	if t.From != nil {
		if t.ServerName != "" || t.Insecure || t.CAFile != "" {
			p.add("tls", "is that of others, which other settings would contradict; leave one of them out")
		}
		return
	}
	if t.ServerName != "" && (strings.ContainsFunc(t.ServerName, func(r rune) bool { return notHost(r) || r == '[' || r == ']' }) || len(t.ServerName) > 253) {
		p.add("tls.server_name", "%s is not a host name; such as example.com", quote(t.ServerName))
	}
	if t.CAFile == "" {
		return
	}
	if t.Insecure {
		p.add("tls.ca", "insecure accepts any certificate, so that this one would not be used; leave one of them out")
	}
	if _, err := loadCA(t.CAFile); err != nil {
		p.add("tls.ca", "%v", err)
	}
}

// loadCA reads the certificates of a PEM file.
func loadCA(name string) (*x509.CertPool, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", quote(name))
	}
	if err == nil && info.Size() > maxCAFile {
		return nil, fmt.Errorf("%s has %d bytes; allowed are %d", quote(name), info.Size(), maxCAFile)
	}
	var pem []byte
	if err == nil {
		pem, err = os.ReadFile(name)
	}
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("cannot read %s: %v", quote(name), err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----", quote(name))
	}
	return pool, nil
}

// notHost reports whether r cannot be in the host of a request or certificate.
func notHost(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._:[]", r))
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r < utf8.RuneSelf && strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// quote shows s within quotes, shortened if it is long.
func quote(s string) string {
	const most = 60
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", s[:cut])
}

package wire

import "bytes"

// Request is the head of a request. Its slices point into the bytes given to
// Parse and are valid as long as those are.
type Request struct {
	fields
	Method []byte
	// Target is the request target as it was sent.
	Target []byte
	// Path and Query are the two parts of an origin-form or absolute-form
	// target; Path is "*" for OPTIONS of the whole server. HasQuery tells "/?" from "/".
	Path, Query []byte
	HasQuery    bool
	// Host is the authority that was asked for: that of an absolute-form
	// target, else the Host field (RFC 9112, section 3.2.2).
	Host []byte
	// Absolute says that the target was in absolute form, so that Host wins
	// over the Host field.
	Absolute bool
	// Minor is the minor version, 0 or 1.
	Minor int
	// Length is the length of the body, -1 when it is chunked.
	Length int64
	// KeepAlive says that the client wants the connection to stay open.
	KeepAlive bool
	// Expect says that the client waits for 100 (Continue) before it sends its
	// body (RFC 9110, section 10.1.1).
	Expect bool
	// Upgrade is the protocol the client offers to switch to; nil if none,
	// and for requests with a body, to which no upgrade is granted here.
	Upgrade []byte
}

// HasBody reports whether a body follows the head; it may be empty when chunked.
func (r *Request) HasBody() bool { return r.Length != 0 }

// Chunked reports whether the body is chunked.
func (r *Request) Chunked() bool { return r.Length < 0 }

// Parse reads a complete head, up to and including its empty line, as found by
// Reader.Head. Errors are of type *Error.
func (r *Request) Parse(head []byte) error {
	end := lineEnd(head, 0)
	if end < 0 {
		return badMessage("the request line does not end with CRLF")
	}
	if err := r.parseLine(head[:end-2]); err != nil {
		return err
	}
	r.ofRequest = true
	if err := r.fields.parse(head, end); err != nil {
		return err
	}
	if err := r.parseHost(); err != nil {
		return err
	}
	length, coding, err := r.framing()
	if err != nil {
		return err
	}
	switch {
	case coding == nil && length < 0:
		r.Length = 0
	case coding == nil:
		r.Length = length
	case r.Minor == 0:
		return badMessage("Transfer-Encoding in an HTTP/1.0 request")
	case !EqualFold(coding, chunkedCoding):
		return refuseCoding(coding)
	default:
		r.Length = -1
	}
	if r.HasBody() && string(r.Method) == "TRACE" {
		return badMessage("a TRACE has no body") // RFC 9110, section 9.3.8
	}
	r.KeepAlive = !r.connClose && (r.Minor == 1 || r.connKeepAlive)
	r.Expect = r.Minor == 1 && r.HasBody() && EqualFold(r.First(KindExpect), "100-continue")
	r.Upgrade = nil
	if r.connUpgrade && r.Minor == 1 && !r.HasBody() {
		r.Upgrade = r.upgradeProtocol()
	}
	return nil
}

// refuseCoding says what is wrong with a Transfer-Encoding other than chunked.
// A body whose end cannot be known is 400 (RFC 9112, section 6.3), and so is
// chunked twice (section 7.1) or in a spelling that another parser may not take
// for it; a coding that is not understood is 501 (section 6.1).
func refuseCoding(value []byte) error {
	items, chunked := 0, 0
	var last []byte
	for item, rest := NextItem(value); item != nil; item, rest = NextItem(rest) {
		items++
		if last = item; EqualFold(item, chunkedCoding) {
			chunked++
		} else if !IsToken(item) {
			return badMessage("Transfer-Encoding is not a list of names")
		}
	}
	if items == 1 || chunked != 1 || !EqualFold(last, chunkedCoding) {
		return badMessage("Transfer-Encoding is not one final chunked")
	}
	return &Error{Status: 501, Reason: "the only transfer coding understood here is chunked"}
}

// upgradeProtocol is the value of Upgrade, unless it is malformed or one of its
// protocols carries HTTP: that would let requests pass which nobody routed.
func (r *Request) upgradeProtocol() []byte {
	v := r.First(KindUpgrade)
	offered := false
	for item, rest := NextItem(v); item != nil; item, rest = NextItem(rest) {
		name, version, slash := bytes.Cut(item, slashBytes)
		if !IsToken(name) || slash && !IsToken(version) || carriesHTTP(name) {
			return nil
		}
		offered = true
	}
	if !offered {
		return nil
	}
	return v
}

// Offers reports whether each of the protocols that a backend says it switches
// to, and there is one, is among those the client offered (RFC 9110, section
// 7.8).
func (r *Request) Offers(protocols []byte) bool {
	some := false
	for item, rest := NextItem(protocols); item != nil; item, rest = NextItem(rest) {
		some = true
		offered, others := NextItem(r.Upgrade)
		for offered != nil && !equalFoldBytes(offered, item) {
			offered, others = NextItem(others)
		}
		if offered == nil {
			return false
		}
	}
	return some
}

// carriesHTTP knows h2c of RFC 7540 with its drafts, the versions of HTTP and
// the TLS of RFC 2817.
func carriesHTTP(protocol []byte) bool {
	return len(protocol) >= 2 && EqualFold(protocol[:2], "h2") || EqualFold(protocol, "http") || EqualFold(protocol, "tls")
}

// checkStart looks at the beginning of a head that has not come whole, so that
// what can never become a request is refused now: HTTP/0.9, whose clients send
// one line and wait, or the first bytes of TLS. done says that the request line
// is there and valid.
func checkStart(b []byte) (done bool, err error) {
	if end := lineEnd(b, 0); end > 0 {
		var r Request
		return true, r.parseLine(b[:end-2])
	}
	if indexLF(b) >= 0 {
		return false, errLoneLF
	}
	method := b
	if sp := bytes.IndexByte(b, ' '); sp >= 0 {
		method = b[:sp]
	}
	if len(b) > 0 && !IsToken(method) && string(b) != "\r" {
		return false, errMethod
	}
	return false, nil
}

var errMethod = badMessage("the request line has no valid method")

func (r *Request) parseLine(line []byte) error {
	sp := bytes.IndexByte(line, ' ')
	if sp <= 0 || !all(line[:sp], classToken) {
		return errMethod
	}
	r.Method = line[:sp]
	rest := line[sp+1:]
	sp = bytes.IndexByte(rest, ' ')
	if sp < 0 {
		return badMessage("the request line has no version")
	}
	target, version := rest[:sp], rest[sp+1:]
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' ||
		version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9' {
		return badMessage("the request line does not end with a version such as HTTP/1.1")
	}
	if version[5] != '1' {
		return ErrVersion
	}
	// A higher minor version is spoken to as the highest known one (RFC 9110,
	// section 2.5).
	r.Minor = 1
	if version[7] == '0' {
		r.Minor = 0
	}
	return r.parseTarget(target)
}

// parseTarget takes the four forms of RFC 9112, section 3.2.
func (r *Request) parseTarget(t []byte) error {
	if len(t) == 0 || !all(t, classTarget) {
		return badMessage("the request target is empty or holds characters that are not allowed")
	}
	r.Target, r.Absolute, r.Host = t, false, nil
	switch {
	case string(r.Method) == "CONNECT":
		return &Error{Status: 501, Reason: "CONNECT is not offered here"}
	case t[0] == '/':
	case len(t) == 1 && t[0] == '*':
		if string(r.Method) != "OPTIONS" {
			return badMessage("the target * goes with OPTIONS only")
		}
	default:
		var err error
		if t, err = r.absoluteForm(t); err != nil {
			return err
		}
	}
	r.Path, r.Query, r.HasQuery = t, nil, false
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		r.Path, r.Query, r.HasQuery = t[:i], t[i+1:], true
	}
	if len(r.Path) == 0 {
		r.Path = slashBytes
		if !r.HasQuery && string(r.Method) == "OPTIONS" {
			r.Path = asterisk // RFC 9112, section 3.2.4
		}
	}
	return nil
}

// Paths that stand for an empty one.
var (
	slashBytes = []byte("/")
	asterisk   = []byte("*")
)

// absoluteForm takes scheme and authority off and returns path and query.
func (r *Request) absoluteForm(t []byte) ([]byte, error) {
	i := bytes.Index(t, []byte("://"))
	if i < 0 || !(EqualFold(t[:i], "http") || EqualFold(t[:i], "https")) {
		return nil, badMessage("the request target is neither a path nor an http URL")
	}
	rest := t[i+3:]
	n := bytes.IndexAny(rest, "/?")
	if n < 0 {
		n = len(rest)
	}
	r.Host, r.Absolute = rest[:n], true
	if !validAuthority(r.Host) || len(r.Host) == 0 {
		return nil, badMessage("the request target has no valid host")
	}
	return rest[n:], nil
}

// parseHost enforces RFC 9112, section 3.2: exactly one Host in HTTP/1.1.
func (r *Request) parseHost() error {
	n := 0
	for i := range r.list {
		if r.list[i].Kind != KindHost {
			continue
		}
		if n++; n > 1 {
			return badMessage("there is more than one Host")
		}
		v := r.Value(i)
		if !validAuthority(v) {
			return badMessage("Host is not a host name or address with an optional port")
		}
		if !r.Absolute {
			r.Host = v
		}
	}
	if n == 0 && r.Minor == 1 {
		return badMessage("an HTTP/1.1 request needs a Host")
	}
	return nil
}

// validAuthority accepts uri-host [":" port] (RFC 9110, section 7.2). An empty
// one is valid in Host: the target URI may have no authority.
func validAuthority(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	host, port := b, []byte(nil)
	if b[0] == '[' {
		i := bytes.IndexByte(b, ']')
		if i < 0 {
			return false
		}
		host, port = b[1:i], b[i+1:]
		for _, c := range host {
			if !isHex(c) && c != ':' && c != '.' {
				return false
			}
		}
	} else {
		if i := bytes.IndexByte(b, ':'); i >= 0 {
			host, port = b[:i], b[i:]
		}
		if !all(host, classHost) || !validEscapes(host) {
			return false
		}
	}
	if len(host) == 0 || len(port) > 6 {
		return false
	}
	for i, c := range port {
		if i == 0 && c != ':' || i > 0 && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// validEscapes reports whether two hexadecimal digits follow each % in b.
func validEscapes(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '%')
		if i < 0 {
			return true
		}
		if len(b) < i+3 || !isHex(b[i+1]) || !isHex(b[i+2]) {
			return false
		}
		b = b[i+3:]
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

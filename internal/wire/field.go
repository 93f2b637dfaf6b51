package wire

// Kind classifies the fields a proxy has to know; all others are KindOther.
type Kind uint8

// The fields a proxy acts on.
const (
	KindOther Kind = iota
	KindConnection
	KindKeepAlive
	KindProxyConnection
	KindTransferEncoding
	KindContentLength
	KindTE
	KindTrailer
	KindUpgrade
	KindExpect
	KindHost
	KindXForwardedFor
	KindXForwardedProto
	KindXForwardedHost
	KindForwarded
	KindXRequestID
	KindCookie
	KindSetCookie
	KindAuthorization
	KindProxyAuthorization
	KindProxyAuthenticate
	KindIdempotencyKey
	KindHTTP2Settings
	KindProxy
	KindCacheControl
)

// kindOf finds the kind of a field name; the length decides first, so that
// most names cost one comparison or none. alias says that the name is another
// spelling of it, with _ for -.
func kindOf(name []byte) (kind Kind, alias bool) {
	var s string
	var k Kind
	switch len(name) {
	case 2:
		s, k = "te", KindTE
	case 4:
		s, k = "host", KindHost
	case 5:
		s, k = "proxy", KindProxy
	case 6:
		if name[0]|0x20 == 'e' {
			s, k = "expect", KindExpect
		} else {
			s, k = "cookie", KindCookie
		}
	case 7:
		if name[0]|0x20 == 'u' {
			s, k = "upgrade", KindUpgrade
		} else {
			s, k = "trailer", KindTrailer
		}
	case 9:
		s, k = "forwarded", KindForwarded
	case 10:
		switch name[0] | 0x20 {
		case 'c':
			s, k = "connection", KindConnection
		case 'k':
			s, k = "keep-alive", KindKeepAlive
		case 's':
			s, k = "set-cookie", KindSetCookie
		}
	case 12:
		s, k = "x-request-id", KindXRequestID
	case 13:
		if name[0]|0x20 == 'a' {
			s, k = "authorization", KindAuthorization
		} else {
			s, k = "cache-control", KindCacheControl
		}
	case 14:
		if name[0]|0x20 == 'c' {
			s, k = "content-length", KindContentLength
		} else {
			s, k = "http2-settings", KindHTTP2Settings
		}
	case 15:
		if name[0]|0x20 == 'x' {
			s, k = "x-forwarded-for", KindXForwardedFor
		} else {
			s, k = "idempotency-key", KindIdempotencyKey
		}
	case 16:
		if name[0]|0x20 == 'x' {
			s, k = "x-forwarded-host", KindXForwardedHost
		} else {
			s, k = "proxy-connection", KindProxyConnection
		}
	case 17:
		if name[0]|0x20 == 'x' {
			s, k = "x-forwarded-proto", KindXForwardedProto
		} else {
			s, k = "transfer-encoding", KindTransferEncoding
		}
	case 18:
		s, k = "proxy-authenticate", KindProxyAuthenticate
	case 19:
		s, k = "proxy-authorization", KindProxyAuthorization
	}
	if k == KindOther {
		return KindOther, false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == s[i] {
			continue
		}
		if c != '_' || s[i] != '-' {
			return KindOther, false
		}
		alias = true
	}
	return k, alias
}

// endToEnd says that a sender cannot declare a field of this kind hop-by-hop by
// naming it in Connection: doing so is an attempt to make a proxy drop what the
// backend relies on (RFC 9110, section 7.6.1).
func (k Kind) endToEnd() bool {
	switch k {
	case KindHost, KindContentLength, KindTransferEncoding, KindTrailer, KindExpect, KindXForwardedFor, KindXForwardedProto,
		KindXForwardedHost, KindForwarded, KindXRequestID, KindCookie, KindSetCookie, KindAuthorization,
		KindIdempotencyKey, KindCacheControl:
		return true
	}
	return false
}

// hopByHop says that fields of this kind belong to one connection and are
// never forwarded (RFC 9110, section 7.6.1). Proxy is no field of HTTP, but CGI and
// its heirs would take it for the variable HTTP_PROXY (CVE-2016-5385).
func (k Kind) hopByHop() bool {
	switch k {
	case KindConnection, KindKeepAlive, KindProxyConnection, KindTE, KindUpgrade,
		KindProxyAuthorization, KindProxyAuthenticate, KindHTTP2Settings, KindProxy:
		return true
	}
	return false
}

// Field is one field line of a head, as offsets into the head's bytes.
type Field struct {
	start, nameEnd, valueStart, valueEnd, end uint32
	Kind                                      Kind
	// Hop marks a field that belongs to this connection alone, or is not to be
	// passed on for another reason.
	Hop bool
	// Odd marks a Content-Length or Transfer-Encoding that is valid and not
	// written as everybody writes it; AppendFraming does.
	Odd bool
}

// fields is the part of a head that requests and responses share.
type fields struct {
	buf  []byte
	list []Field
	// ofRequest drops names that a backend could take for those of fields that
	// a client cannot send.
	ofRequest bool
	// names in Connection
	connClose, connKeepAlive, connUpgrade bool
}

// Fields lists the field lines in the order they came.
func (f *fields) Fields() []Field { return f.list }

// Line is the whole line of a field with its CRLF, byte for byte.
func (f *fields) Line(i int) []byte { return f.buf[f.list[i].start:f.list[i].end] }

// Lines is the bytes of the lines from field i up to field j, which is not
// included.
func (f *fields) Lines(i, j int) []byte {
	if i >= j {
		return nil
	}
	return f.buf[f.list[i].start:f.list[j-1].end]
}

// Name is the name of field i as it was sent.
func (f *fields) Name(i int) []byte { return f.buf[f.list[i].start:f.list[i].nameEnd] }

// Value is the value of field i without the white space around it.
func (f *fields) Value(i int) []byte { return f.buf[f.list[i].valueStart:f.list[i].valueEnd] }

// Peek returns the value of the first field of that name, compared without
// case; nil if there is none, and never nil if there is one.
func (f *fields) Peek(name string) []byte {
	for i := range f.list {
		n := f.Name(i)
		if len(n) == len(name) && foldEqualString(n, name) {
			v := f.Value(i)
			if v == nil {
				v = []byte{}
			}
			return v
		}
	}
	return nil
}

// foldEqualString compares without ASCII case; both have the same length.
func foldEqualString(b []byte, s string) bool {
	for i := range b {
		c, d := b[i], s[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// First returns the value of the first field of a kind, nil if there is none.
func (f *fields) First(k Kind) []byte {
	for i := range f.list {
		if f.list[i].Kind == k {
			return f.Value(i)
		}
	}
	return nil
}

// parse reads field lines from buf[pos:], which ends with the empty line.
func (f *fields) parse(buf []byte, pos int) error {
	f.buf, f.list = buf, f.list[:0]
	f.connClose, f.connKeepAlive, f.connUpgrade = false, false, false
	options := false
	for {
		end := lineEnd(buf, pos)
		if end < 0 {
			return badMessage("a line of the head does not end with CRLF")
		}
		if end == pos+2 {
			break
		}
		fl, err := parseField(buf, pos, end)
		if err != nil {
			return err
		}
		if len(f.list) == MaxFields {
			return ErrTooManyFields
		}
		kind, alias := kindOf(buf[fl.start:fl.nameEnd])
		if alias {
			// CGI, WSGI and their heirs read X_Forwarded_For and X-Forwarded-For
			// as one name (RFC 3875, section 4.1.18).
			fl.Hop = f.ofRequest
		} else {
			fl.Kind, fl.Hop = kind, kind.hopByHop()
		}
		options = options || fl.Kind == KindConnection
		f.list = append(f.list, fl)
		pos = end
	}
	if options {
		return f.connectionOptions()
	}
	return nil
}

// lineEnd returns the offset behind the CRLF that ends the line at pos, or -1
// if the line ends otherwise.
func lineEnd(buf []byte, pos int) int {
	i := indexLF(buf[pos:])
	if i < 1 || buf[pos+i-1] != '\r' {
		return -1
	}
	return pos + i + 1
}

func parseField(buf []byte, pos, end int) (Field, error) {
	line := buf[pos : end-2]
	if line[0] == ' ' || line[0] == '\t' {
		return Field{}, badMessage("a field is folded over several lines")
	}
	colon := 0
	for colon < len(line) && classes[line[colon]]&classToken != 0 {
		colon++
	}
	if colon == len(line) || line[colon] != ':' || colon == 0 {
		return Field{}, badMessage("a field line has no valid name")
	}
	vs, ve := colon+1, len(line)
	for vs < ve && (line[vs] == ' ' || line[vs] == '\t') {
		vs++
	}
	for ve > vs && (line[ve-1] == ' ' || line[ve-1] == '\t') {
		ve--
	}
	if !IsValue(line[vs:ve]) {
		return Field{}, badMessage("the value of field %q holds a control character", line[:min(colon, maxQuoted)])
	}
	p := uint32(pos)
	return Field{start: p, nameEnd: p + uint32(colon), valueStart: p + uint32(vs), valueEnd: p + uint32(ve), end: uint32(end)}, nil
}

// connectionOptions reads the Connection fields and marks the fields they name.
func (f *fields) connectionOptions() error {
	n := 0
	for i := range f.list {
		if f.list[i].Kind != KindConnection {
			continue
		}
		for item, rest := NextItem(f.Value(i)); item != nil; item, rest = NextItem(rest) {
			if n++; n > maxConnectionOptions {
				return badMessage("Connection names more than %d options", maxConnectionOptions)
			}
			switch {
			case EqualFold(item, "close"):
				f.connClose = true
			case EqualFold(item, "keep-alive"):
				f.connKeepAlive = true
			case EqualFold(item, "upgrade"):
				f.connUpgrade = true
			default:
				f.markHop(item)
			}
		}
	}
	return nil
}

func (f *fields) markHop(name []byte) {
	for i := range f.list {
		if !f.list[i].Kind.endToEnd() && equalFoldBytes(f.Name(i), name) {
			f.list[i].Hop = true
		}
	}
}

// framing reads Content-Length and Transfer-Encoding (RFC 9112, section 6).
// length is -1 when there is no Content-Length; coding is the value of the only
// Transfer-Encoding field, nil when there is none.
func (f *fields) framing() (length int64, coding []byte, err error) {
	length = -1
	for i := range f.list {
		switch f.list[i].Kind {
		case KindContentLength:
			if length >= 0 {
				return 0, nil, badMessage("there is more than one Content-Length")
			}
			v := f.Value(i)
			if length, err = parseLength(v); err != nil {
				return 0, nil, err
			}
			f.list[i].Odd = f.oddSpace(i) || v[0] == '0' && len(v) > 1
		case KindTransferEncoding:
			if coding != nil {
				return 0, nil, badMessage("there is more than one Transfer-Encoding")
			}
			coding = f.Value(i)
			if len(coding) == 0 {
				return 0, nil, badMessage("Transfer-Encoding is empty")
			}
			f.list[i].Odd = f.oddSpace(i) || string(coding) != chunkedCoding
		}
	}
	if coding != nil && length >= 0 {
		return 0, nil, badMessage("there are both Content-Length and Transfer-Encoding")
	}
	return length, coding, nil
}

const chunkedCoding = "chunked"

// oddSpace reports whether line i has other white space around its value than
// one space before it.
func (f *fields) oddSpace(i int) bool {
	l := &f.list[i]
	return l.valueStart != l.nameEnd+2 || f.buf[l.nameEnd+1] != ' ' || l.end != l.valueEnd+2
}

// AppendFraming appends the line of field i, a Content-Length or the
// Transfer-Encoding chunked, in the one way that every parser reads alike.
func (f *fields) AppendFraming(dst []byte, i int) []byte {
	dst = append(append(dst, f.Name(i)...), ": "...)
	if f.list[i].Kind == KindTransferEncoding {
		dst = append(dst, chunkedCoding...)
	} else {
		v := f.Value(i)
		for len(v) > 1 && v[0] == '0' {
			v = v[1:]
		}
		dst = append(dst, v...)
	}
	return append(dst, '\r', '\n')
}

func parseLength(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 18 {
		return 0, badMessage("Content-Length is not a number of at most 18 digits")
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, badMessage("Content-Length is not a decimal number")
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

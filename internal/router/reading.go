package router

import "bytes"

// Paths says what becomes of a path that two programs could read in two ways,
// because a part of it is escaped, names a dot segment, or is empty.
type Paths uint8

const (
	// PathsNormalize brings paths into the normal form of RFC 3986, section
	// 6.2.2, and refuses what that cannot make unambiguous.
	PathsNormalize Paths = iota
	// PathsReject refuses what is not in normal form, and escaped separators.
	PathsReject
	// PathsPass routes and forwards paths as they come.
	PathsPass
)

// ParsePaths reads the name of a policy; false: there is none of that name.
func ParsePaths(name string) (Paths, bool) {
	for p, n := range PathsNames() {
		if n == name {
			return Paths(p), true
		}
	}
	return 0, false
}

// String is the policy's name.
func (p Paths) String() string { return PathsNames()[p] }

// PathsNames are the names of the policies.
func PathsNames() []string { return []string{"normalize", "reject", "pass"} }

// Why a path is refused.
const (
	whyEscape    = "the path has a % without two hexadecimal digits"
	whyNUL       = "the path has an escaped NUL"
	whyBackslash = "the path has a backslash"
	whyAbove     = "the path leads above /"
	whyDisguised = "the path has a dot segment in disguise"
	whyDots      = "the path has a dot segment"
	whyEscaped   = "the path has an escaped character that needs none"
	whyEmpty     = "the path has an empty segment"
	whySeparator = "the path has an escaped slash or backslash"
	whyDouble    = "the path is escaped twice"
	// WhyOther is for a path that another program could take for one that
	// belongs to a route which comes before the one that takes it.
	WhyOther = "the path can be read as one that belongs to another route"
	// WhyRewritten is for a path that would leave normal form by a rewrite.
	WhyRewritten = "the path would have a dot segment once it is rewritten"
)

// odd marks the octets that may make a path ambiguous; slash and dot do so only
// behind a slash.
var odd = [256]uint8{'%': 1, '\\': 1, ';': 1, '/': 2, '.': 3}

// Plain reports whether a path can be read in one way only. Most can; only the
// others have to be Read.
func Plain(path []byte) bool {
	behindSlash := false
	for _, c := range path {
		kind := odd[c]
		if kind == 0 {
			behindSlash = false
			continue
		}
		if kind == 1 || behindSlash {
			return false
		}
		behindSlash = kind == 2
	}
	return true
}

// Read appends to dst how a path that is not Plain is routed and forwarded, or
// says why it is refused. path begins with a slash.
func (p Paths) Read(dst, path []byte) (read []byte, why string) {
	if p == PathsPass {
		return append(dst, path...), ""
	}
	start := len(dst)
	dst, unescaped, why := unescapeUnreserved(dst, path)
	if why != "" {
		return dst, why
	}
	if bytes.IndexByte(dst[start:], '\\') >= 0 {
		return dst, whyBackslash
	}
	dst, dots, why := resolve(dst, start)
	if why == "" {
		why = disguised(dst[start:])
	}
	if why == "" && p == PathsReject {
		why = notNormal(dst[start:], path, unescaped, dots)
	}
	return dst, why
}

// notNormal says why PathsReject refuses a path whose normal form is given.
func notNormal(normal, path []byte, unescaped, dots bool) string {
	switch {
	case dots:
		return whyDots
	case unescaped:
		return whyEscaped
	case bytes.Contains(path, []byte("//")):
		return whyEmpty
	case bytes.Contains(normal, []byte("%2F")) || bytes.Contains(normal, []byte("%5C")):
		return whySeparator
	}
	for i := 0; i+4 < len(normal); i++ {
		if string(normal[i:i+3]) == "%25" && unhex(normal[i+3]) >= 0 && unhex(normal[i+4]) >= 0 {
			return whyDouble
		}
	}
	return ""
}

// unescapeUnreserved appends path with the escapes of unreserved characters
// undone and the others in capitals (RFC 3986, sections 6.2.2.1 and 6.2.2.2).
func unescapeUnreserved(dst, path []byte) (out []byte, undone bool, why string) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			dst = append(dst, c)
			continue
		}
		v := escaped(path[i:])
		switch {
		case v < 0:
			return dst, undone, whyEscape
		case v == 0:
			return dst, undone, whyNUL
		case unreserved(byte(v)):
			dst, undone = append(dst, byte(v)), true
		default:
			const digits = "0123456789ABCDEF"
			dst = append(dst, '%', digits[v>>4], digits[v&15])
		}
		i += 2
	}
	return dst, undone, ""
}

// resolve removes dot segments from b[start:] in place (RFC 3986, section
// 5.2.4), and all but one of the slashes it begins with: a program could take
// what follows two for a host.
func resolve(b []byte, start int) (out []byte, dots bool, why string) {
	path := b[start:]
	n := 0 // the part of path that is done
	for i := 0; i < len(path); {
		next := i + 1 // path[i] is the slash before a segment
		for next < len(path) && path[next] != '/' {
			next++
		}
		segment := path[i+1 : next]
		last := next == len(path)
		switch {
		case string(segment) == ".":
			dots = true
			if last {
				path[n] = '/'
				n++
			}
		case string(segment) == "..":
			dots = true
			cut := bytes.LastIndexByte(path[:n], '/')
			if cut < 0 {
				return b, dots, whyAbove
			}
			n = cut
			if last {
				path[n] = '/'
				n++
			}
		case len(segment) == 0 && n == 0 && !last:
			// one of several slashes at the beginning
		default:
			n += copy(path[n:], path[i:next])
		}
		i = next
	}
	if n == 0 {
		path[0], n = '/', 1
	}
	return b[:start+n], dots, ""
}

// disguised finds segments that become dot segments, or grow a NUL, once they are
// unescaped, as often as it takes, or once a parameter is cut off. path is read
// as its bytes, which are left alone.
func disguised(path []byte) string {
	var buf [64]byte
	for len(path) > 0 {
		path = path[1:]
		end := bytes.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		segment := path[:end]
		path = path[end:]
		if bytes.IndexByte(segment, '%') < 0 && bytes.IndexByte(segment, ';') < 0 {
			continue
		}
		s := unescapeAll(append(buf[:0], segment...))
		if bytes.IndexByte(s, 0) >= 0 {
			return whyNUL
		}
		if hasDotPiece(s) {
			return whyDisguised
		}
	}
	return ""
}

// hasDotPiece reports whether a piece between slashes or backslashes is . or ..,
// with or without a parameter.
func hasDotPiece(s []byte) bool {
	for {
		end := bytes.IndexAny(s, `/\`)
		piece := s
		if end >= 0 {
			piece = s[:end]
		}
		if semi := bytes.IndexByte(piece, ';'); semi >= 0 {
			piece = piece[:semi]
		}
		if string(piece) == "." || string(piece) == ".." {
			return true
		}
		if end < 0 {
			return false
		}
		s = s[end+1:]
	}
}

// Loosest appends to dst how the most lenient program could read a path: all
// escapes undone, however often it was escaped, backslashes as slashes, without
// empty segments and without parameters. Only what a pattern can hold is
// unescaped, so that patterns and this reading can be compared.
func Loosest(dst, path []byte) []byte {
	start := len(dst)
	dst = append(dst, path...)
	all := unescapeAll(dst[start:])
	n, skip := 0, false
	for _, c := range all {
		if c == '\\' {
			c = '/'
		}
		switch {
		case c == '/' && n > 0 && all[n-1] == '/':
			skip = false
			continue
		case c == '/':
			skip = false
		case c == ';':
			skip = true
		}
		if !skip {
			all[n] = c
			n++
		}
	}
	return dst[:start+n]
}

// unescapeAll undoes the escapes of printable ASCII and of NUL in place, also
// those that come to be by it; those of other octets stay.
func unescapeAll(b []byte) []byte {
	n := 0
	for _, c := range b {
		b[n] = c
		n++
		for n >= 3 {
			v := escaped(b[n-3 : n])
			if v != 0 && (v <= ' ' || v >= 0x7f) {
				break
			}
			n -= 2
			b[n-1] = byte(v)
		}
	}
	return b[:n]
}

// escaped is the octet that b begins with an escape of, -1 if it does not.
func escaped(b []byte) int {
	if len(b) < 3 || b[0] != '%' {
		return -1
	}
	high, low := unhex(b[1]), unhex(b[2])
	if high < 0 || low < 0 {
		return -1
	}
	return high<<4 | low
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// unreserved reports whether an octet need never be escaped (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// Unreachable says why no path that p lets through equals a pattern of Match, or
// begins with it, and how the pattern is to be written, if it can be; "" when it
// can be reached.
func (p Paths) Unreachable(pattern string) (why, write string) {
	key, err := parsePath(pattern)
	if err != nil || p == PathsPass || key.kind != pathExact && key.kind != pathPrefix || Plain([]byte(key.text)) {
		return "", ""
	}
	read, why := p.Read(nil, []byte(key.text+"/x"))
	read = bytes.TrimSuffix(read, []byte("/x"))
	if why == "" && string(read) != key.text {
		why, write = "clients' paths are brought into their normal form before they are compared", string(read)
		if key.kind == pathPrefix {
			write += "/*"
		}
	}
	return why, write
}

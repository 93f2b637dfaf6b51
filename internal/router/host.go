package router

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// maxHost is the most bytes of a host name (RFC 1035, section 2.3.4, without
// the root's dot).
const maxHost = 253

type hostKind uint8

const (
	hostExact hostKind = iota
	hostWildcard
	hostAny
)

// hostKey is a host pattern in the form in which it is compared. For a
// wildcard text is what stands behind "*.".
type hostKey struct {
	kind hostKind
	text string
}

// parseHost checks and normalises Match.Host.
func parseHost(s string) (hostKey, error) {
	if s == "" || s == "*" {
		return hostKey{kind: hostAny}, nil
	}
	fail := func(why string) (hostKey, error) {
		return hostKey{}, fmt.Errorf("host %q: %s; allowed are a name (example.com), *.example.com, an IP address ([::1] with brackets), or * for any", s, why)
	}
	if strings.HasPrefix(s, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(s[1:], "]"))
		if !strings.HasSuffix(s, "]") || err != nil || !addr.Is6() || addr.Zone() != "" {
			return fail("is not an IPv6 address in brackets, without port and zone")
		}
		return hostKey{hostExact, "[" + addr.String() + "]"}, nil
	}
	key := hostKey{hostExact, strings.ToLower(strings.TrimSuffix(s, "."))}
	if rest, ok := strings.CutPrefix(key.text, "*."); ok {
		key = hostKey{hostWildcard, rest}
	}
	if why := nameProblem(key.text); why != "" {
		return fail(why)
	}
	return key, nil
}

// nameProblem says why s is not a lower-case host name, or "".
func nameProblem(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return "has a scheme; write the name alone"
	case strings.HasPrefix(s, "~"):
		return "is a regular expression, which hosts do not take"
	case strings.ContainsAny(s, " \t\r\n"):
		return "has white space"
	case strings.Contains(s, "/"):
		return "has a path; write it under path"
	case strings.Count(s, ":") > 1:
		return "is an IPv6 address without brackets"
	case strings.Contains(s, ":"):
		return "has a port; hosts are compared without it"
	case strings.Contains(s, "*"):
		return "has a * that is not the whole first label"
	case len(s) > maxHost:
		return fmt.Sprintf("is longer than %d bytes", maxHost)
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return "has an empty label"
		}
		if len(label) > 63 {
			return fmt.Sprintf("has the label %q of more than 63 bytes", label)
		}
		for i := 0; i < len(label); i++ {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			case c >= 0x80:
				return "has a character outside ASCII; write the name in Punycode (xn--...)"
			default:
				return fmt.Sprintf("has the character %q", c)
			}
		}
	}
	return ""
}

// normalHost brings a Host value into the form of hostKey.text: no port, no
// trailing dot, lower case. The result is a part of h or of buf, or nil for a
// value that no host pattern can take.
func normalHost(h []byte, buf *[maxHost]byte) []byte {
	if len(h) > 0 && h[0] == '[' {
		end := bytes.IndexByte(h, ']')
		if end < 0 {
			return nil
		}
		h = h[:end+1]
	} else {
		if i := bytes.IndexByte(h, ':'); i >= 0 {
			h = h[:i]
		}
		if n := len(h); n > 0 && h[n-1] == '.' {
			h = h[:n-1]
		}
	}
	if len(h) > maxHost {
		return nil
	}
	for i, c := range h {
		if 'A' <= c && c <= 'Z' {
			return lower(h, i, buf)
		}
	}
	return h
}

// lower copies h into buf in lower case; the first upper bytes are known to be
// lower already.
func lower(h []byte, upper int, buf *[maxHost]byte) []byte {
	copy(buf[:], h[:upper])
	for i := upper; i < len(h); i++ {
		c := h[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(h)]
}

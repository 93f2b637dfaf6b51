package wire

// Classes of octets, RFC 9110 section 5.6.2 and 5.5, RFC 3986 section 2.
const (
	classToken  = 1 << iota // tchar
	classValue              // VCHAR, obs-text, SP, HTAB
	classTarget             // what a request target may hold
	classHost               // reg-name without user information, RFC 3986 section 3.2.2
)

var classes = buildClasses()

func buildClasses() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] |= classToken | classHost
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= classToken | classHost
		t[c-32] |= classToken | classHost
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= classToken
	}
	for _, c := range "-._~%!$&'()*+,;=" {
		t[c] |= classHost
	}
	for c := 0x20; c <= 0xff; c++ {
		if c != 0x7f {
			t[c] |= classValue
		}
	}
	t['\t'] |= classValue
	// Browsers send a few octets that RFC 3986 wants escaped, such as | and
	// braces; they cannot be read in two ways, so they pass. A fragment,
	// spaces, controls and octets above 0x7e can, so they do not.
	for c := 0x21; c <= 0x7e; c++ {
		if c != '#' {
			t[c] |= classTarget
		}
	}
	return t
}

func all(b []byte, class uint8) bool {
	for _, c := range b {
		if classes[c]&class == 0 {
			return false
		}
	}
	return true
}

// IsToken reports whether b is a token (RFC 9110, section 5.6.2).
func IsToken(b []byte) bool { return len(b) > 0 && all(b, classToken) }

// IsValue reports whether b is a field value without line breaks or other
// control octets (RFC 9110, section 5.5).
func IsValue(b []byte) bool { return all(b, classValue) }

// EqualFold reports whether b equals the lower-case ASCII text s without
// regard to case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// equalFoldBytes compares two names without regard to ASCII case.
func equalFoldBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		d := b[i]
		if c == d {
			continue
		}
		if c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}

// TrimOWS removes optional white space (SP, HTAB) around b.
func TrimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// NextItem cuts the first item off a comma-separated list (RFC 9110, section
// 5.6.1); empty items are skipped. It returns nil when the list is at its end.
func NextItem(list []byte) (item, rest []byte) {
	for len(list) > 0 {
		i := 0
		for i < len(list) && list[i] != ',' {
			i++
		}
		item = TrimOWS(list[:i])
		if i < len(list) {
			i++
		}
		list = list[i:]
		if len(item) > 0 {
			return item, list
		}
	}
	return nil, nil
}

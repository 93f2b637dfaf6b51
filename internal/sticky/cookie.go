package sticky

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"
)

// idBytes is how much of the MAC an id keeps: 96 bits, 16 characters.
const idBytes = 12

// noSecret keys ids when the configuration has no secret.
const noSecret = "steelyard sticky, no secret"

// ID returns the opaque name of a backend for a cookie: 16 characters of
// base64url, HMAC-SHA256 (RFC 2104) keyed by secret over pool and identity. It
// is the same after restarts and in every Steelyard that uses the same secret,
// pool name and identity, and differs between pools. A split uses it too, with
// no pool and the pool's name as identity.
//
// With a secret that cannot be guessed (16 random bytes or more) an id says
// nothing about the backend, and nobody else can make a valid one. Without one
// it does not show the address to a casual look, but whoever knows this code
// and guesses the pool's name can compute the ids of all likely addresses and
// compare, and can make a cookie that chooses the backend. The same holds for a
// secret short enough to be tried out.
func ID(secret, pool, identity string) string {
	if secret == "" {
		secret = noSecret
	}
	mac := hmac.New(sha256.New, []byte(secret))
	// The length keeps ("ab", "c") and ("a", "bc") apart.
	msg := append([]byte("steelyard/sticky/1\x00"), binary.BigEndian.AppendUint64(nil, uint64(len(pool)))...)
	mac.Write(append(append(msg, pool...), identity...))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:idBytes])
}

// FindCookie returns the value of the first cookie called name in header, the
// value of one Cookie line (RFC 6265, section 4.2.1), or nil if there is none;
// a cookie with an empty value yields an empty slice that is not nil. Names are
// compared with case. The value is a part of header, byte for byte, quotes
// included. Spaces and tabs around names and values are not part of them, and
// pairs without "=" are skipped. A request with several Cookie lines is
// searched line by line.
func FindCookie(header []byte, name string) []byte {
	if name == "" {
		return nil
	}
	for header != nil {
		pair := header
		if i := bytes.IndexByte(header, ';'); i >= 0 {
			pair, header = header[:i], header[i+1:]
		} else {
			header = nil
		}
		eq := bytes.IndexByte(pair, '=')
		if eq >= 0 && string(trim(pair[:eq])) == name {
			return trim(pair[eq+1:])
		}
	}
	return nil
}

// trim cuts spaces and tabs off both ends; unlike bytes.TrimSpace it never
// returns nil for a slice that is not.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// Renews reports whether the cookie goes out with every response of a bound
// client, not only when the binding changes; see the package comment.
func (c *Cookie) Renews() bool { return c.TTL > 0 }

// AppendSetCookie appends the value of a Set-Cookie line (RFC 6265, section
// 4.1.1) that binds to value, which is an ID. tls says whether the request came
// over TLS, for Secure auto. SameSite none always brings Secure, since browsers
// drop the cookie otherwise. It allocates only to grow dst. c must be valid.
func (c *Cookie) AppendSetCookie(dst []byte, value string, tls bool) []byte {
	dst = append(dst, c.Name...)
	dst = append(dst, '=')
	dst = append(dst, value...)
	dst = append(dst, "; Path="...)
	dst = append(dst, c.Path...)
	if c.Domain != "" {
		dst = append(dst, "; Domain="...)
		dst = append(dst, c.Domain...)
	}
	if c.TTL > 0 {
		dst = append(dst, "; Max-Age="...)
		dst = strconv.AppendInt(dst, int64(c.TTL/time.Second), 10)
	}
	if c.Secure == "true" || c.Secure == "auto" && tls || c.SameSite == "none" {
		dst = append(dst, "; Secure"...)
	}
	if c.HTTPOnly {
		dst = append(dst, "; HttpOnly"...)
	}
	switch c.SameSite {
	case "lax":
		dst = append(dst, "; SameSite=Lax"...)
	case "strict":
		dst = append(dst, "; SameSite=Strict"...)
	case "none":
		dst = append(dst, "; SameSite=None"...)
	}
	return dst
}

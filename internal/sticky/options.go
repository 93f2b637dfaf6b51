package sticky

import "time"

// Options chooses how a client is recognised; exactly one field is set. Each
// starts as its Default function returns it.
type Options struct {
	Cookie   *Cookie
	Header   *Header
	ClientIP *ClientIP
}

// Cookie binds with a cookie that Steelyard sets.
type Cookie struct {
	Name     string        // a token; default "sy"
	TTL      time.Duration // Max-Age, 1s to 400 days; default 0, a session cookie
	Path     string        // default "/"
	Domain   string        // default none: the host that asked
	Secure   string        // auto (default: on requests that came over TLS), true or false
	HTTPOnly bool          // default true
	SameSite string        // lax (default), strict, none
	Secret   string        // keys the backend ids, see ID; default none
}

// Header binds by the value of a request header that the client sends.
type Header struct {
	Name string
	TTL  time.Duration // unused bindings are forgotten after this long, 1s to 10 years; default 30m
	Size int           // most bindings kept, 1 to 10 million, see NewTable; default 100000
}

// ClientIP binds by the client's address.
type ClientIP struct {
	TTL  time.Duration // as in Header; default 30m
	Size int           // as in Header; default 100000
}

const (
	defaultTTL  = 30 * time.Minute
	defaultSize = 100_000
)

// DefaultCookie returns a Cookie with every default set.
func DefaultCookie() Cookie {
	return Cookie{Name: "sy", Path: "/", Secure: "auto", HTTPOnly: true, SameSite: "lax"}
}

// DefaultHeader returns a Header with every default set; Name has none.
func DefaultHeader() Header { return Header{TTL: defaultTTL, Size: defaultSize} }

// DefaultClientIP returns a ClientIP with every default set.
func DefaultClientIP() ClientIP { return ClientIP{TTL: defaultTTL, Size: defaultSize} }

// Package sticky keeps a client on its backend: opaque backend ids for cookies,
// and a bounded table for clients known by a header or their address.
package sticky

import "time"

// Options chooses how a client is recognised; exactly one field is set.
type Options struct {
	Cookie   *Cookie
	Header   *Header
	ClientIP *ClientIP
}

// Cookie binds with a cookie that Steelyard sets.
type Cookie struct {
	Name     string        // default "sy"
	TTL      time.Duration // Max-Age; 0 means a session cookie
	Path     string        // default "/"
	Domain   string        // default none: the host that asked
	Secure   string        // auto (default: on requests that came over TLS), true or false
	HTTPOnly bool          // default true
	SameSite string        // lax (default), strict, none
	Secret   string        // keys the backend ids; default none
}

// Header binds by the value of a request header that the client sends.
type Header struct {
	Name string
	TTL  time.Duration // unused bindings are forgotten after this long; default 30m
	Size int           // most bindings kept; default 100000
}

// ClientIP binds by the client's address.
type ClientIP struct {
	TTL  time.Duration // default 30m
	Size int           // default 100000
}

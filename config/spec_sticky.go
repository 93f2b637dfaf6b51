package config

import (
	"time"

	"steelyard/internal/sticky"
)

// stickyMapping reads the affinity of a pool or a split. The two have cookies
// of different names, because a client may need both. A split hashes headers and
// addresses: it remembers nothing, so what bounds the memory of a pool is no key
// of it.
func stickyMapping(cookieName string, split bool) mapping[sticky.Options] {
	cookie, header, clientIP := cookieMapping(cookieName), stickyHeaderMapping(), clientIPMapping()
	if split {
		header.fields, clientIP.fields = header.fields[:1], nil
	}
	return mapping[sticky.Options]{
		noun:    "an affinity",
		shortIs: "cookie or client_ip alone",
		short: func(w *walker, v value, o *sticky.Options) bool {
			if !isText(v.node) {
				return false
			}
			var word string
			if !enum([]string{"cookie", "client_ip"}).read(w, v, &word) {
				return true
			}
			if word == "cookie" {
				c := cookie.fresh()
				o.Cookie = &c
			} else {
				c := clientIP.fresh()
				o.ClientIP = &c
			}
			return true
		},
		fields: []field[sticky.Options]{
			key("cookie", optional(cookie.kind()), func(o *sticky.Options) **sticky.Cookie { return &o.Cookie },
				"By a cookie that Steelyard sets.").defaults("none"),
			key("header", optional(header.kind()), func(o *sticky.Options) **sticky.Header { return &o.Header },
				"By a header that the client sends.").defaults("none"),
			key("client_ip", optional(clientIP.kind()), func(o *sticky.Options) **sticky.ClientIP { return &o.ClientIP },
				"By the address of the client.").defaults("none"),
		},
		check: func(w *walker, s section, _ *sticky.Options) {
			if s.at != nil {
				s.oneOf(w, "cookie", "header", "client_ip")
			}
		},
		validate: func(o *sticky.Options) error { return o.Validate() },
	}
}

func cookieMapping(name string) mapping[sticky.Cookie] {
	nameKind := anyText("a cookie name", nil)
	return mapping[sticky.Cookie]{
		noun:    "a cookie",
		shortIs: "its name alone",
		empty:   true,
		short: func(w *walker, v value, c *sticky.Cookie) bool {
			return isText(v.node) && (nameKind.read(w, v, &c.Name) || true)
		},
		fresh: func() sticky.Cookie {
			c := sticky.DefaultCookie()
			c.Name = name
			return c
		},
		fields: []field[sticky.Cookie]{
			key("name", nameKind, func(c *sticky.Cookie) *string { return &c.Name }, "Name of the cookie."),
			key("ttl", duration(time.Second, 400*day, "until the browser closes"), func(c *sticky.Cookie) *time.Duration { return &c.TTL }, "How long the browser keeps it (`Max-Age`)."),
			key("path", anyText("a path", nil), func(c *sticky.Cookie) *string { return &c.Path }, "Its `Path`."),
			key("domain", anyText("a domain", nil), func(c *sticky.Cookie) *string { return &c.Domain }, "Its `Domain`.").defaults("none, the host that was asked"),
			key("secure", enum([]string{"auto", "true", "false"}), func(c *sticky.Cookie) *string { return &c.Secure }, "Its `Secure`; `auto` sets it on requests that came over TLS."),
			key("http_only", boolean(), func(c *sticky.Cookie) *bool { return &c.HTTPOnly }, "Its `HttpOnly`: scripts do not see it."),
			key("same_site", enum([]string{"lax", "strict", "none"}), func(c *sticky.Cookie) *string { return &c.SameSite }, "Its `SameSite`."),
			key("secret", anyText("any text", nil), func(c *sticky.Cookie) *string { return &c.Secret },
				"Keys the backend ids, so that nobody can compute them from addresses. The same on every Steelyard that serves the clients.").defaults("none"),
		},
		validate: func(c *sticky.Cookie) error { return sticky.Options{Cookie: c}.Validate() },
	}
}

func stickyHeaderMapping() mapping[sticky.Header] {
	nameKind := anyText("a header name", nil)
	return mapping[sticky.Header]{
		noun:    "a header",
		shortIs: "its name alone",
		short: func(w *walker, v value, h *sticky.Header) bool {
			return isText(v.node) && (nameKind.read(w, v, &h.Name) || true)
		},
		fresh: sticky.DefaultHeader,
		fields: []field[sticky.Header]{
			key("name", nameKind, func(h *sticky.Header) *string { return &h.Name }, "Name of the header.").needed(),
			key("ttl", duration(time.Second, 3650*day, ""), func(h *sticky.Header) *time.Duration { return &h.TTL }, "A binding that was not used for this long is forgotten."),
			key("size", integer(1, 10_000_000), func(h *sticky.Header) *int { return &h.Size }, "Most bindings kept; beyond it the oldest go."),
		},
		validate: func(h *sticky.Header) error { return sticky.Options{Header: h}.Validate() },
	}
}

func clientIPMapping() mapping[sticky.ClientIP] {
	return mapping[sticky.ClientIP]{
		noun:  "settings of client_ip",
		empty: true,
		fresh: sticky.DefaultClientIP,
		fields: []field[sticky.ClientIP]{
			key("ttl", duration(time.Second, 3650*day, ""), func(c *sticky.ClientIP) *time.Duration { return &c.TTL }, "A binding that was not used for this long is forgotten."),
			key("size", integer(1, 10_000_000), func(c *sticky.ClientIP) *int { return &c.Size }, "Most bindings kept; beyond it the oldest go."),
		},
		validate: func(c *sticky.ClientIP) error { return sticky.Options{ClientIP: c}.Validate() },
	}
}

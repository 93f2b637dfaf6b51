package proxy

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"unsafe"

	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
	"steelyard/internal/wire"
)

// maxRequestID is the longest X-Request-Id that is kept, in bytes.
const maxRequestID = 128

// appendRequestHead appends the head that the backend gets: what the client
// sent, byte for byte, but for what belongs to the client's connection and what
// says who asked.
func (x *exchange) appendRequestHead(dst []byte, ep *pool.Endpoint) []byte {
	r := x.req
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	if x.route.Path != nil && r.Path[0] == '/' {
		dst = x.route.Path.Append(dst, r.Path)
	} else {
		dst = append(dst, r.Path...)
	}
	if r.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, r.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = x.appendRequestFields(dst, ep)
	dst = append(dst, x.gate.copied...)
	dst = x.appendForwarded(dst)
	dst = x.route.RequestHeaders.Append(dst, x)
	if r.Upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, r.Upgrade...)
		dst = append(dst, '\r', '\n')
	}
	return append(dst, '\r', '\n')
}

// appendRequestFields copies the client's fields in runs of whole lines.
func (x *exchange) appendRequestFields(dst []byte, ep *pool.Endpoint) []byte {
	r := x.req
	rewritten := !x.route.RequestHeaders.Empty()
	copies := x.route.Gate != nil && x.route.Gate.Forward != nil
	list := r.Fields()
	from, host := 0, false
	for i := range list {
		drop := list[i].Hop
		switch list[i].Kind {
		case wire.KindHost:
			host = true
			if x.route.Host != "" || r.Absolute {
				dst = append(dst, r.Lines(from, i)...)
				dst = x.appendHost(dst, ep)
				from = i + 1
			}
			continue
		case wire.KindAuthorization:
			drop = drop || x.route.Gate.keepsAuthorization()
		case wire.KindXForwardedFor, wire.KindXForwardedProto, wire.KindXForwardedHost:
			drop = x.gen.Forward.XForwarded || !x.trusted()
		case wire.KindForwarded:
			drop = x.gen.Forward.Standard || !x.trusted()
		case wire.KindXRequestID:
			drop = x.gen.Forward.RequestID || !x.trusted()
		case wire.KindContentLength, wire.KindTransferEncoding:
			if list[i].Odd {
				dst = r.AppendFraming(append(dst, r.Lines(from, i)...), i)
				from = i + 1
				continue
			}
		}
		if drop || copies && named(x.route.Gate.Forward.ResponseHeaders, r.Name(i)) || rewritten && x.route.RequestHeaders.Drops(r.Name(i)) {
			dst = append(dst, r.Lines(from, i)...)
			from = i + 1
		}
	}
	dst = append(dst, r.Lines(from, len(list))...)
	if !host {
		dst = x.appendHost(dst, ep)
	}
	return dst
}

// trailers are those of a body that is done, without those that a route removes or
// sets in the head: some programs add trailers to it.
func trailers(b *wire.Body, h *rewrite.HeaderRewriter) []byte {
	if len(b.Trailers()) > 0 && !h.Empty() {
		b.DropTrailers(h.Drops)
	}
	return b.Trailers()
}

// appendHost writes Host where the client's line does not do.
func (x *exchange) appendHost(dst []byte, ep *pool.Endpoint) []byte {
	dst = append(dst, "Host: "...)
	switch {
	case x.route.Host != "" && x.route.Host != HostBackend:
		dst = append(dst, x.route.Host...)
	case x.route.Host == HostBackend || len(x.req.Host) == 0:
		if _, unix := cutUnix(ep.Address); unix {
			dst = append(dst, "localhost"...)
		} else {
			dst = append(dst, ep.Address...)
		}
	default:
		dst = append(dst, x.req.Host...)
	}
	return append(dst, '\r', '\n')
}

// trusted reports whether the peer's word on who asked is believed.
func (x *exchange) trusted() bool {
	c := x.c
	if c.trustedBy != x.gen {
		c.trustedBy = x.gen
		c.trusted = c.peer.IsValid() && contains(x.gen.Trusted, c.peer)
	}
	return c.trusted
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// appendForwarded writes the fields that say who asked. Those of a trusted peer
// are continued, those of others replaced.
func (x *exchange) appendForwarded(dst []byte) []byte {
	f := &x.gen.Forward
	if f.XForwarded {
		dst = x.appendXForwarded(dst)
	}
	if f.Standard && !x.replaces("Forwarded") {
		dst = append(dst, "Forwarded: "...)
		dst = x.appendTrusted(dst, wire.KindForwarded)
		dst = x.appendForwardedElement(dst)
	}
	if f.RequestID && !x.replaces("X-Request-Id") {
		dst = append(dst, "X-Request-Id: "...)
		dst = append(dst, x.requestID()...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// replaces reports whether the route removes or sets a field, which then holds
// for the one that would be sent here as well.
func (x *exchange) replaces(name string) bool {
	h := x.route.RequestHeaders
	return !h.Empty() && h.Drops([]byte(name))
}

func (x *exchange) appendXForwarded(dst []byte) []byte {
	if !x.replaces("X-Forwarded-For") {
		dst = append(dst, "X-Forwarded-For: "...)
		dst = x.appendTrusted(dst, wire.KindXForwardedFor)
		dst = append(dst, x.c.peerText...)
		dst = append(dst, '\r', '\n')
	}
	if !x.replaces("X-Forwarded-Proto") {
		dst = append(dst, "X-Forwarded-Proto: "...)
		if v := x.trustedValue(wire.KindXForwardedProto); v != nil {
			dst = append(dst, v...)
		} else {
			dst = append(dst, x.ownScheme()...)
		}
		dst = append(dst, '\r', '\n')
	}
	host := x.req.Host
	if v := x.trustedValue(wire.KindXForwardedHost); v != nil {
		host = v
	}
	if len(host) > 0 && !x.replaces("X-Forwarded-Host") {
		dst = append(dst, "X-Forwarded-Host: "...)
		dst = append(append(dst, host...), '\r', '\n')
	}
	return dst
}

// appendForwardedElement writes this hop's element of Forwarded (RFC 7239).
func (x *exchange) appendForwardedElement(dst []byte) []byte {
	dst = append(dst, "for="...)
	if x.c.peer.Is6() {
		dst = append(dst, "\"["...)
		dst = append(dst, x.c.peerText...)
		dst = append(dst, "]\""...)
	} else {
		dst = append(dst, x.c.peerText...)
	}
	dst = append(dst, ";host=\""...)
	dst = append(dst, x.req.Host...)
	dst = append(dst, "\";proto="...)
	dst = append(dst, x.ownScheme()...)
	return append(dst, '\r', '\n')
}

// appendTrusted copies the values a trusted peer sent, all lines as one list.
func (x *exchange) appendTrusted(dst []byte, k wire.Kind) []byte {
	if !x.trusted() {
		return dst
	}
	list := x.req.Fields()
	for i := range list {
		if list[i].Kind == k && len(x.req.Value(i)) > 0 {
			dst = append(dst, x.req.Value(i)...)
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// trustedValue is the value of the first field of a kind if the peer is
// trusted, else nil.
func (x *exchange) trustedValue(k wire.Kind) []byte {
	if !x.trusted() {
		return nil
	}
	if v := x.req.First(k); len(v) > 0 {
		return v
	}
	return nil
}

// ownScheme is how the client reached this listener.
func (x *exchange) ownScheme() string {
	if x.c.tls != nil {
		return "https"
	}
	return "http"
}

// scheme is how the client asked, as far as is known: http or https. Of what a
// chain of trusted proxies says the first word is about the client.
func (x *exchange) scheme() string {
	v := x.trustedValue(wire.KindXForwardedProto)
	if v == nil {
		return x.ownScheme()
	}
	if item, _ := wire.NextItem(v); wire.EqualFold(item, "https") || wire.EqualFold(item, "wss") {
		return "https"
	}
	return "http"
}

// requestID is the id of a trusted peer, or one made here: 128 random bits in
// hexadecimal. It stays the same for the whole exchange.
func (x *exchange) requestID() []byte {
	if x.idLen == 0 {
		if x.req != nil {
			if v := x.trustedValue(wire.KindXRequestID); wire.IsToken(v) && len(v) <= maxRequestID {
				x.idLen = copy(x.id[:], v)
				return x.id[:x.idLen]
			}
		}
		const digits = "0123456789abcdef"
		a, b := rand.Uint64(), rand.Uint64()
		for i := range 16 {
			x.id[i] = digits[a>>(4*i)&15]
			x.id[16+i] = digits[b>>(4*i)&15]
		}
		x.idLen = 32
	}
	return x.id[:x.idLen]
}

// clientIP is the address of the client: the peer's, or if that is trusted the
// nearest one in X-Forwarded-For that is not.
func (x *exchange) clientIP() []byte {
	if !x.trusted() {
		return x.c.peerText
	}
	best := x.c.peerText
	list := x.req.Fields()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Kind != wire.KindXForwardedFor {
			continue
		}
		v := x.req.Value(i)
		for len(v) > 0 {
			var item []byte
			item, v = lastItem(v)
			if len(item) == 0 {
				continue
			}
			text := withoutPort(item)
			a, err := netip.ParseAddr(alias(text))
			if err != nil {
				return best // what stands before it cannot be trusted either
			}
			best = text
			if !contains(x.gen.Trusted, a.Unmap()) {
				return best
			}
		}
	}
	return best
}

// alias is b as a string that must not outlive it: ParseAddr keeps nothing but a
// copy of the zone, and an error that is dropped here.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// withoutPort takes off the port, and the brackets of IPv6, that some proxies
// write into X-Forwarded-For.
func withoutPort(item []byte) []byte {
	if item[0] == '[' {
		if i := bytes.IndexByte(item, ']'); i >= 0 {
			return item[1:i]
		}
		return item
	}
	if i := bytes.IndexByte(item, ':'); i >= 0 && i == bytes.LastIndexByte(item, ':') {
		return item[:i]
	}
	return item
}

// lastItem cuts the last item off a comma-separated list.
func lastItem(v []byte) (item, rest []byte) {
	i := len(v) - 1
	for i >= 0 && v[i] != ',' {
		i--
	}
	item = wire.TrimOWS(v[i+1:])
	if i < 0 {
		return item, nil
	}
	return item, v[:i]
}

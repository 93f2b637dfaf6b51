package proxy

import (
	"bytes"
	"strconv"

	"steelyard/internal/rewrite"
)

// AppendVar gives templates their values (package rewrite).
func (x *exchange) AppendVar(dst []byte, v rewrite.Var, name string) []byte {
	switch v {
	case rewrite.VarClientIP:
		return append(dst, x.clientIP()...)
	case rewrite.VarClientPort:
		return strconv.AppendUint(dst, uint64(x.c.peerPort), 10)
	case rewrite.VarHost:
		return append(dst, x.req.Host...)
	case rewrite.VarMethod:
		return append(dst, x.req.Method...)
	case rewrite.VarPath:
		return append(dst, x.req.Path...)
	case rewrite.VarQuery:
		return append(dst, x.req.Query...)
	case rewrite.VarURI:
		return append(dst, x.uri()...)
	case rewrite.VarScheme:
		return append(dst, x.scheme()...)
	case rewrite.VarRequestID:
		return append(dst, x.requestID()...)
	case rewrite.VarRoute:
		return append(dst, x.route.Name...)
	case rewrite.VarPool:
		if x.target != nil {
			dst = append(dst, x.target.Pool.Name()...)
		}
	case rewrite.VarBackend:
		if x.index >= 0 {
			dst = append(dst, x.snap.Endpoints[x.index].Address...)
		}
	case rewrite.VarListener:
		return append(dst, x.c.listener.Name()...)
	case rewrite.VarTLSVersion:
		return append(dst, x.c.tlsVersion()...)
	case rewrite.VarTLSSNI:
		return append(dst, x.c.tlsSNI()...)
	case rewrite.VarTLSClientVerified:
		return append(dst, x.c.tlsVerified()...)
	case rewrite.VarTLSClientSubject:
		return append(dst, x.c.tlsClient().Subject...)
	case rewrite.VarTLSClientCN:
		return append(dst, x.c.tlsClient().CN...)
	case rewrite.VarTLSClientSAN:
		return append(dst, x.c.tlsClient().SAN...)
	case rewrite.VarTLSClientFingerprint:
		return append(dst, x.c.tlsClient().Fingerprint...)
	case rewrite.VarAuthUser:
		return append(dst, x.gate.user...)
	case rewrite.VarHeader:
		return append(dst, x.req.Peek(name)...)
	case rewrite.VarQueryParam:
		return append(dst, x.query.Peek(name)...)
	case rewrite.VarCookie:
		return append(dst, x.cookie(name)...)
	}
	return dst
}

// queryPeeker finds parameters in a raw query, without building a map. Names
// and values that are percent-encoded are decoded on demand.
type queryPeeker struct{ raw []byte }

// Peek returns the value of the first parameter of that name, nil if absent.
func (q *queryPeeker) Peek(name string) []byte {
	rest := q.raw
	for len(rest) > 0 {
		pair := rest
		if i := bytes.IndexByte(rest, '&'); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		value := pair[len(pair):]
		if i := bytes.IndexByte(pair, '='); i >= 0 {
			pair, value = pair[:i], pair[i+1:]
		}
		if string(unescape(pair)) == name {
			return unescape(value)
		}
	}
	return nil
}

// unescape decodes + and %XX; it allocates only if there are any. What is not
// a valid escape stays as it is.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '+':
			out = append(out, ' ')
		case b[i] == '%' && i+2 < len(b) && hexValue(b[i+1]) >= 0 && hexValue(b[i+2]) >= 0:
			out = append(out, byte(hexValue(b[i+1])<<4|hexValue(b[i+2])))
			i += 2
		default:
			out = append(out, b[i])
		}
	}
	return out
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

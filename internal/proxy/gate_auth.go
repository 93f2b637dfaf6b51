package proxy

import (
	"steelyard/internal/auth"
	"steelyard/internal/transport"
	"steelyard/internal/wire"
)

// authenticate finds out who the client is by what it shows of itself.
func (x *exchange) authenticate(b *auth.Basic, peek bool) (Cause, string) {
	shown, several := x.authorization()
	switch {
	case len(shown) == 0:
		return CauseUnauthorized, ""
	case several:
		return CauseUnauthorized, "there is more than one Authorization"
	case peek:
		return CauseNone, ""
	}
	user, verdict := b.Verify(shown, x.c.at, x.c.gone)
	x.c.at = transport.Now() // it may have taken its time
	switch verdict {
	case auth.Right:
		x.gate.user = user
		return CauseNone, ""
	case auth.Busy:
		if x.c.gone() {
			return CauseClientGone, ""
		}
		return CauseAuthUnavailable, "too many passwords are being verified"
	}
	return CauseUnauthorized, "the name or the password is not right"
}

// authorization is the value of Authorization.
func (x *exchange) authorization() (value []byte, several bool) {
	list := x.req.Fields()
	for i := range list {
		if list[i].Kind == wire.KindAuthorization {
			if value != nil {
				return value, true
			}
			value = x.req.Value(i)
		}
	}
	return value, false
}

// keepsAuthorization reports whether the backend is not to have what the client
// showed to the gate.
func (g *Gate) keepsAuthorization() bool {
	return g != nil && g.Basic != nil && !g.Basic.Options().Forward
}

package access

import (
	"fmt"
	"net/netip"
)

// List says who may come in: who is denied may not, whoever else allows him; if
// anybody is allowed, then nobody else is. It is immutable.
type List struct{ allow, deny *Set }

// NewList makes a list; nil if there is nothing to ask.
func NewList(allow, deny []netip.Prefix) *List {
	if len(allow)+len(deny) == 0 {
		return nil
	}
	return &List{allow: NewSet(allow), deny: NewSet(deny)}
}

// Allows reports whether an address may come in. One that is none, as that of a
// client on a unix socket, may unless there is an allow list.
func (l *List) Allows(a netip.Addr) bool {
	return !l.deny.Contains(a) && (l.allow == nil || l.allow.Contains(a))
}

// Why says why an address may come in, or may not.
func (l *List) Why(a netip.Addr) string {
	if !a.IsValid() {
		if l.allow == nil {
			return "the client has no address, and nothing is asked of it"
		}
		return "the client has no address that could be in allow"
	}
	if p, ok := l.deny.Which(a); ok {
		return fmt.Sprintf("%v is in deny (%v)", a, p)
	}
	if l.allow == nil {
		return fmt.Sprintf("%v is not in deny", a)
	}
	if p, ok := l.allow.Which(a); ok {
		return fmt.Sprintf("%v is in allow (%v)", a, p)
	}
	return fmt.Sprintf("%v is not in allow", a)
}

// Package access says which addresses may come in: sets of networks that are
// asked once a request, whatever their size.
//
// It knows nothing of requests or of how an address was found.
package access

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Set is a set of addresses. It is immutable; nil is the empty one.
type Set struct {
	v4, v6   []span // sorted, apart from each other
	prefixes []netip.Prefix
}

// point is an address as a number, the upper half first. IPv4 has its lower half.
type point struct{ hi, lo uint64 }

// span is a range of addresses, both ends included.
type span struct{ from, to point }

// NewSet makes the set of all addresses in the prefixes; nil for none. Asking it
// takes the time of a binary search, so it may have many thousands.
func NewSet(prefixes []netip.Prefix) *Set {
	if len(prefixes) == 0 {
		return nil
	}
	s := &Set{prefixes: prefixes}
	for _, p := range prefixes {
		if p.Addr().Is4() {
			s.v4 = append(s.v4, spanOf(p))
		} else {
			s.v6 = append(s.v6, spanOf(p))
		}
	}
	s.v4, s.v6 = merged(s.v4), merged(s.v6)
	return s
}

// Contains reports whether the set has an address. IPv4 in IPv6 counts as IPv4,
// a zone does not count. An address that is none is in no set.
func (s *Set) Contains(a netip.Addr) bool {
	if s == nil || !a.IsValid() {
		return false
	}
	a = a.Unmap()
	list := s.v6
	if a.Is4() {
		list = s.v4
	}
	p := pointOf(a)
	lo, hi := 0, len(list) // the spans before lo begin at or before p
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if p.before(list[mid].from) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo > 0 && !list[lo-1].to.before(p)
}

// Which is the smallest of the prefixes that has the address, for people. It
// looks at all of them.
func (s *Set) Which(a netip.Addr) (p netip.Prefix, ok bool) {
	if s == nil {
		return p, false
	}
	a = a.Unmap().WithZone("")
	for _, one := range s.prefixes {
		if one.Contains(a) && (!ok || one.Bits() > p.Bits()) {
			p, ok = one, true
		}
	}
	return p, ok
}

func (p point) before(o point) bool { return p.hi < o.hi || p.hi == o.hi && p.lo < o.lo }

// next is the point behind p; behind the last one it is the first.
func (p point) next() point {
	if p.lo++; p.lo == 0 {
		p.hi++
	}
	return p
}

func pointOf(a netip.Addr) point {
	if a.Is4() {
		b := a.As4()
		return point{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func spanOf(p netip.Prefix) span {
	s := span{from: pointOf(p.Masked().Addr())}
	s.to = s.from
	switch free := p.Addr().BitLen() - p.Bits(); {
	case free >= 64:
		s.to.lo = ^uint64(0)
		s.to.hi |= 1<<(free-64) - 1
	default:
		s.to.lo |= 1<<free - 1
	}
	return s
}

// merged sorts the spans and joins those that overlap or touch.
func merged(list []span) []span {
	slices.SortFunc(list, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from.hi, b.from.hi), cmp.Compare(a.from.lo, b.from.lo))
	})
	out := list[:0]
	for _, s := range list {
		if n := len(out); n > 0 && (!out[n-1].to.before(s.from) || out[n-1].to.next() == s.from) {
			if out[n-1].to.before(s.to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return slices.Clip(out)
}

package access

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

func TestSet(t *testing.T) {
	s := NewSet(prefixes("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "192.0.2.8/31", "255.255.255.255/32", "0.0.0.0/32",
		"2001:db8::/32", "2001:db9::1/128", "::1/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"))
	for address, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "9.255.255.255": false, "11.0.0.0": false,
		"192.0.2.6": false, "192.0.2.7": true, "192.0.2.8": true, "192.0.2.9": true, "192.0.2.10": false,
		"255.255.255.255": true, "255.255.255.254": false, "0.0.0.0": true, "0.0.0.1": false,
		"::ffff:10.1.2.3": true, "::ffff:11.0.0.1": false,
		"2001:db8::": true, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db7:ffff::": false, "2001:db9::": false, "2001:db9::1": true, "2001:db9::2": false,
		"::1": true, "::": false, "::a00:1": false, // ::10.0.0.1 is not 10.0.0.1
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": true,
	} {
		if got := s.Contains(netip.MustParseAddr(address)); got != want {
			t.Errorf("Contains(%s) = %v", address, got)
		}
	}
	if s.Contains(netip.Addr{}) || (*Set)(nil).Contains(netip.MustParseAddr("::1")) || NewSet(nil) != nil {
		t.Error("nobody is in a set of nobody")
	}
	if !NewSet(prefixes("2001:db8::/32")).Contains(netip.MustParseAddr("2001:db8::1%eth0")) {
		t.Error("a zone keeps an address out")
	}
}

func TestEverything(t *testing.T) {
	s := NewSet(prefixes("0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::/32"))
	for _, a := range []string{"0.0.0.0", "255.255.255.255", "1.2.3.4", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::1"} {
		if !s.Contains(netip.MustParseAddr(a)) {
			t.Errorf("%s is not in everything", a)
		}
	}
	if len(s.v4) != 1 || len(s.v6) != 1 {
		t.Errorf("spans are not joined: %v %v", s.v4, s.v6)
	}
}

// TestSetAgainstPrefixes compares with asking each prefix.
func TestSetAgainstPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() netip.Addr {
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, byte(r.IntN(3)), byte(r.IntN(3)), 7: byte(r.IntN(3)), 8: byte(r.IntN(256)), 15: byte(r.IntN(256))})
	}
	for range 50 {
		var list []netip.Prefix
		for range r.IntN(40) {
			a := draw()
			p, _ := a.Prefix(r.IntN(a.BitLen() + 1))
			if p.Bits() < 6 {
				continue
			}
			list = append(list, p)
		}
		s := NewSet(list)
		for range 500 {
			a, want := draw(), false
			for _, p := range list {
				want = want || p.Contains(a)
			}
			if got := s.Contains(a); got != want {
				t.Fatalf("Contains(%v) = %v in %v", a, got, list)
			}
			if _, got := s.Which(a); got != want {
				t.Fatalf("Which(%v) = %v in %v", a, got, list)
			}
		}
	}
}

func TestList(t *testing.T) {
	in, out := "10.0.0.1", "192.0.2.1"
	for _, c := range []struct {
		name        string
		allow, deny []netip.Prefix
		address     string
		want        bool
		why         string
	}{
		{"allowed", prefixes("10.0.0.0/8"), nil, in, true, "10.0.0.1 is in allow (10.0.0.0/8)"},
		{"not allowed", prefixes("10.0.0.0/8"), nil, out, false, "192.0.2.1 is not in allow"},
		{"denied", nil, prefixes("192.0.2.0/24", "192.0.2.1/32"), out, false, "192.0.2.1 is in deny (192.0.2.1/32)"},
		{"not denied", nil, prefixes("192.0.2.0/24"), in, true, "10.0.0.1 is not in deny"},
		{"deny wins over a wider allow", prefixes("10.0.0.0/8"), prefixes("10.0.0.1/32"), in, false, "is in deny"},
		{"deny wins over a narrower allow", prefixes("10.0.0.1/32"), prefixes("10.0.0.0/8"), in, false, "is in deny"},
		{"no address, denied some", nil, prefixes("0.0.0.0/0"), "", true, "no address"},
		{"no address, allowed some", prefixes("0.0.0.0/0"), nil, "", false, "no address"},
	} {
		a, _ := netip.ParseAddr(c.address)
		l := NewList(c.allow, c.deny)
		if got, why := l.Allows(a), l.Why(a); got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v, %q", c.name, got, why)
		}
	}
	if NewList(nil, nil) != nil {
		t.Error("a list of nothing")
	}
}

// many are n networks that are apart from each other.
func many(n int) (list []netip.Prefix) {
	for i := range n {
		list = append(list, netip.MustParsePrefix(fmt.Sprintf("%d.%d.%d.0/25", 1+i/50000, i/200%250, i%200)))
	}
	return list
}

func TestNothingIsAllocated(t *testing.T) {
	l := NewList(many(10_000), many(5))
	a := netip.MustParseAddr("1.30.7.200")
	if n := testing.AllocsPerRun(1000, func() { l.Allows(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllows(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 50_000} {
		l := NewList(many(n), nil)
		var addresses [256]netip.Addr
		for i := range addresses {
			addresses[i] = netip.AddrFrom4([4]byte{1, byte(rand.IntN(250)), byte(rand.IntN(250)), byte(i)})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			i := byte(0)
			for b.Loop() {
				i++
				l.Allows(addresses[i])
			}
		})
	}
}

package proxy

import (
	"net"
	"net/netip"
	"testing"
)

// peerConn is a connection of which only the peer is asked.
type peerConn struct {
	net.Conn
	peer net.Addr
}

func (c peerConn) RemoteAddr() net.Addr { return c.peer }

func TestWhomAConnectionCountsFor(t *testing.T) {
	t.Parallel()
	l := &Listener{proxy: New(&Generation{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:9::1/128")}})}
	l.limits.Store(&Limits{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}})
	for _, tt := range []struct {
		name, peer, want string
		exempt           bool
	}{
		{"an address", "192.0.2.1", "192.0.2.1", false},
		{"one that is written as IPv6", "::ffff:192.0.2.1", "192.0.2.1", false},
		{"an IPv6 customer", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", false},
		{"another address of the same", "2001:db8:1:2::9", "2001:db8:1:2::", false},
		{"his neighbour", "2001:db8:1:3::9", "2001:db8:1:3::", false},
		{"a link", "fe80::1%eth0", "fe80::", false},
		{"a trusted proxy", "10.1.2.3", "10.1.2.3", true},
		{"a trusted one of IPv6", "2001:db8:9::1", "2001:db8:9::", true},
		{"who speaks for others by the PROXY protocol", "198.51.100.7", "198.51.100.7", true},
		{"one beside it", "2001:db8:9::2", "2001:db8:9::", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who, exempt := l.clientOf(peerConn{peer: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tt.peer), 1))})
			if who.String() != tt.want || exempt != tt.exempt {
				t.Errorf("%s counts for %s, exempt %v; want %s, %v", tt.peer, who, exempt, tt.want, tt.exempt)
			}
		})
	}
	if who, exempt := l.clientOf(peerConn{peer: &net.UnixAddr{Name: "/a"}}); who.IsValid() || exempt {
		t.Errorf("a unix socket counts for %s, exempt %v", who, exempt)
	}
}

// Package proxyproto reads and writes the header of the PROXY protocol, versions 1
// and 2, with which a proxy says at the start of a connection whose connection it
// carries (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
//
// It knows nothing of connections, nor of who may be believed.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// MaxLen is the most bytes of a header that is accepted. A header of version 2
// could be longer by its extensions, and no sender makes it so.
const MaxLen = 4096

// Header is what a header says.
type Header struct {
	// Src and Dst are the ends of the connection that is carried. They are not
	// valid if the header does not say: then those of the connection itself count.
	Src, Dst netip.AddrPort
}

// maxV1 is the longest header of version 1, with its CRLF.
const maxV1 = 107

var (
	signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	word      = []byte("PROXY ")
)

// ErrNone means that there is something else than a header.
var ErrNone = errors.New("the connection does not begin with a PROXY header")

// Parse reads the header at the start of b. n is its length; 0 without an error
// means that the rest has not come yet.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case begins(b, signature):
		return parseV2(b)
	case begins(b, word):
		return parseV1(b)
	}
	return h, 0, ErrNone
}

// begins reports whether b begins with the prefix, as far as it has come.
func begins(b, prefix []byte) bool {
	k := min(len(b), len(prefix))
	return bytes.Equal(b[:k], prefix[:k])
}

func parseV1(b []byte) (h Header, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxV1)], '\n')
	switch {
	case end < 0 && len(b) >= maxV1:
		return h, 0, fmt.Errorf("the PROXY header has no end within %d bytes", maxV1)
	case end < 0:
		return h, 0, nil
	case end == 0 || b[end-1] != '\r':
		return h, 0, errors.New("the PROXY header does not end with CRLF")
	}
	line := string(b[len(word) : end-1])
	proto, rest, _ := cut(line)
	if proto == "UNKNOWN" { // whatever follows
		return h, end + 1, nil
	}
	if proto != "TCP4" && proto != "TCP6" {
		return h, 0, fmt.Errorf("the PROXY header is of %q; allowed are TCP4, TCP6 and UNKNOWN", proto)
	}
	var fields [4]string
	for i := range fields {
		var more bool
		if fields[i], rest, more = cut(rest); more != (i < 3) {
			return h, 0, errors.New("the PROXY header does not have two addresses and two ports")
		}
	}
	if h.Src, err = endOf(fields[0], fields[2], proto == "TCP4"); err != nil {
		return Header{}, 0, err
	}
	if h.Dst, err = endOf(fields[1], fields[3], proto == "TCP4"); err != nil {
		return Header{}, 0, err
	}
	return h, end + 1, nil
}

// cut splits at the first space.
func cut(s string) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func endOf(address, port string, v4 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Is4() != v4 || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("the PROXY header has the address %q, which its protocol does not have", address)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port[0] == '+' || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, fmt.Errorf("the PROXY header has the port %q", port)
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}

// The parts of version 2.
const (
	headV2 = 16
	sizeV4 = 12
	sizeV6 = 36

	cmdLocal = 0x20
	cmdProxy = 0x21

	famUnspec = 0x0
	famV4     = 0x1
	famV6     = 0x2
	famUnix   = 0x3
)

func parseV2(b []byte) (h Header, n int, err error) {
	if len(b) > len(signature) && b[12]&0xf0 != 0x20 {
		return h, 0, fmt.Errorf("the PROXY header is of version %d; allowed are 1 and 2", b[12]>>4)
	}
	if len(b) < headV2 {
		return h, 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if headV2+size > MaxLen {
		return h, 0, fmt.Errorf("the PROXY header has %d bytes; allowed are %d", headV2+size, MaxLen)
	}
	if b[12] != cmdLocal && b[12] != cmdProxy {
		return h, 0, fmt.Errorf("the PROXY header has the unknown command %d", b[12]&0xf)
	}
	family, transport := b[13]>>4, b[13]&0xf
	if family > famUnix || transport > 2 {
		return h, 0, fmt.Errorf("the PROXY header is of the unknown protocol 0x%02x", b[13])
	}
	need := map[byte]int{famV4: sizeV4, famV6: sizeV6, famUnix: 216}[family]
	if b[12] == cmdProxy && size < need {
		return h, 0, fmt.Errorf("the PROXY header has %d bytes of addresses; its protocol has %d", size, need)
	}
	if len(b) < headV2+size {
		return h, 0, nil
	}
	// The sender's own connection (LOCAL), and those without addresses of the
	// internet, are as if there were no header. What stands behind the addresses
	// (TLVs) is skipped.
	if b[12] == cmdProxy && transport != 0 {
		h = addresses(b[headV2:headV2+size], family)
	}
	return h, headV2 + size, nil
}

func addresses(p []byte, family byte) (h Header) {
	port := func(at int) uint16 { return binary.BigEndian.Uint16(p[at:]) }
	switch family {
	case famV4:
		h.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[:4])), port(8))
		h.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[4:8])), port(10))
	case famV6:
		h.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(p[:16])), port(32))
		h.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(p[16:32])), port(34))
	}
	return h
}

// Append appends a header of version 1 or 2. Ends of which one is IPv4 and one
// IPv6 are written as IPv6; without valid ends the header says that they are not
// known.
func Append(dst []byte, version int, h Header) []byte {
	src, to := plain(h.Src), plain(h.Dst)
	known := src.IsValid() && to.IsValid()
	v4 := known && src.Addr().Is4() && to.Addr().Is4()
	if version == 1 {
		return appendV1(dst, src, to, known, v4)
	}
	return appendV2(dst, src, to, known, v4)
}

// Local is the header of a connection of the sender's own, such as a check.
func Local(version int) []byte {
	if version == 1 {
		return []byte("PROXY UNKNOWN\r\n")
	}
	return append(bytes.Clone(signature), cmdLocal, famUnspec, 0, 0)
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func appendV1(dst []byte, src, to netip.AddrPort, known, v4 bool) []byte {
	switch {
	case !known:
		return append(dst, "PROXY UNKNOWN\r\n"...)
	case v4:
		dst = append(dst, "PROXY TCP4 "...)
	default:
		dst = append(dst, "PROXY TCP6 "...)
	}
	for _, a := range []netip.Addr{src.Addr(), to.Addr()} {
		if !v4 {
			a = netip.AddrFrom16(a.As16())
		}
		dst = append(a.AppendTo(dst), ' ')
	}
	dst = append(strconv.AppendUint(dst, uint64(src.Port()), 10), ' ')
	dst = strconv.AppendUint(dst, uint64(to.Port()), 10)
	return append(dst, '\r', '\n')
}

func appendV2(dst []byte, src, to netip.AddrPort, known, v4 bool) []byte {
	dst = append(dst, signature...)
	switch {
	case !known:
		return append(dst, cmdProxy, famUnspec<<4, 0, 0)
	case v4:
		a, b := src.Addr().As4(), to.Addr().As4()
		dst = append(dst, cmdProxy, famV4<<4|1, 0, sizeV4)
		dst = append(append(dst, a[:]...), b[:]...)
	default:
		a, b := src.Addr().As16(), to.Addr().As16()
		dst = append(dst, cmdProxy, famV6<<4|1, 0, sizeV6)
		dst = append(append(dst, a[:]...), b[:]...)
	}
	dst = binary.BigEndian.AppendUint16(dst, src.Port())
	return binary.BigEndian.AppendUint16(dst, to.Port())
}

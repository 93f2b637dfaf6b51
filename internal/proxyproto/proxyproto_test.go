package proxyproto

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

func v2(command, protocol byte, rest string) string {
	return string(signature) + string([]byte{command, protocol, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const ends4 = "\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x01\xbb" // 10.0.0.1:8080 to 10.0.0.2:443

var ends6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x02" + "\x1f\x90\x01\xbb"

func TestParse(t *testing.T) {
	const four, six, none = "10.0.0.1:8080 10.0.0.2:443", "[2001:db8::1]:8080 [2001:db8::2]:443", ""
	for _, c := range []struct{ name, text, want, err string }{
		{"v1 TCP4", "PROXY TCP4 10.0.0.1 10.0.0.2 8080 443\r\n", four, ""},
		{"v1 TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n", six, ""},
		{"v1 unknown", "PROXY UNKNOWN\r\n", none, ""},
		{"v1 unknown with addresses", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", none, ""},
		{"v1 longest", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", ""},
		{"v1 port 0", "PROXY TCP4 10.0.0.1 10.0.0.2 0 443\r\n", "10.0.0.1:0 10.0.0.2:443", ""},
		{"v1 without CR", "PROXY TCP4 10.0.0.1 10.0.0.2 8080 443\n", "", "CRLF"},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", "", "no end within 107"},
		{"v1 other protocol", "PROXY UDP4 10.0.0.1 10.0.0.2 8080 443\r\n", "", `"UDP4"`},
		{"v1 lower case", "PROXY tcp4 10.0.0.1 10.0.0.2 8080 443\r\n", "", `"tcp4"`},
		{"v1 wrong family", "PROXY TCP4 2001:db8::1 10.0.0.2 8080 443\r\n", "", "address"},
		{"v1 mapped in TCP4", "PROXY TCP4 ::ffff:10.0.0.1 10.0.0.2 8080 443\r\n", "", "address"},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 fe80::2 8080 443\r\n", "", "address"},
		{"v1 leading zero of an address", "PROXY TCP4 010.0.0.1 10.0.0.2 8080 443\r\n", "", "address"},
		{"v1 name", "PROXY TCP4 localhost 10.0.0.2 8080 443\r\n", "", "address"},
		{"v1 port of 65536", "PROXY TCP4 10.0.0.1 10.0.0.2 65536 443\r\n", "", `"65536"`},
		{"v1 leading zero of a port", "PROXY TCP4 10.0.0.1 10.0.0.2 080 443\r\n", "", `"080"`},
		{"v1 sign of a port", "PROXY TCP4 10.0.0.1 10.0.0.2 +80 443\r\n", "", `"+80"`},
		{"v1 empty port", "PROXY TCP4 10.0.0.1 10.0.0.2 80 \r\n", "", `""`},
		{"v1 two spaces", "PROXY TCP4  10.0.0.1 10.0.0.2 8080 443\r\n", "", "two addresses"},
		{"v1 too few", "PROXY TCP4 10.0.0.1 10.0.0.2 8080\r\n", "", "two addresses"},
		{"v1 too many", "PROXY TCP4 10.0.0.1 10.0.0.2 8080 443 x\r\n", "", "two addresses"},
		{"v2 TCP over IPv4", v2(0x21, 0x11, ends4), four, ""},
		{"v2 UDP over IPv4", v2(0x21, 0x12, ends4), four, ""},
		{"v2 TCP over IPv6", v2(0x21, 0x21, ends6), six, ""},
		{"v2 TLVs", v2(0x21, 0x11, ends4+"\x03\x00\x04\xfd\x16\xee\x60\x04\x00\x01\x00"), four, ""},
		{"v2 local", v2(0x20, 0x00, ""), none, ""},
		{"v2 local with addresses", v2(0x20, 0x11, ends4), none, ""},
		{"v2 unspecified", v2(0x21, 0x00, ""), none, ""},
		{"v2 unspecified with bytes", v2(0x21, 0x00, "abc"), none, ""},
		{"v2 unspecified transport", v2(0x21, 0x10, ends4), none, ""},
		{"v2 unix", v2(0x21, 0x31, strings.Repeat("\x00", 216)), none, ""},
		{"v2 largest", v2(0x21, 0x11, ends4+strings.Repeat("x", MaxLen-16-12)), four, ""},
		{"v2 too large", v2(0x21, 0x11, ends4+strings.Repeat("x", MaxLen-16-11)), "", "4097 bytes"},
		{"v2 of 65535", v2(0x21, 0x11, strings.Repeat("x", 65535)), "", "65551 bytes"},
		{"v2 too short", v2(0x21, 0x11, ends4[:11]), "", "its protocol has 12"},
		{"v2 IPv6 too short", v2(0x21, 0x21, ends4), "", "its protocol has 36"},
		{"v2 unix too short", v2(0x21, 0x31, ends4), "", "its protocol has 216"},
		{"v2 unknown family", v2(0x21, 0x41, ends4), "", "0x41"},
		{"v2 unknown transport", v2(0x21, 0x13, ends4), "", "0x13"},
		{"v2 unknown command", v2(0x22, 0x11, ends4), "", "command 2"},
		{"version 1 in binary", v2(0x11, 0x11, ends4), "", "version 1"},
		{"version 3", v2(0x31, 0x11, ends4), "", "version 3"},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", ErrNone.Error()},
		{"HTTP with a similar method", "PROX / HTTP/1.1\r\n\r\n", "", ErrNone.Error()},
		{"TLS", "\x16\x03\x01\x02\x00", "", ErrNone.Error()},
		{"empty lines", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "", ErrNone.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, n, err := Parse([]byte(c.text + "GET / HTTP/1.1\r\n"))
			if c.err != "" {
				if err == nil || n != 0 || !strings.Contains(err.Error(), c.err) || h != (Header{}) {
					t.Fatalf("got %v, %d, %v; want an error with %q", h, n, err, c.err)
				}
				return
			}
			if err != nil || n != len(c.text) || show(h) != c.want {
				t.Fatalf("got %q, %d, %v; want %q, %d", show(h), n, err, c.want, len(c.text))
			}
			for i := range len(c.text) { // a part of it is never taken for the whole, nor refused
				if h, n, err := Parse([]byte(c.text[:i])); n != 0 || err != nil || h != (Header{}) {
					t.Fatalf("of the first %d bytes: %v, %d, %v", i, h, n, err)
				}
			}
		})
	}
}

func show(h Header) string {
	if !h.Src.IsValid() {
		return ""
	}
	return h.Src.String() + " " + h.Dst.String()
}

func TestAppend(t *testing.T) {
	end := netip.MustParseAddrPort
	for _, c := range []struct {
		name     string
		h        Header
		one, two string
	}{
		{"IPv4", Header{end("10.0.0.1:8080"), end("10.0.0.2:443")}, "PROXY TCP4 10.0.0.1 10.0.0.2 8080 443\r\n", v2(0x21, 0x11, ends4)},
		{"IPv6", Header{end("[2001:db8::1]:8080"), end("[2001:db8::2]:443")}, "PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n", v2(0x21, 0x21, ends6)},
		{"mapped", Header{end("[::ffff:10.0.0.1]:8080"), end("10.0.0.2:443")}, "PROXY TCP4 10.0.0.1 10.0.0.2 8080 443\r\n", v2(0x21, 0x11, ends4)},
		{"mixed", Header{end("10.0.0.1:8080"), end("[2001:db8::2]:443")}, "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 8080 443\r\n",
			v2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\x0a\x00\x00\x01"+ends6[16:])},
		{"unknown", Header{}, "PROXY UNKNOWN\r\n", v2(0x21, 0x00, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(Append(nil, 1, c.h)); got != c.one {
				t.Errorf("version 1: %q", got)
			}
			if got := string(Append(nil, 2, c.h)); got != c.two {
				t.Errorf("version 2: %q, want %q", got, c.two)
			}
		})
	}
	for version, want := range map[int]string{1: "PROXY UNKNOWN\r\n", 2: v2(0x20, 0x00, "")} {
		if got := string(Local(version)); got != want {
			t.Errorf("Local(%d) is %q", version, got)
		}
	}
}

// FuzzParse: what is accepted is read in the same way when it is written anew, and
// what comes behind it or is missing changes nothing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 10.0.0.1 10.0.0.2 8080 443\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n", "PROXY UNKNOWN\r\n",
		v2(0x21, 0x11, ends4), v2(0x21, 0x21, ends6), v2(0x20, 0, ""), v2(0x21, 0x31, strings.Repeat("a", 216)), "GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		switch {
		case n < 0 || n > len(b) || n > MaxLen:
			t.Fatalf("%d of %d bytes", n, len(b))
		case err != nil || n == 0:
			if h != (Header{}) {
				t.Fatalf("%v without a header", h)
			}
			if err == nil && len(b) >= MaxLen {
				t.Fatal("waits for more than the limit")
			}
			return
		}
		for i := range n {
			if _, m, err := Parse(b[:i]); m != 0 || err != nil {
				t.Fatalf("of the first %d bytes %d, %v", i, m, err)
			}
		}
		if again, m, err := Parse(append(bytes.Clone(b[:n]), "more"...)); again != h || m != n || err != nil {
			t.Fatalf("with more behind it: %v, %d, %v", again, m, err)
		}
		if !h.Src.IsValid() {
			return
		}
		for version := 1; version <= 2; version++ {
			text := Append(nil, version, h)
			again, m, err := Parse(text)
			if err != nil || m != len(text) || plain(again.Src) != plain(h.Src) || plain(again.Dst) != plain(h.Dst) {
				t.Fatalf("%v becomes %q and that %v, %d, %v", h, text, again, m, err)
			}
		}
	})
}

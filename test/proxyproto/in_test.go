package proxyproto_test

import (
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/internal/proxyproto"
	"steelyard/test/harness"
)

const (
	trusted  = "127.0.0.2" // of whose connections a header is expected
	stranger = "127.0.0.3"
)

func inbound(t *testing.T, listener string, top ...string) *harness.Steelyard {
	return harness.Start(t, inboundYAML(seer(t), listener, top...))
}

func inboundYAML(backend, listener string, top ...string) string {
	return `
listeners: {web: {address: LISTEN, ` + listener + `}}
routes: [{pool: web, request_headers: {set: {X-Client: "{client_ip}:{client_port}"}}}]
pools: {web: {backends: "` + backend + `"}}
admin: ADMIN
` + strings.Join(top, "\n")
}

func header(version int, src, dst string) string {
	return string(proxyproto.Append(nil, version, proxyproto.Header{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}))
}

const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// TestHeaderSaysWhoTheClientIs: whoever is named by a trusted peer is the client for
// all that follows, however the bytes come.
func TestHeaderSaysWhoTheClientIs(t *testing.T) {
	s := inbound(t, "proxy_protocol: "+trusted)
	for _, c := range []struct{ name, text, want string }{
		{"version 1", header(1, "192.0.2.7:4711", "198.51.100.1:80"), "192.0.2.7 192.0.2.7:4711"},
		{"version 2", header(2, "192.0.2.7:4711", "198.51.100.1:80"), "192.0.2.7 192.0.2.7:4711"},
		{"version 1, IPv6", header(1, "[2001:db8::7]:4711", "[2001:db8::1]:80"), "2001:db8::7 2001:db8::7:4711"},
		{"version 2, IPv6", header(2, "[2001:db8::7]:4711", "[2001:db8::1]:80"), "2001:db8::7 2001:db8::7:4711"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1, 7, len(c.text), 1 << 20} {
				nc := dial(t, trusted, s.Address)
				for text := c.text + request; text != ""; {
					n := min(step, len(text))
					nc.Send(t, text[:n])
					text = text[n:]
					if step < len(c.text) {
						time.Sleep(200 * time.Microsecond) // so that it does come in pieces
					}
				}
				for range 2 { // the second request of the connection has no header
					if m := nc.Response(t, "GET"); m.Status() != 200 || string(m.Body) != c.want {
						t.Fatalf("in steps of %d: %d %q, want %q", step, m.Status(), m.Body, c.want)
					}
					nc.Send(t, request)
				}
			}
		})
	}
	for name, text := range map[string]string{"unknown": "PROXY UNKNOWN\r\n", "local": string(proxyproto.Local(2))} {
		nc := dial(t, trusted, s.Address)
		if m := nc.Exchange(t, text+request); !strings.HasPrefix(string(m.Body), trusted+" "+trusted+":") {
			t.Errorf("%s: %q", name, m.Body)
		}
	}
}

// TestHeaderIsForTheTrustedAlone: from others it is no request, and they need none;
// from the trusted it is demanded.
func TestHeaderIsForTheTrustedAlone(t *testing.T) {
	s := inbound(t, "header_timeout: 300ms, proxy_protocol: ["+trusted+"]")
	if m := dial(t, stranger, s.Address).Exchange(t, request); m.Status() != 200 || !strings.HasPrefix(string(m.Body), stranger+" ") {
		t.Errorf("a stranger without a header: %d %q", m.Status(), m.Body)
	}
	if m := dial(t, stranger, s.Address).Exchange(t, header(1, "192.0.2.7:4711", "198.51.100.1:80")+request); m.Status() != 400 || m.Value("X-Steelyard-Cause") != "bad_request" {
		t.Errorf("a stranger with a header: %d %q", m.Status(), m.Body)
	}
	refused := func(name, text, why string) {
		t.Helper()
		m := dial(t, trusted, s.Address).Exchange(t, text)
		if m.Status() != 400 || m.Value("X-Steelyard-Cause") != "proxy_header" || !strings.Contains(string(m.Body), why) {
			t.Errorf("%s: %d %q", name, m.Status(), m.Body)
		}
	}
	refused("no header", request, "does not begin with a PROXY header")
	refused("TLS", "\x16\x03\x01\x02\x00\x01", "does not begin with a PROXY header")
	refused("wrong addresses", "PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n"+request, "address")
	refused("late", "PROXY TCP4 10.0.0.1", "did not come within header_timeout")
	refused("too long", string(proxyproto.Local(2)[:14])+"\xff\xff"+strings.Repeat("x", 5000), "allowed are 4096")

	told := func() int { return strings.Count(s.Output(), "cause=proxy_header") }
	harness.Eventually(t, 5*time.Second, "all of them are told", func() bool { return told() == 5 })
	nc := dial(t, trusted, s.Address) // a check that only connects
	nc.Close()
	nc = dial(t, trusted, s.Address) // and one that says nothing is not served for ever
	nc.End(t, 5*time.Second)
	if m := dial(t, stranger, s.Address).Exchange(t, request); m.Status() != 200 {
		t.Fatal("it does not answer any more")
	}
	if n := told(); n != 5 {
		t.Errorf("%d lines about connections that said nothing", n-5)
	}
}

// TestTrustedProxiesBehindTheHeader: the address of the header decides whose
// X-Forwarded-For is believed.
func TestTrustedProxiesBehindTheHeader(t *testing.T) {
	s := inbound(t, "proxy_protocol: "+trusted, "trusted_proxies: 192.0.2.7", "access_log: {format: json, to: stdout}")
	with := "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
	for src, want := range map[string]string{"192.0.2.7:1": "203.0.113.9", "192.0.2.8:1": "192.0.2.8"} {
		m := dial(t, trusted, s.Address).Exchange(t, header(2, src, "198.51.100.1:80")+with)
		if got := string(m.Body[strings.LastIndexByte(string(m.Body), ' ')+1:]); !strings.HasPrefix(got, want+":") {
			t.Errorf("from %s: %q, want %s", src, m.Body, want)
		}
		harness.Eventually(t, 5*time.Second, "the access log names the client", func() bool { return strings.Contains(s.Output(), `"client":"`+want+`"`) })
	}
}

// TestConnectionsCountForTheClient: the limit of connections of one client is held
// against whom the header names, not against who brings them.
func TestConnectionsCountForTheClient(t *testing.T) {
	s := inbound(t, "max_connections_per_client: 2, proxy_protocol: "+trusted)
	text := header(2, "192.0.2.7:4711", "198.51.100.1:80") + request
	var first *harness.Conn
	for range 2 {
		first = dial(t, trusted, s.Address)
		if m := first.Exchange(t, text); m.Status() != 200 {
			t.Fatal(m.Status())
		}
	}
	if m := dial(t, trusted, s.Address).Exchange(t, text); m.Status() != 503 || m.Value("X-Steelyard-Cause") != "too_many_from_client" {
		t.Errorf("the third connection of a client: %d %q", m.Status(), m.Body)
	}
	if m := dial(t, trusted, s.Address).Exchange(t, header(2, "192.0.2.8:4711", "198.51.100.1:80")+request); m.Status() != 200 {
		t.Errorf("another client: %d %q", m.Status(), m.Body)
	}
	first.Close()
	harness.Eventually(t, 5*time.Second, "a place is free again", func() bool {
		c := dial(t, trusted, s.Address)
		defer c.Close()
		return c.Exchange(t, text).Status() == 200
	})
}

// TestHeaderBeforeTLS: it comes before the handshake, and whoever leaves it out is
// not served.
func TestHeaderBeforeTLS(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	cert, key := ca.Issue(t, "ecdsa", []string{"a.test"}).Files(t, t.TempDir(), "a")
	s := inbound(t, "proxy_protocol: "+trusted+", tls: {certificates: {cert: "+cert+", key: "+key+"}}")
	for version := 1; version <= 2; version++ {
		for _, separate := range []bool{false, true} {
			nc := dial(t, trusted, s.Address)
			text := header(version, "192.0.2.7:4711", "198.51.100.1:443")
			under := net.Conn(nc.Conn)
			if separate {
				nc.Send(t, text)
			} else {
				under = &joined{Conn: nc.Conn, first: text}
			}
			secured := tls.Client(under, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
			if _, err := secured.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4096)
			n, err := secured.Read(buf)
			if err != nil || !strings.Contains(string(buf[:n]), "192.0.2.7 192.0.2.7:4711") {
				t.Errorf("version %d: %q, %v", version, buf[:n], err)
			}
		}
	}
	nc := dial(t, trusted, s.Address)
	secured := tls.Client(nc.Conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
	if err := secured.Handshake(); err == nil {
		t.Error("who leaves the header out is served")
	}
	harness.Eventually(t, 5*time.Second, "that is told", func() bool { return strings.Contains(s.Output(), "proxy_header") })
}

// joined sends something together with the first that is written.
type joined struct {
	net.Conn
	first string
}

func (j *joined) Write(p []byte) (int, error) {
	text := j.first + string(p)
	j.first = ""
	if _, err := j.Conn.Write([]byte(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestHeaderTurnedOnByReload: connections that exist go on, new ones need it.
func TestHeaderTurnedOnByReload(t *testing.T) {
	backend := seer(t)
	s := harness.Start(t, inboundYAML(backend, ""))
	old := dial(t, trusted, s.Address)
	if m := old.Exchange(t, request); m.Status() != 200 {
		t.Fatal(m.Status())
	}
	s.Reload(t, inboundYAML(backend, "proxy_protocol: "+trusted))
	if m := old.Exchange(t, request); m.Status() != 200 {
		t.Errorf("the connection there was is answered with %d", m.Status())
	}
	if m := dial(t, trusted, s.Address).Exchange(t, request); m.Status() != 400 {
		t.Errorf("a new one is answered with %d", m.Status())
	}
}

// TestHeaderOnUnixSocket: whoever may open the socket is believed.
func TestHeaderOnUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	harness.Start(t, strings.Replace(inboundYAML(seer(t), ""), "LISTEN, }", "LISTEN}, side: {address: unix:"+path+", proxy_protocol: 10.0.0.0/8}", 1))
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte(header(1, "192.0.2.7:4711", "198.51.100.1:80") + request)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := nc.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "192.0.2.7 192.0.2.7:4711") {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestSenders: what HAProxy and nginx send is understood.
func TestSenders(t *testing.T) {
	s := inbound(t, "proxy_protocol: 127.0.0.1")
	for name, options := range map[string]string{
		"v1": "send-proxy", "v2": "send-proxy-v2", "v2 with extensions": "send-proxy-v2-ssl-cn proxy-v2-options crc32c,authority,unique-id",
	} {
		t.Run("haproxy "+name, func(t *testing.T) {
			front := server(t, "haproxy", s.Address, timeouts+`
listen front
  bind 127.0.0.1:PORT
  unique-id-format abc
  server a UP check check-send-proxy `+options+"\n")
			for _, from := range []string{"127.0.0.4", "127.0.0.5"} {
				if got := get(t, client(t, from), "http://"+front+"/"); !strings.HasPrefix(got, from+" "+from+":") {
					t.Errorf("from %s: %q", from, got)
				}
			}
		})
	}
}

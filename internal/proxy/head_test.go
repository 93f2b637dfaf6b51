package proxy

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
)

// bare turns everything off that the proxy adds to requests.
func bare(_ *fixture, _ *pool.Options, g *Generation, _ *Limits) { g.Forward = ForwardOptions{} }

// trusting makes the clients of a test trusted proxies.
func trusting(g *Generation) {
	g.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
}

func headers(t testing.TB, h rewrite.Headers) *rewrite.HeaderRewriter {
	t.Helper()
	r, err := rewrite.CompileHeaders(h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rewritten(t testing.TB, p rewrite.Path) *rewrite.PathRewriter {
	t.Helper()
	r, err := rewrite.CompilePath(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRequestHeadPassesThrough compares whole heads, byte for byte.
func TestRequestHeadPassesThrough(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, sent, got string }{
		{"case, order and repetition",
			"GET /a%2fB?x=%20&y HTTP/1.1\r\nhOST: a\r\nX-b: 1\r\nx-B:  2\t\r\nCookie: b=2;a=1\r\nCookie: c\r\nX-b:\r\n\r\n",
			"GET /a%2FB?x=%20&y HTTP/1.1\r\nhOST: a\r\nX-b: 1\r\nx-B:  2\t\r\nCookie: b=2;a=1\r\nCookie: c\r\nX-b:\r\n\r\n"},
		{"hop-by-hop fields",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nTE: trailers\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Yours: 2\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nX-Yours: 2\r\n\r\n"},
		{"what Connection must not remove",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: Cookie, Host, Authorization, close\r\nCookie: a=1\r\nAuthorization: b\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nAuthorization: b\r\n\r\n"},
		{"names with underscores",
			"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1.1.1.1\r\ncontent_length: 5\r\nTransfer_Encoding: chunked\r\nX_Own: 1\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nX_Own: 1\r\n\r\n"},
		{"framing in odd spellings",
			"POST / HTTP/1.1\r\nHost: a\r\nCoNtent-Length:\t005 \r\nX: 1\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nCoNtent-Length: 5\r\nX: 1\r\n\r\n"},
		{"an empty query", "GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /? HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
		{"slashes", "GET //a://b//../c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a://b/c HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"the absolute form", "GET http://b:81/p?q HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n", "GET /p?q HTTP/1.1\r\nHost: b:81\r\nX: 1\r\n\r\n"},
		{"the absolute form without a path", "GET http://b?q HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n", "GET /?q HTTP/1.1\r\nX: 1\r\nHost: b\r\n\r\n"},
		{"the asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a method nobody knows", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"a later version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"HTTP/1.0 with Host", "GET / HTTP/1.0\r\nX: 1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n"},
		{"HTTP/1.0 without Host", "GET / HTTP/1.0\r\nX: 1\r\n\r\n", "GET / HTTP/1.1\r\nX: 1\r\nHost: BACKEND\r\n\r\n"},
		{"an empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"forwarding fields of a stranger",
			"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Request-Id: 1\r\nX: 1\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStation(t, ok(""))
			f := newFixture(t, []string{s.addr}, bare)
			f.do(t, tc.sent)
			if want := strings.Replace(tc.got, "BACKEND", s.addr, 1); s.last(t) != want {
				t.Errorf("the backend got\n%q, want\n%q", s.last(t), want)
			}
		})
	}
}

// TestRequestsOfEveryKindKeepTheConnection: only the client and our own parser
// decide whether a connection goes on.
func TestRequestsOfEveryKindKeepTheConnection(t *testing.T) {
	t.Parallel()
	s := newStation(t, ok("x"))
	f := newFixture(t, []string{s.addr}, nil)
	for _, tc := range []struct{ name, head, connection string }{
		{"HTTP/1.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", ""},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", ""},
		{"HTTP/1.0 that asks for it", "GET / HTTP/1.0\r\nConnection: x\r\nConnection: keep-alive\r\n\r\n", "keep-alive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc, r := f.dial(t)
			for range 3 {
				send(t, nc, tc.head)
				if resp, body := readResponse(t, r, tc.head); body != "x" || resp.Header.Get("Connection") != tc.connection {
					t.Errorf("got %q, Connection %q", body, resp.Header.Get("Connection"))
				}
			}
		})
	}
	for _, head := range []string{"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"} {
		if got := f.exchangeRaw(t, head); !strings.HasSuffix(got, "Connection: close\r\n\r\nx") {
			t.Errorf("%q: got %q", head, got)
		}
	}
}

// TestForwardingFields says what a backend learns of who asked.
func TestForwardingFields(t *testing.T) {
	t.Parallel()
	const theirs = "X-Forwarded-For: 1.1.1.1\r\nX-FORWARDED-FOR: 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nForwarded: for=1.1.1.1\r\nX-Request-Id: abc-1\r\n"
	all := ForwardOptions{XForwarded: true, Standard: true, RequestID: true}
	for _, tc := range []struct {
		name    string
		sent    string
		forward ForwardOptions
		trusted bool
		set     rewrite.Headers
		want    string
	}{
		{"of a stranger", theirs, all, false, rewrite.Headers{},
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nForwarded: for=127.0.0.1;host=\"a\";proto=http\r\nX-Request-Id: ID\r\n"},
		{"of a trusted proxy", theirs, all, true, rewrite.Headers{},
			"X-Forwarded-For: 1.1.1.1, 10.0.0.2, 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nForwarded: for=1.1.1.1, for=127.0.0.1;host=\"a\";proto=http\r\nX-Request-Id: abc-1\r\n"},
		{"of a trusted proxy that says nothing", "", all, true, rewrite.Headers{},
			"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nForwarded: for=127.0.0.1;host=\"a\";proto=http\r\nX-Request-Id: ID\r\n"},
		{"turned off, of a trusted proxy", theirs, ForwardOptions{}, true, rewrite.Headers{}, theirs},
		{"an id that is no token", "X-Request-Id: a b\r\n", ForwardOptions{RequestID: true}, true, rewrite.Headers{}, "X-Request-Id: ID\r\n"},
		{"an id too long", "X-Request-Id: " + strings.Repeat("a", 129) + "\r\n", ForwardOptions{RequestID: true}, true, rewrite.Headers{}, "X-Request-Id: ID\r\n"},
		{"set and removed by the route", theirs, all, false, rewrite.Headers{
			Set:    []rewrite.Header{{Name: "x-forwarded-proto", Value: "https"}, {Name: "X-Request-Id", Value: "{request_id}"}},
			Remove: []string{"X-Forwarded-Host", "forwarded", "X-Forwarded-For"},
		}, "x-forwarded-proto: https\r\nX-Request-Id: ID\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStation(t, ok(""))
			f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
				g.Forward = tc.forward
				f.route.RequestHeaders = headers(t, tc.set)
				if tc.trusted {
					trusting(g)
				}
			})
			f.do(t, "GET / HTTP/1.1\r\nHost: a\r\n"+tc.sent+"\r\n")
			got := regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(s.last(t), "ID")
			if want := "GET / HTTP/1.1\r\nHost: a\r\n" + tc.want + "\r\n"; got != want {
				t.Errorf("the backend got\n%q, want\n%q", got, want)
			}
		})
	}
}

// TestHostAndPath says what a route can make of the target.
func TestHostAndPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		host   string
		path   rewrite.Path
		sent   string
		target string
		got    string
	}{
		{"host kept", "", rewrite.Path{}, "/", "/", "a"},
		{"host of the backend", HostBackend, rewrite.Path{}, "/", "/", "BACKEND"},
		{"host given", "b.example.com", rewrite.Path{}, "/", "/", "b.example.com"},
		{"prefix stripped", "", rewrite.Path{StripPrefix: "/v1"}, "/v1/x?q=/v1", "/x?q=/v1", "a"},
		{"prefix replaced", "", rewrite.Path{ReplacePrefix: &rewrite.Replace{From: "/v1", To: "/v2"}}, "/v1", "/v2", "a"},
		{"expression", "", rewrite.Path{Regex: &rewrite.Replace{From: "^/u/([0-9]+)", To: "/users/$1"}}, "/u/7?", "/users/7?", "a"},
		{"no other host by a path", "", rewrite.Path{StripPrefix: "/v1"}, "/v1//evil", "/evil", "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStation(t, ok(""))
			f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
				f.route.Host, f.route.Path = tc.host, rewritten(t, tc.path)
			})
			f.do(t, "GET "+tc.sent+" HTTP/1.1\r\nHost: a\r\n\r\n")
			head := s.last(t)
			if !strings.HasPrefix(head, "GET "+tc.target+" HTTP/1.1\r\n") {
				t.Errorf("the backend got %q, want target %q", head, tc.target)
			}
			if want := strings.Replace(tc.got, "BACKEND", s.addr, 1); field(head, "Host") != want || strings.Count(head, "\r\nHost:") != 1 {
				t.Errorf("the backend got %q, want host %q", head, want)
			}
		})
	}
}

// TestClientIP takes the nearest address that is not trusted.
func TestClientIP(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		trusted bool
		fields  string
		want    string
	}{
		{"stranger", false, "X-Forwarded-For: 1.1.1.1\r\n", "127.0.0.1"},
		{"nothing said", true, "", "127.0.0.1"},
		{"one", true, "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"},
		{"nearest", true, "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n", "1.1.1.1"},
		{"behind another trusted one", true, "X-Forwarded-For: 6.6.6.6, 1.1.1.1 ,10.0.0.2\r\n", "1.1.1.1"},
		{"over several lines", true, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "1.1.1.1"},
		{"all trusted", true, "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1"},
		{"rubbish ends it", true, "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n", "10.0.0.2"},
		{"empty items", true, "X-Forwarded-For: , 1.1.1.1,, ,\r\n", "1.1.1.1"},
		{"port", true, "X-Forwarded-For: 1.1.1.1:8080\r\n", "1.1.1.1"},
		{"IPv6", true, "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"},
		{"IPv6 and port", true, "X-Forwarded-For: [2001:db8::1]:8080\r\n", "2001:db8::1"},
		{"IPv6 in brackets", true, "X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1"},
		{"trusted as IPv6", true, "X-Forwarded-For: 1.1.1.1, ::ffff:10.0.0.1\r\n", "1.1.1.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStation(t, ok(""))
			f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
				f.route.RequestHeaders = headers(t, rewrite.Headers{Set: []rewrite.Header{{Name: "X-Client", Value: "{client_ip}"}}})
				if tc.trusted {
					trusting(g)
				}
			})
			f.do(t, "GET / HTTP/1.1\r\nHost: a\r\n"+tc.fields+"\r\n")
			if got := field(s.last(t), "X-Client"); got != tc.want {
				t.Errorf("the client is %q, want %q", got, tc.want)
			}
		})
	}
}

// TestForwardedForIPv6 quotes addresses with colons (RFC 7239, section 6).
func TestForwardedForIPv6(t *testing.T) {
	t.Parallel()
	c := &clientConn{peer: netip.MustParseAddr("2001:db8::1"), peerText: []byte("2001:db8::1")}
	x := &exchange{c: c, req: &c.req, scratch: newScratch()}
	c.req.Host = []byte("a")
	if got, want := string(x.appendForwardedElement(nil)), "for=\"[2001:db8::1]\";host=\"a\";proto=http\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

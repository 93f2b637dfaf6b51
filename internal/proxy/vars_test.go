package proxy

import (
	"bytes"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"steelyard/internal/pool"
	"steelyard/internal/rewrite"
)

// TestVariables expands every variable that templates have, in a header of the
// request, in a header of the response and in a redirect.
func TestVariables(t *testing.T) {
	t.Parallel()
	var template []string
	for _, v := range rewrite.Variables() {
		v = strings.Replace(v, "NAME", "X-Name", 1)
		template = append(template, v+"={"+v+"}")
	}
	const ask = "GET /p/q?a=1&X-Name=q%20v HTTP/1.1\r\nHost: a.example.com:81\r\nCookie: x=1; X-Name=cv\r\nX-Name: hv\r\nConnection: close\r\n\r\n"
	hide := func(s string) string {
		s = regexp.MustCompile(`client_port=[0-9]+`).ReplaceAllString(s, "client_port=PORT")
		return regexp.MustCompile(`request_id=[0-9a-f]{32}`).ReplaceAllString(s, "request_id=ID")
	}
	const want = "client_ip=127.0.0.1 client_port=PORT host=a.example.com:81 method=GET path=/p/q query=a=1&X-Name=q%20v " +
		"uri=/p/q?a=1&X-Name=q%20v scheme=http request_id=ID route=all POOL BACKEND listener=test tls_version= tls_sni= tls_client_verified=false tls_client_subject= tls_client_cn= tls_client_san= tls_client_fingerprint= auth_user= " +
		"header.X-Name=hv query.X-Name=q v cookie.X-Name=cv"
	value := strings.Join(template, " ")

	t.Run("headers", func(t *testing.T) {
		s := newStation(t, ok(""))
		h := headers(t, rewrite.Headers{Add: []rewrite.Header{{Name: "X-All", Value: value}}})
		f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
			f.route.RequestHeaders, f.route.ResponseHeaders = h, h
		})
		resp, _ := f.do(t, ask)
		want := strings.NewReplacer("POOL", "pool=web", "BACKEND", "backend="+s.addr).Replace(want)
		if got := hide(field(s.last(t), "X-All")); got != want {
			t.Errorf("the backend got\n%q, want\n%q", got, want)
		}
		if got := hide(resp.Header.Get("X-All")); got != want {
			t.Errorf("the client got\n%q, want\n%q", got, want)
		}
		if a, b := field(s.last(t), "X-All"), resp.Header.Get("X-All"); a != b || !strings.Contains(a, field(s.last(t), "X-Request-Id")) {
			t.Errorf("the values differ within one request:\n%q\n%q", a, b)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		to, err := rewrite.Parse(value)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, []string{cannedBackend(t, smallResponse)}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
			f.route.Pool, f.route.Redirect = nil, &Redirect{Status: 307, To: to}
		})
		resp, _ := f.do(t, ask)
		if got, want := hide(resp.Header.Get("Location")), strings.NewReplacer("POOL", "pool=", "BACKEND", "backend=").Replace(want); got != want {
			t.Errorf("got\n%q, want\n%q", got, want)
		}
	})
}

// TestVariablesCannotEndALine: what clients chose stays within its header.
func TestVariablesCannotEndALine(t *testing.T) {
	t.Parallel()
	s := newStation(t, ok(""))
	f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, _ *Generation, _ *Limits) {
		f.route.RequestHeaders = headers(t, rewrite.Headers{Set: []rewrite.Header{{Name: "X-Q", Value: "{query.q}"}}})
	})
	f.do(t, "GET /?q=a%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := field(s.last(t), "X-Q"); got != "a  X-Evil: 1" {
		t.Errorf("got %q in %q", got, s.last(t))
	}
}

// TestScheme follows the first word of a trusted peer.
func TestScheme(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{"https": "https", "HTTPS, http": "https", "http, https": "http", "wss": "https", "gopher": "http", ",": "http"} {
		s := newStation(t, ok(""))
		f := newFixture(t, []string{s.addr}, func(f *fixture, _ *pool.Options, g *Generation, _ *Limits) {
			trusting(g)
			f.route.RequestHeaders = headers(t, rewrite.Headers{Set: []rewrite.Header{{Name: "X-Scheme", Value: "{scheme}"}}})
		})
		f.do(t, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: "+said+"\r\n\r\n")
		if got := field(s.last(t), "X-Scheme"); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
		if got := field(s.last(t), "X-Forwarded-Proto"); got != said {
			t.Errorf("the backend got %q, want %q", got, said)
		}
	}
}

// TestURI is path and query of every form of target.
func TestURI(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/": "/", "/a?b": "/a?b", "/?": "/?", "http://h": "/", "http://h?b": "/?b", "http://h/": "/", "http://h/a?b": "/a?b", "http://h/?": "/?", "HTTPS://h:1/a": "/a",
	} {
		c := &clientConn{}
		if err := c.req.Parse([]byte("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		x := &exchange{c: c, req: &c.req, scratch: newScratch()}
		if got := string(x.uri()); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

func TestQueryPeeker(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		query, name, want string
		found             bool
	}{
		{"a=1&b=2", "b", "2", true},
		{"a=1&a=2", "a", "1", true},
		{"a", "a", "", true},
		{"a=", "a", "", true},
		{"", "a", "", false},
		{"b=a", "a", "", false},
		{"&&a=1", "a", "1", true},
		{"a=1=2", "a", "1=2", true},
		{"%61+b=c%2Bd+e", "a b", "c+d e", true},
		{"a=%", "a", "%", true},
		{"a=%2", "a", "%2", true},
		{"a=%zz%2f", "a", "%zz/", true},
		{"A=1", "a", "", false},
	} {
		q := queryPeeker{raw: []byte(tc.query)}
		got := q.Peek(tc.name)
		if string(got) != tc.want || (got != nil) != tc.found {
			t.Errorf("%q in %q: got %q, %v", tc.name, tc.query, got, got != nil)
		}
	}
}

// FuzzQueryPeeker compares with package url where that takes the query.
func FuzzQueryPeeker(f *testing.F) {
	f.Add("a=1&b=%20", "b")
	f.Add("%61=+", "a")
	f.Add("a=%f", "a")
	f.Fuzz(func(t *testing.T, query, name string) {
		if name == "" {
			return // cannot be configured
		}
		raw := []byte(query)
		q := queryPeeker{raw: raw}
		got := q.Peek(name)
		if string(raw) != query {
			t.Fatalf("Peek changed the query to %q", raw)
		}
		if u := unescape(raw); len(u) > len(raw) {
			t.Fatalf("%q got longer: %q", raw, u)
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return // semicolons and bad escapes, which we keep
		}
		want, found := values[name]
		if found != (got != nil) || found && string(got) != want[0] {
			t.Errorf("%q in %q: got %q, want %q", name, query, got, want)
		}
	})
}

// FuzzLastItem checks that items come from the back, trimmed and in order.
func FuzzLastItem(f *testing.F) {
	f.Add([]byte("a, b ,c"))
	f.Add([]byte(",, ,"))
	f.Fuzz(func(t *testing.T, list []byte) {
		var items [][]byte
		rest := list
		for n := 0; len(rest) > 0; n++ {
			if n > len(list) {
				t.Fatal("no end")
			}
			var item []byte
			item, rest = lastItem(rest)
			items = append(items, item)
			if len(item) > 0 && len(withoutPort(item)) > len(item) {
				t.Fatal("an address got longer")
			}
		}
		parts := bytes.Split(list, []byte(","))
		for i, item := range items {
			if want := bytes.Trim(parts[len(parts)-1-i], " \t"); !bytes.Equal(item, want) {
				t.Errorf("item %d of %q is %q, want %q", i, list, item, want)
			}
		}
	})
}

// FuzzClientIP compares with a plain reading of X-Forwarded-For from the back.
func FuzzClientIP(f *testing.F) {
	f.Add("1.1.1.1, 10.0.0.1:80", "[::1]")
	f.Add("x, 10.0.0.1", ",")
	f.Fuzz(func(t *testing.T, one, two string) {
		c := &clientConn{peer: netip.MustParseAddr("127.0.0.1"), peerText: []byte("127.0.0.1")}
		g := &Generation{}
		trusting(g)
		x := &exchange{c: c, req: &c.req, scratch: newScratch(), gen: g}
		if c.req.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "+one+"\r\nX-Forwarded-For: "+two+"\r\n\r\n")) != nil {
			return
		}
		if len(c.req.Fields()) != 3 {
			return
		}
		want := "127.0.0.1"
		items := strings.Split(one+","+two, ",")
		for i := len(items) - 1; i >= 0; i-- {
			item := strings.Trim(items[i], " \t")
			if item == "" {
				continue
			}
			if ap, err := netip.ParseAddrPort(item); err == nil && strings.Contains(item, ".") == ap.Addr().Is4() {
				item = ap.Addr().String()
			}
			item = strings.TrimSuffix(strings.TrimPrefix(item, "["), "]")
			a, err := netip.ParseAddr(item)
			if err != nil {
				break
			}
			if want = item; !contains(g.Trusted, a.Unmap()) {
				break
			}
		}
		got := string(x.clientIP())
		if a, err := netip.ParseAddr(got); err != nil {
			t.Fatalf("%q, %q: %q is no address", one, two, got)
		} else if b, _ := netip.ParseAddr(want); a != b && !strings.ContainsAny(one+two, "[]:%") {
			t.Errorf("%q, %q: got %q, want %q", one, two, got, want)
		}
	})
}

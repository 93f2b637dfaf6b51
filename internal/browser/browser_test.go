package browser

import (
	"strings"
	"testing"
	"time"
)

func cors(change func(*CORS)) CORS {
	c := DefaultCORS()
	c.Origins = []string{"https://app.test"}
	if change != nil {
		change(&c)
	}
	return c
}

func TestValidateCORS(t *testing.T) {
	origins := func(o ...string) CORS { return cors(func(c *CORS) { c.Origins = o }) }
	for _, c := range []struct {
		name string
		c    CORS
		want string
	}{
		{"default", cors(nil), ""},
		{"all forms", origins("https://a.test", "http://a.test:8080", "https://*.a.test", "null", "http://[::1]:3000", "app://local"), ""},
		{"any", origins("*"), ""},
		{"none", origins(), "origins is empty"},
		{"any with credentials", cors(func(c *CORS) { c.Origins, c.Credentials = []string{"*"}, true }), "every site act"},
		{"null with credentials", cors(func(c *CORS) { c.Origins, c.Credentials = []string{"null"}, true }), ""},
		{"expose any with credentials", cors(func(c *CORS) { c.Expose, c.Credentials = []string{"*"}, true }), "expose *"},
		{"a host", origins("app.test"), "not an origin"},
		{"a path", origins("https://app.test/"), "more than an origin, which ends with the host or port: https://app.test"},
		{"a user", origins("https://u@app.test"), "more than an origin"},
		{"capitals", origins("https://App.test"), "in lower case"},
		{"usual port", origins("https://app.test:443"), "leave the usual port out: https://app.test"},
		{"a star within", origins("https://a.*.test"), "in front of it"},
		{"a star alone", origins("https://*"), "in front of it"},
		{"a method", cors(func(c *CORS) { c.Methods = []string{"GET POST"} }), "not a name"},
		{"max age", cors(func(c *CORS) { c.MaxAge = 1500 * time.Millisecond }), "whole seconds"},
	} {
		err := c.c.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestOrigins(t *testing.T) {
	p := CompileCORS(cors(func(c *CORS) { c.Origins = []string{"https://app.test", "https://*.shop.test", "http://dev.test:3000"} }))
	for origin, want := range map[string]bool{
		"https://app.test": true, "http://app.test": false, "https://app.test:8443": false, "https://app.test.evil": false, "https://evil-app.test": false,
		"https://a.shop.test": true, "https://a.b.shop.test": true, "https://shop.test": false, "https://.shop.test": false, "https://evilshop.test": false,
		"http://a.shop.test": false, "https://a.shop.test.evil": false, "https://a.shop.test:1": false, "https://evil/.shop.test": false, "https://a:1.shop.test": false,
		"http://dev.test:3000": true, "null": false, "": false, "*": false, "https://app.test, https://app.test": false,
	} {
		if got := p.Allows([]byte(origin)); got != want {
			t.Errorf("Allows(%q) = %v", origin, got)
		}
	}
	if any := CompileCORS(cors(func(c *CORS) { c.Origins = []string{"*"} })); !any.Allows([]byte("null")) || any.Allows(nil) || any.Allows([]byte("a\x00b")) {
		t.Error("* does not mean any origin, or means what is none")
	}
	if null := CompileCORS(cors(func(c *CORS) { c.Origins = []string{"null"} })); !null.Allows([]byte("null")) || null.Allows([]byte("https://a")) {
		t.Error("null is not null")
	}
}

func TestResponse(t *testing.T) {
	for _, c := range []struct {
		name, origin string
		c            CORS
		want         string
	}{
		{"allowed", "https://app.test", cors(nil), "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.test\r\n"},
		{"not allowed", "https://x.test", cors(nil), "Vary: Origin\r\n"},
		{"no origin", "", cors(nil), "Vary: Origin\r\n"},
		{"any", "https://x.test", cors(func(c *CORS) { c.Origins = []string{"*"} }), "Access-Control-Allow-Origin: *\r\n"},
		{"any, no origin", "", cors(func(c *CORS) { c.Origins = []string{"*"} }), ""},
		{"all of it", "https://app.test", cors(func(c *CORS) { c.Credentials, c.Expose = true, []string{"X-A", "X-B"} }),
			"Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.test\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-A, X-B\r\n"},
	} {
		if got := string(CompileCORS(c.c).AppendResponse(nil, []byte(c.origin))); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestPreflight(t *testing.T) {
	named := cors(func(c *CORS) { c.Methods, c.Headers = []string{"GET", "PUT"}, []string{"Content-Type", "X-A"} })
	any := cors(func(c *CORS) { c.Origins, c.Methods, c.MaxAge = []string{"*"}, []string{"*"}, 0 })
	for _, c := range []struct {
		name, origin, method, headers string
		c                             CORS
		why, want                     string
	}{
		{"allowed", "https://app.test", "PUT", "content-type,x-a", named, "",
			"Access-Control-Allow-Origin: https://app.test\r\nAccess-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Allow-Headers: Content-Type, X-A\r\nAccess-Control-Max-Age: 600\r\n" +
				"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"},
		{"what is always allowed", "https://app.test", "POST", "", named, "", "Access-Control-Allow-Origin: https://app.test"},
		{"origin", "https://x.test", "PUT", "", named, `origin "https://x.test" is not in cors.origins`, ""},
		{"method", "https://app.test", "DELETE", "", named, `method "DELETE"`, ""},
		{"method is with case", "https://app.test", "put", "", named, `method "put"`, ""},
		{"header", "https://app.test", "PUT", "x-a, x-b", named, `header "x-b"`, ""},
		{"any", "https://x.test", "PROPFIND", "x-anything", any, "",
			"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: PROPFIND\r\nAccess-Control-Allow-Headers: x-anything\r\nVary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n"},
		{"any, but no token", "https://x.test", "A B", "", any, `method "A B"`, ""},
		{"any header, but no token", "https://x.test", "GET", "a b", any, `header "a b"`, ""},
	} {
		p := CompileCORS(c.c)
		why := p.Preflight([]byte(c.origin), []byte(c.method), []byte(c.headers))
		if (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: refused because %q", c.name, why)
		}
		if c.why != "" {
			continue
		}
		if got := string(p.AppendPreflight(nil, []byte(c.origin), []byte(c.method), []byte(c.headers))); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if !CompileCORS(named).Drops([]byte("access-CONTROL-allow-origin")) || CompileCORS(named).Drops([]byte("Access-Control-Request-Method")) || (*CORSPolicy)(nil).Drops([]byte("Access-Control-Allow-Origin")) {
		t.Error("Drops is wrong")
	}
}

// page is a response for tests.
type page struct {
	sets map[string]bool
	came map[string]string
}

func (p page) Sets(name string) bool { return p.sets[name] }

func (p page) Peek(name string) []byte {
	if v, ok := p.came[name]; ok {
		return []byte(v)
	}
	return nil
}

func TestSecurity(t *testing.T) {
	const (
		sniff    = "X-Content-Type-Options: nosniff\r\n"
		frames   = "X-Frame-Options: SAMEORIGIN\r\n"
		policy   = "Content-Security-Policy: frame-ancestors 'self'\r\n"
		referrer = "Referrer-Policy: strict-origin-when-cross-origin\r\n"
	)
	with := func(change func(*Security)) Security {
		s := DefaultSecurity()
		change(&s)
		return s
	}
	came := func(name, value string) page { return page{came: map[string]string{name: value}} }
	for _, c := range []struct {
		name string
		s    Security
		r    page
		want string
	}{
		{"nothing came", DefaultSecurity(), page{}, sniff + frames + policy + referrer},
		{"none", with(func(s *Security) { s.Frames = "none" }), page{}, sniff + "X-Frame-Options: DENY\r\nContent-Security-Policy: frame-ancestors 'none'\r\n" + referrer},
		{"off", Security{Frames: "any", Referrer: "off"}, page{}, ""},
		{"policy", with(func(s *Security) { s.Policy = "default-src 'self';" }), page{}, sniff + frames + "Content-Security-Policy: default-src 'self'; frame-ancestors 'self'\r\n" + referrer},
		{"policy alone", Security{Frames: "any", Referrer: "off", Policy: "default-src 'self'"}, page{}, "Content-Security-Policy: default-src 'self'\r\n"},
		{"the app says who may frame it", DefaultSecurity(), came("x-frame-options", "DENY"), sniff + referrer},
		{"the app says it, and there is a policy", with(func(s *Security) { s.Policy = "default-src 'self'" }), came("x-frame-options", "DENY"), sniff + "Content-Security-Policy: default-src 'self'\r\n" + referrer},
		{"the app says it in its policy", DefaultSecurity(), came("content-security-policy", "frame-ancestors https://a"), sniff + referrer},
		{"the app has another policy", DefaultSecurity(), came("content-security-policy", "default-src 'self'"), sniff + frames + referrer},
		{"the app has the others", DefaultSecurity(), page{came: map[string]string{"referrer-policy": "origin", "x-content-type-options": ""}}, frames + policy},
		{"override", with(func(s *Security) { s.Override = true }), came("x-frame-options", "DENY"), sniff + frames + policy + referrer},
		{"the route sets one", with(func(s *Security) { s.Override = true }), page{sets: map[string]bool{"referrer-policy": true}}, sniff + frames + policy},
	} {
		if err := c.s.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := string(CompileSecurity(c.s).Append(nil, c.r)); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestSecurityDropsAndValidates(t *testing.T) {
	p := CompileSecurity(Security{NoSniff: true, Frames: "self", Referrer: "off", Override: true, HideServer: true})
	for name, want := range map[string]bool{
		"SERVER": true, "x-powered-by": true, "X-Frame-Options": true, "content-security-policy": true, "X-Content-Type-Options": true,
		"Referrer-Policy": false, "Set-Cookie": false, "Server2": false,
	} {
		if got := p.Drops([]byte(name)); got != want {
			t.Errorf("Drops(%s) = %v", name, got)
		}
		if CompileSecurity(DefaultSecurity()).Drops([]byte(name)) {
			t.Errorf("the default drops %s", name)
		}
	}
	for want, s := range map[string]Security{
		"frames":     {Frames: "deny", Referrer: "off"},
		"referrer":   {Frames: "any", Referrer: "none"},
		"line break": {Frames: "any", Referrer: "off", Policy: "a\r\nb"},
		"both say":   {Frames: "self", Referrer: "off", Policy: "frame-ancestors 'none'"},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	c := CompileCORS(cors(func(c *CORS) { c.Origins = []string{"https://a.test", "https://*.app.test"} }))
	s := CompileSecurity(DefaultSecurity())
	dst, origin := make([]byte, 0, 1024), []byte("https://x.app.test")
	var r Response = page{}
	if n := testing.AllocsPerRun(100, func() {
		s.Append(c.AppendResponse(dst, origin), r)
		c.Drops([]byte("access-control-allow-origin"))
		s.Drops([]byte("server"))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCORS: whatever a client sends, what is sent back are whole lines, and an
// origin that nobody has allowed is in none of them.
func FuzzCORS(f *testing.F) {
	f.Add("https://app.test", "PUT", "x-a, x-b")
	f.Add("https://a.app.test\r\nEvil: 1", "PUT", "x\r\nEvil: 1")
	f.Add("null", "", ",,")
	policies := []*CORSPolicy{
		CompileCORS(cors(func(c *CORS) { c.Origins = []string{"*"}; c.Methods = []string{"*"} })),
		CompileCORS(cors(func(c *CORS) {
			c.Origins, c.Credentials = []string{"https://app.test", "https://*.app.test", "null"}, true
		})),
	}
	f.Fuzz(func(t *testing.T, origin, method, headers string) {
		if strings.ContainsAny(origin+method+headers, "\r\n\x00") && strings.ContainsAny(method+headers, "\r\n\x00") {
			// Heads with these are refused before.
			headers, method = "x", "PUT"
		}
		for _, p := range policies {
			out := string(p.AppendResponse(nil, []byte(origin)))
			if p.Preflight([]byte(origin), []byte(method), []byte(headers)) == "" {
				out += string(p.AppendPreflight(nil, []byte(origin), []byte(method), []byte(headers)))
			}
			for line := range strings.SplitSeq(strings.TrimSuffix(out, "\r\n"), "\r\n") {
				if name, _, ok := strings.Cut(line, ": "); line != "" && (!ok || name != "Vary" && !strings.HasPrefix(name, "Access-Control-")) {
					t.Errorf("%q of %q, %q, %q", line, origin, method, headers)
				}
			}
			if p.credentials && strings.Contains(out, "Allow-Origin: "+origin+"\r") && origin != "null" && origin != "https://app.test" && !strings.HasSuffix(origin, ".app.test") {
				t.Errorf("%q may come in", origin)
			}
		}
	})
}

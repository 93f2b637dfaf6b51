package sticky

import (
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreValid(t *testing.T) {
	cookie, header, client := DefaultCookie(), DefaultHeader(), DefaultClientIP()
	header.Name = "X-User"
	for _, o := range []Options{{Cookie: &cookie}, {Header: &header}, {ClientIP: &client}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestValidate(t *testing.T) {
	cookie := func(change func(*Cookie)) Options {
		c := DefaultCookie()
		change(&c)
		return Options{Cookie: &c}
	}
	one := DefaultCookie()
	client := DefaultClientIP()
	for _, tc := range []struct {
		name string
		o    Options
		want []string // none: valid
	}{
		{"nothing", Options{}, []string{"0 of", "exactly one"}},
		{"two", Options{Cookie: &one, ClientIP: &client}, []string{"2 of"}},
		{"cookie name", cookie(func(c *Cookie) { c.Name = "a b" }), []string{`name "a b"`}},
		{"cookie name empty", cookie(func(c *Cookie) { c.Name = "" }), []string{`name ""`}},
		{"cookie name with equals", cookie(func(c *Cookie) { c.Name = "a=b" }), []string{"name"}},
		{"ttl short", cookie(func(c *Cookie) { c.TTL = time.Millisecond }), []string{"ttl 1ms", "1s"}},
		{"ttl negative", cookie(func(c *Cookie) { c.TTL = -time.Second }), []string{"ttl"}},
		{"ttl long", cookie(func(c *Cookie) { c.TTL = 401 * 24 * time.Hour }), []string{"400 days"}},
		{"ttl longest", cookie(func(c *Cookie) { c.TTL = 400 * 24 * time.Hour }), nil},
		{"path relative", cookie(func(c *Cookie) { c.Path = "a" }), []string{`path "a"`, "begin with /"}},
		{"path breaks out", cookie(func(c *Cookie) { c.Path = "/; Secure" }), []string{"semicolon"}},
		{"domain", cookie(func(c *Cookie) { c.Domain = "example.com" }), nil},
		{"domain with dot", cookie(func(c *Cookie) { c.Domain = ".example.com" }), []string{"dot"}},
		{"domain with port", cookie(func(c *Cookie) { c.Domain = "example.com:80" }), []string{"host name"}},
		{"domain address", cookie(func(c *Cookie) { c.Domain = "10.0.0.1" }), []string{"address"}},
		{"domain IPv6", cookie(func(c *Cookie) { c.Domain = "::1" }), []string{"address"}},
		{"domain empty label", cookie(func(c *Cookie) { c.Domain = "a..b" }), []string{"empty label"}},
		{"secure", cookie(func(c *Cookie) { c.Secure = "yes" }), []string{`secure "yes"`, "auto, true and false"}},
		{"same_site", cookie(func(c *Cookie) { c.SameSite = "Lax" }), []string{`same_site "Lax"`}},
		{"none and not secure", cookie(func(c *Cookie) { c.SameSite, c.Secure = "none", "false" }), []string{"same_site none"}},
		{"none and auto", cookie(func(c *Cookie) { c.SameSite = "none" }), nil},
		{"__Secure- and not secure", cookie(func(c *Cookie) { c.Name, c.Secure = "__Secure-sy", "false" }), []string{"not secure"}},
		{"__Host- and not secure", cookie(func(c *Cookie) { c.Name, c.Secure = "__host-sy", "false" }), []string{"not secure"}},
		{"__Host- with path", cookie(func(c *Cookie) { c.Name, c.Path = "__Host-sy", "/a" }), []string{"another path"}},
		{"__Host- with domain", cookie(func(c *Cookie) { c.Name, c.Domain = "__Host-sy", "a.b" }), []string{"with a domain"}},
		{"__Host-", cookie(func(c *Cookie) { c.Name = "__Host-sy" }), nil},
		{"header name", Options{Header: &Header{Name: "a:", TTL: time.Second, Size: 1}}, []string{"header name"}},
		{"header ttl and size", Options{Header: &Header{Name: "a"}}, []string{"ttl 0s", "size 0"}},
		{"client_ip ttl and size", Options{ClientIP: &ClientIP{TTL: 1 << 62, Size: 10_000_001}}, []string{"ttl", "size 10000001"}},
		{"all at once", cookie(func(c *Cookie) { c.Name, c.Path, c.Secure = "", "", "" }), []string{"name", "path", "secure"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.o.Validate()
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("Validate() = %v", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not mention %q", err, w)
				}
			}
		})
	}
}

package sticky_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

func pool(sticky string, apps []*harness.Node) string {
	var addresses []string
	for _, app := range apps {
		addresses = append(addresses, app.Address)
	}
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes:
  - {match: {path: /*}, pool: web}
pools:
  web:
    backends: [%s]
    sticky: %s
`, strings.Join(addresses, ", "), sticky)
}

// binding asks as a client without cookies and returns who answered and the
// cookies that were set.
func binding(t *testing.T, c *http.Client, address string) (name string, cookies []*http.Cookie) {
	t.Helper()
	res, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	if err := res.Write(&text); err != nil {
		t.Fatal(err)
	}
	_, name, _ = strings.Cut(text.String(), "\r\n\r\n")
	return name, res.Cookies()
}

func TestClientIsReboundWhenItsBackendIsGone(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	s := harness.Start(t, pool("{cookie: {name: sy}}", apps))
	browser := harness.Browser(t)
	first := harness.Get(t, browser, s.URL)
	if got := harness.Shares(t, browser, s.URL, 9); got[first] != 9 {
		t.Fatalf("bound to %s, yet: %v", first, got)
	}
	at := slices.IndexFunc(apps, func(n *harness.Node) bool { return harness.Get(t, harness.Client(t), "http://"+n.Address) == first })
	apps[at].Kill(t)
	second := harness.Get(t, browser, s.URL)
	if second == first {
		t.Fatalf("%s answered after its end", first)
	}
	_, port, _ := strings.Cut(apps[at].Address, ":")
	harness.App(t, first, "PORT="+port) // Back again, but its client has moved.
	if got := harness.Shares(t, browser, s.URL, 9); got[second] != 9 {
		t.Errorf("rebound to %s, yet: %v", second, got)
	}
}

func TestCookieRevealsNothingAndOutlivesARestart(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	config := pool("{cookie: {name: sy}}", apps)
	var values [2]map[string]string
	for run := range values {
		s := harness.Start(t, config)
		c := harness.Client(t)
		values[run] = map[string]string{}
		for range 3 {
			name, cookies := binding(t, c, s.URL)
			if len(cookies) != 1 || cookies[0].Name != "sy" {
				t.Fatalf("a new client was given the cookies %v", cookies)
			}
			k := cookies[0]
			if k.Path != "/" || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Secure || k.MaxAge != 0 || k.Domain != "" {
				t.Errorf("the defaults make the cookie %q", k.Raw)
			}
			values[run][name] = k.Value
		}
		s.Kill(t)
	}
	for i, app := range apps {
		name := string(rune('a' + i))
		value := values[0][name]
		if value == "" || value != values[1][name] {
			t.Errorf("the cookie of %s was %q and after a restart %q", name, value, values[1][name])
		}
		_, port, _ := strings.Cut(app.Address, ":")
		if plain, _ := url.QueryUnescape(value); strings.Contains(plain, port) || strings.Contains(plain, "127") {
			t.Errorf("the cookie %q reveals the address %s", value, app.Address)
		}
	}
}

func TestCookieIsSetOnceAndAsConfigured(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, pool("{cookie: {name: stay, ttl: 1h, path: /app, domain: app.test, secure: true, http_only: false, same_site: none}}", apps))
	c := harness.Client(t)
	_, cookies := binding(t, c, s.URL+"/app")
	if len(cookies) != 1 {
		t.Fatalf("a new client was given the cookies %v", cookies)
	}
	k := cookies[0]
	if k.Name != "stay" || k.MaxAge != int(time.Hour/time.Second) || k.Path != "/app" || k.Domain != "app.test" ||
		!k.Secure || k.HttpOnly || k.SameSite != http.SameSiteNoneMode {
		t.Errorf("the cookie is %q", k.Raw)
	}
	raw := harness.Dial(t, s.Address)
	m := raw.Exchange(t, "GET /app HTTP/1.1\r\nHost: app.test\r\nCookie: x=1; stay="+k.Value+"\r\n\r\n")
	// With a ttl the cookie may be renewed, but never with another value.
	for _, v := range m.Values("Set-Cookie") {
		if !strings.HasPrefix(v, "stay="+k.Value+";") {
			t.Errorf("a bound client was given %q", v)
		}
	}
}

func TestForgedCookieIsANewClient(t *testing.T) {
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, pool("{cookie: {name: sy}}", apps))
	c := harness.Dial(t, s.Address)
	for _, value := range []string{"", "x", strings.Repeat("f", 4000), apps[0].Address, `"%00"`} {
		m := c.Exchange(t, "GET / HTTP/1.1\r\nHost: app.test\r\nCookie: sy="+value+"\r\n\r\n")
		if m.Status() != 200 || len(m.Values("Set-Cookie")) != 1 {
			t.Errorf("with the cookie %.40q: %s, %q", value, m.First, m.Values("Set-Cookie"))
		}
	}
}

func TestStickyByHeaderAndByClientIP(t *testing.T) {
	apps := harness.Apps(t, "a", "b", "c")
	t.Run("header", func(t *testing.T) {
		s := harness.Start(t, pool("{header: {name: X-Session}}", apps))
		c := harness.Client(t)
		met := map[string]int{}
		for session := range 6 {
			got := harness.Shares(t, c, s.URL, 5, fmt.Sprintf("X-Session: %d", session))
			if len(got) != 1 {
				t.Errorf("session %d met %v", session, got)
			}
			for name := range got {
				met[name]++
			}
		}
		if len(met) != 3 {
			t.Errorf("six sessions met only %v", met)
		}
	})
	t.Run("client_ip", func(t *testing.T) {
		s := harness.Start(t, pool("{client_ip: {}}", apps))
		if got := harness.Shares(t, harness.Client(t), s.URL, 10); len(got) != 1 {
			t.Errorf("one client met %v", got)
		}
	})
}

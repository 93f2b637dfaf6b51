package dashboard_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"steelyard/test/harness"
)

// evil would leave its mark if any page made markup of it.
const evil = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>"'&amp;</td></table>`

// Everything that others write is shown as text on every page.
func TestTextOfOthersStaysText(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	bad := liveBackend(evil, "unhealthy")
	bad["reason"] = evil
	f.set("live", liveOf(evil, map[string]any{"fail_open": true, "why": evil, "held": 1, "sources_failing": 1, "policy": evil}, bad))
	now := time.Now()
	f.set("/api/v1/pools/"+evil, map[string]any{
		"name": evil,
		"backends": []any{map[string]any{
			"address": evil, "name": evil, "source": evil, "tags": []string{evil}, "meta": map[string]string{evil: evil},
			"check": map[string]any{"state": evil, "progress": evil, "results": []any{map[string]any{"at": now, "ok": false, "error": evil}}},
		}},
		"sources": []any{map[string]any{"name": evil, "error": evil, "alarm": evil, "alarm_until": now.Add(time.Minute), "held": []string{evil}}},
	})
	f.set("/api/v1/generation", map[string]any{"id": 1, "since": now, "file": evil, "last_reload_ok": false, "errors": []string{evil}, "changes": []string{evil}})
	f.set("/api/v1/audit", map[string]any{"orders": []any{map[string]any{"at": now, "who": evil, "what": evil, "pool": evil, "backend": evil, "result": evil}}})
	f.set("/api/v1/routes", map[string]any{"routes": []any{map[string]any{"name": evil, "match": map[string]any{"host": evil, "headers": map[string]any{evil: evil}}, "action": evil, "to": []string{evil}}}})
	f.set("/api/v1/errors", map[string]any{"total": 1, "errors": []any{map[string]any{
		"at": now, "cause": evil, "status": 502, "hint": evil, "detail": evil, "request_id": evil, "method": evil, "path": evil, "host": evil, "route": evil,
		"pool": evil, "backend": evil, "client": evil, "attempts": []any{map[string]any{"backend": evil, "cause": evil, "class": evil}},
	}}})
	f.set("/api/v1/explain", map[string]any{
		"route": evil, "why": evil, "pool": evil, "backend": evil, "affinity": evil, "sends": evil, "key": evil,
		"candidates": []any{map[string]any{"address": evil, "state": evil, "why": evil, "chosen": true}}, "tried": []any{map[string]any{"route": evil, "why": evil}},
	})
	b := newBrowser(t, 1280, 900)
	b.open(f.URL)
	shown := func(where string) {
		t.Helper()
		b.sees(where, evil)
		if js[bool](b, "Boolean(window.pwned) || document.images.length > 0 || document.querySelectorAll('body script').length > 0") {
			t.Fatalf("%s became markup", where)
		}
	}
	shown(".banner")
	shown(".card.pool")
	shown(".changes")
	shown(".orders")
	b.click(".card.pool")
	shown("h1")
	shown(".backends td")
	b.sees(".backends .fault", evil)
	shown(".sources")
	b.show("#/errors")
	b.click(".group summary")
	shown(".group .error")
	shown(".hint")
	b.show("#/routes")
	shown(".routes td")
	b.click("[data-do=explain]")
	shown(".answer h3")
	shown(".candidates td")
}

// A real backend that answers with markup instead of HTTP, and one whose check
// says something hostile.
func TestMarkupFromABackendStaysText(t *testing.T) {
	t.Parallel()
	address := harness.Backend(t, func(c *harness.Conn) {
		if _, err := c.Request(); err == nil {
			_, _ = io.WriteString(c, "<img src=x onerror=window.pwned=1>\r\n\r\n")
		}
	})
	s := harness.Start(t, fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{pool: web}]\npools: {web: {backends: [%q], check: {path: /, interval: 250ms}, when_all_unhealthy: use_all}}\nadmin: ADMIN\n", address))
	b := newBrowser(t, 1280, 900)
	b.open("http://" + s.Admin + "/#/pool/web")
	b.sees(row(address, ".state"), "unhealthy")
	b.sees(".banner", "fails open")
	b.sees(row(address, ".strip + p"), "<img src=x onerror=window.pwned=1>")
	b.sees(".banner", "<img src=x onerror=window.pwned=1>")
	b.show("#/")
	b.sees(".banner", "<img src=x onerror=window.pwned=1>")
	if js[bool](b, "Boolean(window.pwned) || document.images.length > 0") {
		t.Error("what the backend sent became markup")
	}
}

// On a phone nothing is wider than the screen, however long the names are.
func TestNothingIsWiderThanAPhone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	long := "unix:/run/a-very-long-folder-name-of-some-platform/and-another-one-below-it/application-instance-0001.sock"
	bad := liveBackend(long, "ejected")
	bad["reason"] = "5 failures in a row: " + long
	f.set("live", liveOf("a-pool-with-a-name-that-is-far-too-long-for-a-phone-of-360-pixels", map[string]any{"fail_open": true, "why": long}, bad, liveBackend("127.0.0.1:3001", "healthy")))
	f.set("/api/v1/errors", map[string]any{"total": 1, "errors": []any{map[string]any{"at": time.Now(), "cause": "connect_refused", "backend": long, "path": "/" + long, "request_id": "504cabc10d33cb3afc14cf23d4f72a59", "total_ms": 12.5}}})
	f.set("/api/v1/routes", map[string]any{"routes": []any{map[string]any{"name": long, "match": map[string]any{"host": long, "path": long}, "action": "pool", "to": []string{long}, "requests": 123456789}}})
	f.set("/api/v1/explain", map[string]any{"route": long, "backend": long, "sends": "GET /" + long, "candidates": []any{map[string]any{"address": long, "state": "ejected", "share": 0.5, "why": long}}})
	f.set("/api/v1/generation", map[string]any{"id": 1, "since": time.Now(), "file": long, "last_reload_ok": false, "errors": []string{long + ":1:1: " + long}})
	b := newBrowser(t, 360, 740)
	for _, c := range []struct{ hash, ready string }{
		{"#/", ".card.pool"}, {"#/pool/a-pool-with-a-name-that-is-far-too-long-for-a-phone-of-360-pixels", ".backends td"}, {"#/errors", ".group summary"}, {"#/routes", ".routes td"},
	} {
		b.open(f.URL + "/?" + c.hash)
		b.until(c.hash+" is there", fmt.Sprintf("document.querySelector(%q)", c.ready))
		if c.hash == "#/errors" {
			b.click("summary")
		}
		if c.hash == "#/routes" {
			b.click("[data-do=explain]")
			b.sees(".candidates", "app")
		}
		if w := js[int](b, "document.documentElement.scrollWidth"); w > 360 {
			t.Errorf("%s is %d pixels wide; too wide are %s", c.hash, w, js[string](b, "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.tagName + '.' + e.className).slice(0, 8).join(' ')"))
		}
		// What scrolls sideways within the page would hide things just as well.
		if inner := js[string](b, "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.ariaLabel).join()"); inner != "" {
			t.Errorf("%s: %s scrolls sideways", c.hash, inner)
		}
	}
}

package dashboard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Each thing that is wrong is a banner that says what to do about it, and goes
// when it is over.
func TestBannersSayWhatToDo(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	well := liveBackend("127.0.0.1:3001", "healthy")
	calm := func() map[string]any { return liveOf("api", nil, well) }
	generation := func(more map[string]any) map[string]any {
		g := map[string]any{"id": 3, "since": time.Now(), "file": "shop.yaml", "reloads": 2, "last_reload_ok": true}
		for k, v := range more {
			g[k] = v
		}
		return g
	}
	refused := calm()
	refused["total"].(map[string]any)["causes"] = []any{map[string]any{"cause": "queue_full", "rps": 3.0}}
	b := newBrowser(t, 1280, 900)
	f.set("live", calm())
	b.open(f.URL)
	b.sees(".card.pool", "1 of 1 healthy")
	for _, c := range []struct {
		name        string
		live        map[string]any
		path        string
		answer      map[string]any
		key         string
		title, todo string
	}{
		{
			"fail open", liveOf("api", map[string]any{"fail_open": true, "healthy": 0, "why": "all checks fail"}, well), "/api/v1/pools/api", map[string]any{},
			"open/api", "Pool api fails open", "See what the checks say",
		},
		{
			"nobody", liveOf("api", map[string]any{"healthy": 0}, well), "/api/v1/pools/api", map[string]any{},
			"none/api", "Pool api has no backend that takes requests", "Enable or mend a backend",
		},
		{
			"a source", liveOf("api", map[string]any{"sources_failing": 1}, well), "/api/v1/pools/api",
			map[string]any{"sources": []any{map[string]any{"name": "consul api", "members": 4, "error": "no agent answers"}}},
			"source/api/consul api", "source consul api cannot answer", "Its last 4 members stay",
		},
		{
			"a queue", refused, "/api/v1/errors",
			map[string]any{"total": 1, "errors": []any{map[string]any{"at": time.Now().Add(time.Minute), "cause": "queue_full", "pool": "api"}}},
			"queue/api", "The queue of pool api is exhausted", "raise max_connections",
		},
		{
			"a rollback", calm(), "/api/v1/generation", generation(map[string]any{"rolled_back": "errors rose from 0 % to 40 %"}),
			"rollback", "The last reload was undone", "is in force again",
		},
	} {
		f.set(c.path, c.answer)
		f.set("live", c.live)
		b.sees(fmt.Sprintf(".banner[data-key=%q] h2", c.key), c.title)
		b.sees(fmt.Sprintf(".banner[data-key=%q] .todo", c.key), c.todo)
		f.set("live", calm())
		f.set("/api/v1/generation", generation(nil))
		f.set("/api/v1/errors", map[string]any{"total": 0, "errors": []any{}})
		b.until(c.name+" is over", fmt.Sprintf("!document.querySelector('.banner[data-key=%q]')", c.key))
	}
}

// Text can be read in both themes: WCAG 2.2, 1.4.3, asks for 4.5 to 1.
func TestTextHasContrast(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.set("live", liveOf("api", nil, liveBackend("127.0.0.1:3001", "healthy")))
	b := newBrowser(t, 1280, 900)
	b.open(f.URL)
	const measure = `(() => {
		const probe = document.body.appendChild(document.createElement('i')), canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
		const light = (name) => {
			probe.style.color = 'var(--' + name + ')';
			canvas.fillStyle = getComputedStyle(probe).color;
			canvas.fillRect(0, 0, 1, 1);
			const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
			return 0.2126 * r + 0.7152 * g + 0.0722 * b;
		};
		const poor = [];
		for (const [ground, texts] of Object.entries({
			card: 'ink soft accent ok warn bad', ground: 'ink soft accent', raised: 'ink soft', accent: 'on-accent',
			'bad-ground': 'ink bad accent', 'warn-ground': 'ink accent', 'note-ground': 'ink soft ok warn bad',
		})) for (const text of texts.split(' ')) {
			const [a, z] = [light(ground), light(text)].sort((x, y) => y - x), ratio = (a + 0.05) / (z + 0.05);
			if (ratio < 4.5) poor.push(text + ' on ' + ground + ': ' + ratio.toFixed(2));
		}
		probe.remove();
		return poor.join(', ');
	})()`
	for _, theme := range []string{"light", "dark"} {
		js[string](b, fmt.Sprintf("document.documentElement.dataset.theme = %q", theme))
		if poor := js[string](b, measure); poor != "" {
			t.Errorf("%s: %s", theme, poor)
		}
	}
}

// Everything that can be used has a name, can be reached with Tab and shows that
// it was.
func TestTheKeyboardReachesEverything(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.set("live", liveOf("api", map[string]any{"held": 1}, liveBackend("127.0.0.1:3001", "healthy")))
	f.set("/api/v1/routes", map[string]any{"routes": []any{map[string]any{"name": "api", "action": "pool", "to": []string{"api"}}}})
	f.set("/api/v1/errors", map[string]any{"total": 1, "errors": []any{map[string]any{"at": time.Now(), "cause": "no_route"}}})
	b := newBrowser(t, 1280, 900)
	for _, c := range []struct{ hash, ready string }{{"#/", ".card.pool"}, {"#/pool/api", ".backends td"}, {"#/errors", "summary"}, {"#/routes", ".routes td"}} {
		b.open(f.URL + "/?" + c.hash)
		b.until(c.hash+" is there", fmt.Sprintf("document.querySelector(%q)", c.ready))
		if nameless := js[string](b, `[...document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex="0"]')].filter((e) => e.checkVisibility() &&
			!(e.innerText?.trim() || e.ariaLabel || e.labels?.length || e.getAttribute('aria-labelledby'))).map((e) => e.outerHTML.slice(0, 80)).join()`); nameless != "" {
			t.Errorf("%s: without a name: %s", c.hash, nameless)
		}
		wanted := js[int](b, `[...document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex="0"]')].filter((e) => !e.disabled && e.checkVisibility()).length`)
		js[bool](b, "(document.activeElement.blur(), window.reached = new Set(), window.unseen = [], true)")
		for range wanted + 2 {
			b.do(chromedp.KeyEvent(kb.Tab))
			js[bool](b, `(() => {
				const e = document.activeElement;
				window.reached.add(e);
				if (e !== document.body && getComputedStyle(e).outlineStyle === 'none') window.unseen.push(e.outerHTML.slice(0, 80));
				return true;
			})()`)
		}
		missed := js[string](b, `[...document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex="0"]')].filter((e) => !e.disabled && e.checkVisibility() && !window.reached.has(e)).map((e) => e.outerHTML.slice(0, 80)).join()`)
		if unseen := strings.Join(js[[]string](b, "window.unseen"), " "); missed != "" || unseen != "" {
			t.Errorf("%s: Tab misses %q; the focus is not seen on %q", c.hash, missed, unseen)
		}
	}
}

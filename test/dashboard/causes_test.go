package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"steelyard/test/harness"
)

// newTrouble is a Steelyard whose pool "shop" has errors of several causes all the
// time, and whose clients are bound by a header.
func newTrouble(t *testing.T) *lab {
	t.Helper()
	l := &lab{apps: harness.Apps(t, "a", "b", "c")}
	l.apps[1].Set(t, "code", 503)
	l.apps[1].Set(t, "share", 0.5)
	resets := harness.Backend(t, func(c *harness.Conn) { _, _ = c.Request() }) // and closes
	l.Steelyard = harness.Start(t, fmt.Sprintf(`
listeners: {web: LISTEN}
routes: [{pool: shop}]
pools:
  shop: {backends: [%q, %q, %q, %q], sticky: {header: x-user}, retry: off, outlier: off, timeouts: {response: 250ms}}
admin: ADMIN
`, l.apps[0].Address, l.apps[1].Address, l.apps[2].Address, resets))
	l.visit(t, 20*time.Millisecond, "/", "/slow?ms=300", "/") // three, so that each of four backends gets each
	return l
}

// legendOf is the legend of a chart, by its title.
const legendOf = `[...document.querySelectorAll('.chart')].find((c) => c.querySelector('h3').innerText.startsWith(%q))`

// A pool's page says by which causes its clients got errors, stacked, with a legend
// and values that can be read; or whose errors they were, as lines or stacked.
func TestErrorsOfAPoolByCause(t *testing.T) {
	t.Parallel()
	l := newTrouble(t)
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/pool/shop"))
	chart := fmt.Sprintf(legendOf, "Errors")
	for _, cause := range []string{"response_timeout", "reset_before_response", "5xx of backends"} {
		b.until("the legend has "+cause, fmt.Sprintf("%s?.querySelector('.legend').innerText.includes(%q)", chart, cause))
	}
	b.until("it is called by what it shows", chart+".querySelector('h3').innerText === 'Errors by cause'")
	b.until("there are three layers", chart+".querySelectorAll('.plot .area').length === 3")
	if n := js[int](b, `new Set([...`+chart+`.querySelectorAll('.plot .area + path')].map((p) => p.getAttribute('fill'))).size`); n != 3 {
		t.Errorf("colour is the only difference of the layers: they have %d hatches", n)
	}
	drawn := js[string](b, chart+".querySelector('.area').getAttribute('d')")
	b.until("it moves on", fmt.Sprintf("%s.querySelector('.area').getAttribute('d') !== %q", chart, drawn))

	// The keyboard reads the values, which add up.
	js[bool](b, "("+chart+".querySelector('.plot').focus(), true)")
	b.do(chromedp.KeyEvent(kb.ArrowLeft))
	b.until("a second is read", chart+".querySelector('.read').innerText.includes(' · all ')")
	b.until("the parts are its sum", `(() => {
		const [, all, ...parts] = `+chart+`.querySelector('.read').innerText.split(' · ').map((p) => Number(p.split(' ').at(-1)));
		return parts.length === 3 && Math.abs(parts.reduce((a, v) => a + v, 0) - all) < 0.3;
	})()`)
	if wide := js[float64](b, chart+".getBoundingClientRect().right - "+chart+".querySelector('.plot').getBoundingClientRect().right"); wide < -1 {
		t.Errorf("what is read pushes the chart %.0f pixels out of its place", -wide)
	}
	b.do(chromedp.KeyEvent(kb.Escape))

	// Backend by backend, as lines and stacked; and back.
	b.click("[data-choice=backend]")
	ill := l.apps[1].Address
	for _, title := range []string{"Requests", "Errors"} {
		of := fmt.Sprintf(legendOf, title)
		b.until(title+" has a line for a backend", fmt.Sprintf("%s.querySelector('.legend').innerText.includes(%q) && %s.querySelector('.plot path.line')", of, ill, of))
	}
	if got := js[string](b, fmt.Sprintf(legendOf, "Errors")+".querySelector('h3').innerText"); got != "Errors" {
		t.Errorf("by backend it is called %q", got)
	}
	b.click("[data-choice=stacked]")
	for _, title := range []string{"Requests", "Errors"} {
		of := fmt.Sprintf(legendOf, title)
		b.until(title+" is stacked by backend", fmt.Sprintf("%s.querySelector('.plot .area') && !%s.querySelector('.plot path.line')", of, of))
	}
	b.click("[data-choice=pool]")
	b.until("causes are back", chart+".querySelector('.legend').innerText.includes('response_timeout')")
}

// Of very many causes those that came first keep their colours, and the others are
// one layer.
func TestManyCauses(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.set("live", liveOf("shop", nil, liveBackend("127.0.0.1:3001", "healthy")))
	var many atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/history" {
			f.Config.Handler.ServeHTTP(w, r)
			return
		}
		seconds, causes := 30, map[string][]float64{}
		for i, cause := range []string{"passed_on", "queue_full", "reset_before_response", "bad_response", "body_timeout", "client_gone", "connect_failed", "drained", "internal", "no_backend"} {
			if i < 3 || many.Load() {
				causes[cause] = slices.Repeat([]float64{float64(i + 1)}, seconds)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"step_ms": 1000, "from": time.Now().Add(-30 * time.Second), "causes": causes,
			"columns": map[string]any{"rps": slices.Repeat([]float64{100}, seconds), "errors": slices.Repeat([]float64{10}, seconds)},
		})
	}))
	t.Cleanup(front.Close)
	t.Cleanup(front.CloseClientConnections)
	b := newBrowser(t, 1280, 900)
	b.open(front.URL + "/#/pool/shop")
	chart := fmt.Sprintf(legendOf, "Errors")
	legend := func() string {
		return js[string](b, "[...("+chart+"?.querySelectorAll('.legend li') ?? [])].map((li) => li.children[1].innerText + ' ' + li.firstElementChild.getAttribute('class')).join('\\n')")
	}
	want := []string{"queue_full tone1", "reset_before_response tone2", "5xx of backends tone7"}
	b.until("there are three causes", chart+"?.querySelectorAll('.legend li').length === 3")
	if got := legend(); got != strings.Join(want, "\n") {
		t.Errorf("the legend is\n%s", got)
	}
	many.Store(true)
	b.until("there are all", chart+".querySelectorAll('.legend li').length === 8")
	want = slices.Insert(want, 2, "bad_response tone4", "body_timeout tone5", "client_gone tone6", "connect_failed tone0", "3 other causes tone3")
	if got := legend(); got != strings.Join(want, "\n") {
		t.Errorf("with all of them the legend is\n%s", got)
	}
}

// Bound sessions stand where they are known; where they are not the page says why.
func TestBoundSessionsOfBackends(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sticky, head, cell, title string }{
		{"by header", "{header: x-user}", "sticky by header", "3 bound", "bound to it"},
		{"by cookie", "cookie", "sticky by cookie", "– bound", "cookies carry the binding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			app := harness.App(t, "a")
			l := &lab{Steelyard: harness.Start(t, fmt.Sprintf(
				"listeners: {web: LISTEN}\nroutes: [{pool: shop}]\npools: {shop: {backends: [%q], sticky: %s}}\nadmin: ADMIN\n", app.Address, c.sticky))}
			for i := range 3 {
				harness.Get(t, harness.Client(t), l.URL+"/", fmt.Sprintf("X-User: %d", i))
			}
			b := newBrowser(t, 1280, 900)
			b.open(l.page("#/pool/shop"))
			b.sees(row(app.Address, "p"), c.cell)
			b.sees(".pool-head p", c.head)
			b.until("a tooltip says more", fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.title.includes(%q))", row(app.Address, "p"), c.title))
		})
	}
}

package dashboard_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"steelyard/test/harness"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The overview and the pool's page show real traffic, and what backends do.
func TestFiguresAreThoseOfTheTraffic(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	l.visit(t, 10*time.Millisecond, "/", "/echo")
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/"))
	b.until("requests are counted", "Number(document.querySelector('.figure b')?.innerText) > 5")
	b.until("latency is measured", "/ ms$/.test(document.querySelectorAll('.figure b')[2].innerText)")
	l.apps[2].Set(t, "health", 500)
	b.sees(".card.pool[data-pool=shop]", "3 of 4 healthy")
	b.click(".card.pool[data-pool=shop]")
	ill, well := l.apps[2].Address, l.apps[0].Address
	b.sees(row(ill, ".state"), "unhealthy")
	b.sees(row(ill, "td"), "500")
	b.until("its failed checks are drawn", fmt.Sprintf("document.querySelectorAll(%q).length > 1", row(ill, ".strip .fail")))
	b.sees(row(well, "td"), "of 33.3 %")
	b.until("shares follow", fmt.Sprintf("parseFloat(document.querySelector(%q).innerText) > 10", row(well, ".share b")))
	if got := js[string](b, "document.querySelector('tbody tr').dataset.backend"); got != ill && js[int](b, "document.querySelectorAll('tbody tr').length") != 4 {
		t.Errorf("the first row is %s", got)
	}

	// The charts have drawn it, and the keyboard reads them.
	b.until("the chart of requests is drawn", "document.querySelector('.plot path.line')?.getAttribute('d')?.includes('L')")
	js[bool](b, "(document.querySelector('.plot').focus(), true)")
	b.do(chromedp.KeyEvent(kb.ArrowLeft))
	b.sees(".chart .read", "requests")
	first := js[string](b, "document.querySelector('.chart .read').innerText")
	b.do(chromedp.KeyEvent(kb.ArrowLeft))
	b.until("the next key reads another second", fmt.Sprintf("document.querySelector('.chart .read').innerText !== %q", first))
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("Escape ends reading", "document.querySelector('.chart .read').innerText === ''")
	js[bool](b, "(document.querySelector('.plot').dispatchEvent(new PointerEvent('pointermove', {clientX: 400, clientY: 20})), true)")
	b.sees(".chart .read", "requests")
	b.click("[data-choice=backend]")
	b.sees(".legend", well)
	b.click("[data-choice=stacked]")
	b.until("areas are stacked", "document.querySelector('.plot path.area')")
}

// An error has its cause, hint, request id and attempts.
func TestErrorsAreGroupedAndExplained(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/errors"))
	b.sees(".empty", "No errors since the start")
	for range 3 {
		_, _, err := harness.Do(harness.Client(t), "GET", l.URL+"/help/<b>me</b>", "", "X-Request-Id: asked-for-help")
		if err == nil {
			t.Fatal("a backend that is not there answered")
		}
	}
	b.sees(".group[data-cause=connect_refused] summary", "3×")
	b.sees(".group[data-cause=connect_refused] summary", "127.0.0.1:1")
	b.click(".group[data-cause=connect_refused] summary")
	b.sees(".group .hint", "running")
	b.sees(".group .error", "attempt 1")
	b.sees(".group .error", "/help/")
	b.sees(".group .facts", "help")
	var log struct {
		Errors []struct {
			RequestID string `json:"request_id"`
		}
	}
	l.tell(t, "/api/v1/errors", &log)
	b.sees(".group .facts", log.Errors[0].RequestID)
	b.write(".find input", "queue_full")
	b.sees(".empty", "None of the last errors match")
	b.write(".find input", log.Errors[1].RequestID)
	b.sees(".group summary", "×")
}

// Routes stand in match order; Explain answers what the API answers.
func TestRoutesAndExplain(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/routes"))
	b.sees(".routes", "/help/*")
	var routes struct{ Routes []struct{ Name string } }
	l.tell(t, "/api/v1/routes", &routes)
	var want []string
	for _, r := range routes.Routes {
		want = append(want, r.Name)
	}
	if got := js[string](b, "[...document.querySelectorAll('.routes tbody tr')].map((r) => r.dataset.route).join()"); got != strings.Join(want, ",") {
		t.Errorf("the page has the routes %s, the API %v", got, want)
	}
	before := l.Pool(t, "shop").Counters.Requests
	b.write("#q-path", "/cart")
	b.click("[data-do=explain]")
	b.sees(".answer h3", "It would go to 127.0.0.1:")
	b.sees(".answer", "shop")
	if n := js[int](b, "document.querySelectorAll('.candidates tbody tr').length"); n != 4 {
		t.Errorf("%d candidates are shown", n)
	}
	b.write("#q-host", "old.example.com")
	b.click("[data-do=explain]")
	b.sees(".answer h3", "It would be redirected to https://shop.example.com/cart")
	b.write("#q-headers", "this is no header")
	b.click("[data-do=explain]")
	b.sees(".fault", "is not a header")
	if after := l.Pool(t, "shop").Counters.Requests; after != before {
		t.Errorf("explaining sent %d requests", after-before)
	}
}

// The page says that Steelyard is gone, and goes on by itself when it is back.
func TestThePageSurvivesARestart(t *testing.T) {
	t.Parallel()
	admin := harness.FreeAddress(t)
	apps := harness.Apps(t, "a", "b")
	yaml := fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{pool: web}]\npools: {web: {backends: [%q, %q]}}\nadmin: %q\n", apps[0].Address, apps[1].Address, admin)
	s := harness.Start(t, yaml)
	harness.Eventually(t, patience, "the admin API listens", func() bool { return answers(t, admin) })
	b := newBrowser(t, 1280, 900)
	b.expect("net::ERR_") // what cannot be reached: what this is about
	b.open("http://" + admin + "/#/pool/web")
	b.sees(row(apps[0].Address, ".state"), "healthy")
	b.sees("#link", "live")
	s.Kill(t)
	b.sees("#lost", "Connection lost, retrying")
	b.sees("#link", "retrying")
	again := harness.Start(t, yaml)
	b.until("the page goes on", "document.querySelector('#lost').innerText === ''")
	b.sees("#link", "live")
	again.Admin = admin
	b.order(apps[0].Address, "disable", "")
	b.closed()
	b.sees(row(apps[0].Address, ".state"), "disabled")
	if v := again.Backend(t, "web", apps[0].Address); v.State != "disabled" {
		t.Errorf("the new process says %+v", v)
	}
}

func answers(t *testing.T, address string) bool {
	_, _, err := harness.Do(harness.Client(t), "GET", "http://"+address+"/livez", "")
	return err == nil
}

// Where a token is needed the page asks for it, and says when it is wrong.
func TestLogin(t *testing.T) {
	t.Parallel()
	const token = "the-token-of-this-test-0123456789abcdef"
	l := newLab(t, "{address: ADMIN, token: "+token+"}")
	b := newBrowser(t, 1280, 900)
	b.expect("401") // what this is about
	b.open(l.page("#/"))
	b.sees("dialog", "This API needs its token")
	b.write("#token", "something-else")
	b.click("[data-do=login]")
	b.sees("dialog .fault", "not right")
	b.write("#token", token)
	b.click("[data-do=login]")
	b.sees(".card.pool", "4 of 4 healthy")
	b.show("#/pool/shop")
	b.order(l.apps[0].Address, "disable", "")
	b.closed()
	b.sees(row(l.apps[0].Address, ".state"), "disabled")
	if where := js[string](b, "JSON.stringify(localStorage) + document.cookie"); strings.Contains(where, token) {
		t.Errorf("the token is kept beyond the tab: %s", where)
	}
}

// The theme follows the system until it is chosen, and the choice is kept.
func TestThemes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.set("live", liveOf("api", nil, liveBackend("127.0.0.1:3001", "healthy")))
	b := newBrowser(t, 1280, 900)
	b.open(f.URL)
	ground := func() string { return js[string](b, "getComputedStyle(document.body).backgroundColor") }
	b.sees(".card.pool", "api")
	light := ground()
	b.click("#theme")
	b.sees("#theme", "Light")
	b.click("#theme")
	b.sees("#theme", "Dark")
	if dark := ground(); dark == light {
		t.Errorf("dark and light have the ground %s", dark)
	}
	b.open(f.URL + "/?again")
	b.sees("#theme", "Dark")
	if ground() == light {
		t.Error("the choice was forgotten")
	}
}

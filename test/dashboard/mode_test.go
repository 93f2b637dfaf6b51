package dashboard_test

import (
	"fmt"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// locked is the state of a button: "ENABLED", or its title, which says why not.
func (b *browser) locked(selector string) string {
	b.t.Helper()
	return js[string](b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); return !e ? 'MISSING' : e.disabled ? e.title : 'ENABLED'; })()`, selector))
}

// Where nothing may be changed, no button offers it, the reason is on each page,
// and a reload that allows it is noticed without opening the page anew.
func TestReadOnlyOffersNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	open := read(t, l.File)
	closed := strings.Replace(open, "admin: "+l.Admin, "admin: {address: "+l.Admin+", read_only: true}", 1)
	if closed == open {
		t.Fatal("the configuration has no admin to close")
	}
	l.Reload(t, closed)
	at := l.apps[0].Address
	b := newBrowser(t, 1280, 900)
	b.expect("ERR_") // streams end when the admin API is exchanged
	b.open(l.page("#/pool/shop"))
	b.sees(row(at, ".state"), "healthy")
	b.sees("#mode", "Nothing can be changed here: the admin API is read-only")
	b.sees("#mode", "admin.read_only")
	for _, action := range []string{"drain", "disable", "enable", "weight"} {
		if why := b.locked(row(at, "[data-do="+action+"]")); !strings.Contains(why, "read-only") {
			t.Errorf("%s: %s", action, why)
		}
	}
	l.name(t, l.apps[0])
	b.show("#/")
	b.sees(".banner", "3 removals held back")
	b.sees("#mode", "read-only")
	for _, button := range []string{"[data-do=reload]", ".banner[data-key^='held/'] button"} {
		if why := b.locked(button); !strings.Contains(why, "read-only") {
			t.Errorf("%s: %s", button, why)
		}
	}
	if described := js[string](b, "document.querySelector('[data-do=reload]').getAttribute('aria-describedby') ?? ''"); described != "mode" {
		t.Errorf("who hears the page is not told why: %q", described)
	}
	l.Reload(t, open)
	b.until("the reason goes", "document.querySelector('#mode').innerText === ''")
	b.until("orders are offered", "!document.querySelector('[data-do=reload]').disabled")
	b.show("#/pool/shop")
	b.order(at, "disable", "")
	b.closed()
	b.sees(row(at, ".state"), "disabled")
}

// A token that is exchanged is asked for anew, with why; a slip is one guess, the
// dialog cannot be left without the token, and what it shows stays.
func TestTheTokenIsAskedForAnew(t *testing.T) {
	t.Parallel()
	const first, second = "the-first-token-of-this-test", "the-second-token-of-this-test"
	apps := harness.Apps(t, "a")
	file := t.TempDir() + "/token"
	write(t, file, first)
	s := harness.Start(t, fmt.Sprintf("listeners: {web: LISTEN}\nroutes: [{pool: web}]\npools: {web: {backends: [%q]}}\nadmin: {address: ADMIN, token_file: %s}\n", apps[0].Address, file))
	b := newBrowser(t, 1280, 900)
	b.expect("401") // what this is about
	b.expect("ERR_")
	b.open("http://" + s.Admin + "/")
	b.sees("dialog", "This API needs its token")
	if fault := js[string](b, "document.querySelector('dialog .fault').innerText"); fault != "" {
		t.Errorf("nothing was written yet, and the page says %q", fault)
	}
	for i := range 6 { // Ten wrong ones would lock the door.
		b.write("#token", fmt.Sprintf("slip-%d", i))
		b.click("[data-do=login]")
		b.sees("dialog .fault", "not right")
		js[bool](b, "(document.querySelector('dialog .fault').textContent = '', true)")
	}
	b.write("#token", "käse")
	b.click("[data-do=login]")
	b.sees("dialog .fault", "no letters beyond ASCII")
	js[bool](b, "(document.querySelector('dialog').requestClose?.(), document.querySelector('dialog').close(), true)")
	b.until("the dialog stays", "document.querySelector('dialog').open")
	b.write("#token", first)
	b.click("[data-do=login]")
	b.sees(".card.pool", "1 of 1 healthy")

	write(t, file, second)
	b.open("http://" + s.Admin + "/?again")
	b.sees("dialog .fault", "not right")
	b.write("#token", second)
	b.click("[data-do=login]")
	b.sees(".card.pool", "1 of 1 healthy")
	if where := js[string](b, "JSON.stringify(localStorage) + document.cookie + location.href"); strings.Contains(where, second) {
		t.Errorf("the token is kept beyond the tab: %s", where)
	}
}

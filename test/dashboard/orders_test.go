package dashboard_test

import (
	"fmt"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// row is the selector of a backend's row, or of something in it.
func row(address, within string) string {
	return fmt.Sprintf(`[data-backend=%q] %s`, address, within)
}

// order clicks the button of an action and, if the dialog has a field, writes
// into it, and confirms.
func (b *browser) order(address, action, value string) {
	b.t.Helper()
	b.click(row(address, fmt.Sprintf("[data-do=%s]", action)))
	b.until("the dialog is open", "document.querySelector('dialog[open]')")
	if js[bool](b, "Boolean(document.querySelector('dialog input'))") {
		b.write("dialog input", value)
	}
	b.click("dialog [data-do=confirm]")
}

func (b *browser) closed() {
	b.t.Helper()
	b.until("the dialog is closed", "!document.querySelector('dialog')")
}

// Every order that can be given on the page about a backend is given, and its
// result read on the page and in the API.
func TestEveryOrderIsCarriedOut(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	at := l.apps[0].Address
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/pool/shop"))
	b.sees(row(at, ".state"), "healthy")
	backend := func() harness.BackendView { return l.Backend(t, "shop", at) }

	for _, c := range []struct {
		name, action, value string
		shows               string // in the row
		holds               func(harness.BackendView) bool
	}{
		{"drain with a deadline", "drain", "45s", "draining", func(v harness.BackendView) bool {
			return v.State == "draining" && v.DrainLeft > 20000 && v.DrainLeft <= 45000
		}},
		{"enable after a drain", "enable", "", "healthy", func(v harness.BackendView) bool { return v.State == "healthy" }},
		{"drain by the pool's time", "drain", "", "draining", func(v harness.BackendView) bool {
			return v.State == "draining" && v.DrainLeft > 60000
		}},
		{"disable", "disable", "", "disabled", func(v harness.BackendView) bool { return v.State == "disabled" }},
		{"enable", "enable", "", "healthy", func(v harness.BackendView) bool { return v.State == "healthy" }},
		{"weight", "weight", "7", "7 effective", func(v harness.BackendView) bool { return v.Weight == 7 }},
		{"weight 0", "weight", "0", "0 effective", func(v harness.BackendView) bool { return v.Weight == 0 }},
		{"the configured weight", "weight", "", "1 effective", func(v harness.BackendView) bool { return v.Weight == 1 }},
	} {
		b.order(at, c.action, c.value)
		b.closed()
		b.sees(row(at, "td"), c.shows)
		if v := backend(); !c.holds(v) {
			t.Errorf("%s: the API shows %+v", c.name, v)
		}
	}

	var told struct {
		Orders []struct{ What, Backend, Value, Result string }
	}
	l.tell(t, "/api/v1/audit", &told)
	if len(told.Orders) != 8 || told.Orders[7].What != "drain" || told.Orders[7].Backend != at || told.Orders[7].Result != "ok" {
		t.Errorf("the audit has %+v", told.Orders)
	}
	b.show("#/")
	b.sees(".orders", "drain "+at+" in shop (45s)")
}

// A countdown runs, and what is wrong in a dialog is said there and changes
// nothing.
func TestOrdersThatAreNotCarriedOut(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	at := l.apps[1].Address
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/pool/shop"))
	b.sees(row(at, ".state"), "healthy")

	b.order(at, "weight", "70000")
	b.sees("dialog .fault", "whole number from 0 to 65535")
	b.click("dialog [data-do=cancel]")
	b.closed()
	b.expect("400") // the browser's own note of the answer
	b.order(at, "drain", "soon")
	b.sees("dialog .fault", "duration")
	b.click("dialog [data-do=cancel]")
	b.closed()
	b.click(row(at, "[data-do=disable]"))
	b.click("dialog [data-do=cancel]")
	b.closed()
	if v := l.Backend(t, "shop", at); v.State != "healthy" || v.Weight != 1 {
		t.Errorf("what was cancelled or wrong changed something: %+v", v)
	}
	if focus := js[string](b, "document.activeElement.getAttribute('aria-label') ?? ''"); focus != "Disable "+at {
		t.Errorf("after the dialog the focus is on %q", focus)
	}

	b.order(at, "drain", "30s")
	b.closed()
	b.sees(row(at, "td"), " s left")
	left := func() string {
		return js[string](b, fmt.Sprintf(`document.querySelector(%q).innerText.match(/(\d+) s left/)?.[1] ?? ''`, row(at, "td:nth-child(2)")))
	}
	first := left()
	b.until("the countdown runs", fmt.Sprintf(`!document.querySelector(%q).innerText.includes(%q)`, row(at, "td:nth-child(2)"), first+" s left"))
}

// What the guard holds is a banner; its button lets them go.
func TestHeldRemovalsAreReleased(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	b := newBrowser(t, 1280, 900)
	b.open(l.page("#/"))
	b.sees(".card.pool", "4 of 4 healthy")
	l.name(t, l.apps[0])
	b.sees(".banner", "3 removals held back")
	b.sees(".banner", l.apps[3].Address)
	b.click(".banner[data-key^='held/'] button")
	b.sees("dialog", "Release 3 held backends of shop?")
	b.click("dialog [data-do=confirm]")
	b.closed()
	b.sees(".note", "3 backends were released")
	b.until("the banner goes", "!document.querySelector(\".banner[data-key^='held/']\")")
	harness.Eventually(t, patience, "they have left", func() bool { return l.Pool(t, "shop").Total == 1 })
	b.sees(".card.pool", "1 of 1 healthy")
}

// A broken file shows all its errors; the mended one is reloaded by the button.
func TestReloadFromThePage(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ADMIN")
	var generation struct {
		ID   uint64
		File string
	}
	l.tell(t, "/api/v1/generation", &generation)
	good := read(t, generation.File)
	b := newBrowser(t, 1280, 900)
	b.expect("the server responded with a status of 4") // refused: what this is about
	b.open(l.page("#/"))
	b.sees(".card", fmt.Sprintf("Generation %d", generation.ID))

	write(t, generation.File, strings.Replace(strings.Replace(good, "sticky: cookie", "stickie: cookie", 1), "interval: 250ms", "interval: 250", 1))
	b.click("[data-do=reload]")
	b.click("dialog [data-do=confirm]")
	b.sees("dialog .fault", "stickie")
	b.click("dialog [data-do=cancel]")
	b.sees(".banner pre", "stickie")
	b.sees(".banner", "has no unit")
	b.sees(".banner .todo", "reload")

	write(t, generation.File, strings.Replace(good, "drain_timeout: 2m", "drain_timeout: 3m", 1))
	b.click(".banner[data-key=reload] button")
	b.click("dialog [data-do=confirm]")
	b.closed()
	b.until("the banner goes", "!document.querySelector('.banner[data-key=reload]')")
	b.sees(".card", fmt.Sprintf("Generation %d", generation.ID+1))
	b.sees(".changes", "drain_timeout")
}

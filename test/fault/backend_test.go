package fault_test

import (
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
	"steelyard/test/load"
)

// What was being answered by an app when it ended is lost for POSTs, which may
// have been done, and for GETs whose answer had begun. Nothing else is.
func TestABackendThatIsKilledAndComesBack(t *testing.T) {
	apps := apps(t)
	s := harness.Start(t, usual(apps))
	w := play(t, "killed", s.URL, apps, func() { apps[1].Kill(t) }, 4*time.Second, func() { apps[1].Again(t) })
	w.allow(t, map[string]int{"POST 502 reset_before_response": 10, "GET cut short": 5, "POST cut short": 5})
	within(t, "last error", w.lastError, time.Second)
	within(t, "recovery", w.recovered, 15*time.Second) // Left alone for up to 8 s at a time.
	within(t, "slowest GET", w.slowestGet, 4*time.Second)
}

// A stopped process accepts connections, as its kernel does that, and never
// answers. Its check finds that out; then GETs that wait for it are sent
// elsewhere. POSTs wait, as they may have been done; here the process goes on. The
// first thing it then does is to close connections that were idle for 5 s by its
// clock, before it reads the POSTs that have arrived there meanwhile.
func TestABackendThatIsStoppedAndGoesOn(t *testing.T) {
	apps := apps(t)
	s := harness.Start(t, usual(apps))
	w := play(t, "stopped (SIGSTOP)", s.URL, apps,
		func() { apps[1].Signal(t, syscall.SIGSTOP) }, 15*time.Second, func() { apps[1].Signal(t, syscall.SIGCONT) })
	// As many at most as connections were idle when it was stopped.
	w.allow(t, map[string]int{"POST 502 reset_before_response": 30})
	// A check begins after 5 s at most; three fail after 2 s each.
	within(t, "slowest GET", w.slowestGet, 13*time.Second)
	within(t, "slowest POST", w.slowestPost, 17*time.Second)
	within(t, "recovery", w.recovered, 12*time.Second)
}

// When nothing accepts connections for it either, no request can have reached it:
// after the time for a connection POSTs go elsewhere, too, and then it is left alone.
// A few connections were taken before that; what is on them waits.
func TestABackendThatIsStoppedAndTakesNoConnections(t *testing.T) {
	apps := load.Apps(t, []string{"a", "b", "c"}, "DELAY_MS="+think, "BACKLOG=1")
	s := harness.Start(t, usual(apps))
	w := play(t, "stopped, no connections", s.URL, apps,
		func() { apps[1].Signal(t, syscall.SIGSTOP) }, 8*time.Second, func() { apps[1].Signal(t, syscall.SIGCONT) })
	w.allow(t, map[string]int{"POST 502 reset_before_response": 30})
	within(t, "recovery", w.recovered, 15*time.Second)
}

// The worst kind, as its check goes well all the time. After five such answers
// in a row it is out, for 10 s; it is not asked again before.
func TestABackendThatResetsInTheMiddleOfBodies(t *testing.T) {
	apps := apps(t)
	s := harness.Start(t, usual(apps))
	w := play(t, "resets mid-body", s.URL, apps,
		func() { apps[1].Set(t, "behave", "midbody") }, 4*time.Second, func() { apps[1].Set(t, "behave", "well") })
	w.allow(t, map[string]int{"GET cut short": 15, "POST cut short": 15})
	within(t, "last error", w.lastError, time.Second)
	within(t, "recovery", w.recovered, 12*time.Second)
}

func TestABackendThatSendsGarbage(t *testing.T) {
	apps := apps(t)
	s := harness.Start(t, usual(apps))
	w := play(t, "sends garbage", s.URL, apps,
		func() { apps[1].Set(t, "behave", "garbage") }, 4*time.Second, func() { apps[1].Set(t, "behave", "well") })
	w.allow(t, map[string]int{
		"GET 502 bad_response": 20, "POST 502 bad_response": 20, "GET cut short": 5, "POST cut short": 5,
		"POST 502 reset_before_response": 10, // It closes without having read the body, which may overtake what it sent.
	})
	within(t, "last error", w.lastError, 2*time.Second)
	within(t, "recovery", w.recovered, 12*time.Second)
}

// Being slow is no failure; it must not make the others slow.
func TestABackendThatIsTenTimesSlower(t *testing.T) {
	apps := apps(t)
	s := harness.Start(t, usual(apps))
	w := play(t, "10 times slower", s.URL, apps,
		func() { apps[1].Set(t, "delay", "50") }, 4*time.Second, func() { apps[1].Set(t, "delay", think) })
	w.allow(t, nil)
	within(t, "recovery", w.recovered, 3*time.Second)
	within(t, "median of the others", w.typical, 40*time.Millisecond)
}

// Every request gets its answer at once, an error that says what is wrong, and
// none does when the apps are back, before a check has seen it.
func TestAllBackendsKilledAndBack(t *testing.T) {
	apps := apps(t)
	s := harness.Start(t, usual(apps))
	const lasts = 4 * time.Second
	var down, up time.Time
	w := play(t, "all killed", s.URL, apps,
		func() { down = time.Now(); each(apps, func(a *load.App) { a.Kill(t) }) },
		lasts, func() { each(apps, func(a *load.App) { a.Again(t) }); up = time.Now() })
	w.allow(t, map[string]int{
		"GET 502 connect_refused": 2 * rate * int(up.Sub(down)/time.Second+1) / 3, "POST 502 connect_refused": rate * int(up.Sub(down)/time.Second+1) / 3,
		"GET 502 reset_before_response": 15, "POST 502 reset_before_response": 15, "GET cut short": 10, "POST cut short": 10,
	})
	within(t, "last error after the last app was back", w.lastError-up.Sub(down), time.Second)
	within(t, "recovery", w.recovered, 12*time.Second)
	within(t, "slowest GET", w.slowestGet, 4*time.Second)
	within(t, "slowest POST", w.slowestPost, 4*time.Second)
}

func each(apps []*load.App, do func(*load.App)) {
	for _, a := range apps {
		do(a)
	}
}

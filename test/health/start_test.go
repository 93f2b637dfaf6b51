package health_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

func TestNoRequestReachesABackendBeforeItsFirstPassingCheck(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "well", "ill")
	apps[1].Set(t, "health", 500)
	s := harness.Begin(t, onePool("check: {path: /healthz, interval: 150ms, timeout: 5s, rise: 3}", apps...))
	if got := harness.Shares(t, harness.Client(t), s.URL, 50); got["well"] != 50 {
		t.Errorf("of the first 50 requests: %v", got)
	}
	apps[1].Set(t, "health", 200)
	harness.Eventually(t, patience, "the ill backend passes", func() bool {
		b := s.Backend(t, "web", apps[1].Address)
		if b.State == "healthy" {
			return true
		}
		if b.Requests != 0 {
			t.Fatalf("%d requests reached it while it was %s", b.Requests, b.State)
		}
		return false
	})
	if got := harness.Shares(t, harness.Client(t), s.URL, 20); got["ill"] != 10 {
		t.Errorf("when both are well: %v", got)
	}
}

// starts is a configuration with one backend in several pools, each with
// settings of its own; the host p0.test is for the first.
func starts(app *harness.Node, pools ...string) string {
	var routes, all strings.Builder
	for i, p := range pools {
		fmt.Fprintf(&routes, "  - {match: {host: p%d.test}, pool: p%d}\n", i, i)
		fmt.Fprintf(&all, "  p%d: {backends: [%s], %s}\n", i, app.Address, p)
	}
	return fmt.Sprintf("listeners: {web: {address: \"LISTEN\"}}\nadmin: ADMIN\nroutes:\n%spools:\n%s", routes.String(), all.String())
}

func TestHangingChecksDelayTheStartBy6SecondsAtMost(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "a")
	app.Set(t, "health", 0)
	s := harness.Begin(t, starts(app,
		"check: {path: /healthz, interval: 60s, timeout: 30s}",
		"check: {path: /healthz, interval: 60s, timeout: 30s}, when_all_unhealthy: reject",
	))
	began := time.Now()
	c := harness.Client(t)
	if got := harness.Get(t, c, s.URL, "Host: p0.test"); got != "a" {
		t.Errorf("use_all: %q", got)
	}
	if took := time.Since(began); took < 4*time.Second || took > 6500*time.Millisecond {
		t.Errorf("the first request took %v; want about 5s", took)
	}
	rejected(t, c, s.URL, "Host: p1.test")
	if p := s.Pool(t, "p0"); p.FailOpen == nil || p.Backends[0].State != "checking" || !strings.Contains(p.Why, app.Address+" is checking") {
		t.Errorf("use_all shows %+v", p)
	}
}

// rejected asks and wants to hear that there is no backend.
func rejected(t *testing.T, c *http.Client, url string, headers ...string) {
	t.Helper()
	status, _, err := harness.Do(c, "GET", url, "", headers...)
	var cause *harness.CauseError
	if !errors.As(err, &cause) || cause.Cause != "no_backend" || status != http.StatusServiceUnavailable {
		t.Errorf("%d %v; want 503 no_backend", status, err)
	}
}

func TestStartSaysWhatABackendIsBeforeItsFirstCheck(t *testing.T) {
	t.Parallel()
	app := harness.App(t, "a")
	app.Set(t, "health", 0)
	t.Run("healthy is used at once", func(t *testing.T) {
		s := harness.Begin(t, starts(app, "check: {path: /healthz, interval: 60s, timeout: 30s, start: healthy}"))
		began := time.Now()
		if got := harness.Get(t, harness.Client(t), s.URL, "Host: p0.test"); got != "a" || time.Since(began) > 2*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		if p := s.Pool(t, "p0"); p.FailOpen != nil || p.Backends[0].State != "healthy" || len(p.Backends[0].Check.Results) != 0 {
			t.Errorf("before its first check has ended: %+v", p)
		}
	})
	app.Set(t, "health", 200)
	t.Run("unhealthy has to rise", func(t *testing.T) {
		const rise = 4
		s := harness.Begin(t, onePool(fmt.Sprintf(
			"check: {path: /healthz, interval: 400ms, timeout: 5s, start: unhealthy, rise: %d}, when_all_unhealthy: reject", rise), app))
		c := harness.Client(t)
		rejected(t, c, s.URL)
		watchChange(t, s, app, "unhealthy", "healthy", true, rise)
		harness.Get(t, c, s.URL)
	})
}

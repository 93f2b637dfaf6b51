package health_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// Each probe takes an ill backend out after `fall` failures and back after `rise`
// passes, neither sooner nor later, and clients see nothing of either.
func TestAnIllBackendLeavesAfterFallAndComesBackAfterRise(t *testing.T) {
	for _, c := range []struct {
		probe  string
		check  func(dir string) string
		ill    func(t *testing.T, app *harness.Node, dir string, ill bool)
		reason string
	}{
		{
			probe:  "http",
			check:  func(string) string { return "path: /healthz" },
			ill:    answer500,
			reason: "500",
		},
		{
			probe:  "tcp",
			check:  func(string) string { return `tcp: {send: "GET /healthz HTTP/1.0\r\n\r\n", expect: "200 OK"}` },
			ill:    answer500,
			reason: `200 OK`,
		},
		{
			probe: "exec",
			check: func(dir string) string {
				return fmt.Sprintf(`exec: [%s/check.sh, "%s/ill-{port}"]`, dir, dir)
			},
			ill:    markIll,
			reason: "exit status 7",
		},
	} {
		t.Run(c.probe, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := "#!/bin/sh\nif [ -e \"$1\" ]; then exit 7; fi\n"
			if err := os.WriteFile(filepath.Join(dir, "check.sh"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			apps := harness.Apps(t, "a", "b", "c")
			const fall, rise = 4, 3
			s := harness.Start(t, onePool(fmt.Sprintf("check: {%s, interval: 150ms, timeout: 5s, fall: %d, rise: %d}", c.check(dir), fall, rise), apps...))
			l := begin(t, s.URL, 6)
			l.flows(50)

			c.ill(t, apps[1], dir, true)
			b := watchChange(t, s, apps[1], "healthy", "unhealthy", false, fall)
			if !strings.Contains(b.Reason, c.reason) {
				t.Errorf("the reason is %q; want it to name %q", b.Reason, c.reason)
			}
			l.flows(20)
			harness.Eventually(t, patience, "what was sent before is answered", func() bool {
				return s.Backend(t, "web", apps[1].Address).InFlight == 0
			})
			before := s.Backend(t, "web", apps[1].Address).Requests
			l.flows(100)
			if after := s.Backend(t, "web", apps[1].Address).Requests; after != before {
				t.Errorf("the ill backend got %d requests", after-before)
			}

			c.ill(t, apps[1], dir, false)
			watchChange(t, s, apps[1], "unhealthy", "healthy", true, rise)
			harness.Eventually(t, patience, "the well backend gets requests", func() bool {
				return s.Backend(t, "web", apps[1].Address).Requests > before+20
			})
			l.end(apps...)
		})
	}
}

func answer500(t *testing.T, app *harness.Node, _ string, ill bool) {
	t.Helper()
	status := 200.
	if ill {
		status = 500
	}
	app.Set(t, "health", status)
}

func markIll(t *testing.T, app *harness.Node, dir string, ill bool) {
	t.Helper()
	_, port, _ := strings.Cut(app.Address, ":")
	mark, err := filepath.Join(dir, "ill-"+port), error(nil)
	if ill {
		err = os.WriteFile(mark, nil, 0o600)
	} else {
		err = os.Remove(mark)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// watchChange waits for a backend to go from one state to another, and holds
// every look at it to this: as long as less than n checks in a row ended as ok
// says it is what it was, and as soon as more than n did it is not.
func watchChange(t *testing.T, s *harness.Steelyard, app *harness.Node, from, to string, ok bool, n int) (b harness.BackendView) {
	t.Helper()
	harness.Eventually(t, patience, app.Name+" is "+to, func() bool {
		b = s.Backend(t, "web", app.Address)
		row := 0
		for i := len(b.Check.Results) - 1; i >= 0 && b.Check.Results[i].OK == ok; i-- {
			row++
		}
		switch {
		case b.State == from && row > n, b.State == to && row < n:
			t.Fatalf("%s after %d checks in a row with ok: %v; want %s after %d", b.State, row, ok, to, n)
		case b.State != from && b.State != to:
			t.Fatalf("%s (%s)", b.State, b.Reason)
		}
		return b.State == to
	})
	return b
}

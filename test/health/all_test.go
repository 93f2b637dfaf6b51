package health_test

import (
	"strings"
	"testing"

	"steelyard/test/harness"
)

func TestAPoolOfWhichAllAreIllIsUsedLoudly(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, onePool("check: {path: /healthz, interval: 100ms, timeout: 5s, fall: 2, rise: 2}", apps...))
	l := begin(t, s.URL, 4)
	l.flows(20)
	if p := s.Pool(t, "web"); p.FailOpen != nil || p.Healthy != 2 || p.Counters.FailOpenRequests != 0 {
		t.Fatalf("while all is well: %+v", p)
	}
	for _, app := range apps {
		app.Set(t, "health", 500)
	}
	harness.Eventually(t, patience, "the pool fails open", func() bool { return s.Pool(t, "web").FailOpen != nil })
	l.flows(50)
	p := s.Pool(t, "web")
	if p.Healthy != 0 || p.Counters.FailOpens != 1 || p.Counters.FailOpenRequests < 40 {
		t.Errorf("%d healthy, counters %+v; want none, 1 fail open and its requests", p.Healthy, p.Counters)
	}
	for _, app := range apps {
		if !strings.Contains(p.Why, app.Address+" is unhealthy (") {
			t.Errorf("why: %q; want it to name %s", p.Why, app.Address)
		}
	}
	said(t, s, "no backend is healthy; all are used rather than none", apps[0].Address, apps[1].Address, "500")

	apps[0].Set(t, "health", 200)
	harness.Eventually(t, patience, "one is well", func() bool { return s.Pool(t, "web").FailOpen == nil })
	l.flows(20)
	counted := s.Pool(t, "web").Counters.FailOpenRequests
	l.flows(50)
	if p := s.Pool(t, "web"); p.Counters.FailOpenRequests != counted || p.Healthy != 1 {
		t.Errorf("with one well: %+v", p)
	}
	said(t, s, "some backend is healthy again")
	l.end(apps...)
}

func TestAPoolOfWhichAllAreIllRejectsIfAskedTo(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, onePool("check: {path: /healthz, interval: 100ms, timeout: 5s, fall: 2, rise: 2}, when_all_unhealthy: reject", apps...))
	c := harness.Client(t)
	harness.Get(t, c, s.URL)
	for _, app := range apps {
		app.Set(t, "health", 500)
		becomes(t, s, app, "unhealthy")
	}
	rejected(t, c, s.URL)
	said(t, s, "request failed", "cause=no_backend", apps[0].Address+" is unhealthy", apps[1].Address+" is unhealthy", "500")
	if p := s.Pool(t, "web"); p.FailOpen != nil || p.Counters.FailOpens != 0 || !strings.Contains(p.Why, apps[1].Address) {
		t.Errorf("the pool shows %+v", p)
	}
	apps[1].Set(t, "health", 200)
	becomes(t, s, apps[1], "healthy")
	if got := harness.Get(t, c, s.URL); got != "b" {
		t.Errorf("with b well again: %q", got)
	}
}

// said waits for one line of the log that has all the words.
func said(t *testing.T, s *harness.Steelyard, words ...string) {
	t.Helper()
	harness.Eventually(t, patience, "the log says "+strings.Join(words, " … "), func() bool {
		for line := range strings.Lines(s.Output()) {
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return true
			}
		}
		return false
	})
}

package health_test

import (
	"fmt"
	"testing"
	"time"

	"steelyard/test/harness"
)

func TestAFlappingBackendMovesNobodyElsesKeys(t *testing.T) {
	t.Parallel()
	const keys = 1000
	apps := harness.Apps(t, "a", "b", "c", "flapping")
	s := harness.Start(t, ramping("check: {path: /healthz, interval: 200ms, timeout: 5s, rise: 1, fall: 1}", keyed, apps))
	before := owners(t, s, keys)

	direct := harness.Client(t)
	turn := func(health int) {
		if _, _, err := harness.Do(direct, "GET", fmt.Sprintf("http://%s/_set?health=%d", apps[3].Address, health), ""); err != nil {
			t.Error(err)
		}
	}
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for status := 500; ; status = 700 - status {
			turn(status)
			select {
			case <-tick.C:
			case <-done:
				turn(200)
				return
			}
		}
	}()
	rounds, moved := 0, 0
	for began := time.Now(); time.Since(began) < 4500*time.Millisecond; {
		for key, name := range owners(t, s, keys) {
			switch {
			case name == before[key]:
			case before[key] == "flapping":
				moved++
			default:
				t.Errorf("%s moved from %s to %s", key, before[key], name)
			}
		}
		rounds++
	}
	close(done)
	<-ended
	if moved == 0 {
		t.Error("the flapping backend never lost a key, so this shows nothing")
	}
	for _, policy := range keyed {
		becomesIn(t, s, policy, apps[3].Address, "healthy")
	}
	for key, name := range owners(t, s, keys) {
		if name != before[key] {
			t.Errorf("%s is at %s now and was at %s", key, name, before[key])
		}
	}
	t.Logf("%d keys in each of %d rounds; %d times one of the flapping backend's was elsewhere", 2*keys, rounds, moved)
}

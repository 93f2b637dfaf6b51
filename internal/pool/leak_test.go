package pool

import (
	"runtime"
	"testing"

	"steelyard/discovery"
	"steelyard/healthcheck"
)

// TestAThousandChangesLeaveNothing: members that come and go, with checks and
// affinity, leave no goroutine and no backend behind while the pool runs on.
func TestAThousandChangesLeaveNothing(t *testing.T) {
	checks := healthcheck.NewScheduler()
	defer checks.Close()
	o := options(0)
	check := healthcheck.DefaultOptions()
	check.Type = "tcp"
	o.Check, o.Checks = &check, checks
	src := newFakeSource()
	o.Sources = []SourceOptions{{Key: "fake", Source: src, Guard: discovery.GuardOptions{MaxRemoval: 1}}}
	p := newPool(t, o)
	nobodyListens := func(from, n int) []discovery.Member {
		all := manyMembers(from, n)
		for i := range all {
			all[i].Address = "127.0.0.1:" + string(rune('1'+(from+i)%9))
		}
		return all
	}
	src.set(nobodyListens(0, 3))
	written(t, p)
	eventually(t, "the first checks have ended", func() bool { return state(t, p, "127.0.0.1:1") == "unhealthy" })
	before := runtime.NumGoroutine()
	for i := range 1000 {
		src.set(nobodyListens(i%9, 1+i%5))
		if i%50 == 0 {
			written(t, p)
		}
	}
	src.set(nobodyListens(0, 3))
	written(t, p)
	eventually(t, "only those are left who are named", func() bool {
		s, err := p.Status()
		return err == nil && len(s.Backends) == 3
	})
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+1 }) // a check may be running
}

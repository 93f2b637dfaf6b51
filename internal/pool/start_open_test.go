package pool

import (
	"testing"
	"time"
)

// TestStartIsNoAlarm: a backend that fails its first check before another has
// passed its own is no fail open; that all fail is one.
func TestStartIsNoAlarm(t *testing.T) {
	const alarm = "no backend is healthy"
	for _, c := range []struct {
		name   string
		b0, b1 string
		want   int
	}{
		{"one is down, the other slow", "down", "slow", 0},
		{"both are down", "down", "down", 1},
		{"one is down, the other hangs", "down", "hangs", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			prepare := func(l *lab) {
				l.probe.put("b0", c.b0)
				l.probe.put("b1", c.b1)
			}
			inLab(t, 2, all(checked, prepare), func(l *lab) {
				<-l.Ready()
				time.Sleep(2 * sweepEvery)
				settle()
				s, err := l.Status()
				if err != nil {
					t.Fatal(err)
				}
				if n, told := l.Stats.FailOpens.Load(), l.log.lines(alarm); n != int64(c.want) || told != c.want || s.FailOpenSince.IsZero() != (c.want == 0) {
					t.Errorf("%d fail opens, told %d times, since %v; want %d", n, told, s.FailOpenSince, c.want)
				}
			})
		})
	}
}

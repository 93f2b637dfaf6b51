package health_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// A file with a list of backends is exchanged 1,000 times while two pools that
// read it are asked all the time. One pool lets go of who leaves at once, the
// other drains him, with its sessions, for a second.
func TestAThousandChangesOfMembershipLeakNothing(t *testing.T) {
	t.Parallel()
	const changes = 1000
	apps := harness.Apps(t, "a", "b", "c", "d", "e", "f")
	var live, dead []string
	for _, app := range apps {
		live = append(live, app.Address)
	}
	for range 4 {
		dead = append(dead, harness.FreeAddress(t))
	}
	file := newList(t, live...)
	settings := "source: {file: " + file.path + "}, check: {path: /healthz, interval: 2s, timeout: 2s}, drain_timeout: 1s, keepalive: {idle_timeout: 1s}"
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN"}}
routes: [{match: {host: sticky.test}, pool: sticky}, {pool: web}]
admin: ADMIN
pools:
  web: {%s}
  sticky: {%s, sticky: cookie}
`, settings, settings))

	// use lets both pools work for a while, and measures them at rest.
	use := func(work func()) (fds int, memory int64) {
		t.Helper()
		web := begin(t, s.URL, 4)
		sticky := gather(t, s.URL, 2, "Host: sticky.test")
		web.flows(100)
		work()
		web.flows(100)
		web.end(apps...)
		sticky.stop()
		if bad := sticky.total.Load() - sticky.statuses[200].Load(); bad != 0 {
			t.Errorf("%d of %d requests to the sticky pool failed", bad, sticky.total.Load())
		}
		fds = rest(t, s)
		memory, _ = s.Memory(t)
		return fds, memory
	}
	fds, memory := use(func() {})
	members := live
	fdsAfter, memoryAfter := use(func() {
		for range changes {
			members = another(members, live, dead)
			file.write(t, members...)
			arrived(t, s, members)
		}
		file.write(t, live...)
		arrived(t, s, live)
	})
	t.Logf("%d changes: %d file descriptors before, %d after; %d MiB before, %d after",
		changes, fds, fdsAfter, memory>>20, memoryAfter>>20)
	// A check may be open at the moment of the count.
	if fdsAfter > fds+2 {
		t.Errorf("%d file descriptors were open before and %d are after", fds, fdsAfter)
	}
	if grown := memoryAfter - memory; grown > 24<<20 {
		t.Errorf("the memory grew by %d MiB", grown>>20)
	}
	// Two pools check six backends every other second, and nobody else does.
	const window = 2 * time.Second
	before := checksOf(t, apps)
	time.Sleep(window)
	if n := checksOf(t, apps) - before; n > 2*2*len(apps) {
		t.Errorf("%d checks ran within %v; want %d", n, window, 2*len(apps))
	}
	for _, pool := range []string{"web", "sticky"} {
		if p := s.Pool(t, pool); len(p.Backends) != len(live) || p.Healthy != len(live) {
			t.Errorf("pool %s ended with %d backends, %d healthy", pool, len(p.Backends), p.Healthy)
		}
	}
}

func checksOf(t *testing.T, apps []*harness.Node) (n int) {
	t.Helper()
	for _, app := range apps {
		n += app.Stats(t).Checks
	}
	return n
}

// another is a random membership that has one of the live members of the last.
func another(last, live, dead []string) []string {
	var stays []string
	for _, address := range last {
		if slices.Contains(live, address) {
			stays = append(stays, address)
		}
	}
	all := []string{stays[rand.IntN(len(stays))]}
	for _, address := range slices.Concat(live, dead) {
		if rand.IntN(2) == 0 && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// arrived waits until both pools have exactly these members, and a live one that
// is used.
func arrived(t *testing.T, s *harness.Steelyard, members []string) {
	t.Helper()
	for _, pool := range []string{"web", "sticky"} {
		harness.Eventually(t, patience, "pool "+pool+" has "+strings.Join(members, ", "), func() bool {
			p := s.Pool(t, pool)
			var have []string
			for _, b := range p.Backends {
				if !b.Left {
					have = append(have, b.Address)
				}
			}
			slices.Sort(have)
			return slices.Equal(have, slices.Sorted(slices.Values(members))) && p.Healthy > 0
		})
	}
}

// rest waits until no request and no idle connection is left, and counts the
// open file descriptors.
func rest(t *testing.T, s *harness.Steelyard) int {
	t.Helper()
	harness.Eventually(t, patience, "no connection is open", func() bool {
		for _, pool := range []string{"web", "sticky"} {
			for _, b := range s.Pool(t, pool).Backends {
				if b.InFlight != 0 || b.Connections != 0 || b.Left {
					return false
				}
			}
		}
		return true
	})
	least := 1 << 30
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, len(open))
	}
	return least
}

// Nobody of the old list is in the new one, and nobody of the new one has been
// checked yet.
func TestAllMembersAreExchangedAtOnceWithoutAnError(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c", "d")
	file := newList(t, apps[0].Address, apps[1].Address)
	s := harness.Start(t, file.pool("check: {path: /healthz, interval: 1s}"))
	l := begin(t, s.URL, 8)
	l.flows(50)
	for round := range 10 {
		at := 2 - 2*(round%2)
		file.write(t, apps[at].Address, apps[at+1].Address)
		becomes(t, s, apps[at], "healthy")
		l.flows(20)
	}
	l.end(apps...)
}

package health_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
)

// Policies whose shares are measured, and those that keep keys on their backends.
var (
	sharing = []string{"round_robin", "random", "power_of_two", "least_connections", "least_time"}
	keyed   = []string{"consistent_hash", "maglev"}
)

// ramping is a configuration with a pool for each policy, named after it, over
// the same backends. Requests choose their pool by host.
func ramping(settings string, policies []string, apps []*harness.Node) string {
	var routes, pools strings.Builder
	for _, policy := range policies {
		chosen := policy
		if policy == "consistent_hash" || policy == "maglev" {
			chosen = fmt.Sprintf(`{%s: {key: "header:x-key"}}`, policy)
		}
		name := strings.ReplaceAll(policy, "_", "-")
		fmt.Fprintf(&routes, "  - {match: {host: %s.test}, pool: %s}\n", name, policy)
		fmt.Fprintf(&pools, "  %s: {policy: %s, backends: [%s], %s}\n", policy, chosen, addresses(apps), settings)
	}
	return fmt.Sprintf("listeners: {web: {address: \"LISTEN\"}}\nadmin: ADMIN\nroutes:\n%spools:\n%s", routes.String(), pools.String())
}

func hostOf(policy string) string {
	return "Host: " + strings.ReplaceAll(policy, "_", "-") + ".test"
}

// sample is one answer of the newcomer or of another.
type sample struct {
	at    time.Time
	isNew bool
}

// sampled is constant traffic to a pool, each answer noted with its time.
func sampled(t *testing.T, url, policy, newcomer string, clients int) (stop func() []sample) {
	t.Helper()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		samples []sample
	)
	c := harness.Client(t)
	done := make(chan struct{})
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				began := time.Now()
				status, name, err := harness.Do(c, "GET", url, "", hostOf(policy))
				if err != nil || status != http.StatusOK {
					t.Errorf("%s: %d %v", policy, status, err)
					return
				}
				mu.Lock()
				samples = append(samples, sample{began, name == newcomer})
				mu.Unlock()
			}
		})
	}
	return func() []sample {
		close(done)
		wg.Wait()
		return samples
	}
}

// A backend comes back by its check while twenty clients of each pool ask all
// the time. What it gets is counted second by second, as a share of what each
// of the four backends gets when all are equal.
func TestANewcomerGetsItsShareSlowlyWithEveryPolicy(t *testing.T) {
	const slow = 4
	var apps []*harness.Node
	for _, name := range []string{"a", "b", "c", "newcomer"} {
		apps = append(apps, harness.App(t, name, "DELAY_MS=60"))
	}
	newcomer := apps[3]
	s := harness.Start(t, ramping(fmt.Sprintf("check: {path: /healthz, interval: 100ms, timeout: 5s, fall: 2, rise: 2}, slow_start: %ds", slow), sharing, apps))
	newcomer.Set(t, "health", 500)
	for _, policy := range sharing {
		becomesIn(t, s, policy, newcomer.Address, "unhealthy")
	}
	stops := map[string]func() []sample{}
	for _, policy := range sharing {
		stops[policy] = sampled(t, s.URL, policy, "newcomer", 16)
	}
	newcomer.Set(t, "health", 200)
	up := map[string]time.Time{}
	for _, policy := range sharing {
		up[policy] = becomesIn(t, s, policy, newcomer.Address, "slow_start").Since
	}
	for _, policy := range sharing {
		becomesIn(t, s, policy, newcomer.Address, "healthy")
	}
	time.Sleep(time.Second) // The time after the ramp is measured too.
	for _, policy := range sharing {
		compareWithRamp(t, policy, stops[policy](), up[policy], slow)
	}
}

// compareWithRamp counts samples second by second. While the weight rises from
// 0 to 1, one of four gets weight/(3+weight) of the requests; drawing them at
// random strays from that by what a binomial distribution does. Policies that
// look at the load give less to a backend that is slow at the moment, and more
// to one that is not once it has its weight; but never more while it ramps.
func compareWithRamp(t *testing.T, policy string, samples []sample, up time.Time, slow int) {
	t.Helper()
	type window struct{ requests, got, want, variance float64 }
	windows := make([]window, slow+1) // the last has all that came after the ramp
	for _, x := range samples {
		at := x.at.Sub(up).Seconds()
		if at < 0 {
			continue
		}
		weight := min(at/float64(slow), 1)
		p := weight / (3 + weight)
		w := &windows[min(int(at), slow)]
		w.requests++
		w.want += p
		w.variance += p * (1 - p)
		if x.isNew {
			w.got++
		}
	}
	looks := policy != "round_robin" && policy != "random"
	var shares, requests []float64
	var got, want float64
	for i, w := range windows {
		stray := 4.5*math.Sqrt(w.variance) + 0.04*w.requests
		if w.got > w.want+stray && (i < slow || !looks) || w.got < w.want-stray && !looks {
			t.Errorf("%s: in second %d the newcomer got %.0f of %.0f requests; want %.0f", policy, i+1, w.got, w.requests, w.want)
		}
		got, want = got+w.got, want+w.want
		shares, requests = append(shares, 4*w.got/max(w.requests, 1)), append(requests, w.requests)
	}
	if len(samples) < 100 || got < want/2 {
		t.Errorf("%s: of %d requests the newcomer got %.0f; want about %.0f", policy, len(samples), got, want)
	}
	t.Logf("%-18s gave %.2f of a fair share, second by second, of %v requests", policy, shares, requests)
}

// A newcomer takes more and more of the keys that are its own, and no other key
// moves.
func TestANewcomerTakesItsOwnKeysOnly(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c", "newcomer")
	newcomer := apps[3]
	s := harness.Start(t, ramping("check: {path: /healthz, interval: 100ms, timeout: 5s, fall: 2, rise: 2}, slow_start: 2s", keyed, apps))
	const keys = 150
	own := owners(t, s, keys)
	newcomer.Set(t, "health", 500)
	for _, policy := range keyed {
		becomesIn(t, s, policy, newcomer.Address, "unhealthy")
	}
	without := owners(t, s, keys)
	newcomer.Set(t, "health", 200)
	for _, policy := range keyed {
		becomesIn(t, s, policy, newcomer.Address, "slow_start")
	}
	taken := map[string]bool{}
	for pass, done := 0, false; !done; pass++ {
		done = true
		for _, policy := range keyed {
			done = done && s.Backend(t, policy, newcomer.Address).State == "healthy"
		}
		now := map[string]float64{} // keys of the newcomer by policy
		for key, name := range owners(t, s, keys) {
			switch {
			case name == own[key] && name == "newcomer":
				policy, _, _ := strings.Cut(key, "/")
				now[policy]++
				taken[key] = true
			case name != without[key]:
				t.Fatalf("pass %d: %s moved from %s to %s", pass, key, without[key], name)
			case taken[key]:
				t.Errorf("pass %d: %s left the newcomer again", pass, key)
			}
		}
		for _, policy := range keyed {
			n, p := float64(count(own, policy, "newcomer")), float64(s.Backend(t, policy, newcomer.Address).Percent)/100
			if most := n*p + 4*math.Sqrt(n*p*(1-p)) + 2; now[policy] > most {
				t.Errorf("pass %d, %s: it had %.0f of its %.0f keys at %.0f %% of its weight", pass, policy, now[policy], n, 100*p)
			}
		}
	}
	if now := owners(t, s, keys); !maps.Equal(now, own) {
		t.Error("after its slow start some keys are not where they were")
	}
	for _, policy := range keyed {
		if n := count(own, policy, "newcomer"); n < keys/10 {
			t.Errorf("%s: only %d of %d keys are the newcomer's, so this shows little", policy, n, keys)
		}
	}
}

// count is how many keys of a pool a backend owns.
func count(owners map[string]string, pool, name string) (n int) {
	for key, owner := range owners {
		if owner == name && strings.HasPrefix(key, pool+"/") {
			n++
		}
	}
	return n
}

// owners asks with each key in each keyed pool who answers.
func owners(t *testing.T, s *harness.Steelyard, keys int) map[string]string {
	t.Helper()
	c := harness.Client(t)
	defer c.CloseIdleConnections()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all = map[string]string{}
	)
	const clients = 4
	for n := range clients {
		wg.Go(func() {
			for key := n; key < keys; key += clients {
				for _, policy := range keyed {
					status, name, err := harness.Do(c, "GET", s.URL, "", hostOf(policy), fmt.Sprintf("X-Key: key-%d", key))
					if err != nil || status != http.StatusOK {
						t.Errorf("%s with key %d: %d %v", policy, key, status, err)
						return
					}
					mu.Lock()
					all[fmt.Sprintf("%s/%d", policy, key)] = name
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return all
}

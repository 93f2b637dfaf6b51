package limits_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
	"steelyard/test/load"
)

const (
	// attackers is how many slow connections there are at a time.
	attackers = 5000
	// maxMemory is what Steelyard may have in memory meanwhile, in bytes.
	maxMemory = 256 << 20
	// rate is how many requests of good clients there are in a second, and watched how
	// long their latency is measured.
	rate, watched = 200, 6 * time.Second
)

// TestGoodClientsNoticeNoAttack: with 5,000 slow connections of slowhttptest, of each
// of its kinds, all requests of good clients go well and about as fast as before,
// and Steelyard needs little memory. The figures are in docs/reliability.md.
func TestGoodClientsNoticeNoAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	tool, err := exec.LookPath("slowhttptest")
	if err != nil {
		t.Fatal("there is no slowhttptest; tools/need slowhttptest installs it")
	}
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"slow heads", []string{"-H", "-i", "3", "-u", "http://TARGET/"}},
		{"slow bodies", []string{"-B", "-i", "3", "-s", "100000", "-x", "2", "-u", "http://TARGET/attack"}},
		{"slow readers", []string{"-X", "-n", "2", "-z", "16", "-w", "512", "-y", "1024", "-u", "http://TARGET/attack"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, victim := underAttack(t)
			l := load.Begin(t, s.URL, rate, 10*time.Second)
			began := time.Now()
			time.Sleep(watched) // the figures before are those of a time
			before := latencies(t, l.Since(began))
			s.ResetPeak(t)

			attack := time.Now()
			args := append(tt.args, "-c", fmt.Sprint(attackers), "-r", "2500", "-l", "80", "-p", "1")
			for i := range args {
				args[i] = strings.Replace(args[i], "TARGET", s.Address, 1)
			}
			harness.Run(t, "slowhttptest", exec.Command(tool, args...))
			harness.Eventually(t, 45*time.Second, "all attackers are connected", func() bool {
				return metric(t, s, "steelyard_listener_connections") >= attackers
			})
			full := time.Now()
			time.Sleep(watched)
			during := latencies(t, l.Since(full))
			conns := metric(t, s, "steelyard_listener_connections")
			answers := l.Since(attack)
			now, peak := s.Memory(t)
			for _, a := range answers {
				if !a.Well() {
					t.Errorf("%d requests of good clients were sent, one of them: %+v", len(answers), a)
					break
				}
			}
			t.Logf("%s: %.0f connections, %d requests to the backend of the attack; p50 %v -> %v, p99 %v -> %v; memory %d MiB, at most %d MiB", tt.name,
				conns, victim(), at(before, 0.5), at(during, 0.5), at(before, 0.99), at(during, 0.99), now>>20, peak>>20)
			if peak > maxMemory {
				t.Errorf("it had %d MiB of memory", peak>>20)
			}
			// A margin for a machine whose processors are shared by both sides and others.
			if most := max(10*at(before, 0.99), 500*time.Millisecond); at(during, 0.99) > most {
				t.Errorf("the 99th percentile was %v before and is %v", at(before, 0.99), at(during, 0.99))
			}
		})
	}
}

// underAttack starts Steelyard, as it is by default but for the share of one address
// and for slow heads, which would be cut after 10 s, with a backend for good clients and another for the attackers, who get to it as far
// as they do what a request takes. victim is how many have.
func underAttack(t *testing.T) (s *harness.Steelyard, victim func() int64) {
	t.Helper()
	big := make([]byte, 512<<10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(big)
	}))
	t.Cleanup(backend.Close)
	apps := load.Apps(t, []string{"a"})
	s = harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN", max_connections_per_client: 9000, header_timeout: 1m}}
routes: [{match: {path: /attack}, pool: attacked}, {pool: web}]
pools: {web: {backends: %s}, attacked: {backends: ["%s"]}}
admin: "ADMIN"
`, load.Addresses(apps), backend.Listener.Addr()))
	return s, func() int64 { return s.Pool(t, "attacked").Counters.Attempts }
}

// latencies are those of all answers, in order.
func latencies(t *testing.T, answers []load.Answer) []time.Duration {
	t.Helper()
	if len(answers) < rate {
		t.Fatalf("there were %d answers only", len(answers))
	}
	took := make([]time.Duration, len(answers))
	for i := range answers {
		took[i] = answers[i].Took
	}
	slices.Sort(took)
	return took
}

// at is the latency that a share of the requests did not exceed.
func at(took []time.Duration, share float64) time.Duration {
	return took[int(share*float64(len(took)-1))].Round(10 * time.Microsecond)
}

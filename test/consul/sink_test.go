package consul_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"steelyard/discovery"
	"steelyard/test/harness"
)

// sink remembers what a source told.
type sink struct {
	mu      sync.Mutex
	members []discovery.Member
	sets    int
	fails   []string
	emptied int // how often an empty membership followed one that was not
}

func (s *sink) Set(members []discovery.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(members) == 0 && len(s.members) > 0 {
		s.emptied++
	}
	s.members = members
	s.sets++
}

func (s *sink) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = append(s.fails, err.Error())
}

// text is the membership in one line: address, weight and state.
func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == 0 {
		return "unknown"
	}
	var parts []string
	for _, m := range s.members {
		parts = append(parts, fmt.Sprintf("%s*%d %s", m.Address, m.Weight, m.State))
	}
	return strings.Join(parts, ", ")
}

func (s *sink) failures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.fails)
}

func (s *sink) count() (sets, emptied int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sets, s.emptied
}

// waits for a membership, which must arrive in time.
func (s *sink) waits(t testing.TB, within time.Duration, want string) time.Duration {
	t.Helper()
	began := time.Now()
	for s.text() != want {
		if time.Since(began) > within {
			t.Fatalf("not within %v: membership %q; it is %q, failures %q", within, want, s.text(), s.failures())
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// waitsFailure waits for an error that has all of some texts in it.
func (s *sink) waitsFailure(t testing.TB, within time.Duration, texts ...string) {
	t.Helper()
	harness.Eventually(t, within, fmt.Sprintf("a failure with %q; there are %q", texts, s.failures()), func() bool {
		return slices.ContainsFunc(s.failures(), func(f string) bool {
			return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(f, text) })
		})
	})
}

// connect is a connection to agents that ends with the test.
func connect(t testing.TB, change func(*discovery.ConsulOptions), agents ...*harness.ConsulAgent) *discovery.Consul {
	t.Helper()
	o := discovery.DefaultConsul()
	for _, a := range agents {
		o.Addresses = append(o.Addresses, a.Address())
	}
	if change != nil {
		change(&o)
	}
	c, err := discovery.NewConsul(o, slog.New(slog.NewTextHandler(testLog{t}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// query is a query with changes.
func query(service string, change ...func(*discovery.ConsulQuery)) discovery.ConsulQuery {
	q := discovery.DefaultConsulQuery()
	q.Service = service
	for _, f := range change {
		f(&q)
	}
	return q
}

// run runs a source until the test ends, or until stop is called.
func run(t testing.TB, source discovery.Source) (s *sink, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s = &sink{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.Run(ctx, s)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

func weights(passing, warning int) func(*api.AgentServiceRegistration) {
	return func(r *api.AgentServiceRegistration) {
		r.Weights = &api.AgentWeights{Passing: passing, Warning: warning}
	}
}

func tags(tags ...string) func(*api.AgentServiceRegistration) {
	return func(r *api.AgentServiceRegistration) { r.Tags = tags }
}

func meta(pairs map[string]string) func(*api.AgentServiceRegistration) {
	return func(r *api.AgentServiceRegistration) { r.Meta = maps.Clone(pairs) }
}

// ttl adds a check that the test sets.
func ttl(status string) func(*api.AgentServiceRegistration) {
	return func(r *api.AgentServiceRegistration) {
		r.Check = &api.AgentServiceCheck{CheckID: "check:" + r.ID, Name: "app", TTL: "1h", Status: status}
	}
}

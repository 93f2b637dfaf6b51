package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/discovery"
	"steelyard/healthcheck"
	"steelyard/internal/outlier"
)

// fakeProbe finds a backend as a test has put it.
type fakeProbe struct {
	mu    sync.Mutex
	is    map[string]string // down, mute, hangs, slow (once), or up
	tried map[string]int
}

// Run implements healthcheck.Probe.
func (p *fakeProbe) Run(ctx context.Context, address string) (int, error) {
	p.mu.Lock()
	is := p.is[address]
	p.tried[address]++
	if is == "slow" { // the first time
		p.is[address] = "up"
	}
	p.mu.Unlock()
	switch is {
	case "down":
		return 500, errors.New("status 500, expected 200 to 399")
	case "slow":
		time.Sleep(700 * time.Millisecond) // longer than startGrace
	case "mute":
		<-ctx.Done()
		return 0, fmt.Errorf("no response: %w", healthcheck.ErrSilent)
	case "hangs":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 200, nil
}

func (p *fakeProbe) put(address, is string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.is[address] = is
}

func (p *fakeProbe) tries(address string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tried[address]
}

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// lines counts the lines that contain a text.
func (b *logBook) lines(text string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// lab is a pool on synthetic time, with everything it depends on in the test's
// hands.
type lab struct {
	*testing.T
	*Pool
	o     Options
	probe *fakeProbe
	src   *fakeSource
	log   *logBook
}

// inLab runs f with a pool of n static backends that change adds to.
func inLab(t *testing.T, n int, change func(l *lab), f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, o: options(n), log: &logBook{}, src: newFakeSource(),
			probe: &fakeProbe{is: map[string]string{}, tried: map[string]int{}}}
		l.o.Checks = healthcheck.NewScheduler()
		defer l.o.Checks.Close()
		l.o.Log = slog.New(slog.NewTextHandler(l.log, nil))
		l.o.probe = l.probe
		if change != nil {
			change(l)
		}
		p, err := New("web", l.o)
		if err != nil {
			t.Fatal(err)
		}
		l.Pool = p
		defer p.Close()
		settle()
		f(l)
	})
}

// checked has the backends checked every second, with a rise and a fall of 2.
func checked(l *lab) {
	o := healthcheck.DefaultOptions()
	o.Interval, o.Timeout, o.Rise, o.Fall = time.Second, 900*time.Millisecond, 2, 2
	l.o.Check = &o
}

// sourced adds the fake source, guarded as by default.
func sourced(l *lab) {
	l.o.Sources = append(l.o.Sources, SourceOptions{Key: "fake", Source: l.src, Guard: discovery.GuardOptions{MaxRemoval: 0.5, Timeout: time.Minute}})
}

// judged has the backends judged by traffic as by default.
func judged(l *lab) { l.o.Outlier = outlier.DefaultOptions() }

// all applies several changes.
func all(changes ...func(*lab)) func(*lab) {
	return func(l *lab) {
		for _, c := range changes {
			c(l)
		}
	}
}

// after lets time pass.
func (l *lab) after(d time.Duration) {
	time.Sleep(d)
	settle()
}

func (l *lab) e(address string) *Endpoint { l.Helper(); return endpoint(l.T, l.Pool, address) }

// want fails unless the backend is in that state.
func (l *lab) want(address, is string) {
	l.Helper()
	if got := state(l.T, l.Pool, address); got != is {
		l.Fatalf("%s is %q, want %q", address, got, is)
	}
}

// wantPicks fails unless these backends are picked and no others.
func (l *lab) wantPicks(want string) {
	l.Helper()
	got := picked(l.Snapshot(), 400)
	wanted := strings.Fields(want)
	for _, a := range wanted {
		if got[a] == 0 {
			l.Fatalf("picked %v, want %s", got, want)
		}
	}
	if len(got) != len(wanted) {
		l.Fatalf("picked %v, want %s", got, want)
	}
}

// do fails on an error.
func (l *lab) do(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
	settle()
}

// ramp is the share of its weight that a backend gets, in per cent.
func (l *lab) ramp(address string) int {
	l.Helper()
	s := l.Snapshot()
	m := s.members[index(s, address)]
	switch {
	case m.Down:
		return 0
	case m.Ramp == 0:
		return 100
	}
	return m.Ramp
}

// fails has n requests in a row fail on a backend.
func (l *lab) fails(address string, n int) {
	l.Helper()
	e := l.e(address)
	for range n {
		l.Failed(e)
	}
	settle()
}

// members are serving members of weight 1.
func members(addresses ...string) []discovery.Member {
	var all []discovery.Member
	for _, a := range addresses {
		all = append(all, discovery.Member{Address: a, Weight: 1})
	}
	return all
}

// tell has the source answer.
func (l *lab) tell(addresses ...string) {
	l.src.set(members(addresses...))
	settle()
}

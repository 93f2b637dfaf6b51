package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// The agent in use is probed so often, and the token's file looked at each
	// time. While none answers, all are probed once in firstRetry to lastRetry.
	probeInterval = 3 * time.Second
	tokenInterval = time.Second
	firstRetry    = 200 * time.Millisecond
	lastRetry     = time.Second
	// returnInterval is how often the agents before the one in use are tried.
	returnInterval = 15 * time.Second
	// refusedTime is how long an agent that passes its probe may fail every
	// watch before another one is tried.
	refusedTime = 5 * time.Second
)

var (
	errClosed   = errors.New("the connection to Consul was closed")
	errNewToken = errors.New("the token has changed")
	errReturned = errors.New("an agent further up in the list answers again")
	errRefuses  = errors.New("it answers probes, but no query")
)

// session is the time in which one agent is used. What is known of indexes
// holds within a session and no longer.
type session struct {
	agent *agent
	begun time.Time
	ctx   context.Context // ends when the agent is given up
	end   context.CancelCauseFunc
}

// agents chooses the agent that all watches use. One goroutine, keep, probes
// and reconnects for everyone, so that a dead agent is not asked by each watch.
type agents struct {
	list   []*agent
	token  *token
	log    *slog.Logger
	verify chan struct{} // somebody met an error and wants a probe

	mu      sync.Mutex
	session *session      // nil while none answers
	why     error         // why none answers; nil before it is known
	changed chan struct{} // closed when one of these changes
	begun   int           // probes of the session's agent
	ended   int
	moves   uint64
	last    *agent // the last one that was in use
}

func newAgents(list []*agent, t *token, log *slog.Logger) *agents {
	return &agents{list: list, token: t, log: log, verify: make(chan struct{}, 1), changed: make(chan struct{})}
}

// current is the session, what is closed when that changes, and if there is no
// session why so, which is nil before it is known.
func (a *agents) current() (*session, <-chan struct{}, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session, a.changed, a.why
}

func (a *agents) notify() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// check has the agent of a session probed, together with all others that ask
// for it, and reports whether it is still in use afterwards.
func (a *agents) check(ctx context.Context, s *session) bool {
	a.mu.Lock()
	want := a.begun + 1
	for a.session == s && a.ended < want {
		changed := a.changed
		a.mu.Unlock()
		select {
		case a.verify <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	return a.session == s
}

// leave ends a session for a reason, if it is still in use.
func (a *agents) leave(s *session, why error) {
	a.mu.Lock()
	if a.session != s || s == nil {
		a.mu.Unlock()
		return
	}
	a.session = nil
	a.notify()
	a.mu.Unlock()
	switch {
	case errors.Is(why, errClosed):
	case errors.Is(why, errNewToken):
		a.log.Info("the token for Consul has changed; everything is asked anew")
	case errors.Is(why, errReturned):
		a.log.Info("Consul agent left", "agent", s.agent.address, "reason", why)
	default:
		a.log.Warn("Consul agent given up", "agent", s.agent.address, "reason", why)
	}
	s.end(why)
}

// enter begins a session with an agent.
func (a *agents) enter(ctx context.Context, next *agent) {
	s := &session{agent: next, begun: time.Now()}
	s.ctx, s.end = context.WithCancelCause(ctx)
	a.mu.Lock()
	last := a.last
	if last != nil && last != next {
		a.moves++
	}
	news := a.why != nil || last != nil && last != next
	a.session, a.why, a.last = s, nil, next
	a.notify()
	a.mu.Unlock()
	if news {
		a.log.Info("Consul agent in use", "agent", next.address)
	}
	if last != nil && last != next {
		last.close()
	}
}

// fail says why no agent answers.
func (a *agents) fail(why error) {
	a.mu.Lock()
	news := a.why == nil || a.why.Error() != why.Error()
	if news {
		a.why = why
		a.notify()
	}
	a.mu.Unlock()
	if news {
		a.log.Error("no Consul agent answers; the last members stay", "error", why)
	}
}

// keep runs until ctx ends: it finds an agent, watches over it, and finds
// another one.
func (a *agents) keep(ctx context.Context) {
	var failed *agent
	for failures := 1; ctx.Err() == nil; {
		if s, _, _ := a.current(); s != nil {
			failures = 1
			failed = a.watchOver(ctx, s)
			continue
		}
		a.token.refresh(false)
		next, err := a.find(ctx, failed)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			a.enter(ctx, next)
		default:
			failed = nil
			a.fail(err)
			sleep(ctx, backoff(failures, firstRetry, lastRetry))
			failures++
		}
	}
	s, _, _ := a.current()
	a.leave(s, errClosed)
}

// find tries the agents in their order, the one that has just failed last.
func (a *agents) find(ctx context.Context, failed *agent) (*agent, error) {
	order := make([]*agent, 0, len(a.list))
	for _, agent := range a.list {
		if agent != failed {
			order = append(order, agent)
		}
	}
	if failed != nil {
		order = append(order, failed)
	}
	var problems []string
	for _, agent := range order {
		err := agent.probe(ctx)
		if err == nil {
			return agent, nil
		}
		problems = append(problems, fmt.Sprintf("agent %s: %s", agent.address, plain(err)))
	}
	return nil, fmt.Errorf("%s; see that Consul is running and has a leader, and that consul.address is right", strings.Join(problems, "; "))
}

// watchOver probes the agent in use until it is given up, and returns it.
func (a *agents) watchOver(ctx context.Context, s *session) *agent {
	probe := time.NewTimer(jitter(probeInterval, 0.2))
	defer probe.Stop()
	files := time.NewTicker(tokenInterval)
	defer files.Stop()
	tried := time.Now()
	for {
		select {
		case <-s.ctx.Done():
			if errors.Is(context.Cause(s.ctx), errNewToken) {
				return nil
			}
			return s.agent
		case <-files.C:
			if a.token.refresh(false) {
				a.leave(s, errNewToken) // Everything is asked anew.
				return nil
			}
			continue
		case <-a.verify:
		case <-probe.C:
		}
		if err := a.probeTwice(ctx, s); err != nil {
			if ctx.Err() == nil {
				a.leave(s, fmt.Errorf("agent %s: %s", s.agent.address, plain(err)))
			}
			return s.agent
		}
		if time.Since(tried) > jitter(returnInterval, 0.1) {
			tried = time.Now()
			if better := a.better(ctx, s); better != nil {
				a.leave(s, errReturned)
				a.enter(ctx, better)
				return nil
			}
		}
		probe.Reset(jitter(probeInterval, 0.2))
	}
}

// probeTwice probes the agent of a session; a second time if it only was slow.
func (a *agents) probeTwice(ctx context.Context, s *session) error {
	a.mu.Lock()
	a.begun++
	a.mu.Unlock()
	err := s.agent.probe(ctx)
	if err != nil && isTimeout(err) {
		err = s.agent.probe(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended++
	if err == nil {
		a.notify()
	}
	return err
}

// better is an agent before the one in use that answers, twice in a row.
func (a *agents) better(ctx context.Context, s *session) *agent {
	for _, agent := range a.list {
		if agent == s.agent {
			return nil
		}
		err := agent.probe(ctx)
		if err == nil {
			err = agent.probe(ctx)
		}
		if err == nil {
			return agent
		}
	}
	return nil
}

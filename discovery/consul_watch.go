package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// errCrowded ends a long wait because others want its connection.
var errCrowded = errors.New("others take their turn")

// watch asks Consul one question for all who want the answer. It is run by one
// goroutine; readers are told by a channel that there is news.
type watch struct {
	c      *Consul
	q      ConsulQuery // of which Health, WeightMeta and Guard are nobody's
	cancel context.CancelFunc
	done   chan struct{}
	refs   int // under Consul.mu

	pace      pace
	explained time.Time
	failing   bool // counted in Consul.failing

	mu      sync.Mutex
	state   watchState
	changed chan struct{}
}

// watchState is what a watch knows. entries and explain are those of the last
// answer, whatever err says.
type watchState struct {
	version uint64 // differs when anything else does
	entries []*api.ServiceEntry
	known   bool // there was an answer
	err     error
	explain string
	partly  bool // access rules hide a part of the answer
}

// watchKey is the question in one string.
func watchKey(q ConsulQuery) string {
	tags := slices.Sorted(slices.Values(q.Tags))
	return fmt.Sprintf("%q %q %q %q %q %q %q %d", q.Service, tags, q.Filter, q.Datacenter, q.Namespace, q.Partition, q.Near, q.MaxStale)
}

// read is the state, and what is closed when it changes.
func (w *watch) read() (watchState, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.changed
}

func (w *watch) update(change func(*watchState)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.state)
	w.state.version++
	close(w.changed)
	w.changed = make(chan struct{})
}

// fail publishes an error, if it is another one than before.
func (w *watch) fail(err error) {
	state, _ := w.read()
	if state.err == nil || state.err.Error() != err.Error() {
		w.update(func(s *watchState) { s.err = err })
	}
}

// run asks until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	defer w.count(false)
	var at *session
	var index uint64
	failures := 0
	for ctx.Err() == nil {
		s, changed, why := w.c.agents.current()
		if s == nil {
			if why != nil {
				w.fail(why)
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if s != at {
			at, index, failures = s, 0, 0
		}
		next, err := w.once(ctx, s, index)
		if err == nil {
			index, failures = next, 0
			continue
		}
		index = 0
		failures++
		w.trouble(ctx, s, err, failures)
	}
}

// once asks for what is newer than index, publishes the answer and returns the
// index to go on with.
func (w *watch) once(ctx context.Context, s *session, index uint64) (uint64, error) {
	if !sleep(ctx, w.pace.next(time.Now())) {
		return 0, ctx.Err()
	}
	if err := w.c.turns.take(ctx); err != nil {
		return 0, err
	}
	defer w.c.turns.give()
	entries, meta, err := w.ask(ctx, s, index)
	if errors.Is(err, errCrowded) {
		return index, nil
	}
	if err != nil {
		return 0, err
	}
	w.c.lastContact.Store(time.Now().UnixNano())
	w.count(false)
	if entries == nil {
		w.explainAgain(ctx, s)
		return index, nil
	}
	if err := w.publish(ctx, s, entries, meta); err != nil {
		return 0, err
	}
	return nextIndex(index, meta.LastIndex), nil
}

// nextIndex follows Consul's rules: an index that went backwards begins anew,
// and 0, which would not block, is 1.
func nextIndex(asked, answered uint64) uint64 {
	if answered < asked {
		return 0
	}
	return max(answered, 1)
}

// ask gets an answer that can be relied on. Without entries nothing has changed.
//
// The first answer of a session is asked of the leader for certain: an agent
// that has just started may have a leader and not yet all it once knew.
func (w *watch) ask(ctx context.Context, s *session, index uint64) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	consistent := w.q.MaxStale == 0
	opts := api.QueryOptions{RequireConsistent: consistent || index == 0, AllowStale: !consistent && index != 0, WaitIndex: index}
	entries, meta, err := w.query(ctx, s, opts)
	if err != nil {
		return nil, nil, err
	}
	state, _ := w.read()
	// A token that may not read all may come to read more at any time.
	same := index != 0 && meta.LastIndex == index && state.err == nil && !state.partly && !meta.ResultsFilteredByACLs
	again := api.QueryOptions{RequireConsistent: consistent}
	switch {
	case meta.QueryBackend == api.QueryBackendStreaming:
		// The agent's own view says nothing of leaders, staleness and access
		// rules, and loses what a token may no longer read without a new index.
		// What it takes away is asked for once more without it.
		missing := misses(entries, state.entries)
		if same && !missing {
			return nil, meta, nil
		}
		if !consistent && !missing && len(entries) > 0 {
			return entries, meta, nil
		}
	case !meta.KnownLeader:
		return nil, nil, errNoLeader
	case opts.AllowStale && meta.LastContact > w.q.MaxStale:
	case same:
		return nil, meta, nil
	default:
		return accept(entries, meta)
	}
	entries, fresh, err := w.query(ctx, s, again)
	if err != nil {
		return nil, nil, err
	}
	if !fresh.KnownLeader {
		return nil, nil, errNoLeader
	}
	fresh.LastIndex = meta.LastIndex // The wait goes on where it was.
	return accept(entries, fresh)
}

// accept refuses an answer that is empty because of access rules.
func accept(entries []*api.ServiceEntry, meta *api.QueryMeta) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	if len(entries) == 0 {
		entries = []*api.ServiceEntry{}
		if meta.ResultsFilteredByACLs {
			return nil, nil, errHidden
		}
	}
	return entries, meta, nil
}

// misses reports whether an instance of before is not there now.
func misses(now, before []*api.ServiceEntry) bool {
	there := make(map[[2]string]bool, len(now))
	for _, e := range now {
		there[[2]string{nodeOf(e), idOf(e)}] = true
	}
	return slices.ContainsFunc(before, func(e *api.ServiceEntry) bool {
		return !there[[2]string{nodeOf(e), idOf(e)}]
	})
}

// query is one request, given up when the session ends or, if it waits for
// long, when others want its connection.
func (w *watch) query(ctx context.Context, s *session, opts api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	wait, calm := w.c.turns.wait()
	if opts.WaitIndex == 0 {
		wait, calm = 0, context.Background()
	}
	opts.WaitTime = wait
	opts.Datacenter, opts.Namespace, opts.Partition = w.q.Datacenter, w.q.Namespace, w.q.Partition
	opts.Near, opts.Filter = w.q.Near, w.q.Filter

	asking, cancel := context.WithTimeout(ctx, wait+wait/16+answerTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	defer context.AfterFunc(calm, cancel)()
	entries, meta, err := s.agent.client.Health().ServiceMultipleTags(w.q.Service, w.q.Tags, false, opts.WithContext(asking))
	if err != nil && calm.Err() != nil && ctx.Err() == nil && s.ctx.Err() == nil {
		return nil, nil, errCrowded
	}
	return entries, meta, err
}

// publish tells an answer, with an explanation if it is empty. An explanation
// that was just given is not asked for anew.
//
// Consul does not tell requests without a token that access rules have removed
// something, so where rules hold the explanation must rule that out.
func (w *watch) publish(ctx context.Context, s *session, entries []*api.ServiceEntry, meta *api.QueryMeta) error {
	state, _ := w.read()
	explain := state.explain
	if len(entries) > 0 {
		explain = ""
	} else if explain == "" || state.err != nil || time.Since(w.explained) > explainFresh {
		rules := meta.DefaultACLPolicy == "deny"
		text, hidden, err := w.c.explainer.explain(ctx, s, w.q, rules)
		switch {
		case rules && err != nil:
			return err
		case rules && hidden:
			return errHidden
		}
		explain, w.explained = text, time.Now()
	}
	w.update(func(state *watchState) {
		state.entries, state.known, state.err = entries, true, nil
		state.explain, state.partly = explain, meta.ResultsFilteredByACLs
	})
	return nil
}

// explainAgain renews, now and then, the explanation of an answer that stays empty.
func (w *watch) explainAgain(ctx context.Context, s *session) {
	state, _ := w.read()
	if len(state.entries) > 0 || time.Since(w.explained) < explainStale {
		return
	}
	text, _, err := w.c.explainer.explain(ctx, s, w.q, false)
	w.explained = time.Now()
	if err == nil && text != state.explain {
		w.update(func(state *watchState) { state.explain = text })
	}
}

// trouble finds out whose fault an error is, publishes it if it is the
// query's, and waits until it is worth asking again.
func (w *watch) trouble(ctx context.Context, s *session, err error, failures int) {
	if ctx.Err() != nil || s.ctx.Err() != nil {
		return // Nobody's: this watch or this session has ended.
	}
	w.c.errors.Add(1)
	if agentsFault(err) && !w.c.agents.check(ctx, s) {
		return
	}
	if refused(err) && w.c.agents.token.refresh(true) {
		w.c.agents.leave(s, errNewToken)
		return
	}
	var status api.StatusError
	if failures > 1 || errors.As(err, &status) || !agentsFault(err) {
		w.fail(queryError(err, w.q, s.agent.address, w.c.agents.token))
		w.count(true)
	}
	if agentsFault(err) && w.c.allFail() && time.Since(s.begun) > refusedTime && len(w.c.agents.list) > 1 {
		w.c.agents.leave(s, fmt.Errorf("agent %s: %w: %s", s.agent.address, errRefuses, plain(err)))
		return
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	sleep(wait, backoff(failures, firstBackoff, lastBackoff))
}

// count keeps Consul.failing.
func (w *watch) count(failing bool) {
	if w.failing != failing {
		w.failing = failing
		if failing {
			w.c.failing.Add(1)
		} else {
			w.c.failing.Add(-1)
		}
	}
}

// name is the watch's question for people.
func (q ConsulQuery) name() string {
	name := "consul service " + q.Service
	if len(q.Tags) > 0 {
		name += " tag " + strings.Join(q.Tags, ", ")
	}
	return name
}

package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Consul is the connection to Consul that all its sources share, so that there
// is one bounded set of connections to one agent, and one question for each
// different query. There is one in a process.
type Consul struct {
	o         ConsulOptions
	log       *slog.Logger
	agents    *agents
	turns     *turns
	explainer explainer
	registrar *registrar // nil if Steelyard is not announced

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup // for agents.keep

	mu      sync.Mutex
	closed  bool
	watches map[string]*watch

	requests, errors atomic.Uint64
	failing          atomic.Int64 // watches whose last query failed
	lastContact      atomic.Int64
}

// Explainer is what a Source may be in addition: one that can say why it names
// nobody.
type Explainer interface {
	// Explain says why the last answer was empty; "" if it was not, or if that
	// is not known. It does not block.
	Explain() string
}

// ConsulStats is how the connection to Consul is doing.
type ConsulStats struct {
	// Agent is the address of the one in use; "" while none answers, which
	// Error explains.
	Agent string
	Error string
	// LastContact is when Consul answered last; zero if never.
	LastContact time.Time
	// Watches are the different queries, Failing those that failed last.
	Watches, Failing int
	// Connections to agents are open now, of MaxConnections to each.
	Connections, MaxConnections int
	// Requests were sent so far, of whatever kind; Errors are queries that failed.
	Requests, Errors uint64
	// Moves is how often another agent was taken into use.
	Moves uint64
	// Registered says that Steelyard is announced; RegisterError why not.
	Registered    bool
	RegisterError string
}

// NewConsul connects to Consul. It fails if o is not valid or names TLS files
// that cannot be used; an agent that does not answer is not an error. Close
// it after the sources made from it have ended.
func NewConsul(o ConsulOptions, log *slog.Logger) (*Consul, error) { return newConsul(o, log, nil) }

// newConsul is NewConsul with a replacement for the network.
func newConsul(o ConsulOptions, log *slog.Logger, network func(address string) http.RoundTripper) (*Consul, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	addresses := o.Addresses
	if len(addresses) == 0 {
		address := cmp.Or(os.Getenv("CONSUL_HTTP_ADDR"), "127.0.0.1:8500")
		if _, _, err := parseAgent(address); err != nil {
			return nil, &OptionError{Option: "address", Problem: fmt.Sprintf("CONSUL_HTTP_ADDR=%q in the environment %v", address, err)}
		}
		addresses = []string{address}
	}
	token := newToken(o, log)
	c := &Consul{o: o, log: log, turns: newTurns(o.MaxConnections), watches: make(map[string]*watch)}
	list := make([]*agent, len(addresses))
	for i, address := range addresses {
		var transport http.RoundTripper
		if network != nil {
			transport = network(address)
		}
		var err error
		if list[i], err = newAgent(address, o, token, &c.requests, transport); err != nil {
			var option *OptionError
			if errors.As(err, &option) {
				return nil, err
			}
			return nil, &OptionError{Option: "address", Problem: fmt.Sprintf("%q: %v", address, err)}
		}
	}
	c.agents = newAgents(list, token, log)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wait.Go(func() { c.agents.keep(c.ctx) })
	if o.Register != nil {
		c.registrar = newRegistrar(*o.Register, o, c.agents, log)
	}
	return c, nil
}

// Source is the members that answer to q, whose defaults must be set.
func (c *Consul) Source(q ConsulQuery) Source {
	q.Datacenter = cmp.Or(q.Datacenter, c.o.Datacenter)
	q.Namespace = cmp.Or(q.Namespace, c.o.Namespace)
	q.Partition = cmp.Or(q.Partition, c.o.Partition)
	return &consulSource{c: c, q: q}
}

// Announce says that Steelyard serves, and where it listens, for what
// ConsulOptions.Register leaves out. Steelyard is registered from then on, if
// there is a port. It may be called again.
func (c *Consul) Announce(address string, port int) {
	if c.registrar != nil {
		c.registrar.announce(address, port)
	}
}

// Withdraw removes the registration for good, for which it waits at most 2 s, and
// reports whether there was one. It may be called again.
func (c *Consul) Withdraw() bool {
	if c.registrar == nil {
		return false
	}
	registered, _ := c.registrar.status()
	c.registrar.close()
	return registered
}

// Leave ends the registration without removing it: another process with the same
// name, address and port keeps it from now on. It may be called again.
func (c *Consul) Leave() {
	if c.registrar != nil {
		c.registrar.left.Store(true)
		c.registrar.close()
	}
}

// Close ends everything: it removes the registration, if there is one, for
// which it waits at most 2 s, and closes all connections.
func (c *Consul) Close() {
	c.Withdraw()
	c.mu.Lock()
	c.closed = true
	watches := make([]*watch, 0, len(c.watches))
	for _, w := range c.watches {
		watches = append(watches, w)
	}
	c.mu.Unlock()
	c.cancel()
	for _, w := range watches {
		<-w.done
	}
	c.wait.Wait()
	for _, a := range c.agents.list {
		a.close()
	}
}

// Stats is how the connection is doing now.
func (c *Consul) Stats() ConsulStats {
	st := ConsulStats{
		MaxConnections: c.o.MaxConnections, Failing: int(c.failing.Load()),
		Requests: c.requests.Load(), Errors: c.errors.Load(),
	}
	c.agents.mu.Lock()
	st.Moves = c.agents.moves
	if c.agents.session != nil {
		st.Agent = c.agents.session.agent.address
	} else if c.agents.why != nil {
		st.Error = c.agents.why.Error()
	}
	connected := c.agents.session != nil
	c.agents.mu.Unlock()
	c.mu.Lock()
	st.Watches = len(c.watches)
	c.mu.Unlock()
	if !connected {
		st.Failing = st.Watches // each waits for an agent
	}
	for _, a := range c.agents.list {
		st.Connections += int(a.open.Load())
	}
	if at := c.lastContact.Load(); at != 0 {
		st.LastContact = time.Unix(0, at)
	}
	if c.registrar != nil {
		st.Registered, st.RegisterError = c.registrar.status()
	}
	return st
}

// join is the watch for q, which the last one to leave ends; nil after Close.
func (c *Consul) join(q ConsulQuery) *watch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	key := watchKey(q)
	w := c.watches[key]
	if w == nil {
		w = &watch{c: c, q: q, done: make(chan struct{}), changed: make(chan struct{})}
		var ctx context.Context
		ctx, w.cancel = context.WithCancel(c.ctx)
		c.watches[key] = w
		c.turns.join()
		go w.run(ctx)
	}
	w.refs++
	return w
}

func (c *Consul) leave(w *watch) {
	c.mu.Lock()
	w.refs--
	last := w.refs == 0
	if last {
		delete(c.watches, watchKey(w.q))
		c.turns.leave()
	}
	c.mu.Unlock()
	if last {
		w.cancel()
		<-w.done
	}
}

// allFail reports whether no watch has got an answer to its last query.
func (c *Consul) allFail() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.failing.Load()) >= len(c.watches)
}

// consulSource is one pool's part of a watch.
type consulSource struct {
	c     *Consul
	q     ConsulQuery
	watch atomic.Pointer[watch] // while it runs
}

func (s *consulSource) String() string { return s.q.name() }

// Explain is that of Explainer.
func (s *consulSource) Explain() string {
	w := s.watch.Load()
	if w == nil {
		return ""
	}
	state, _ := w.read()
	switch {
	case !state.known:
		return ""
	case len(state.entries) > 0:
		return leftOut(s.q, state.entries)
	}
	return state.explain
}

// Run is that of Source.
func (s *consulSource) Run(ctx context.Context, sink Sink) {
	w := s.c.join(s.q)
	if w == nil {
		sink.Fail(fmt.Errorf("%s: %w", s, errClosed))
		<-ctx.Done()
		return
	}
	defer s.c.leave(w)
	s.watch.Store(w)
	defer s.watch.Store(nil)
	t := teller{source: s, sink: sink, odd: make(map[string]string)}
	for {
		state, changed := w.read()
		t.tell(state)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// teller tells a sink what is news to it.
type teller struct {
	source  *consulSource
	sink    Sink
	failed  string // the last error; "" after an answer
	told    bool
	members []Member
	partly  bool
	why     string
	odd     map[string]string // what was complained about, by instance
}

func (t *teller) tell(state watchState) {
	if state.err != nil {
		err := fmt.Errorf("%s: %w", t.source, state.err)
		if text := err.Error(); text != t.failed {
			t.failed = text
			t.sink.Fail(err)
		}
		return
	}
	if !state.known {
		return
	}
	members := t.convert(state)
	if !t.told || t.failed != "" || !sameMembers(members, t.members) {
		t.told, t.failed, t.members = true, "", members
		t.sink.Set(handOver(members))
	}
	log := t.source.c.log
	if state.partly && !t.partly {
		log.Warn("the token for Consul may not read all instances", "source", t.source.String())
	}
	if len(state.entries) == 0 && state.explain != t.why && state.explain != "" {
		log.Warn("Consul names nobody", "source", t.source.String(), "reason", state.explain)
	}
	t.partly, t.why = state.partly, state.explain
}

// convert makes members, and logs what is odd about an instance once, for so
// long as it is odd.
func (t *teller) convert(state watchState) []Member {
	odd := make(map[string]string)
	members := consulMembers(state.entries, t.source.q, func(key, problem string) {
		if t.odd[key] != problem {
			t.source.c.log.Warn(problem, "source", t.source.String())
		}
		odd[key] = problem
	})
	t.odd = odd
	return members
}

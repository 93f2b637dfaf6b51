package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	registerTimeout   = 5 * time.Second
	deregisterTimeout = 2 * time.Second
	maxRegisterWait   = 10 * time.Second
)

// registrar keeps Steelyard registered at the agent in use. One goroutine does
// all of it.
type registrar struct {
	o      Registration
	scope  api.QueryOptions
	agents *agents
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}
	left   atomic.Bool // what is registered stays

	mu         sync.Mutex
	moved      chan struct{} // closed when announce has changed told
	announced  bool          // whoever follows Consul may come
	told       Registration  // o, completed by announce
	registered bool
	problem    string
}

func newRegistrar(o Registration, c ConsulOptions, a *agents, log *slog.Logger) *registrar {
	r := &registrar{
		o: o, told: o, agents: a, log: log, done: make(chan struct{}), moved: make(chan struct{}),
		scope: api.QueryOptions{Namespace: c.Namespace, Partition: c.Partition},
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go r.run(ctx)
	return r
}

// announce completes what the options leave out. A wildcard address is none.
func (r *registrar) announce(address string, port int) {
	if ip := net.ParseIP(address); ip != nil && ip.IsUnspecified() {
		address = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before, first := r.told.Address+":"+strconv.Itoa(r.told.Port), !r.announced
	r.told.Address, r.told.Port, r.announced = cmp.Or(r.o.Address, address), cmp.Or(r.o.Port, port), true
	if first || before != r.told.Address+":"+strconv.Itoa(r.told.Port) {
		close(r.moved)
		r.moved = make(chan struct{})
	}
}

// close deregisters and ends.
func (r *registrar) close() {
	r.cancel()
	<-r.done
}

func (r *registrar) status() (registered bool, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.registered, r.problem
}

// wanted is what is to be registered, which has no port before it is known,
// and what is closed when that changes.
func (r *registrar) wanted() (Registration, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.told
	if o.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		o.ID = fmt.Sprintf("%s-%s-%d", o.Name, host, o.Port)
	}
	if !r.announced {
		o.Port = 0 // nobody is served yet
	}
	return o, r.moved
}

// place is where something was registered, or may have been.
type place struct {
	session *session
	o       Registration
}

func (r *registrar) run(ctx context.Context) {
	defer close(r.done)
	var at place
	defer func() {
		if !r.left.Load() {
			r.deregister(at)
		}
	}()
	for failures := 0; ctx.Err() == nil; {
		o, moved := r.wanted()
		s, changed, _ := r.agents.current()
		if s == nil || o.Port == 0 {
			select {
			case <-changed:
			case <-moved:
			case <-ctx.Done():
			}
			continue
		}
		was := at
		err := r.renew(ctx, at.session == s && at.o.ID == o.ID && at.o.Address == o.Address && at.o.Port == o.Port, s, o)
		at = place{s, o}
		if was.session != nil && (was.session.agent != s.agent || was.o.ID != o.ID) {
			r.deregister(was) // now that others find the new one
		}
		if ctx.Err() != nil {
			return
		}
		r.report(err)
		wait := o.TTL / 3
		if err != nil {
			failures++
			wait = min(wait, backoff(failures, firstBackoff, maxRegisterWait))
		} else {
			failures = 0
		}
		r.rest(ctx, s, moved, wait)
	}
}

// rest waits until something is to be done.
func (r *registrar) rest(ctx context.Context, s *session, moved <-chan struct{}, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	case <-moved:
	case <-ctx.Done():
	}
}

// renew refreshes the check, or registers if the agent does not know it.
func (r *registrar) renew(ctx context.Context, there bool, s *session, o Registration) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	registered, _ := r.status()
	if there && registered {
		scope := r.scope
		err := s.agent.client.Agent().UpdateTTLOpts(checkID(o), "Steelyard is running", api.HealthPassing, scope.WithContext(ctx))
		var status api.StatusError
		if !errors.As(err, &status) || status.Code == http.StatusForbidden || status.Code == http.StatusTooManyRequests {
			return err
		}
		r.log.Warn("the Consul agent has lost the registration; registering again", "id", o.ID, "agent", s.agent.address)
	}
	return s.agent.client.Agent().ServiceRegisterOpts(r.service(o), api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx))
}

func checkID(o Registration) string { return "steelyard:" + o.ID }

func (r *registrar) service(o Registration) *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		ID: o.ID, Name: o.Name, Address: o.Address, Port: o.Port, Tags: o.Tags, Meta: o.Meta,
		Namespace: r.scope.Namespace, Partition: r.scope.Partition,
		Check: &api.AgentServiceCheck{
			CheckID: checkID(o), Name: "Steelyard", Status: api.HealthPassing, TTL: o.TTL.String(),
			DeregisterCriticalServiceAfter: o.DeregisterAfter.String(),
		},
	}
}

// report keeps and logs how it went, once.
func (r *registrar) report(err error) {
	problem := ""
	if err != nil {
		problem = plain(err)
		if refused(err) {
			problem += fmt.Sprintf("; the token needs service:write for %s", r.o.Name)
		}
	}
	r.mu.Lock()
	news := problem != r.problem || err == nil && !r.registered
	r.problem, r.registered = problem, err == nil
	r.mu.Unlock()
	switch {
	case !news:
	case err != nil:
		r.log.Error("Steelyard cannot be registered in Consul", "name", r.o.Name, "error", problem)
	default:
		r.log.Info("Steelyard is registered in Consul", "name", r.o.Name)
	}
}

// deregister removes what is registered at a place, if it can within a short time.
func (r *registrar) deregister(at place) {
	if at.session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), deregisterTimeout)
	defer cancel()
	scope := r.scope
	err := at.session.agent.client.Agent().ServiceDeregisterOpts(at.o.ID, scope.WithContext(ctx))
	var status api.StatusError
	if err != nil && !(errors.As(err, &status) && status.Code == http.StatusNotFound) {
		r.log.Warn("Steelyard could not be deregistered from Consul, which will remove it later", "id", at.o.ID,
			"agent", at.session.agent.address, "after", at.o.DeregisterAfter, "error", plain(err))
	}
	r.mu.Lock()
	r.registered = false
	r.mu.Unlock()
}

package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"
)

// fakeAgent speaks as much of Consul's HTTP API as Steelyard asks for, and
// notes what it is asked. Every service has the same instances.
type fakeAgent struct {
	*side
	mu          sync.Mutex
	index       uint64
	instances   []*api.ServiceEntry
	changed     chan struct{}
	lastContact string // of answers that may be stale, in milliseconds
	waiting     int
	peak        int // of waiting
}

// agent runs a fake agent, as ${AGENT}, with instances on ports of 127.0.0.1.
func agent(ports ...int) func(*side) {
	return func(s *side) {
		server := httptest.NewServer(newFakeAgent(s, ports...))
		s.t.Cleanup(server.Close)
		s.names("AGENT", server.Listener.Addr().String())
	}
}

// secureAgent is an agent with TLS and a certificate for example.com and
// 127.0.0.1, which is left in ca.pem and, with its key, for clients to show.
func secureAgent(s *side) {
	server := httptest.NewUnstartedServer(newFakeAgent(s, 3001))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.note("server name", fmt.Sprintf("%q", hello.ServerName))
		return nil, nil
	}}
	server.Config.ErrorLog = quiet
	server.StartTLS()
	s.t.Cleanup(server.Close)
	s.names("AGENT", server.Listener.Addr().String())
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	s.pemFile("ca.pem", "CERTIFICATE", server.Certificate().Raw)
	s.pemFile("key.pem", "PRIVATE KEY", key)
}

func newFakeAgent(s *side, ports ...int) *fakeAgent {
	s.consul = &fakeAgent{side: s, index: 10, changed: make(chan struct{}), lastContact: "0"}
	for _, p := range ports {
		s.consul.instances = append(s.consul.instances, instance(p, api.HealthPassing, nil))
	}
	return s.consul
}

// instance is one of a service, with a check in a state.
func instance(port int, state string, meta map[string]string) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node:    &api.Node{Node: "n", Address: "127.0.0.1"},
		Service: &api.AgentService{ID: "i" + strconv.Itoa(port), Port: port, Meta: meta, Weights: api.AgentWeights{Passing: 1, Warning: 1}},
		Checks:  api.HealthChecks{{Node: "n", CheckID: "app", Status: state, ServiceID: "i" + strconv.Itoa(port)}},
	}
}

// become replaces the instances.
func (f *fakeAgent) become(instances ...*api.ServiceEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	f.instances = instances
	close(f.changed)
	f.changed = make(chan struct{})
}

// ServeHTTP implements http.Handler.
func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.note("token", r.Header.Get("X-Consul-Token"))
	if r.TLS != nil {
		f.note("client certificates", strconv.Itoa(len(r.TLS.PeerCertificates)))
	}
	path := strings.TrimPrefix(r.URL.Path, "/v1")
	switch {
	case path == "/status/leader":
		_, _ = io.WriteString(w, `"127.0.0.1:8300"`)
	case strings.HasPrefix(path, "/health/service/"):
		f.health(w, r)
	case path == "/agent/service/register":
		body, _ := io.ReadAll(r.Body)
		f.note("registered", string(body))
		f.note("register query", r.URL.RawQuery)
	case strings.HasPrefix(path, "/agent/check/update/"):
		f.note("updated", strings.TrimPrefix(path, "/agent/check/update/"))
	case strings.HasPrefix(path, "/agent/service/deregister/"):
		f.note("deregistered", strings.TrimPrefix(path, "/agent/service/deregister/"))
	default:
		http.NotFound(w, r)
	}
}

// health answers a query at once, or when there is news.
func (f *fakeAgent) health(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f.note("service", strings.TrimPrefix(r.URL.Path, "/v1/health/service/"))
	f.note("query", r.URL.RawQuery)
	mode := "default"
	for _, m := range []string{"stale", "consistent"} {
		if q.Has(m) {
			mode = m
		}
	}
	asked, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	if asked > 0 {
		f.note("waiting mode", mode)
	} else {
		f.note("first mode", mode)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	f.peak = max(f.peak, f.waiting)
	defer func() { f.waiting-- }()
	for f.index <= asked {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		case <-f.t.Context().Done():
		}
		f.mu.Lock()
		if r.Context().Err() != nil || f.t.Context().Err() != nil {
			return
		}
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(f.index, 10))
	w.Header().Set("X-Consul-KnownLeader", "true")
	w.Header().Set("X-Consul-LastContact", "0")
	if mode == "stale" {
		w.Header().Set("X-Consul-LastContact", f.lastContact)
	}
	_ = json.NewEncoder(w).Encode(f.instances)
}

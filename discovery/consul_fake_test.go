package discovery

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeConsul is an agent without a network, so that synctest can hold the
// clock. Its answer stays the same until change is called.
type fakeConsul struct {
	mu       sync.Mutex
	down     bool
	hang     bool // takes requests and answers none
	noLeader bool
	index    uint64
	body     string
	header   map[string]string // of answers to health queries
	status   int               // of answers to health queries, if not 200
	busy     bool              // answers at once, with an index that grows
	changed  chan struct{}
	requests []string // path and query of health queries
	probes   int
	blocking int // under way
	peak     int
}

func newFake() *fakeConsul {
	return &fakeConsul{index: 10, body: "[]", changed: make(chan struct{})}
}

// fakeInstances is an answer with instances on ports.
func fakeInstances(ports ...int) string {
	var parts []string
	for _, p := range ports {
		parts = append(parts, `{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"i`+strconv.Itoa(p)+
			`","Port":`+strconv.Itoa(p)+`,"Weights":{"Passing":1,"Warning":1}}}`)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (f *fakeConsul) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeConsul) set(index uint64, ports ...int) {
	f.change(func() { f.index, f.body = index, fakeInstances(ports...) })
}

func (f *fakeConsul) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

func (f *fakeConsul) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hang {
		f.mu.Unlock()
		<-req.Context().Done()
		f.mu.Lock()
		return nil, req.Context().Err()
	}
	if f.down {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	switch {
	case req.URL.Path == "/v1/status/leader":
		f.probes++
		if f.noLeader {
			return f.answer(200, `""`, nil), nil
		}
		return f.answer(200, `"10.0.0.1:8300"`, nil), nil
	case req.URL.Path == "/v1/catalog/services":
		return f.answer(200, `{"consul":[]}`, nil), nil
	case strings.HasPrefix(req.URL.Path, "/v1/health/service/"):
		return f.health(req)
	}
	return f.answer(404, "not there", nil), nil
}

// health answers like Consul: at once, or when the index is above that asked
// for, or when the wait is over.
func (f *fakeConsul) health(req *http.Request) (*http.Response, error) {
	values := req.URL.Query()
	f.requests = append(f.requests, req.URL.RequestURI())
	asked, _ := strconv.ParseUint(values.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(values.Get("wait"))
	if f.busy {
		f.index++
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	f.blocking++
	f.peak = max(f.peak, f.blocking)
	defer func() { f.blocking-- }()
	for asked > 0 && f.index <= asked && !f.down {
		changed := f.changed
		f.mu.Unlock()
		over := false
		select {
		case <-changed:
		case <-timeout.C:
			over = true
		case <-req.Context().Done():
			f.mu.Lock()
			return nil, req.Context().Err()
		}
		f.mu.Lock()
		// A server that was restored answers with the index it has.
		if over || f.index < asked {
			break
		}
	}
	if f.down {
		return nil, io.ErrUnexpectedEOF
	}
	header := map[string]string{"X-Consul-Index": strconv.FormatUint(f.index, 10), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
	for k, v := range f.header {
		header[k] = v
	}
	if f.status != 0 {
		return f.answer(f.status, f.body, header), nil
	}
	return f.answer(200, f.body, header), nil
}

func (f *fakeConsul) answer(status int, body string, header map[string]string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for k, v := range header {
		res.Header.Set(k, v)
	}
	return res
}

// fakeSink remembers what it was told, in words.
type fakeSink struct {
	mu   sync.Mutex
	told []string
}

func (s *fakeSink) Set(members []Member) {
	var parts []string
	for _, m := range members {
		_, port, _ := strings.Cut(m.Address, ":")
		parts = append(parts, port)
	}
	s.add("set " + strings.Join(parts, ","))
}

func (s *fakeSink) Fail(err error) { s.add("fail " + err.Error()) }

func (s *fakeSink) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, text)
}

// take returns what was told since the last call.
func (s *fakeSink) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

// expect compares what was told, of which each text must have its part.
func (s *fakeSink) expect(t *testing.T, parts ...string) {
	t.Helper()
	told := s.take()
	if len(told) != len(parts) {
		t.Fatalf("told %q, want %q", told, parts)
	}
	for i, part := range parts {
		if !strings.Contains(told[i], part) {
			t.Errorf("told %q, want %q", told[i], part)
		}
	}
}

// fakeClient is a Consul with fakes for agents, called a, b, …
func fakeClient(t *testing.T, change func(*ConsulOptions), fakes ...*fakeConsul) *Consul {
	t.Helper()
	o := DefaultConsul()
	for i := range fakes {
		o.Addresses = append(o.Addresses, string(rune('a'+i))+":8500")
	}
	if change != nil {
		change(&o)
	}
	c, err := newConsul(o, slog.New(slog.DiscardHandler), func(address string) http.RoundTripper {
		return fakes[address[0]-'a']
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// runFake runs a source of service api; stop ends it and waits.
func runFake(c *Consul, change func(*ConsulQuery)) (s *fakeSink, stop func()) {
	q := DefaultConsulQuery()
	q.Service = "api"
	if change != nil {
		change(&q)
	}
	s = &fakeSink{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Source(q).Run(ctx, s)
	}()
	return s, func() { cancel(); <-done }
}

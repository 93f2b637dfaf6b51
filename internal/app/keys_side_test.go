package app

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/config"
)

// keyCase shows keys of the configuration working end to end. Two Steelyards
// run by files that differ in these keys alone, each with servers of its own;
// what backends, clients or the operator see of them must differ as the keys say.
// The one with the keys gets them by a reload, so that what a start heeds and a reload
// does not is found.
//
// The text KEY in the parts of the file stands for with in one of them and for
// without in the other. ${NAME} is what the world of the case has named.
type keyCase struct {
	name string
	keys []string // paths of config.Keys that are shown
	// Parts of the file: what is in the mapping of the listener, the route and
	// the pool, and what stands before them. "routes:" in top replaces the route.
	listener, route, pool, top string
	with, without              string
	tcp                        bool               // listens on a port instead of a unix socket
	atStart                    bool               // is about how a start goes, which has the keys already
	world                      func(*side)        // makes the servers
	act                        func(*side)        // is done once when both serve
	look                       func(*side) string // what is seen, again and again
	want, other                string             // in the end, with and without the keys
}

// ofPool are keys of a pool.
func ofPool(names ...string) []string { return prefixed("pools.<name>.", names) }

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = prefix + n
	}
	return all
}

func runKeyCases(t *testing.T, cases []keyCase) {
	for i := range cases {
		t.Run(cases[i].name, func(t *testing.T) {
			t.Parallel()
			cases[i].run(t)
		})
	}
}

// keyPatience is how long a difference may take to show. It is long against
// the timers of the cases, for machines that are busy.
const keyPatience = 15 * time.Second

func (c *keyCase) run(t *testing.T) {
	with, without := newSide(t, c, c.with), newSide(t, c, c.without)
	if c.act != nil {
		for _, s := range []*side{with, without} {
			<-s.started
			c.act(s)
		}
	}
	for deadline := time.Now().Add(keyPatience); ; time.Sleep(2 * time.Millisecond) {
		got, other := c.look(with), c.look(without)
		if got == c.want && other == c.other {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("with the keys %q is seen, want %q; without %q, want %q\n%s\npool: %+v", got, c.want, other, c.other, with.file, with.view())
		}
	}
}

// side is one Steelyard of a case, with all that belongs to it.
type side struct {
	t       *testing.T
	dir     string // of the file; its path is short enough for sockets
	file    string
	env     map[string]string
	app     *App
	started chan struct{} // closed when app is there

	began time.Time // for cases about time

	client, admin *http.Client
	consul        *fakeAgent // of cases that have one

	mu   sync.Mutex
	seen map[string][]string // what servers of the case noted, by name
}

func newSide(t *testing.T, c *keyCase, key string) *side {
	dir, err := os.MkdirTemp("", "sy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &side{
		t: t, dir: dir, env: map[string]string{"DIR": dir, "FRONT": "unix:" + dir + "/web.sock"},
		started: make(chan struct{}), seen: map[string][]string{},
		admin: unixClient(t, dir+"/admin.sock"),
	}
	s.client = unixClient(t, dir+"/web.sock")
	if c.tcp {
		s.names("FRONT", freeAddress(t))
		s.client = &http.Client{Transport: &http.Transport{}, Timeout: 2 * keyPatience}
		t.Cleanup(s.client.CloseIdleConnections)
	}
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.world != nil {
		c.world(s)
	}
	s.start(c, key)
	return s
}

func unixClient(t *testing.T, path string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * keyPatience}
}

// start runs Steelyard. It goes on while the pools wait to be ready, because
// some cases are about that.
func (s *side) start(c *keyCase, key string) {
	route := "routes: [{pool: web, " + c.route + "}]\n"
	if strings.Contains(c.top, "routes:") {
		route = ""
	}
	admin := "admin: unix:${DIR}/admin.sock\n"
	if strings.Contains(c.top, "KEY-admin") {
		admin = ""
	}
	frame := c.top + "\nlisteners: {web: {address: \"${FRONT}\", " + c.listener + "}}\n" +
		route + "pools: {web: {" + c.pool + "}}\n" + admin + "shutdown_timeout: 10ms\n"
	read := func(key string) *config.Config {
		s.file = strings.NewReplacer("KEY-admin", key, "KEY", key).Replace(frame)
		cfg, err := config.Parse(filepath.Join(s.dir, "test.yaml"), []byte(s.file), func(name string) (string, bool) {
			v, ok := s.env[name]
			return v, ok
		})
		if err != nil {
			s.t.Fatalf("%v\n%s", err, s.file)
		}
		return cfg
	}
	first, then := read(c.without), read(key)
	if c.atStart || key != c.with {
		first = then
	}
	go func() {
		defer close(s.started)
		a, err := Start(first)
		if err == nil && first != then {
			a.reloading.Lock()
			err = a.replace(then, "")
			a.reloading.Unlock()
		}
		if err != nil {
			s.t.Errorf("%v\n%s", err, s.file)
		}
		s.app = a
	}()
	s.t.Cleanup(func() {
		<-s.started
		if s.app != nil {
			s.app.Stop()
		}
	})
}

// note remembers something a server of the case has seen.
func (s *side) note(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[name] = append(s.seen[name], text)
}

func (s *side) notes(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen[name])
}

func (s *side) last(name string) string {
	if all := s.notes(name); len(all) > 0 {
		return all[len(all)-1]
	}
	return "nothing"
}

// wait ends with the request or the case.
func (s *side) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.t.Context().Done(): // which ends before what Cleanup does
	}
}

// serve runs an HTTP server under a name.
func (s *side) serve(name string, h http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(h)
	s.t.Cleanup(server.Close)
	s.names(name, server.Listener.Addr().String())
	return server
}

// names makes ${name} an address, and ${name_PORT} its port.
func (s *side) names(name, address string) {
	s.env[name] = address
	_, s.env[name+"_PORT"], _ = net.SplitHostPort(address)
}

// write puts a file into the folder of the configuration, in one step.
func (s *side) write(name, text string) {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// get makes a request as a client, and tells status and body.
func (s *side) get(path string, headers ...string) (*http.Response, string) {
	<-s.started
	req, err := http.NewRequest("GET", s.url(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return s.do(req)
}

func (s *side) url(path string) string {
	if front := s.env["FRONT"]; !strings.HasPrefix(front, "unix:") {
		return "http://" + front + path
	}
	return "http://localhost" + path
}

// do makes a request; one that fails has status 0 and its error as the body.
func (s *side) do(req *http.Request) (*http.Response, string) {
	res, err := s.client.Do(req.WithContext(s.t.Context()))
	if err != nil {
		return &http.Response{Header: http.Header{}}, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return res, err.Error()
	}
	return res, string(body)
}

// getMany makes requests one after the other.
func (s *side) getMany(n int, path string) {
	for range n {
		s.get(path)
	}
}

// command tells the admin API something about the backend of a name.
func (s *side) command(name, action, body string) {
	s.t.Helper()
	res, err := s.admin.Post("http://localhost/api/v1/pools/web/backends/"+s.env[name]+"/"+action, "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s", action, text)
	}
}

// poolSeen is what the admin API shows of a pool, as far as cases look at it.
type poolSeen struct {
	Healthy  int
	Why      string
	Counters struct {
		Requests, Attempts, Ejections int
	}
	Sources []struct {
		Name, Error, Alarm string
		Members            int
		Held               []string
	}
	Backends []backendSeen
}

type backendSeen struct {
	Address, State, Reason string
	Since                  time.Time
	Backup                 bool
	Weight                 int
	Percent                int        `json:"percent_of_weight"`
	DrainLeft              int        `json:"drain_left_ms"`
	EjectedUntil           *time.Time `json:"ejected_until"`
	Left, Held             bool
	Requests, Failures     int
	Connections            int
	Idle                   int `json:"connections_idle"`
	Name                   string
	Tags                   []string
	Check                  *struct {
		State   string
		Results []struct {
			At     time.Time
			OK     bool
			Status int
			Error  string
		}
	}
}

// view is the pool as the operator sees it; empty while nobody answers.
func (s *side) view() (v poolSeen) {
	s.operator("/api/v1/pools/web", &v)
	return v
}

func (s *side) operator(path string, v any) {
	res, err := s.admin.Get("http://localhost" + path)
	if err != nil {
		return
	}
	defer res.Body.Close()
	_ = json.NewDecoder(res.Body).Decode(v)
}

// backend is what the operator sees of the backend of a name.
func (s *side) backend(name string) backendSeen {
	v := s.view()
	for _, b := range v.Backends {
		if b.Address == s.env[name] {
			return b
		}
	}
	return backendSeen{State: "not there"}
}

// stateOf looks at the state of the backend of a name.
func stateOf(name string) func(*side) string {
	return func(s *side) string { return s.backend(name).State }
}

// lastFailure is the error of the last check of backend A.
func lastFailure(s *side) string {
	c := s.backend("A").Check
	if c == nil || len(c.Results) == 0 {
		return "no result"
	}
	return c.Results[len(c.Results)-1].Error
}

// failureOf looks for a part in the error of the last check of backend A.
func failureOf(part string) func(*side) string {
	return func(s *side) string {
		if last := lastFailure(s); !strings.Contains(last, part) {
			return last
		}
		return part
	}
}

// membersOf looks at the addresses that get requests, with weights other than 1,
// in order, and at how many are held.
func membersOf(s *side) string {
	v := s.view()
	var all []string
	for _, b := range v.Backends {
		if b.Left {
			continue
		}
		text := b.Address
		if b.Weight != 1 {
			text += fmt.Sprintf(" weight %d", b.Weight)
		}
		if b.Backup {
			text += " backup"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	text := strings.Join(all, ", ")
	for _, src := range v.Sources {
		if src.Alarm != "" {
			text += fmt.Sprintf(" (%d held)", len(src.Held))
		}
	}
	return text
}

// lastOf looks at what a server of the case noted last.
func lastOf(name string) func(*side) string {
	return func(s *side) string { return s.last(name) }
}

// answers is a backend that says the same to everything.
func answers(status int, body string) func(*side) {
	return func(s *side) {
		s.serve("A", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

// accept runs a TCP server whose connections are handled one by one.
func (s *side) accept(name string, handle func(net.Conn)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.names(name, ln.Addr().String())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(s.t.Context(), func() { c.Close() })()
				handle(c)
			})
		}
	})
	s.t.Cleanup(func() { ln.Close(); all.Wait() })
}

// deaf names an address that refuses connections.
func (s *side) deaf(name string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.names(name, ln.Addr().String())
	ln.Close()
}

// set switches something on that handlers of the case ask for.
func (s *side) set(name string) { s.note("flag "+name, "on") }

func (s *side) is(name string) bool { return s.last("flag "+name) == "on" }

// pemFile writes a PEM file into the folder of the configuration.
func (s *side) pemFile(name, kind string, der []byte) {
	s.write(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

// quiet takes the complaints of servers about clients that a case makes on purpose.
var quiet = log.New(io.Discard, "", 0)

// until waits for something that must come true.
func (s *side) until(what string, true func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(keyPatience); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s", keyPatience, what)
		}
	}
}

package health_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// bound is a client that is bound to one of apps.
type bound struct {
	*http.Client
	app    *harness.Node
	cookie string // header line
}

// bind lets a new client be bound.
func bind(t *testing.T, s *harness.Steelyard, apps []*harness.Node) bound {
	t.Helper()
	b := bound{Client: harness.Browser(t)}
	name := harness.Get(t, b.Client, s.URL)
	at := slices.IndexFunc(apps, func(n *harness.Node) bool { return harness.Get(t, http.DefaultClient, "http://"+n.Address) == name })
	b.app = apps[at]
	where, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range b.Jar.Cookies(where) {
		b.cookie = "Cookie: " + k.Name + "=" + k.Value
	}
	return b
}

// visits asks as bound clients and as new ones, and returns who answered each.
func visits(t *testing.T, s *harness.Steelyard, b bound) (old, fresh map[string]int) {
	t.Helper()
	return harness.Shares(t, harness.Client(t), s.URL, 6, b.cookie), harness.Shares(t, harness.Client(t), s.URL, 6)
}

func TestADrainKeepsSessionsUntilItsDeadline(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b", "c")
	s := harness.Start(t, onePool("sticky: cookie", apps...))
	client := bind(t, s, apps)
	s.Order(t, "web", client.app.Address, "drain", `{"for": "3s"}`)
	began := time.Now()
	first := s.Backend(t, "web", client.app.Address)
	if first.State != "draining" || first.DrainLeft < 1000 || first.DrainLeft > 3000 || first.DrainUntil == nil {
		t.Fatalf("the drain shows %+v", first)
	}
	name := harness.Get(t, http.DefaultClient, "http://"+client.app.Address)
	left := first.DrainLeft
	for time.Since(began) < 2*time.Second {
		old, fresh := visits(t, s, client)
		if old[name] != 6 || fresh[name] != 0 {
			t.Fatalf("while %s drains its session met %v and new clients %v", name, old, fresh)
		}
		b := s.Backend(t, "web", client.app.Address)
		if b.DrainLeft >= left {
			t.Errorf("the countdown went from %d to %d ms", left, b.DrainLeft)
		}
		left = b.DrainLeft
	}
	// The browser asks on and on; its session moves once, without an error.
	var moved time.Duration
	harness.Eventually(t, patience, "the session moves", func() bool {
		if harness.Get(t, client.Client, s.URL) == name {
			return false
		}
		moved = time.Since(began)
		return true
	})
	if moved < 2800*time.Millisecond || moved > 5*time.Second {
		t.Errorf("the session moved after %v; want 3s", moved)
	}
	if old := harness.Shares(t, client.Client, s.URL, 6); len(old) != 1 || old[name] != 0 {
		t.Errorf("after the deadline its session met %v", old)
	}
	if _, fresh := visits(t, s, client); fresh[name] != 0 {
		t.Errorf("after the deadline new clients met %v", fresh)
	}
	s.Order(t, "web", client.app.Address, "enable", "")
	if fresh := harness.Shares(t, harness.Client(t), s.URL, 9); fresh[name] != 3 {
		t.Errorf("enabled again, %s met %v", name, fresh)
	}
}

// What hangs on a drained backend when its time is over is cut; what may be
// repeated is repeated elsewhere.
func TestADrainsDeadlineEndsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, onePool("sticky: cookie", apps...))
	client := bind(t, s, apps)
	other := apps[0]
	if other == client.app {
		other = apps[1]
	}
	type answer struct {
		status int
		body   string
		err    error
	}
	ask := func(method, path string) chan answer {
		c := make(chan answer, 1)
		go func() {
			status, body, err := harness.Do(client.Client, method, s.URL+path, "")
			c <- answer{status, body, err}
		}()
		return c
	}
	get, post, events := ask("GET", "/hold"), ask("POST", "/hold"), ask("GET", "/stream?ms=100")
	harness.Eventually(t, patience, "three requests are on it", func() bool { return client.app.Stats(t).Busy == 3 })
	began := time.Now()
	s.Order(t, "web", client.app.Address, "drain", `{"for": "1s"}`)
	a := <-post
	var cause *harness.CauseError
	if !errors.As(a.err, &cause) || cause.Cause != "drained" || a.status != http.StatusServiceUnavailable {
		t.Errorf("POST: %d %v; want 503 drained", a.status, a.err)
	}
	if took := time.Since(began); took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("POST was cut after %v; want 1s", took)
	}
	if a := <-events; a.status != 200 || a.err == nil || len(a.body) == 0 {
		t.Errorf("the stream: %d %q %v; want the part that came, and an error", a.status, a.body, a.err)
	}
	harness.Eventually(t, patience, "GET is repeated on the other", func() bool { return other.Stats(t).Busy == 1 })
	other.Ask(t, "/_release", new(int))
	if a := <-get; a.status != 200 || a.err != nil || a.body == "" {
		t.Errorf("GET: %d %q %v", a.status, a.body, a.err)
	}
	harness.Eventually(t, patience, "nothing is left on the drained one", func() bool {
		return client.app.Stats(t).Busy == 0 && s.Backend(t, "web", client.app.Address).InFlight == 0
	})
	if b := s.Backend(t, "web", client.app.Address); b.Failures != 0 {
		t.Errorf("a drain counted as %d failures of the backend", b.Failures)
	}
}

func TestADrainsDeadlineClosesWebSocketsWith1001(t *testing.T) {
	t.Parallel()
	app, other := harness.StartNode(t, "test/node/ws.mjs"), harness.StartNode(t, "test/node/ws.mjs")
	s := harness.Start(t, onePool("policy: round_robin", app, other))
	conns := []*harness.Conn{harness.OpenWebSocket(t, s.Address, "/"), harness.OpenWebSocket(t, s.Address, "/")}
	began := time.Now()
	s.Order(t, "web", app.Address, "drain", `{"for": "2s"}`)
	for _, c := range conns {
		echoes(t, c)
	}
	if b := s.Backend(t, "web", app.Address); b.Upgraded != 1 || b.InFlight != 1 || b.State != "draining" {
		t.Errorf("while it drains: %+v", b)
	}
	// One of the two is on the drained backend.
	type end struct {
		at   int
		code int
		err  error
	}
	ends := make(chan end, 2)
	for i, c := range conns {
		go func() {
			code, _, err := c.ReadClose()
			_ = c.WriteClose(code, "") // As a browser answers; the other side may be gone.
			c.Close()
			ends <- end{i, code, err}
		}()
	}
	first := <-ends
	if took := time.Since(began); first.code != 1001 || first.err != nil || took < 1900*time.Millisecond || took > 4*time.Second {
		t.Errorf("close %d %v after %v; want 1001 after 2s", first.code, first.err, took)
	}
	var closes []struct{ Code int }
	harness.Eventually(t, patience, "the app hears of it", func() bool {
		app.Ask(t, "/", &closes)
		return len(closes) > 0
	})
	if closes[0].Code != 1001 {
		t.Errorf("the app was told %d", closes[0].Code)
	}
	// The other one lives on; its own end shows that.
	alive := conns[1-first.at]
	if err := alive.WriteClose(1000, ""); err != nil {
		t.Fatal(err)
	}
	if second := <-ends; second.code != 1000 || second.err != nil {
		t.Errorf("the other WebSocket ended with %d %v", second.code, second.err)
	}
	harness.Eventually(t, patience, "nothing is left", func() bool { return s.Backend(t, "web", app.Address).Upgraded == 0 })
}

func echoes(t *testing.T, c *harness.Conn) {
	t.Helper()
	if err := c.WriteFrame(harness.OpText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if op, payload, err := c.ReadFrame(); op != harness.OpText || string(payload) != "hello" || err != nil {
		t.Fatalf("echo: %d %q %v", op, payload, err)
	}
}

func TestDisableMovesSessionsAtOnceAndLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, onePool("sticky: cookie", apps...))
	client := bind(t, s, apps)
	slow := make(chan error, 1)
	go func() {
		status, _, err := harness.Do(client.Client, "POST", s.URL+"/hold", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		slow <- err
	}()
	harness.Eventually(t, patience, "a request is on it", func() bool { return client.app.Stats(t).Busy == 1 })
	s.Order(t, "web", client.app.Address, "disable", "")
	name := harness.Get(t, http.DefaultClient, "http://"+client.app.Address)
	if old, fresh := visits(t, s, client); old[name] != 0 || fresh[name] != 0 {
		t.Errorf("disabled, %s met %v of its session and %v of new clients", name, old, fresh)
	}
	if b := s.Backend(t, "web", client.app.Address); b.State != "disabled" || b.InFlight != 1 || b.Reason == "" {
		t.Errorf("disabled it shows %+v", b)
	}
	client.app.Ask(t, "/_release", new(int))
	if err := <-slow; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	s.Order(t, "web", client.app.Address, "enable", "")
	if fresh := harness.Shares(t, harness.Client(t), s.URL, 8); fresh[name] != 4 {
		t.Errorf("enabled again, %s met %v", name, fresh)
	}
}

func TestAWeightOfTheOperatorCountsAtOnce(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	s := harness.Start(t, onePool("policy: round_robin", apps...))
	c := harness.Client(t)
	for _, step := range []struct {
		weight  string
		want, n int
	}{
		{"3", 30, 3}, {"0", 0, 0}, {"null", 20, 1},
	} {
		s.Order(t, "web", apps[0].Address, "weight", `{"weight": `+step.weight+`}`)
		if got := harness.Shares(t, c, s.URL, 40); got["a"] != step.want {
			t.Errorf("with weight %s for a: %v; want %d of 40", step.weight, got, step.want)
		}
		if b := s.Backend(t, "web", apps[0].Address); b.Weight != step.n {
			t.Errorf("with weight %s it shows %d", step.weight, b.Weight)
		}
	}
}

func TestABackendThatLeavesItsFileDrains(t *testing.T) {
	t.Parallel()
	apps := harness.Apps(t, "a", "b")
	list := newList(t, apps[0].Address, apps[1].Address)
	s := harness.Start(t, list.pool("sticky: cookie, drain_timeout: 3s"))
	client := bind(t, s, apps)
	name := harness.Get(t, http.DefaultClient, "http://"+client.app.Address)
	slow := make(chan string, 1)
	go func() {
		_, body, err := harness.Do(client.Client, "POST", s.URL+"/slow?ms=1000", "")
		slow <- fmt.Sprint(body, err)
	}()
	harness.Eventually(t, patience, "a request is on it", func() bool { return client.app.Stats(t).Busy == 1 })

	list.write(t, slices.DeleteFunc([]string{apps[0].Address, apps[1].Address}, func(a string) bool { return a == client.app.Address })...)
	b := becomes(t, s, client.app, "draining")
	began := time.Now()
	if !b.Left || b.DrainLeft == 0 || b.Reason != "it is not named any more" {
		t.Errorf("it shows %+v", b)
	}
	if got := <-slow; got != name+"<nil>" {
		t.Errorf("the request in flight: %s", got)
	}
	if old, fresh := visits(t, s, client); old[name] != 6 || fresh[name] != 0 {
		t.Errorf("while %s drains its session met %v and new clients %v", name, old, fresh)
	}
	harness.Eventually(t, patience, "the session moves", func() bool { return harness.Get(t, client.Client, s.URL) != name })
	if took := time.Since(began); took < 2500*time.Millisecond || took > 5*time.Second {
		t.Errorf("the session moved after %v; want 3s", took)
	}
	harness.Eventually(t, patience, "it is forgotten", func() bool { return s.Backend(t, "web", client.app.Address).Address == "" })
}

// list is a file with a list of backends.
type list struct{ path string }

func newList(t *testing.T, members ...string) *list {
	t.Helper()
	l := &list{path: t.TempDir() + "/backends.json"}
	l.write(t, members...)
	return l
}

// write puts another list in its place, all at once.
func (l *list) write(t *testing.T, members ...string) {
	t.Helper()
	text, err := json.Marshal(append([]string{}, members...))
	if err != nil {
		t.Fatal(err)
	}
	l.put(t, string(text))
}

// pool is a configuration of one pool that reads the list.
func (l *list) pool(settings string) string {
	return strings.Replace(onePool(settings), "backends: []", "source: {file: "+l.path+"}", 1)
}

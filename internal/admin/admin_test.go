package admin

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/config"
	"steelyard/internal/pool"
	"steelyard/internal/transport"
)

// newServer serves a pool "web" with two backends that nobody listens for.
func newServer(t *testing.T) (s *Server, address string) {
	t.Helper()
	p, err := pool.New("web", pool.Options{
		Policy: balancer.Options{Policy: "round_robin"}, Transport: transport.DefaultOptions(), DrainTimeout: time.Minute,
		Backends: []pool.BackendOptions{{Address: "127.0.0.1:1", Weight: 1}, {Address: "unix:/a/b", Weight: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s, err = New(&fakeControl{pools: []*pool.Pool{p}}, Options{Admin: config.Admin{Address: ln.Addr().String()}}); err != nil {
		t.Fatal(err)
	}
	s.Serve(ln)
	t.Cleanup(s.Close)
	return s, ln.Addr().String()
}

// call sends a request as curl would, with headers that replace its own.
func call(t *testing.T, method, url, body string, headers map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// TestOrders: each order changes what the API then says of the backend; bad ones
// say what is wrong and change nothing.
func TestOrders(t *testing.T) {
	const one, socket = "127.0.0.1:1", "unix:%2Fa%2Fb"
	for _, c := range []struct {
		name   string
		path   string // below the pool
		body   string
		status int
		want   string // in the answer, without its spaces
	}{
		{"drain", "backends/" + one + "/drain", `{"for": "30s"}`, 200, `"state":"draining"`},
		{"drain has a countdown", "backends/" + one + "/drain", `{"for": "30s"}`, 200, `"drain_left_ms":`},
		{"drain by the pool's time", "backends/" + one + "/drain", "", 200, `"drain_until":`},
		{"disable", "backends/" + one + "/disable", "", 200, `"state":"disabled"`},
		{"weight", "backends/" + one + "/weight", `{"weight": 7}`, 200, `"weight":7,`},
		{"weight 0", "backends/" + one + "/weight", `{"weight": 0}`, 200, `"weight":0,`},
		{"weight of the configuration", "backends/" + socket + "/weight", `{"weight": null}`, 200, `"weight":2,`},
		{"a unix socket", "backends/" + socket + "/disable", "", 200, `"state":"disabled"`},
		{"release of nothing", "release", "", 200, `"released":0`},

		{"enable needs nothing undone", "backends/" + one + "/enable", "", 200, `"state":"healthy"`},
		{"no such backend", "backends/127.0.0.1:2/drain", "", 404, `hasnosuchbackend127.0.0.1:2;thereare127.0.0.1:1,unix:/a/b`},
		{"no such action", "backends/" + one + "/kill", "", 400, `therearedrain,enable,disable,weight`},
		{"not a duration", "backends/" + one + "/drain", `{"for": "soon"}`, 400, `as30sor5m`},
		{"a negative duration", "backends/" + one + "/drain", `{"for": "-1s"}`, 400, `above0`},
		{"a weight too large", "backends/" + one + "/weight", `{"weight": 65536}`, 400, `65536isnotawholenumberwithin0to65535`},
		{"a negative weight", "backends/" + one + "/weight", `{"weight": -1}`, 400, `-1isnotawholenumberwithin0to65535`},
		{"half a weight", "backends/" + one + "/weight", `{"weight": 2.5}`, 400, `2.5isnotawholenumber`},
		{"no weight", "backends/" + one + "/weight", "", 400, `weight:ismissing`},
		{"a drain without end", "backends/" + one + "/drain", `{"for": "25h"}`, 400, `atmost24h`},
		{"a weight for a drain", "backends/" + one + "/drain", `{"weight": 5}`, 400, `belongstoweight`},
		{"a time for disable", "backends/" + one + "/disable", `{"for": "5s"}`, 400, `belongstodrain`},
		{"an unknown field", "backends/" + one + "/weight", `{"wieght": 1}`, 400, `unknownfield`},
		{"not JSON", "backends/" + one + "/weight", `weight=1`, 400, `thebodyisnotacommand`},
		{"too much", "backends/" + one + "/weight", `{"for": "` + strings.Repeat("x", maxBody) + `"}`, 400, `toolarge`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, address := newServer(t)
			status, text := call(t, "POST", "http://"+address+"/api/v1/pools/web/"+c.path, c.body, nil)
			if flat := strings.Join(strings.Fields(text), ""); status != c.status || !strings.Contains(flat, c.want) {
				t.Errorf("%d %s\nwant %d with %s", status, text, c.status, c.want)
			}
			if c.status == 200 {
				return
			}
			if _, text := call(t, "GET", "http://"+address+"/api/v1/pools/web", "", nil); strings.Count(text, `"state": "healthy"`) != 2 {
				t.Errorf("an order that was refused changed something:\n%s", text)
			}
		})
	}
}

// TestReading: what can be read, and what is said where there is nothing.
func TestReading(t *testing.T) {
	_, address := newServer(t)
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/livez", 200, "ok"},
		{"GET", "/readyz", 200, "ok"},
		{"GET", "/api/v1/pools", 200, `"total": 2`},
		{"GET", "/api/v1/pools/web", 200, `"address": "unix:/a/b"`},
		{"GET", "/api/v1/pools/shop", 404, `there is no pool \"shop\"; there are web`},
		{"GET", "/api/v1/pools/wbe", 404, `there is no pool \"wbe\"; did you mean \"web\"?`},
		{"GET", "/api/v1/session", 200, `"who": "loopback"`},
		{"GET", "/api/v1/consul", 404, "no pool has a source in Consul"},
		{"GET", "/nowhere", 404, "the pools are at GET /api/v1/pools"},
		{"POST", "/api/v1/pools/shop/release", 404, "there is no pool"},
		{"PUT", "/api/v1/pools", 405, "PUT is not for /api/v1/pools; GET is"},
		{"DELETE", "/api/v1/log", 405, "GET or PUT is"},
		{"GET", "/api/v1/reload", 405, "POST is"},
		{"PUT", "/nowhere", 404, "there is nothing at PUT /nowhere"},
		{"HEAD", "/livez", 200, ""},
	} {
		if status, text := call(t, c.method, "http://"+address+c.path, "", nil); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, status, text, c.status, c.want)
		}
	}
	var list struct {
		Pools []struct{ Backends []map[string]any }
	}
	_, text := call(t, "GET", "http://"+address+"/api/v1/pools", "", nil)
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Pools) != 1 || len(list.Pools[0].Backends) != 2 {
		t.Errorf("%v in %s", err, text)
	}
}

// TestPagesOfOthersAreRefused: what a browser sends for a page that is not the
// API's own does nothing.
func TestPagesOfOthersAreRefused(t *testing.T) {
	_, address := newServer(t)
	url := "http://" + address + "/api/v1/pools/web/backends/127.0.0.1:1/disable"
	for _, c := range []struct {
		name    string
		headers map[string]string
		status  int
	}{
		{"another origin", map[string]string{"Origin": "http://evil.example"}, 403},
		{"another port of this machine", map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		{"a sandboxed page", map[string]string{"Origin": "null"}, 403},
		{"a name that was made to resolve to this machine", map[string]string{"Host": "evil.example"}, 403},
		{"an address that is not this machine's", map[string]string{"Host": "192.0.2.1:80"}, 403},
		{"a form", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		{"a form that looks like JSON", map[string]string{"Content-Type": "text/plain"}, 415},
		{"JSON with a charset", map[string]string{"Content-Type": "application/json; charset=utf-8"}, 200},
		{"its own page", map[string]string{"Origin": "http://" + address}, 200},
		{"localhost", map[string]string{"Host": "localhost:9400"}, 200},
		{"IPv6", map[string]string{"Host": "[::1]:9400"}, 200},
	} {
		if status, text := call(t, "POST", url, "", c.headers); status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, status, text, c.status)
		}
		call(t, "POST", strings.Replace(url, "disable", "enable", 1), "", nil)
	}
}

// TestPagesOfOthersReadNothing: what they load as pictures, scripts, frames or
// streams is refused too; a link to the dashboard works.
func TestPagesOfOthersReadNothing(t *testing.T) {
	_, address := newServer(t)
	for _, c := range []struct {
		name, path, site, mode, dest string
		status                       int
	}{
		{"a script", "/api/v1/pools", "cross-site", "no-cors", "script", 403},
		{"a stream that nobody can read", "/api/v1/stream", "cross-site", "no-cors", "empty", 403},
		{"a frame", "/", "cross-site", "navigate", "iframe", 403},
		{"another port of this machine", "/metrics", "same-site", "no-cors", "image", 403},
		{"a link", "/", "cross-site", "navigate", "document", 200},
		{"typed by hand", "/", "none", "navigate", "document", 200},
		{"the dashboard itself", "/api/v1/pools", "same-origin", "cors", "empty", 200},
	} {
		headers := map[string]string{"Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.dest}
		if status, text := call(t, "GET", "http://"+address+c.path, "", headers); status != c.status {
			t.Errorf("%s: %d %.200s, want %d", c.name, status, text, c.status)
		}
	}
}

// TestEveryAnswerIsGuarded: whatever is asked, a browser is told to guess nothing,
// run nothing, keep nothing and show it to no page of others.
func TestEveryAnswerIsGuarded(t *testing.T) {
	_, address := newServer(t)
	for _, path := range []string{"/", "/ui/app.js", "/ui/none", "/livez", "/readyz", "/metrics", "/api/v1/pools", "/nowhere"} {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-", "Content-Type": "/",
		} {
			if got := res.Header.Get(name); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s may be framed: %q", path, csp)
		}
	}
}

// TestRefusedOrdersAreInTheAudit: whatever they were refused for.
func TestRefusedOrdersAreInTheAudit(t *testing.T) {
	s, address := newServer(t)
	closed, err := s.With(Options{Admin: config.Admin{Address: "127.0.0.1:0", ReadOnly: true}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Serve(ln)
	defer closed.Close()
	for _, c := range []struct{ at, method, path, want string }{
		{address, "POST", "/api/v1/pools/shop/backends/127.0.0.1:9/drain", `drain shop 127.0.0.1:9: there is no pool "shop"; there are web`},
		{address, "POST", "/api/v1/pools/shop/release", `release shop : there is no pool "shop"`},
		{address, "POST", "/api/v1/pools/web/backends/127.0.0.1:1/kill", `kill web 127.0.0.1:1: there is no action "kill"`},
		{ln.Addr().String(), "POST", "/api/v1/pools/web/backends/127.0.0.1:1/drain", `drain web 127.0.0.1:1: the admin API is read-only`},
		{ln.Addr().String(), "POST", "/api/v1/pools/web/release", `release web : the admin API is read-only`},
		{ln.Addr().String(), "POST", "/api/v1/reload", `reload  : the admin API is read-only`},
		{ln.Addr().String(), "PUT", "/api/v1/log", `log level  : the admin API is read-only`},
	} {
		call(t, c.method, "http://"+c.at+c.path, "{}", nil)
		list, _ := s.memory.audit.last()
		if o := list[0]; !strings.HasPrefix(o.What+" "+o.Pool+" "+o.On+": "+o.Result, c.want) || o.Who != "loopback" || o.From != "127.0.0.1" {
			t.Errorf("%s %s: %+v, want %s", c.method, c.path, o, c.want)
		}
	}
	_, text := call(t, "GET", "http://"+ln.Addr().String()+"/api/v1/session", "", nil)
	if !strings.Contains(text, `"read_only": true`) || !strings.Contains(text, `"why": "the admin API is read-only`) {
		t.Errorf("the session does not say that nothing can be changed: %s", text)
	}
}

// TestReadyzWhileStopping: nothing new is to be sent to who stops.
func TestReadyzWhileStopping(t *testing.T) {
	s, address := newServer(t)
	s.control.(*fakeControl).stopping.Store(true)
	if status, text := call(t, "GET", "http://"+address+"/readyz", "", nil); status != 503 || text != "stopping\n" {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := call(t, "GET", "http://"+address+"/livez", "", nil); status != 200 {
		t.Errorf("it lives still, and /livez says %d", status)
	}
}

// TestReadyzWaits: a pool that waits for its first answers is named.
func TestReadyzWaits(t *testing.T) {
	s, address := newServer(t)
	silent, err := pool.New("shop", pool.Options{
		Policy: balancer.Options{Policy: "round_robin"}, Transport: transport.DefaultOptions(),
		Sources: []pool.SourceOptions{{Key: "silent", Source: silentSource{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s.control.(*fakeControl).add(silent)
	if status, text := call(t, "GET", "http://"+address+"/readyz", "", nil); status != 503 || !strings.Contains(text, "shop waits") {
		t.Errorf("%d %s", status, text)
	}
}

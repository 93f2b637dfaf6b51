package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/internal/pool"
)

// named is a backend that answers with a name.
func named(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// reloadable starts by a file; write puts another one in its place.
func reloadable(t *testing.T, text string) (a *App, write func(string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "steelyard.yaml")
	write = func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	a, err := StartFile(parse(t, text), file)
	if err != nil {
		t.Fatal(err)
	}
	return a, write
}

// TestReloadsLeaveNothing: after a hundred of them, good and bad, there are as
// many goroutines as before.
func TestReloadsLeaveNothing(t *testing.T) {
	warmUp(t)
	one, two := named(t, "one"), named(t, "two")
	address, side, admin := freeAddress(t), freeAddress(t), freeAddress(t)
	file := func(i int) string {
		more := ""
		if i%2 == 1 {
			more = ", side: " + `"` + side + `"`
		}
		reload := "{}"
		if i%4 > 1 {
			reload = "{watch: true, rollback: true}"
		}
		other := ""
		if i%3 == 1 {
			other = fmt.Sprintf(`, other%d: {backends: ["%s"]}`, i%6, two)
		}
		text := fmt.Sprintf(`
admin: "%s"
reload: %s
listeners: {web: {address: "%s", idle_timeout: %ds}%s}
routes: [{pool: web}]
pools: {web: {backends: ["%s", "%s"], check: {path: /, interval: %dms}, keepalive: {idle_timeout: 200ms}}%s}
`, admin, reload, address, 10+i%2, more, one, two, 100+i%5, other)
		switch i % 10 {
		case 8:
			text = strings.Replace(text, "pool: web", "pool: wep", 1)
		case 9:
			text = strings.Replace(text, "routes:", "routes", 1)
		}
		return text
	}
	a, write := reloadable(t, file(0))
	defer a.Stop()
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	before := atRest(t, a)
	failed := 0
	for i := range 100 {
		write(file(i))
		if err := a.Reload(); err != nil {
			failed++
		}
		if _, body := get(t, "http://"+address); body != "one" && body != "two" {
			t.Fatalf("reload %d: %q", i, body)
		}
	}
	write(file(0))
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if g := a.Generation(); failed != 20 || g.Failed < 20 || g.Reloads < 82 {
		t.Errorf("%d reloads failed; %+v", failed, g)
	}
	a.leaving.Wait()
	a.retiring.Wait()
	http.DefaultClient.CloseIdleConnections()
	if after := atRest(t, a); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// TestReloadsThatComeTogetherAreOneMore: who asks during one gets the next, with
// all others who do.
func TestReloadsThatComeTogetherAreOneMore(t *testing.T) {
	text := fmt.Sprintf("listeners: {web: \"%s\"}\nroutes: [{respond: 200}]\n", freeAddress(t))
	a, _ := reloadable(t, text)
	defer a.Stop()
	a.reloading.Lock() // one goes on
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := a.Reload(); err != nil {
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		a.asking.Lock()
		waits := a.next != nil
		a.asking.Unlock()
		if waits || time.Now().After(deadline) {
			break
		}
	}
	a.reloading.Unlock()
	wg.Wait()
	if n := a.Generation().Reloads; n < 1 || n > 5 { // a goroutine may have begun late
		t.Errorf("%d reloads", n)
	}
}

// TestPoolsAreGivenTheirOldOptionsWhenOneCannotChange: nothing is changed by half.
func TestPoolsAreGivenTheirOldOptionsWhenOneCannotChange(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	text := fmt.Sprintf(`
listeners: {web: "%s"}
routes: [{match: {path: /a}, pool: a}, {pool: b}]
pools: {a: {backends: ["%s"]}, b: {backends: ["%s"]}}
`, freeAddress(t), one, one)
	a, _ := reloadable(t, text)
	defer a.Stop()
	before := a.now()
	next, err := a.prepare(before, parse(t, strings.ReplaceAll(text, one, two)))
	if err != nil {
		t.Fatal(err)
	}
	closed, err := pool.New("b", next.changes[1].options)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	next.changes[1].pool = closed
	if err := next.apply(); err == nil {
		t.Fatal("a closed pool took options")
	}
	next.discard()
	if got := a.Pools()[0].Snapshot().Endpoints[0].Address; got != one {
		t.Errorf("pool a has %s; want %s as before", got, one)
	}
	if a.now() != before || a.proxy.Generation() != before.generation {
		t.Error("another generation is in force")
	}
}

// TestListenersByTheirAddress: a socket stays with its address, whoever it
// belongs to; connections of one that stays live on under its new limits.
func TestListenersByTheirAddress(t *testing.T) {
	one, two, three := freeAddress(t), freeAddress(t), freeAddress(t)
	file := func(listeners string) string {
		return "listeners: {" + listeners + "}\nroutes: [{respond: {body: \"{listener}\"}}]\n"
	}
	a, write := reloadable(t, file(fmt.Sprintf(`a: "%s", b: "%s"`, one, two)))
	defer a.Stop()
	first := a.Listeners()
	nc, err := net.Dial("tcp", one)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	write(file(fmt.Sprintf(`b: "%s", a: {address: "%s", max_header_size: 1KiB}, c: "%s"`, one, two, three)))
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	now := a.Listeners()
	if len(now) != 3 || now[0] != first[0] || now[1] != first[1] || now[0].Name() != "b" || now[1].Name() != "a" {
		t.Errorf("%v, %v before", now, first)
	}
	fmt.Fprint(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	buf := make([]byte, 1024)
	_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := nc.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
		t.Errorf("a connection that was open before: %q %v", buf[:n], err)
	}
	req, _ := http.NewRequest("GET", "http://"+two, nil)
	req.Header.Set("X", strings.Repeat("x", 2000))
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 431 {
		t.Errorf("the new limit of a listener that stays: %v %v", res, err)
	}
	write(file(fmt.Sprintf(`c: "%s"`, three)))
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	a.leaving.Wait()
	if _, err := net.Dial("tcp", one); err == nil {
		t.Error("a listener that was removed still accepts")
	}
}

// TestAdminMovesAndStays on its socket, also one of a unix path, over reloads.
func TestAdminMovesAndStays(t *testing.T) {
	dir, err := os.MkdirTemp("", "sy")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sock := filepath.Join(dir, "a.sock")
	address, tcp := freeAddress(t), freeAddress(t)
	file := func(admin string) string {
		return fmt.Sprintf("listeners: {web: \"%s\"}\nroutes: [{respond: 200}]\n%s\n", address, admin)
	}
	alive := func(network, address string) error {
		c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, address) }}}
		res, err := c.Get("http://localhost/livez")
		for range 3 { // net/http drops whom it has accepted in the moment in which it stops
			if err == nil {
				break
			}
			res, err = c.Get("http://localhost/livez")
		}
		if err == nil && res.StatusCode != 200 {
			err = errors.New(res.Status)
		}
		return err
	}
	a, write := reloadable(t, file("admin: unix:"+sock))
	defer a.Stop()
	for i, step := range []struct {
		admin          string
		network, where string
	}{
		{"admin: {address: unix:" + sock + ", read_only: true}", "unix", sock},
		{"admin: unix:" + sock, "unix", sock},
		{"admin: unix:" + sock, "unix", sock},
		{"admin: " + tcp, "tcp", tcp},
		{"admin: {address: " + tcp + ", read_only: true}", "tcp", tcp},
		{"admin: unix:" + sock, "unix", sock},
		{"", "", ""},
		{"admin: " + tcp, "tcp", tcp},
	} {
		write(file(step.admin))
		if err := a.Reload(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if step.network == "" {
			a.leaving.Wait()
			if alive("unix", sock) == nil {
				t.Error("the admin API is still there")
			}
			continue
		}
		if err := alive(step.network, step.where); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// TestANewConnectionToConsulKeepsTheMembers until it has answered.
func TestANewConnectionToConsulKeepsTheMembers(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "")
	t.Setenv("CONSUL_HTTP_ADDR", "")
	backend := named(t, "one")
	_, p, _ := net.SplitHostPort(backend)
	answers := fmt.Sprintf(`[{"Node":{"Node":"n","Address":"127.0.0.1"},"Service":{"ID":"i","Service":"web","Port":%s,"Weights":{"Passing":1,"Warning":1}},"Checks":[]}]`, p)
	var silent atomic.Bool
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") > "0" || silent.Load() { // a blocking query, or an agent that is stuck
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		if strings.HasPrefix(r.URL.Path, "/v1/health/service/") {
			fmt.Fprint(w, answers)
		} else {
			fmt.Fprint(w, `"127.0.0.1:8300"`) // status/leader
		}
	}))
	defer agent.Close()
	defer agent.CloseClientConnections()
	address := freeAddress(t)
	file := func(token string) string {
		return fmt.Sprintf("consul: {address: \"%s\", token: %s}\nlisteners: {web: \"%s\"}\nroutes: [{pool: web}]\npools: {web: {source: {consul: web}}}\n",
			agent.Listener.Addr(), token, address)
	}
	a, write := reloadable(t, file("one"))
	defer a.Stop()
	if _, body := get(t, "http://"+address); body != "one" {
		t.Fatalf("%q", body)
	}
	before, e := a.Consul(), a.Pools()[0].Snapshot().Endpoints[0]
	if err := a.Reload(); err != nil || a.Consul() != before {
		t.Fatalf("without a change there is another connection to Consul, or %v", err)
	}
	silent.Store(true)
	write(file("two"))
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if a.Consul() == before {
		t.Error("the token has not changed")
	}
	for range 20 {
		if status, body := get(t, "http://"+address); body != "one" {
			t.Fatalf("%d %q while Consul is silent", status, body)
		}
	}
	if s := a.Pools()[0].Snapshot(); len(s.Endpoints) != 1 || s.Endpoints[0] != e {
		t.Error("the backend is another one")
	}
	done := make(chan struct{})
	go func() { a.retiring.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the connection to Consul that was exchanged does not end")
	}
}

// TestReloadWithoutAFile, and after the stop, says why there is none.
func TestReloadWithoutAFile(t *testing.T) {
	a, err := Start(parse(t, fmt.Sprintf("listeners: {web: \"%s\"}\nroutes: [{respond: 200}]\n", freeAddress(t))))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); !errors.Is(err, errNoFile) {
		t.Errorf("%v", err)
	}
	if g := a.Generation(); g.LastOK || g.Failed != 1 || g.ID != 1 || len(g.Errors) != 1 {
		t.Errorf("%+v", g)
	}
	a.Stop()
	if err := a.replace(a.now().cfg, ""); !errors.Is(err, errStopping) {
		t.Errorf("%v", err)
	}
}

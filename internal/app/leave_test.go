package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestStopLeavesConsulFirst: whoever finds Steelyard in Consul is served until it
// has had time to hear that Steelyard has left.
func TestStopLeavesConsulFirst(t *testing.T) {
	var left, registered atomic.Bool
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/v1/status/leader":
			_, _ = io.WriteString(w, `"127.0.0.1:8300"`)
		case strings.HasPrefix(path, "/v1/agent/service/deregister/"):
			left.Store(true)
		case path == "/v1/agent/service/register":
			registered.Store(true)
		}
	}))
	defer agent.Close()
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes: [{respond: 204}]
pools: {}
consul: {address: "%s", register: true}
`, address, agent.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	for !registered.Load() || !a.Consul().Stats().Registered {
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); a.Stop() }()
	for !left.Load() {
		time.Sleep(time.Millisecond)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(leaveFirst / 2); time.Now().Before(end); {
		res, err := client.Get("http://" + address)
		if err != nil {
			t.Fatal("a client that had not heard yet was refused:", err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusNoContent {
			t.Error(res.Status)
		}
	}
	<-stopped
	if _, err := client.Get("http://" + address); err == nil {
		t.Error("the address is served after Stop")
	}
}

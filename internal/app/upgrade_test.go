package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/internal/upgrade"
)

// TestHandOver: who has handed over leaves the registration in Consul, the file of
// a unix socket and those who wait in the backlog to the next process; who could
// not, goes on.
func TestHandOver(t *testing.T) {
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
	path := filepath.Join(t.TempDir(), "front")
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: "%s", socket: "unix:%s"}
routes: [{respond: 204}]
pools: {}
consul: {address: "%s", register: true}
`, address, path, agent.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	for !registered.Load() || !a.Consul().Stats().Registered {
		time.Sleep(time.Millisecond)
	}
	no := errors.New("no")
	if err := a.HandOver(func(context.Context, []upgrade.Socket) (int, error) { return 0, no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if status, _ := get(t, "http://"+address); status != http.StatusNoContent || !a.Well() {
		t.Errorf("after a failed upgrade: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
	var next net.Listener
	err = a.HandOver(func(_ context.Context, all []upgrade.Socket) (int, error) {
		if len(all) != 2 || all[0].Lent {
			t.Errorf("handed over: %+v", all)
		}
		var err error
		next, err = duplicate(all[0].Listener)
		return 7, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := a.HandOver(nil); !errors.Is(err, ErrSucceeded) {
		t.Errorf("a second time: %v", err)
	}
	if err := a.replace(a.now().cfg, ""); !errors.Is(err, ErrSucceeded) || !strings.Contains(err.Error(), "process 7") {
		t.Errorf("a reload behind it: %v", err)
	}
	a.Stop()
	if left.Load() {
		t.Error("the registration was removed from Consul")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the file of the socket was removed:", err)
	}
	c, err := net.Dial("tcp", address) // nobody accepts yet, but the socket is there
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := next.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
}

package app

import (
	"fmt"
	"maps"
	"net"
	"testing"
	"time"
)

// TestRegistrationsOverReloads: what Consul knows follows the first listener, unless it
// is fixed, and there is always somebody to find.
func TestRegistrationsOverReloads(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "")
	one, two := freeAddress(t), freeAddress(t)
	port := func(address string) string {
		_, p, _ := net.SplitHostPort(address)
		return p
	}
	for _, c := range []struct {
		name, register string
		options        [2]string // of Consul, before and after
		want           [2]map[string]string
		gaps           int
	}{
		{"the port is fixed", "{id: me, address: a.test, port: 7777}", [2]string{},
			[2]map[string]string{{"me": "a.test:7777"}, {"me": "a.test:7777"}}, 0},
		{"the port is fixed, and Consul is reached in another way", "{id: me, address: a.test, port: 7777}", [2]string{"token: one", "token: two"},
			[2]map[string]string{{"me": "a.test:7777"}, {"me": "a.test:7777"}}, 1}, // both connections may not speak of one service
		{"the id is fixed", "{id: me}", [2]string{},
			[2]map[string]string{{"me": "127.0.0.1:" + port(one)}, {"me": "127.0.0.1:" + port(two)}}, 0},
		{"nothing is fixed", "{name: sy}", [2]string{},
			[2]map[string]string{nil, nil}, 0}, // the ids have the port
	} {
		t.Run(c.name, func(t *testing.T) {
			agent := newRegistry(t)
			file := func(i int, web string) string {
				return fmt.Sprintf("listeners: {web: %q}\nroutes: [{respond: 204}]\nconsul: {address: %q, register: %s, %s}\n", web, agent.Listener.Addr(), c.register, c.options[i])
			}
			a, write := reloadable(t, file(0, one))
			defer a.Stop()
			for i, web := range []string{one, two} {
				write(file(i, web))
				if err := a.Reload(); err != nil {
					t.Fatal(err)
				}
				for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
					got, gaps := agent.all()
					right := maps.Equal(got, c.want[i])
					if c.want[i] == nil {
						right = len(got) == 1
						for id, at := range got {
							right = right && id[len(id)-len(port(web)):] == port(web) && at == "127.0.0.1:"+port(web)
						}
					}
					if right && (i == 0 || gaps == c.gaps) {
						break
					}
					if time.Now().After(deadline) || gaps > c.gaps {
						t.Fatalf("after reload %d: %v, %d times nothing; want %v", i, got, gaps, c.want[i])
					}
				}
			}
		})
	}
}

package proxyproto_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/internal/proxyproto"
	"steelyard/test/harness"
)

func outbound(t *testing.T, pool string, top ...string) *harness.Steelyard {
	return harness.Start(t, outboundYAML(pool, top...))
}

func outboundYAML(pool string, top ...string) string {
	return `
listeners: {web: LISTEN}
routes: [{pool: web}]
admin: ADMIN
pools: {web: {` + pool + `}}
` + strings.Join(top, "\n")
}

// TestReceivers: HAProxy and nginx understand what they are sent, over TLS too, and
// checks are healthy although no client stands behind them.
func TestReceivers(t *testing.T) {
	ca := certtest.NewCA(t, "Test CA")
	dir := t.TempDir()
	cert, key := ca.Issue(t, "ecdsa", []string{"127.0.0.1"}).Files(t, dir, "a")
	certtest.Write(t, dir+"/ca.pem", ca.PEM())
	both := ca.Issue(t, "ecdsa", []string{"127.0.0.1"})
	certtest.Write(t, dir+"/both.pem", append(both.Chain, both.KeyPEM(t)...))
	tells := "http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst]\"\n"
	for _, c := range []struct{ name, command, tls, config string }{
		{"haproxy", "haproxy", "", timeouts + "frontend f\n bind 127.0.0.1:PORT accept-proxy\n " + tells},
		{"haproxy with TLS", "haproxy", ", tls: {ca: " + dir + "/ca.pem}", timeouts + "frontend f\n bind 127.0.0.1:PORT accept-proxy ssl crt " + dir + "/both.pem\n " + tells},
		{"nginx", "nginx", "", nginxHTTP(`server { listen 127.0.0.1:PORT proxy_protocol; location / { default_type text/plain; return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr"; } }`)},
		{"nginx with TLS", "nginx", ", tls: {ca: " + dir + "/ca.pem}", nginxHTTP(`server { listen 127.0.0.1:PORT ssl proxy_protocol; ssl_certificate ` + cert + `; ssl_certificate_key ` + key +
			`; location / { default_type text/plain; return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr"; } }`)},
	} {
		for _, version := range []string{"v1", "v2"} {
			t.Run(c.name+" "+version, func(t *testing.T) {
				back := server(t, c.command, "", c.config)
				s := outbound(t, `backends: "`+back+`", when_all_unhealthy: reject, check: {path: /, interval: 50ms}, proxy_protocol: `+version+c.tls)
				harness.Eventually(t, 10*time.Second, "the check passes", func() bool { return s.Backend(t, "web", back).State == "healthy" })
				a, b := client(t, "127.0.0.2"), client(t, "127.0.0.3")
				for range 4 {
					for from, who := range map[string]*http.Client{"127.0.0.2": a, "127.0.0.3": b} {
						var addr, port, dst string
						if _, err := fmt.Sscan(get(t, who, s.URL+"/"), &addr, &port, &dst); err != nil || addr != from || port == "0" || dst != "127.0.0.1" {
							t.Fatalf("the backend takes %s for %s %s, to %s (%v)", from, addr, port, dst, err)
						}
					}
				}
			})
		}
	}
}

// connections is a backend that reads a PROXY header and answers all that follows;
// it notes for each connection the header and who asked.
type connections struct {
	mu   sync.Mutex
	seen []*connection
}

type connection struct {
	header string
	asked  []string
	ended  bool
}

func (cs *connections) start(t *testing.T) string {
	return harness.Backend(t, func(c *harness.Conn) {
		line, err := c.R.ReadString('\n')
		if err != nil {
			return
		}
		one := &connection{header: line}
		cs.mu.Lock()
		cs.seen = append(cs.seen, one)
		cs.mu.Unlock()
		for {
			m, err := c.Request()
			cs.mu.Lock()
			if err != nil {
				one.ended = true
				cs.mu.Unlock()
				return
			}
			one.asked = append(one.asked, m.Value("X-Forwarded-For"))
			cs.mu.Unlock()
			if _, err := fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
}

func (cs *connections) look(f func(all []*connection)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	f(cs.seen)
}

// TestAConnectionBelongsToOneClient: no request of one client goes over a connection
// that names another; a client's own is used again, and ends with the client's.
func TestAConnectionBelongsToOneClient(t *testing.T) {
	var cs connections
	s := outbound(t, `backends: "`+cs.start(t)+`", proxy_protocol: v1`)
	var asking sync.WaitGroup
	const clients, requests = 8, 25
	for i := range clients {
		from := fmt.Sprintf("127.0.0.%d", 10+i)
		who := client(t, from)
		asking.Go(func() {
			for range requests {
				if status, _, err := harness.Do(who, "GET", s.URL+"/", ""); err != nil || status != 200 {
					t.Errorf("%d %v", status, err)
					return
				}
			}
			who.CloseIdleConnections()
		})
	}
	asking.Wait()
	total := 0
	cs.look(func(all []*connection) {
		for _, c := range all {
			h, _, err := proxyproto.Parse([]byte(c.header))
			if err != nil {
				t.Errorf("%q: %v", c.header, err)
			}
			for _, who := range c.asked {
				if who != h.Src.Addr().String() {
					t.Errorf("a request of %s goes over a connection of %s", who, h.Src)
				}
			}
			total += len(c.asked)
		}
		if len(all) > 3*clients {
			t.Errorf("%d connections for %d clients: they are not used again", len(all), clients)
		}
	})
	if total != clients*requests {
		t.Errorf("%d requests arrive of %d", total, clients*requests)
	}
	harness.Eventually(t, 5*time.Second, "connections end with their clients", func() bool {
		ended := 0
		cs.look(func(all []*connection) {
			for _, c := range all {
				if c.ended {
					ended++
				}
			}
			ended -= len(all)
		})
		return ended == 0
	})
}

// TestClientsOfATrustedProxy: who is named by X-Forwarded-For of a trusted peer is
// the client, on one connection of that peer too.
func TestClientsOfATrustedProxy(t *testing.T) {
	var cs connections
	s := outbound(t, `backends: "`+cs.start(t)+`", proxy_protocol: v1`, "trusted_proxies: 127.0.0.2")
	nc := dial(t, "127.0.0.2", s.Address)
	for i := range 6 {
		m := nc.Exchange(t, fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n", 1+i%2))
		if m.Status() != 200 {
			t.Fatal(m.Status())
		}
	}
	cs.look(func(all []*connection) {
		if len(all) != 2 {
			t.Errorf("%d connections for two clients", len(all))
		}
		for _, c := range all {
			for _, who := range c.asked {
				if first, _, _ := strings.Cut(who, ","); !strings.HasPrefix(c.header, "PROXY TCP4 "+first+" 127.0.0.1 0 ") {
					t.Errorf("a request of %s goes over a connection with %q", who, c.header)
				}
			}
		}
	})
}

// TestTurnedOffByReload: connections with a header are not used without.
func TestTurnedOffByReload(t *testing.T) {
	var cs connections
	backend := cs.start(t)
	s := outbound(t, `backends: "`+backend+`", proxy_protocol: v1`)
	c := client(t, "127.0.0.2")
	get(t, c, s.URL+"/")
	s.Reload(t, outboundYAML(`backends: "`+backend+`"`))
	get(t, c, s.URL+"/")
	cs.look(func(all []*connection) {
		if len(all) != 2 || strings.HasPrefix(all[1].header, "PROXY") {
			t.Errorf("%d connections", len(all))
		}
	})
}

package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	stickyid "steelyard/internal/sticky"
)

// TestOlderKeys shows the keys of listeners, routes and pools that neither
// TestKeysReachTheWire nor a scenario in test/ is about.
func TestOlderKeys(t *testing.T) { runKeyCases(t, olderKeyCases()) }

func olderKeyCases() []keyCase {
	return slices.Concat(clientCases(), connectingCases(), repeatCases(),
		cookieCases("pools.<name>.sticky.cookie", "", `sticky: {cookie: {KEY}}`),
		cookieCases("routes[].split.sticky.cookie", "routes: [{split: {to: [{pool: web}], sticky: {cookie: {KEY}}}}]", ""),
		bindingCases(), splitCases())
}

// clientCases are about the side of the client.
func clientCases() []keyCase {
	header := func(name string) func(*side) string {
		return func(s *side) string {
			s.get("/")
			return map[bool]string{true: "sent", false: "not sent"}[s.last(name) != ""]
		}
	}
	notes := func(s *side) {
		s.serve("A", func(_ http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"X-Forwarded-For", "X-Request-Id"} {
				s.note(name, r.Header.Get(name))
			}
		})
	}
	return []keyCase{
		{name: "listeners.write_timeout", keys: []string{"listeners.<name>.write_timeout"}, tcp: true, pool: `backends: ["${A}"]`,
			listener: "KEY", with: "write_timeout: 100ms", want: "cut", other: "nothing", look: lastOf("response"),
			world: func(s *side) {
				s.serve("A", func(w http.ResponseWriter, r *http.Request) {
					for chunk := make([]byte, 1<<20); ; {
						if _, err := w.Write(chunk); err != nil {
							s.note("response", "cut")
							return
						}
					}
				})
			},
			act: func(s *side) {
				c, err := net.Dial("tcp", s.env["FRONT"])
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { c.Close() })
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					s.t.Fatal(err)
				}
			}},
		{name: "forwarded.x_forwarded", keys: []string{"forwarded", "forwarded.x_forwarded"}, world: notes, look: header("X-Forwarded-For"),
			pool: `backends: ["${A}"]`, top: "forwarded: {KEY}", with: "x_forwarded: false", without: "x_forwarded: true", want: "not sent", other: "sent"},
		{name: "forwarded.request_id", keys: []string{"forwarded.request_id"}, world: notes, look: header("X-Request-Id"),
			pool: `backends: ["${A}"]`, top: "forwarded: {KEY}", with: "request_id: false", without: "request_id: true", want: "not sent", other: "sent"},
		{name: "x-<anything>", keys: []string{"x-<anything>"}, world: answers(200, ""), pool: "<<: *shared",
			top: "x-shared: &shared {KEY}", with: `backends: ["${A}"]`, without: `backends: ["${A}", "127.0.0.1:1"]`, want: "1 backends", other: "2 backends",
			look: func(s *side) string { return fmt.Sprint(len(s.view().Backends), " backends") }},
	}
}

// connectingCases are about connections to backends.
func connectingCases() []keyCase {
	connections := func(s *side) {
		s.serve("A", func(_ http.ResponseWriter, r *http.Request) { s.note("peer", r.RemoteAddr) })
	}
	return []keyCase{
		{name: "timeouts.connect", keys: ofPool("timeouts.connect"), world: unanswered, look: lastOf("answer"),
			pool: `backends: ["${A}"], retry: off, KEY`, with: "timeouts: {connect: 100ms}", want: "connect_timeout", other: "nothing",
			act: func(s *side) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					res, _ := s.get("/")
					s.note("answer", res.Header.Get("X-Steelyard-Cause"))
				}()
				s.t.Cleanup(func() { <-done })
			}},
		{name: "keepalive.max_idle", keys: ofPool("keepalive", "keepalive.max_idle"), world: connections,
			act:  func(s *side) { s.getMany(10, "/") },
			pool: `backends: ["${A}"], KEY`, with: "keepalive: {max_idle: 0}", want: "10 connections", other: "1 connections",
			look: func(s *side) string {
				peers := s.notes("peer")
				slices.Sort(peers)
				return fmt.Sprint(len(slices.Compact(peers)), " connections")
			}},
		{name: "keepalive.idle_timeout", keys: ofPool("keepalive.idle_timeout"), world: connections, act: func(s *side) { s.get("/") },
			pool: `backends: ["${A}"], KEY`, with: "keepalive: {idle_timeout: 50ms}", want: "0 connections", other: "1 connections",
			look: func(s *side) string { return fmt.Sprint(s.backend("A").Connections, " connections") }},
	}
}

// unanswered names an address where connections are neither accepted nor
// refused: the queue of its socket is full.
func unanswered(s *side) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { syscall.Close(fd) })
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = syscall.Listen(fd, 0)
	}
	name, err2 := syscall.Getsockname(fd)
	if err != nil || err2 != nil {
		s.t.Fatal(err, err2)
	}
	s.names("A", fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port))
	for {
		c, err := net.DialTimeout("tcp", s.env["A"], 50*time.Millisecond)
		if err != nil {
			return
		}
		s.t.Cleanup(func() { c.Close() })
	}
}

// repeatCases are about retries, and what a policy does with requests in flight.
func repeatCases() []keyCase {
	post := func(s *side) string {
		req, err := http.NewRequest("POST", s.url("/"), strings.NewReader("0123456789"))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "1")
		res, _ := s.do(req)
		return fmt.Sprint(res.StatusCode)
	}
	return []keyCase{
		{name: "retry.budget", keys: ofPool("retry", "retry.budget"), act: func(s *side) { s.getMany(40, "/") },
			world: func(s *side) {
				twoBackends(func(int) int { return 503 })(s)
				s.serve("B", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
			},
			// Ten repetitions are granted whatever the share is.
			pool: `backends: ["${A}", "${B}"], outlier: off, retry: {on: [503], KEY}`,
			with: "budget: 100%", without: "budget: 0%", want: "80 attempts", other: "50 attempts",
			look: func(s *side) string { return fmt.Sprint(s.view().Counters.Attempts, " attempts") }},
		{name: "retry.body_limit", keys: ofPool("retry.body_limit"), look: post, world: twoBackends(func(int) int { return 503 }),
			pool: `backends: ["${A}", {address: "${B}", backup: true}], outlier: off, retry: {on: [503], budget: 100%, KEY}`,
			with: "body_limit: 4B", want: "503", other: "200"},
		{name: "policy.consistent_hash.load_factor", keys: ofPool("policy.consistent_hash.load_factor"), world: holding,
			pool: `backends: ["${A}", "${B}"], policy: {consistent_hash: {key: path, KEY}}`, with: "load_factor: 1.05",
			want: "4 requests on 2 backends", other: "4 requests on 1 backends",
			act: func(s *side) {
				done := make(chan struct{}, 4)
				for i := range 4 {
					go func() { s.get("/same"); done <- struct{}{} }()
					s.until("the request is there", func() bool { return len(s.notes("asked")) == i+1 })
				}
				s.t.Cleanup(func() {
					for range 4 {
						<-done
					}
				})
			},
			look: func(s *side) string {
				asked := s.notes("asked")
				n := len(asked)
				slices.Sort(asked)
				return fmt.Sprintf("%d requests on %d backends", n, len(slices.Compact(asked)))
			}},
	}
}

// holding runs A and B, which note that they were asked and answer at the end.
func holding(s *side) {
	for _, name := range []string{"A", "B"} {
		s.serve(name, func(_ http.ResponseWriter, r *http.Request) {
			s.note("asked", name)
			s.wait(r)
		})
	}
}

// cookieCases are the attributes of a cookie, of a pool or of a split.
func cookieCases(prefix, top, sticky string) []keyCase {
	attribute := func(name string) func(*side) string {
		return func(s *side) string {
			res, _ := s.get("/app/x")
			for _, part := range strings.Split(res.Header.Get("Set-Cookie"), "; ") {
				if key, _, _ := strings.Cut(part, "="); key == name {
					return part
				}
			}
			return "none"
		}
	}
	var all []keyCase
	for _, c := range []struct{ key, with, attribute, want, other string }{
		{"ttl", "ttl: 1h", "Max-Age", "Max-Age=3600", "none"},
		{"path", "path: /app", "Path", "Path=/app", "Path=/"},
		{"domain", "domain: shop.example", "Domain", "Domain=shop.example", "none"},
		{"secure", "secure: true", "Secure", "Secure", "none"},
		{"http_only", "http_only: false", "HttpOnly", "none", "HttpOnly"},
		{"same_site", "same_site: strict", "SameSite", "SameSite=Strict", "SameSite=Lax"},
	} {
		all = append(all, keyCase{name: prefix + "." + c.key, keys: []string{prefix, prefix + "." + c.key}, look: attribute(c.attribute),
			world: answers(200, ""), top: top, pool: `backends: ["${A}"], ` + strings.Replace(sticky, "KEY", "name: here, KEY", 1), with: c.with, want: c.want, other: c.other})
	}
	for i := range all {
		all[i].top = strings.Replace(top, "KEY", "name: here, KEY", 1)
	}
	named := keyCase{name: prefix + ".name", keys: []string{prefix + ".name"}, world: answers(200, ""), top: top, pool: `backends: ["${A}"], ` + sticky,
		with: "name: here", without: "path: /", want: "here", other: map[bool]string{true: "sy", false: "sy_pool"}[top == ""],
		look: func(s *side) string {
			res, _ := s.get("/")
			name, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), "=")
			return name
		}}
	identity := func(s *side, secret string) string {
		if top == "" {
			return stickyid.ID(secret, "web", s.env["A"])
		}
		return stickyid.ID(secret, "", "web")
	}
	secret := keyCase{name: prefix + ".secret", keys: []string{prefix + ".secret"}, world: answers(200, ""), top: top, pool: `backends: ["${A}"], ` + sticky,
		with: "name: here, secret: s3cret", without: "name: here", want: "with the secret", other: "without",
		look: func(s *side) string {
			res, _ := s.get("/")
			for _, c := range res.Cookies() {
				switch c.Value {
				case identity(s, "s3cret"):
					return "with the secret"
				case identity(s, ""):
					return "without"
				}
			}
			return fmt.Sprint(res.Cookies())
		}}
	return append(all, named, secret)
}

// bindingCases are about how long and how many bindings a pool remembers. The
// backends take turns, so that a client that is forgotten meets another one.
func bindingCases() []keyCase {
	var all []keyCase
	for kind, header := range map[string]string{"header": "X-Session", "client_ip": "X-Forwarded-For"} {
		ask := func(s *side, client int) {
			_, name := s.get("/", header, fmt.Sprint("192.0.2.", client))
			s.note("met", name)
		}
		met := func(s *side) string {
			all := s.notes("met")
			return map[bool]string{true: "the same", false: "another"}[all[0] == all[len(all)-1]]
		}
		name := map[string]string{"header": "name: X-Session, ", "client_ip": ""}[kind]
		sticky := "sticky: {" + kind + ": {" + name + "KEY}}"
		if name == "" {
			sticky = "sticky: {" + kind + ": {KEY}}"
		}
		all = append(all,
			keyCase{name: "sticky." + kind + ".size", keys: ofPool("sticky." + kind + ".size"), with: "size: 1", want: "another", other: "the same",
				pool: `backends: ["${A}", "${B}"], ` + sticky,
				act: func(s *side) {
					for client := range 255 { // A table has eight places at least, and who gives way in one second is drawn.
						ask(s, client)
					}
					ask(s, 0)
				}, look: met},
			keyCase{name: "sticky." + kind + ".ttl", keys: ofPool("sticky." + kind + ".ttl"), with: "ttl: 1s", want: "another", other: "the same",
				pool: `backends: ["${A}", "${B}"], ` + sticky,
				look: func(s *side) string {
					switch n := len(s.notes("met")); {
					case n == 0:
						ask(s, 0)
						s.began = time.Now()
						fallthrough
					case n == 1 && time.Since(s.began) < 2200*time.Millisecond: // What was used in a second counts for all of it.
						return "too soon"
					case n == 1:
						ask(s, 0)
					}
					return met(s)
				}})
	}
	for i := range all {
		all[i].tcp, all[i].top, all[i].world = true, "trusted_proxies: 127.0.0.1", namesItself("A", "B")
	}
	return all
}

// namesItself runs backends that answer with their names.
func namesItself(names ...string) func(*side) {
	return func(s *side) {
		for _, name := range names {
			s.serve(name, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
		}
	}
}

// splitCases are about clients that stay in a pool of a split.
func splitCases() []keyCase {
	met := func(header, value string) func(*side) string {
		return func(s *side) string {
			pools := map[string]bool{}
			for range 12 {
				_, name := s.get("/", header, value)
				pools[name] = true
			}
			return fmt.Sprint(len(pools), " pools")
		}
	}
	const (
		two   = `backends: ["${A}"]}, other: {backends: ["${B}"]`
		split = "trusted_proxies: 127.0.0.1\nroutes: [{split: {to: [{pool: web}, {pool: other}], KEY}}]"
	)
	return []keyCase{
		{name: "split.sticky.header", keys: []string{"routes[].split.sticky.header", "routes[].split.sticky.header.name"}, world: namesItself("A", "B"),
			pool: two, top: split, with: "sticky: {header: {name: X-Session}}", want: "1 pools", other: "2 pools", look: met("X-Session", "me")},
		{name: "split.sticky.client_ip", keys: []string{"routes[].split.sticky.client_ip"}, world: namesItself("A", "B"), tcp: true,
			pool: two, top: split, with: "sticky: {client_ip: {}}", want: "1 pools", other: "2 pools", look: met("X-Forwarded-For", "192.0.2.1")},
	}
}

// TestHashTableKeys shows the keys that change the table of a policy in which
// backend gets which path: always the same with the same keys, and not the same
// without. The backends have fixed addresses, because what is hashed are these.
func TestHashTableKeys(t *testing.T) {
	dir := t.TempDir()
	var backends []string
	for i := range 4 {
		path := filepath.Join(dir, fmt.Sprint(i))
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
		server.Listener.Close()
		server.Listener = ln
		server.Start()
		t.Cleanup(server.Close)
		backends = append(backends, "unix:"+path)
	}
	for _, tt := range []struct{ name, policy, with string }{
		{"policy.consistent_hash.replicas", "consistent_hash", "replicas: 20"},
		{"policy.maglev.table_size", "maglev", "table_size: 401"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &keyCase{with: tt.with, pool: fmt.Sprintf("backends: [%s], policy: {%s: {key: path, KEY}}", strings.Join(backends, ", "), tt.policy)}
			places := func(key string) (all string) {
				s := newSide(t, c, key)
				for i := range 100 {
					_, who := s.get(fmt.Sprint("/", i))
					all += who
				}
				return all
			}
			with, again, without := places(tt.with), places(tt.with), places("")
			if with != again {
				t.Errorf("with the same keys the same paths went to\n%s and to\n%s", with, again)
			}
			if with == without {
				t.Errorf("with and without %s the paths went to %s", tt.with, with)
			}
		})
	}
}

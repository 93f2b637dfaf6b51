package app

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestCheckKeys shows each key of a check in what the backend is asked, or in
// what the operator sees of it.
func TestCheckKeys(t *testing.T) { runKeyCases(t, checkKeyCases()) }

func checkKeyCases() []keyCase {
	var all []keyCase
	for _, cases := range [][]keyCase{requestChecks(), responseChecks(), tlsChecks(), otherProbes(), checkTimes()} {
		for _, c := range cases {
			if c.pool == "" {
				c.pool = `backends: ["${A}"], check: {interval: 50ms, KEY}`
			}
			all = append(all, c)
		}
	}
	return all
}

// requestChecks are about what the backend sees of a check.
func requestChecks() []keyCase {
	noted := func(name string) func(*side) string {
		return func(s *side) string {
			if text := s.last(name); text != s.env["A"] {
				return text
			}
			return "BACKEND"
		}
	}
	notes := func(s *side) {
		s.serve("A", func(_ http.ResponseWriter, r *http.Request) {
			s.note("path", r.RequestURI)
			s.note("method", r.Method)
			s.note("host", r.Host)
			s.note("headers", r.Header.Get("X-Check")+" by "+r.UserAgent())
		})
	}
	return []keyCase{
		{name: "check", keys: ofPool("check"), world: notes, look: noted("path"),
			pool: `backends: ["${A}"], KEY`, with: "check: /up", other: "nothing", want: "/up"},
		{name: "check.path", keys: ofPool("check.path"), world: notes, look: noted("path"),
			with: `path: "/up?deep=1"`, want: "/up?deep=1", other: "/"},
		{name: "check.method", keys: ofPool("check.method"), world: notes, look: noted("method"),
			with: "method: OPTIONS", want: "OPTIONS", other: "GET"},
		{name: "check.host", keys: ofPool("check.host"), world: notes, look: noted("host"),
			with: "host: shop.example", want: "shop.example", other: "BACKEND"},
		{name: "check.headers", keys: ofPool("check.headers"), world: notes, look: noted("headers"),
			with: "headers: {x-check: mine, user-agent: me}", want: "mine by me", other: " by steelyard-check"},
		{name: "check of a unix socket", keys: ofPool("check.host"), look: noted("host"),
			pool: `backends: ["unix:${DIR}/app.sock"], check: {interval: 50ms, KEY}`, with: "host: app.example", want: "app.example", other: "localhost",
			world: func(s *side) {
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.note("host", r.Host) }))
				ln, err := net.Listen("unix", s.dir+"/app.sock")
				if err != nil {
					s.t.Fatal(err)
				}
				server.Listener.Close()
				server.Listener = ln
				server.Start()
				s.t.Cleanup(server.Close)
			}},
		{name: "check.port", keys: ofPool("check.port"), look: stateOf("A"),
			with: `port: "${B_PORT}"`, want: "healthy", other: "unhealthy",
			world: func(s *side) {
				answers(http.StatusTeapot, "")(s)
				s.serve("B", func(http.ResponseWriter, *http.Request) {})
			}},
	}
}

// responseChecks are about what is made of a backend's answer.
func responseChecks() []keyCase {
	return []keyCase{
		{name: "check.status", keys: ofPool("check.status"), world: answers(503, ""), look: stateOf("A"),
			with: "status: 503", want: "healthy", other: "unhealthy"},
		{name: "check.status as ranges", keys: ofPool("check.status"), world: answers(302, ""), look: failureOf("expected 200-204, 503"),
			with: "status: [200-204, 503]", want: "expected 200-204, 503", other: ""},
		{name: "check.body", keys: ofPool("check.body"), world: answers(200, "all is well"), look: stateOf("A"),
			with: "body: ready", want: "unhealthy", other: "healthy"},
		{name: "check.body that is there", keys: ofPool("check.body"), world: answers(200, "all is well"), look: stateOf("A"),
			with: "body: is well", without: "body: Is Well", want: "healthy", other: "unhealthy"},
		{name: "check.body_regex", keys: ofPool("check.body_regex"), world: answers(200, `{"ready": false}`), look: stateOf("A"),
			with: `body_regex: '"ready": *true'`, without: `body_regex: '"ready": *(true|false)'`, want: "unhealthy", other: "healthy"},
	}
}

// secure runs a backend with TLS, whose certificate is for example.com and
// 127.0.0.1, and leaves the certificate in ca.pem.
func secure(s *side) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.note("server name", fmt.Sprintf("%q", hello.ServerName))
		return nil, nil
	}}
	server.Config.ErrorLog = quiet
	server.StartTLS()
	s.t.Cleanup(server.Close)
	s.names("A", server.Listener.Addr().String())
	s.pemFile("ca.pem", "CERTIFICATE", server.Certificate().Raw)
}

func tlsChecks() []keyCase {
	const unknown = "unknown authority"
	return []keyCase{
		{name: "check.tls", keys: ofPool("check.tls"), world: secure, look: failureOf(unknown),
			with: "tls: true", want: unknown, other: "status 400, expected 200-399"},
		// The file is named relative to the folder of the configuration.
		{name: "check.tls.ca", keys: ofPool("check.tls.ca"), world: secure, look: stateOf("A"),
			with: "tls: {ca: ca.pem}", without: "tls: true", want: "healthy", other: "unhealthy"},
		{name: "check.tls.insecure", keys: ofPool("check.tls.insecure"), world: secure, look: stateOf("A"),
			with: "tls: {insecure: true}", without: "tls: {insecure: false}", want: "healthy", other: "unhealthy"},
		{name: "check.tls.server_name", keys: ofPool("check.tls.server_name"), world: secure, look: lastOf("server name"),
			with: "tls: {ca: ca.pem, server_name: example.com}", without: "tls: {ca: ca.pem}", want: `"example.com"`, other: `""`},
		{name: "check.tls.server_name that is another's", keys: ofPool("check.tls.server_name"), world: secure, look: stateOf("A"),
			with: "tls: {ca: ca.pem, server_name: shop.internal}", without: "tls: {ca: ca.pem, server_name: example.com}", want: "unhealthy", other: "healthy"},
	}
}

// talker runs a backend that notes the first line it gets, and says no.
func talker(s *side) {
	s.accept("A", func(c net.Conn) {
		go io.WriteString(c, "NO\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		s.note("line", fmt.Sprintf("%q", line))
	})
}

func otherProbes() []keyCase {
	return []keyCase{
		{name: "check.tcp", keys: ofPool("check.tcp"), world: talker, look: stateOf("A"),
			with: "tcp: {}", want: "healthy", other: "unhealthy"},
		{name: "check.tcp.send", keys: ofPool("check.tcp.send"), world: talker, look: lastOf("line"),
			with: `tcp: {send: "PING\r\n"}`, without: "tcp: {}", want: `"PING\r\n"`, other: `""`},
		{name: "check.tcp.expect", keys: ofPool("check.tcp.expect"), world: talker, look: failureOf(`expected "YES", got "NO`),
			with: `tcp: {expect: "YES"}, timeout: 50ms`, without: `tcp: {expect: "NO"}`, want: `expected "YES", got "NO`, other: ""},
		{name: "check.grpc", keys: ofPool("check.grpc"), world: grpcApp, look: stateOf("A"),
			with: "grpc: {}", want: "healthy", other: "unhealthy"},
		{name: "check.grpc.service", keys: ofPool("check.grpc.service"), world: grpcApp, look: failureOf("NOT_SERVING"),
			with: "grpc: {service: shop.Cart}", without: "grpc: {}", want: "NOT_SERVING", other: ""},
		{name: "check.exec", keys: ofPool("check.exec"), world: answers(200, ""),
			with: `exec: [sh, -c, 'echo "$0 $1 $2; $STEELYARD_ADDRESS $STEELYARD_HOST $STEELYARD_PORT"; exit 3', "{address}", "{host}", "{port}"]`,
			look: func(s *side) string {
				return strings.NewReplacer(s.env["A"], "ADDRESS", s.env["A_PORT"], "PORT").Replace(lastFailure(s))
			},
			want: "exit status 3, expected 0: ADDRESS 127.0.0.1 PORT; ADDRESS 127.0.0.1 PORT", other: ""},
	}
}

// grpcApp runs a gRPC server that serves, but for its service shop.Cart.
func grpcApp(s *side) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	state := health.NewServer()
	state.SetServingStatus("shop.Cart", healthpb.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, state)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	s.t.Cleanup(func() { server.Stop(); <-done })
	s.names("A", ln.Addr().String())
}

// changes runs a backend whose first check ends with one status and the rest
// with another.
func changes(first, then int) func(*side) {
	return func(s *side) {
		s.serve("A", func(w http.ResponseWriter, _ *http.Request) {
			s.note("check", "")
			if len(s.notes("check")) > 1 {
				w.WriteHeader(then)
			} else {
				w.WriteHeader(first)
			}
		})
	}
}

// checkTimes are about when a check is made, and how many of them decide.
func checkTimes() []keyCase {
	hangs := func(s *side) {
		s.serve("A", func(_ http.ResponseWriter, r *http.Request) { s.wait(r) })
	}
	checks := func(n int) func(*side) string {
		return func(s *side) string {
			c := s.backend("A").Check
			if c == nil || len(c.Results) < n {
				return "few checks"
			}
			return c.State
		}
	}
	state := func(s *side) string {
		if b := s.backend("A"); b.Check != nil {
			return b.Check.State
		}
		return "no check"
	}
	return []keyCase{
		{name: "check.interval", keys: ofPool("check.interval"), world: answers(200, ""), look: checks(10),
			pool: `backends: ["${A}"], check: {path: /, KEY}`, with: "interval: 10ms", want: "healthy", other: "few checks"},
		{name: "check.fast_interval", keys: ofPool("check.fast_interval"), world: changes(200, 500), look: state,
			pool: `backends: ["${A}"], check: {interval: 500ms, fall: 10, KEY}`, with: "fast_interval: 10ms", want: "unhealthy", other: "healthy"},
		{name: "check.timeout", atStart: true, keys: ofPool("check.timeout"), world: hangs, look: state,
			pool: `backends: ["${A}"], check: {path: /, KEY}`, with: "timeout: 50ms", want: "unhealthy", other: "checking"},
		{name: "check.rise", keys: ofPool("check.rise"), world: changes(500, 200), look: checks(10),
			pool: `backends: ["${A}"], check: {interval: 100ms, KEY}`, with: "rise: 100", want: "unhealthy", other: "healthy"},
		{name: "check.fall", keys: ofPool("check.fall"), world: changes(200, 500), look: checks(10),
			pool: `backends: ["${A}"], check: {interval: 100ms, KEY}`, with: "fall: 100", want: "healthy", other: "unhealthy"},
		{name: "check.start healthy", atStart: true, keys: ofPool("check.start"), world: hangs, look: state,
			pool: `backends: ["${A}"], check: {path: /, KEY}`, with: "start: healthy", want: "healthy", other: "checking"},
		{name: "check.start unhealthy", atStart: true, keys: ofPool("check.start"), world: hangs, look: state,
			pool: `backends: ["${A}"], check: {path: /, KEY}`, with: "start: unhealthy", want: "unhealthy", other: "checking"},
	}
}

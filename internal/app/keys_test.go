package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestKeysReachTheWire shows keys of the configuration working end to end that
// no scenario in test/ is about: each changes what a raw client or the backend
// sees, against the same file without the key.
func TestKeysReachTheWire(t *testing.T) {
	const get = "GET /a/b?c=d HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
	for _, tt := range []struct {
		key      string // name of the case
		top      string // keys of the file
		listener string // keys of the listener
		route    string // keys of the route
		pool     string // keys of the pool
		send     string
		want     string // in what comes back with the keys, and not without
	}{
		{key: "max_body_size", listener: "max_body_size: 4B",
			send: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345", want: "X-Steelyard-Cause: body_too_large"},
		{key: "max_header_size", listener: "max_header_size: 1KiB",
			send: "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1500) + "\r\n\r\n", want: "X-Steelyard-Cause: head_too_large"},
		{key: "header_timeout", listener: "header_timeout: 50ms",
			send: "GET / HTTP/1.1\r\nHost: a\r\n", want: "X-Steelyard-Cause: head_timeout"},
		{key: "body_timeout", listener: "body_timeout: 50ms",
			send: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12", want: "X-Steelyard-Cause: body_timeout"},
		{key: "idle_timeout", listener: "idle_timeout: 50ms", send: get, want: closed},
		{key: "trusted_proxies", top: "trusted_proxies: [127.0.0.0/8]", send: get, want: "X-Forwarded-For: 192.0.2.9, 127.0.0.1"},
		{key: "forwarded.standard", top: "forwarded: {standard: true}", send: get, want: `Forwarded: for=127.0.0.1;host="shop.example";proto=http`},
		{key: "host: backend", route: "host: backend", send: get, want: "Host: BACKEND"},
		{key: "host: literal", route: "host: app.internal", send: get, want: "Host: app.internal"},
		{key: "rewrite.strip_prefix", route: "rewrite: {strip_prefix: /a}", send: get, want: "GET /b?c=d HTTP/1.1"},
		{key: "rewrite.replace_prefix", route: "rewrite: {replace_prefix: {from: /a, to: /z}}", send: get, want: "GET /z/b?c=d HTTP/1.1"},
		{key: "rewrite.regex", route: `rewrite: {regex: {from: "^/(.)/(.)$", to: "/$2-$1"}}`, send: get, want: "GET /b-a?c=d HTTP/1.1"},
		{key: "request_headers", route: `request_headers: {set: {x-pool: "{pool} {client_ip}"}}`, send: get, want: "X-Pool: web 127.0.0.1"},
		{key: "response_headers", route: `response_headers: {add: {x-route: "{route}"}, remove: [content-type]}`, send: get, want: "x-route: "},
		{key: "timeouts.response", pool: "timeouts: {response: 50ms}",
			send: strings.Replace(get, "/a/b", "/slow", 1), want: "X-Steelyard-Cause: response_timeout"},
		{key: "timeouts.body", pool: "timeouts: {body: 50ms}",
			send: strings.Replace(get, "/a/b", "/stall", 1), want: closed},
		{key: "retry.on status", pool: "retry: {attempts: 3, on: [503]}",
			send: strings.Replace(get, "/a/b", "/busy", 1), want: "HTTP/1.1 200 OK"},
		{key: "retry.methods", pool: "retry: {on: [503], methods: [POST]}",
			send: "POST /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", want: "HTTP/1.1 200 OK"},
	} {
		t.Run(tt.key, func(t *testing.T) {
			t.Parallel()
			backend := httptest.NewServer(echo())
			defer backend.Close()
			tt.want = strings.Replace(tt.want, "BACKEND", backend.Listener.Addr().String(), 1)
			file := func(on bool) string {
				if !on {
					tt.top, tt.listener, tt.route, tt.pool = "", "", "", ""
				}
				return fmt.Sprintf("%s\nlisteners: {web: {address: %q%s}}\nroutes: [{pool: web%s}]\npools: {web: {backends: [%q, %q]%s}}\n",
					tt.top, freeAddress(t), more(tt.listener), more(tt.route),
					backend.Listener.Addr(), "localhost:"+port(backend), more(tt.pool))
			}
			if got := converse(t, file(true), tt.send, tt.want, 5*time.Second); !strings.Contains(got, tt.want) {
				t.Errorf("with the key there is no %q in:\n%s", tt.want, got)
			}
			if got := converse(t, file(false), tt.send, tt.want, listens); strings.Contains(got, tt.want) {
				t.Errorf("without the key there is %q too in:\n%s", tt.want, got)
			}
		})
	}
}

// closed stands in what converse returns for a connection that was closed.
const closed = "[closed]"

func more(keys string) string {
	if keys == "" {
		return ""
	}
	return ", " + keys
}

func port(s *httptest.Server) string {
	_, p, _ := net.SplitHostPort(s.Listener.Addr().String())
	return p
}

// echo answers with the request it got; some paths misbehave: /slow waits,
// /stall stops in the middle of its body, /busy is 503 every other time.
func echo() http.Handler {
	var turns atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		switch r.URL.Path {
		case "/slow":
			pause(r)
		case "/stall":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "12345")
			_ = http.NewResponseController(w).Flush()
			pause(r)
			return
		case "/busy":
			if turns.Add(1)%2 == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = w.Write(dump)
	})
}

// pause waits for longer than converse listens, or until the client is gone.
func pause(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(10 * time.Second):
	}
}

// listens is how long a case without its key is watched: long against the
// timeouts of the cases.
const listens = 300 * time.Millisecond

// converse starts Steelyard by a file, sends bytes, and returns what comes back
// until want is in it or the time is over.
func converse(t *testing.T, file, send, want string, d time.Duration) string {
	t.Helper()
	a, err := Start(parse(t, "shutdown_timeout: 10ms\n"+file))
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	defer a.Stop()
	nc, err := net.Dial("tcp", a.Listeners()[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, send); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(d))
	var got []byte
	for buf := make([]byte, 4096); !strings.Contains(string(got), want); {
		n, err := nc.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
				got = append(got, closed...)
			}
			break
		}
	}
	return string(got)
}

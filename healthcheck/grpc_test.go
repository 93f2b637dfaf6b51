package healthcheck

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// serveGRPC runs a real gRPC server.
func serveGRPC(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	register(server)
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(ln) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return ln.Addr().String()
}

func withHealth(set map[string]healthpb.HealthCheckResponse_ServingStatus) func(*grpc.Server) {
	return func(s *grpc.Server) {
		h := health.NewServer()
		for name, state := range set {
			h.SetServingStatus(name, state)
		}
		healthpb.RegisterHealthServer(s, h)
	}
}

// failing is a health service that fails or hangs.
type failing struct {
	healthpb.UnimplementedHealthServer
	err error // nil: hangs
}

func (f failing) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if f.err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, f.err
}

func TestGRPC(t *testing.T) {
	leaks(t)
	serving := withHealth(map[string]healthpb.HealthCheckResponse_ServingStatus{
		"good": healthpb.HealthCheckResponse_SERVING, "bad": healthpb.HealthCheckResponse_NOT_SERVING,
		"strange": healthpb.HealthCheckResponse_ServingStatus(9),
	})
	with := func(err error) func(*grpc.Server) {
		return func(s *grpc.Server) { healthpb.RegisterHealthServer(s, failing{err: err}) }
	}
	cases := []struct {
		name     string
		register func(*grpc.Server)
		service  string
		status   int
		want     string
	}{
		{"whole server", serving, "", 0, ""},
		{"service", serving, "good", 0, ""},
		{"not serving", serving, "bad", 0, "NOT_SERVING, expected SERVING"},
		{"strange status", serving, "strange", 0, "serving status 9, expected SERVING"},
		{"unknown service", serving, "other", 5, `NOT_FOUND: unknown service; does the server set a status for service "other"?`},
		{"no health service", func(*grpc.Server) {}, "", 12, "UNIMPLEMENTED: unknown service grpc.health.v1.Health; does the server register the health service?"},
		{"message with odd characters", with(status.Error(codes.Internal, "über 100%\n")), "", 13, `INTERNAL: über 100%\n`},
		{"unknown code", with(status.Error(codes.Code(77), "x")), "", 77, "gRPC status 77: x"},
		{"hangs", with(nil), "", 0, "no response within 100ms"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("grpc")
			o.GRPC.Service = c.service
			if strings.Contains(c.want, "100ms") {
				o.Timeout = 100 * time.Millisecond
			}
			status, err := runProbe(t, o, serveGRPC(t, c.register))
			wantError(t, err, c.want)
			if status != c.status {
				t.Errorf("status %d, expected %d", status, c.status)
			}
		})
	}
}

func TestGRPCWithTLS(t *testing.T) {
	leaks(t)
	ca := newAuthority(t)
	conf := ca.server(t, time.Now().Add(time.Hour), []string{"app.example.com"})
	address := serveGRPC(t, withHealth(nil), grpc.Creds(credentials.NewTLS(conf)))
	for _, c := range []struct {
		name    string
		tls     *TLS
		address string
		want    string
	}{
		{"passes", &TLS{CAFile: ca.file, ServerName: "app.example.com"}, address, ""},
		{"wrong name", &TLS{CAFile: ca.file}, address, "certificate is not for"},
		{"without TLS", nil, address, "TLS"},
		{"TLS without HTTP/2", &TLS{CAFile: ca.file, ServerName: "app.example.com"}, serveTLS(t, func() *tls.Config {
			c := conf.Clone()
			c.NextProtos = []string{"http/1.1"}
			return c
		}(), untilClosed), "the backend refused the TLS handshake: no application protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("grpc")
			o.TLS = c.tls
			_, err := runProbe(t, o, c.address)
			wantError(t, err, c.want)
		})
	}
}

func TestGRPCBackendsThatAreNone(t *testing.T) {
	leaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	web := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ln) }()
	defer func() { web.Close(); <-ended }()
	for _, c := range []struct{ name, address, want string }{
		{"refused", refusing(t), "connection refused"},
		{"closes", serve(t, func(c net.Conn) { c.Read(make([]byte, 4096)) }), "connection closed before a response"},
		{"HTTP/1.1", serve(t, say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")), "the backend speaks HTTP/1.1, not gRPC"},
		{"garbage", serve(t, say("SSH-2.0-OpenSSH_9.6 and so on and on\r\n")), `the backend does not speak HTTP/2, which gRPC needs: got "SSH-2.0-OpenSSH_9.6`},
		{"resets the call", serve(t, func(c net.Conn) {
			c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00")) // SETTINGS
			awaitCall(c)
			c.Write([]byte("\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x02")) // RST_STREAM, INTERNAL_ERROR
			untilClosed(c)
		}), "HTTP/2: "},
		{"speaks HTTP/2 and closes", serve(t, func(c net.Conn) {
			c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
			c.Read(make([]byte, 4096))
		}), "HTTP/2: "},
		{"hangs", serve(t, untilClosed), "no response within 100ms"},
		{"HTTP/2 without gRPC", ln.Addr().String(), `content type "text/plain; charset=utf-8" instead of application/grpc`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions("grpc")
			if strings.Contains(c.want, "100ms") {
				o.Timeout = 100 * time.Millisecond
			}
			_, err := runProbe(t, o, c.address)
			wantError(t, err, c.want)
		})
	}
}

// awaitCall reads what a client says on an HTTP/2 connection, up to the headers of
// its first request.
func awaitCall(c net.Conn) {
	var preface [24]byte
	var head [9]byte
	_, err := io.ReadFull(c, preface[:])
	for err == nil && head[3] != 1 {
		if _, err = io.ReadFull(c, head[:]); err == nil {
			_, err = io.CopyN(io.Discard, c, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
		}
	}
}

func TestParseHealth(t *testing.T) {
	for _, c := range []struct {
		name, in string
		serving  uint64
		want     string
	}{
		{"serving", "\x00\x00\x00\x00\x02\x08\x01", 1, ""},
		{"default", "\x00\x00\x00\x00\x00", 0, ""},
		{"unknown fields", "\x00\x00\x00\x00\x06\x12\x02hi\x08\x01", 1, ""},
		{"short", "\x00\x00", 0, "2 bytes instead of a message"},
		{"compressed", "\x01\x00\x00\x00\x02\x08\x01", 0, "compressed"},
		{"cut", "\x00\x00\x00\x00\x05\x08\x01", 0, "message of 5 bytes announced, 2 came"},
		{"two messages", "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x00", 0, "announced"},
		{"malformed tag", "\x00\x00\x00\x00\x01\xff", 0, "malformed"},
		{"malformed value", "\x00\x00\x00\x00\x02\x08\xff", 0, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			serving, err := parseHealth([]byte(c.in))
			wantError(t, err, c.want)
			if serving != c.serving && err == nil {
				t.Errorf("status %d, expected %d", serving, c.serving)
			}
		})
	}
}

func TestCallStatus(t *testing.T) {
	set := func(v string) http.Header { return http.Header{"Grpc-Status": {v}} }
	for _, c := range []struct {
		name            string
		header, trailer http.Header
		code            int
		want            string
	}{
		{"trailer", nil, set("12"), 12, ""},
		{"trailers only", set("5"), nil, 5, ""},
		{"trailer counts", set("5"), set("0"), 0, ""},
		{"none", nil, nil, 0, "response without grpc-status"},
		{"no number", nil, set("x"), 0, "not a number"},
		{"negative", nil, set("-1"), 0, "not a number"},
		{"too large", nil, set("4294967296"), 0, "not a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, err := callStatus(c.header, c.trailer)
			wantError(t, err, c.want)
			if code != c.code {
				t.Errorf("code %d, expected %d", code, c.code)
			}
		})
	}
}

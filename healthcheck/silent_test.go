package healthcheck

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestSilent: only a backend of which nothing comes at all is silent.
func TestSilent(t *testing.T) {
	t.Parallel()
	mute := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the probe leaves
	gone := func(net.Conn) {}
	for _, c := range []struct {
		name   string
		probe  Options
		serve  func(net.Conn)
		silent bool
	}{
		{"http, no answer", Options{Type: "http", HTTP: HTTP{Path: "/"}}, mute, true},
		{"http, 503", Options{Type: "http", HTTP: HTTP{Path: "/"}}, say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), false},
		{"http, half an answer", Options{Type: "http", HTTP: HTTP{Path: "/"}}, func(c net.Conn) { say("HTTP/1.1 2")(c); mute(c) }, false},
		{"http, closed", Options{Type: "http", HTTP: HTTP{Path: "/"}}, gone, false},
		{"tcp, no answer", Options{Type: "tcp", TCP: TCP{Send: "PING", Expect: "PONG"}}, mute, true},
		{"tcp, another answer", Options{Type: "tcp", TCP: TCP{Send: "PING", Expect: "PONG"}}, func(c net.Conn) { say("LOADING")(c); mute(c) }, false},
		{"tcp, closed", Options{Type: "tcp", TCP: TCP{Send: "PING", Expect: "PONG"}}, gone, false},
		{"grpc, no answer", Options{Type: "grpc"}, mute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := DefaultOptions()
			o.Type, o.TCP, o.Timeout = c.probe.Type, c.probe.TCP, 300*time.Millisecond
			p, err := NewProbe(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), o.Timeout)
			defer cancel()
			if _, err = p.Run(ctx, serve(t, c.serve)); err == nil || errors.Is(err, ErrSilent) != c.silent {
				t.Errorf("got %v; silent: %v, want %v", err, errors.Is(err, ErrSilent), c.silent)
			}
		})
	}
}

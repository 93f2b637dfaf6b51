package healthcheck

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// shared is TLS of others, as a pool has it.
type shared struct {
	conf *tls.Config
	name string
	err  error
}

func (s *shared) ForHost(host string) (*tls.Config, error) {
	if s.err != nil {
		return nil, s.err
	}
	c := s.conf.Clone()
	if c.ServerName = s.name; s.name == "" {
		c.ServerName = host
	}
	return c, nil
}

// TestSharedTLS: probes speak TLS as others do, each with its own protocol inside,
// and by what is in force at the time.
func TestSharedTLS(t *testing.T) {
	ca := newAuthority(t)
	conf := ca.server(t, time.Now().Add(time.Hour), []string{"app.example.com"})
	roots, err := loadCA(ca.file)
	if err != nil {
		t.Fatal(err)
	}
	web := serveTLS(t, conf, func(c net.Conn) {
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	rpc := serveGRPC(t, withHealth(nil), grpc.Creds(credentials.NewTLS(conf)))
	for _, c := range []struct {
		kind, address string
	}{{"http", web}, {"tcp", web}, {"grpc", rpc}} {
		t.Run(c.kind, func(t *testing.T) {
			o := DefaultOptions()
			if o.Type = c.kind; c.kind != "http" {
				o.HTTP = HTTP{}
			}
			from := &shared{conf: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}, name: "app.example.com"}
			o.TLS = &TLS{From: from}
			p, err := NewProbe(o)
			if err != nil {
				t.Fatal(err)
			}
			run := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := p.Run(ctx, c.address)
				return err
			}
			if err := run(); err != nil {
				t.Errorf("with the right name: %v", err)
			}
			from.name = ""
			if err := run(); err == nil || !strings.Contains(err.Error(), "certificate is not for") {
				t.Errorf("with the name of the address: %v", err)
			}
			from.err = errors.New("there is none")
			if err := run(); err == nil || !strings.Contains(err.Error(), "there is none") {
				t.Errorf("without a configuration: %v", err)
			}
		})
	}
}

// TestPreface comes before all else, once for each connection.
func TestPreface(t *testing.T) {
	for _, kind := range []string{"http", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			first := make(chan string, 1)
			address := serve(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				line, _ := r.ReadString('\n')
				first <- line
				if kind == "http" {
					_, _ = r.ReadString('\n')
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			o := DefaultOptions()
			if o.Type = kind; kind != "http" {
				o.HTTP = HTTP{}
			}
			o.Preface = "PROXY UNKNOWN\r\n"
			p, err := NewProbe(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := p.Run(ctx, address); err != nil {
				t.Error(err)
			}
			if got := <-first; got != o.Preface {
				t.Errorf("the connection begins with %q", got)
			}
		})
	}
}

func TestSharedOptions(t *testing.T) {
	from := &shared{}
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"shared", func(o *Options) { o.TLS = &TLS{From: from} }, ""},
		{"shared with a name", func(o *Options) { o.TLS = &TLS{From: from, ServerName: "a"} }, "tls: "},
		{"plain", func(o *Options) { o.NoTLS = true }, ""},
		{"plain with TLS", func(o *Options) { o.NoTLS, o.TLS = true, &TLS{} }, "tls: contradicts no_tls"},
		{"a preface without a connection", func(o *Options) {
			o.Type, o.HTTP, o.Exec, o.Preface = "exec", HTTP{}, Exec{Command: []string{"true"}}, "x"
		}, "preface: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			c.change(&o)
			if err := o.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

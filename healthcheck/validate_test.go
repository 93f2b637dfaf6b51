package healthcheck

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// problemsOf lists "option: problem" for each error that Validate has joined.
func problemsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var all []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var o *OptionError
		if !errors.As(e, &o) {
			t.Fatalf("%v is no OptionError", e)
		}
		all = append(all, o.Error())
	}
	return all
}

func TestValidate(t *testing.T) {
	ca := newAuthority(t).file
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	script := filepath.Join(dir, "check.sh")
	for _, f := range []string{empty, script} {
		if err := os.WriteFile(f, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tcp := func(o *Options) { o.Type = "tcp" }
	cases := []struct {
		name   string
		change func(*Options)
		want   []string // how each problem begins or what it has; none: valid
	}{
		{"the defaults", func(*Options) {}, nil},
		{"no type is http", func(o *Options) { o.Type = "" }, nil},
		{"tcp with the defaults of http", tcp, nil},
		{"tcp without them", func(o *Options) { o.Type, o.HTTP = "tcp", HTTP{} }, nil},
		{"grpc", func(o *Options) { o.Type, o.GRPC.Service = "grpc", "a.B" }, nil},
		{"exec", func(o *Options) { o.Type, o.Exec.Command = "exec", []string{"sh", "-c", "exit 0"} }, nil},
		{"all of http", func(o *Options) {
			o.HTTP = HTTP{Path: "/a%20b?c=d", Method: "PURGE", Host: "[::1]:80", Headers: []Header{{"X-A", "b\tc ü"}}, Status: []StatusRange{{200, 200}, {100, 599}}, Body: "ok"}
			o.Port, o.TLS = 65535, &TLS{CAFile: ca, ServerName: "a.example.com"}
		}, nil},
		{"the bounds", func(o *Options) {
			o.Interval, o.FastInterval, o.Timeout, o.Rise, o.Fall, o.Start = 24*time.Hour, 24*time.Hour, time.Hour, 100, 1, "unhealthy"
		}, nil},
		{"unknown type", func(o *Options) { o.Type = "https" }, []string{`type: unknown type "https"; did you mean http, with tls?; allowed are http, tcp, grpc, exec`}},
		{"timing", func(o *Options) {
			o.Interval, o.FastInterval, o.Timeout, o.Rise, o.Fall = time.Millisecond, time.Millisecond, 0, 0, 101
		}, []string{"interval: 1ms is out of range; allowed are 10ms to 24h", "fast_interval: 1ms", "timeout: 0s", "rise: 0", "fall: 101"}},
		{"fast_interval above interval", func(o *Options) { o.FastInterval = 6 * time.Second }, []string{"fast_interval: 6s is longer than the interval of 5s"}},
		{"start", func(o *Options) { o.Start = "up" }, []string{`start: unknown state "up"; allowed are checking, healthy and unhealthy`}},
		{"port", func(o *Options) { o.Port = 65536 }, []string{"port: 65536"}},
		{"of another type", func(o *Options) {
			o.Type = "tcp"
			o.HTTP = HTTP{Path: "/x", Method: "HEAD", Host: "h", Headers: []Header{{"a", "b"}}, Status: []StatusRange{{200, 200}}, Body: "x", BodyRegex: "y"}
			o.GRPC.Service, o.Exec.Command = "s", []string{"sh"}
		}, []string{
			"path: belongs to checks of type http, but this one is of type tcp; leave it out or change type",
			"method: belongs", "host: belongs", "headers: belongs", "status: belongs", "body: belongs", "body_regex: belongs",
			"grpc.service: belongs to checks of type grpc", "exec.command: belongs to checks of type exec",
		}},
		{"of tcp", func(o *Options) { o.TCP = TCP{"a", "b"} }, []string{"tcp.send: belongs", "tcp.expect: belongs to checks of type tcp, but this one is of type http"}},
		{"exec with tls", func(o *Options) { o.Type, o.Exec.Command, o.TLS = "exec", []string{"sh"}, &TLS{} }, []string{"tls: a check of type exec makes no connection"}},
		{"path without slash", func(o *Options) { o.HTTP.Path = "healthz" }, []string{`path: "healthz" does not begin with /`}},
		{"path with a line", func(o *Options) { o.HTTP.Path = "/a\r\nX: b" }, []string{`path: "/a\r\nX: b" has a space, #, control`}},
		{"path too long", func(o *Options) { o.HTTP.Path = "/" + strings.Repeat("a", maxPathLen) }, []string{"path: has 8193 bytes"}},
		{"method", func(o *Options) { o.HTTP.Method = "GET /" }, []string{`method: "GET /" is not a method`}},
		{"lower method", func(o *Options) { o.HTTP.Method = "get" }, []string{"did you mean GET?"}},
		{"CONNECT", func(o *Options) { o.HTTP.Method = "CONNECT" }, []string{"method: CONNECT asks for a tunnel"}},
		{"host", func(o *Options) { o.HTTP.Host = "http://a/" }, []string{`host: "http://a/" is not a host`}},
		{"headers", func(o *Options) {
			o.HTTP.Headers = []Header{{"a b", "c"}, {"Host", "x"}, {"Content-Length", "1"}, {"X", "a\r\nb"}, {"Y", strings.Repeat("y", maxHeaderLen+1)}}
		}, []string{`headers: "a b" is not the name`, "headers: Host is not set here; use the option host", "headers: Content-Length cannot be set", `headers: the value of X has a control character: "a\r\nb"`, "headers: the value of Y has 8193 bytes"}},
		{"many headers", func(o *Options) { o.HTTP.Headers = make([]Header, 101) }, []string{"headers: 101 are given"}},
		{"no status", func(o *Options) { o.HTTP.Status = nil }, []string{"status: is empty"}},
		{"status", func(o *Options) { o.HTTP.Status = []StatusRange{{99, 200}, {300, 200}, {200, 600}} }, []string{"status: 99-200", "status: 300-200", "status: 200-600"}},
		{"body and regex", func(o *Options) { o.HTTP.Body, o.HTTP.BodyRegex = "a", "b" }, []string{"body_regex: body is given too"}},
		{"body of HEAD", func(o *Options) { o.HTTP.Method, o.HTTP.Body = "HEAD", "a" }, []string{"body: a response to HEAD has no body"}},
		{"regex of HEAD", func(o *Options) { o.HTTP.Method, o.HTTP.BodyRegex = "HEAD", "a" }, []string{"body_regex: a response to HEAD has no body"}},
		{"regex", func(o *Options) { o.HTTP.BodyRegex = "a(?=b)" }, []string{"body_regex: invalid or unsupported Perl syntax"}},
		{"long texts", func(o *Options) { o.HTTP.Body = strings.Repeat("a", maxExpectLen+1) }, []string{"body: has 4097 bytes"}},
		{"long regex", func(o *Options) { o.HTTP.BodyRegex = strings.Repeat("a", maxExpectLen+1) }, []string{"body_regex: has 4097 bytes"}},
		{"long tcp texts", func(o *Options) {
			o.Type, o.TCP = "tcp", TCP{strings.Repeat("a", maxSendLen+1), strings.Repeat("a", maxExpectLen+1)}
		}, []string{"tcp.send: has", "tcp.expect: has"}},
		{"service", func(o *Options) { o.Type, o.GRPC.Service = "grpc", "a\n" }, []string{`grpc.service: "a\n" is not the name`}},
		{"ca that is missing", func(o *Options) { o.TLS = &TLS{CAFile: filepath.Join(dir, "none")} }, []string{": no such file or directory"}},
		{"ca that is a folder", func(o *Options) { o.TLS = &TLS{CAFile: dir} }, []string{"is not a file"}},
		{"ca without certificates", func(o *Options) { o.TLS = &TLS{CAFile: empty} }, []string{"holds no certificate"}},
		{"ca that is not used", func(o *Options) { o.TLS = &TLS{CAFile: ca, Insecure: true} }, []string{"tls.ca: insecure accepts any certificate"}},
		{"server name", func(o *Options) { o.TLS = &TLS{ServerName: "a b"} }, []string{`tls.server_name: "a b" is not a host name`}},
		{"no command", func(o *Options) { o.Type = "exec" }, []string{"exec.command: names no program"}},
		{"NUL", func(o *Options) { o.Type, o.Exec.Command = "exec", []string{"sh", "a\x00"} }, []string{"exec.command: \"a\\x00\" has a NUL byte"}},
		{"program that is missing", func(o *Options) { o.Type, o.Exec.Command = "exec", []string{"no-such-program"} }, []string{`there is no program "no-such-program" in PATH; install it or give its full path`}},
		{"path that is missing", func(o *Options) { o.Type, o.Exec.Command = "exec", []string{"/no/such"} }, []string{`there is no program "/no/such"; correct the path or install it`}},
		{"a line for a shell", func(o *Options) { o.Type, o.Exec.Command = "exec", []string{"sh -c 'exit 0'"} }, []string{"there is no shell that would split it"}},
		{"not executable", func(o *Options) { o.Type, o.Exec.Command = "exec", []string{script} }, []string{"may not be executed; chmod +x it"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			c.change(&o)
			got := problemsOf(t, o.Validate())
			if len(got) != len(c.want) {
				t.Fatalf("got %q, expected %q", got, c.want)
			}
			for i, w := range c.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("got %q, expected %q", got[i], w)
				}
			}
			if _, err := NewProbe(o); (err == nil) != (len(c.want) == 0) {
				t.Errorf("NewProbe says %v", err)
			}
		})
	}
}

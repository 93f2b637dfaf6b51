package limits_test

import (
	"fmt"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// TestHeadsWithinLimits: the limits of a request's head and of a connection's
// requests, each just within and just beyond, before and after a reload.
func TestHeadsWithinLimits(t *testing.T) {
	t.Parallel()
	get := func(target string, fields int) string {
		return "GET " + target + " HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("X-A: b\r\n", fields-1) + "\r\n"
	}
	long := func(n int) string { return "/" + strings.Repeat("x", n-1) }
	cases := []struct {
		name, request, want string
	}{
		{"a target within", get(long(100), 1), "HTTP/1.1 200"},
		{"a target beyond", get(long(101), 1), "HTTP/1.1 414 |X-Steelyard-Cause: target_too_long"},
		{"a query counts", get("/?"+long(99), 1), "HTTP/1.1 414"},
		{"a target beyond the head", get(long(4000), 1), "HTTP/1.1 414"},
		{"fields within", get("/", 20), "HTTP/1.1 200"},
		{"fields beyond", get("/", 21), "HTTP/1.1 431 Request Header Fields Too Large|X-Steelyard-Cause: head_too_large"},
		{"a head beyond", get("/", 500), "HTTP/1.1 431"},
	}
	const limits = "max_target_length: 100B, max_header_fields: 20, max_header_size: 2KiB, max_requests: 3"
	s := harness.Start(t, fmt.Sprintf(fixed, limits))
	check := func(t *testing.T) {
		for _, tt := range cases {
			got := ask(t, from(t, "127.0.0.1", s.Address), tt.request)
			for _, want := range strings.Split(tt.want, "|") {
				if !strings.Contains(got, want) {
					t.Errorf("%s: no %q in %q", tt.name, want, got)
				}
			}
		}
		c := harness.Dial(t, s.Address)
		c.Send(t, strings.Repeat(hello, 4))
		for i := range 3 {
			if m, last := c.Response(t, "GET"), i == 2; m.Status() != 200 || (m.Value("Connection") == "close") != last {
				t.Errorf("response %d of 3: %q %q", i+1, m.First, m.Fields)
			}
		}
		if rest := c.End(t, patience); len(rest) > 0 {
			t.Errorf("behind the last response of a connection came %q", rest)
		}
	}
	t.Run("from the start", check)
	if g := s.Reload(t, fmt.Sprintf(fixed, "max_target_length: 1MiB, max_header_fields: 1000, max_header_size: 1MiB")); !g.LastOK {
		t.Fatal(g.Errors)
	}
	for _, tt := range cases {
		if got := ask(t, from(t, "127.0.0.1", s.Address), tt.request); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("%s, with more allowed: %q", tt.name, got)
		}
	}
	c := harness.Dial(t, s.Address)
	for range 5 {
		if m := c.Exchange(t, hello); m.Status() != 200 {
			t.Errorf("without max_requests: %q", m.First)
		}
	}
	if g := s.Reload(t, fmt.Sprintf(fixed, limits)); !g.LastOK {
		t.Fatal(g.Errors)
	}
	t.Run("after a reload", check)
	if m := c.Exchange(t, hello); m.Value("Connection") != "close" {
		t.Errorf("a connection from before the reload has had its requests, and got %q", m.Fields)
	}
}

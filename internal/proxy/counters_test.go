package proxy

import (
	"strings"
	"testing"
)

// TestRetriesAreCounted: by class and reason, and not as errors, because the
// client saw none.
func TestRetriesAreCounted(t *testing.T) {
	f := newFixture(t, []string{refused(t), cannedBackend(t, smallResponse)}, nil)
	nc, _ := f.dial(t)
	buf := make([]byte, 4096)
	for range 2 {
		roundTrip(t, nc, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), buf, len(smallResponse))
	}
	if n := f.Retries(); len(n) != 1 || n["unsent/connect_refused"] != 1 {
		t.Errorf("retries %v, want one of unsent/connect_refused", n)
	}
	if n := f.Errors(); len(n) != 0 {
		t.Errorf("errors %v, want none", n)
	}
}

// TestStatusLineWithoutReason: the space before an empty reason is made good
// (RFC 9112, section 4).
func TestStatusLineWithoutReason(t *testing.T) {
	for _, status := range []string{"200", "200 ", "200 Fine"} {
		f := newFixture(t, []string{cannedBackend(t, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")}, nil)
		nc, r := f.dial(t)
		if _, err := nc.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		line, err := r.ReadString('\n')
		want := "HTTP/1.1 200 " + strings.TrimPrefix(status[3:], " ") + "\r\n"
		if err != nil || line != want {
			t.Errorf("%q came through as %q, %v; want %q", status, line, err, want)
		}
	}
}

package limits_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const patience = 15 * time.Second

const hello = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

// from opens a connection whose peer, as Steelyard sees it, is one of 127.0.0.0/8.
func from(t *testing.T, address, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// ask sends text and returns the beginning of what comes back; "" if the connection
// is reset or ends first.
func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	_, _ = io.WriteString(c, text) // whoever was turned away may have been closed already
	b := make([]byte, 4096)
	n, _ := c.Read(b)
	return string(b[:n])
}

// served opens a connection from an address, and has a request answered on it.
func served(t *testing.T, address string, s *harness.Steelyard) net.Conn {
	t.Helper()
	c := from(t, address, s.Address)
	if got := ask(t, c, hello); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Fatalf("from %s: %q", address, got)
	}
	return c
}

// metric is the value of a metric, by its name and, in order, some of its labels.
func metric(t *testing.T, s *harness.Steelyard, name string, labels ...string) float64 {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	text := harness.Get(t, &c, "http://"+s.Admin+"/metrics")
lines:
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return 0 // a cause that a pool has not had has no metric
}

func rejected(t *testing.T, s *harness.Steelyard, reason string) float64 {
	t.Helper()
	return metric(t, s, "steelyard_listener_connections_rejected_total", `reason="`+reason+`"`)
}

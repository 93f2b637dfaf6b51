package tls_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

const patience = 10 * time.Second

// lab is a CA, what it issued, and where the files are.
type lab struct {
	t   *testing.T
	ca  *certtest.CA
	dir string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{t: t, ca: certtest.NewCA(t, "Lab CA"), dir: t.TempDir()}
}

// issue writes a certificate as NAME.pem and NAME.key.
func (l *lab) issue(name, key string, hosts []string, options ...certtest.Option) *certtest.Pair {
	l.t.Helper()
	p := l.ca.Issue(l.t, key, hosts, options...)
	p.Files(l.t, l.dir, name)
	return p
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// files are the keys cert and key of a certificate.
func (l *lab) files(name string) string {
	return fmt.Sprintf("cert: %s, key: %s", l.path(name+".pem"), l.path(name+".key"))
}

// trust is what a client of this lab goes by.
func (l *lab) trust(host string) *tls.Config {
	return &tls.Config{RootCAs: l.ca.Pool(), ServerName: host}
}

// front starts steelyard with a listener whose keys are given, in front of
// backends, and with an admin API.
func (l *lab) front(listener, more string, backends ...string) *harness.Steelyard {
	l.t.Helper()
	return harness.Start(l.t, l.file(listener, more, backends...))
}

func (l *lab) file(listener, more string, backends ...string) string {
	routes := "routes:\n  - {match: {path: /*}, pool: web}\n"
	if strings.Contains(more, "routes:") {
		routes = ""
	}
	return fmt.Sprintf(`
listeners: {web: {address: "LISTEN", %s}}
admin: {address: "ADMIN"}
%s%s
pools:
  web: {backends: [%s]}
`, listener, routes, more, strings.Join(backends, ", "))
}

// plainTLS is a listener with one certificate.
func (l *lab) plainTLS() string {
	l.issue("a", "ecdsa", []string{"app.test"})
	return fmt.Sprintf("tls: {certificates: {%s}}", l.files("a"))
}

// client is an HTTPS client of a steelyard, whatever host a URL names.
func client(t *testing.T, s *harness.Steelyard, conf *tls.Config) *http.Client {
	t.Helper()
	c := harness.Client(t)
	c.Transport.(*http.Transport).TLSClientConfig = conf
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", s.Address)
	}
	return c
}

// dial makes a raw connection inside TLS.
func dial(t *testing.T, s *harness.Steelyard, conf *tls.Config) *harness.Conn {
	t.Helper()
	c, err := connect(s.Address, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// connect is dial for any goroutine.
func connect(address string, conf *tls.Config) (*harness.Conn, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	tc := tls.Client(nc, conf)
	if err := tc.Handshake(); err != nil {
		nc.Close()
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	return &harness.Conn{Conn: tc, R: bufio.NewReader(tc)}, nil
}

// state is the TLS of a connection of dial.
func state(c *harness.Conn) tls.ConnectionState { return c.Conn.(*tls.Conn).ConnectionState() }

// serial is the serial number of the certificate that a client is shown.
func serial(t *testing.T, s *harness.Steelyard, conf *tls.Config) string {
	t.Helper()
	c := dial(t, s, conf)
	defer c.Close()
	return state(c).PeerCertificates[0].SerialNumber.Text(16)
}

func serialOf(p *certtest.Pair) string { return p.Cert.SerialNumber.Text(16) }

const get = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"

// echoed is what the backend's /echo has got.
type echoed struct {
	Method, URL string
	Headers     []string
	Body        string
}

// header is the values of a header, joined.
func (e *echoed) header(name string) string {
	var values []string
	for i := 0; i+1 < len(e.Headers); i += 2 {
		if strings.EqualFold(e.Headers[i], name) {
			values = append(values, e.Headers[i+1])
		}
	}
	return strings.Join(values, "|")
}

func echo(t *testing.T, m *harness.Message) *echoed {
	t.Helper()
	e := &echoed{}
	if err := json.Unmarshal(m.Body, e); err != nil {
		t.Fatalf("%v in %s %q", err, m.First, m.Body)
	}
	return e
}

// metric is the value of a metric by its text up to the space, -1 if there is none.
func metric(t *testing.T, s *harness.Steelyard, name string) float64 {
	t.Helper()
	text := harness.Get(t, harness.Client(t), "http://"+s.Admin+"/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// failures is how many handshakes have failed for a reason.
func failures(t *testing.T, s *harness.Steelyard, reason string) float64 {
	t.Helper()
	return metric(t, s, fmt.Sprintf(`steelyard_listener_tls_handshake_failures_total{address=%q,listener="web",reason=%q}`, s.Address, reason))
}

// failed waits until n failed handshakes have been counted for a reason, which happens
// a moment after the client has learnt of it.
func failed(t *testing.T, s *harness.Steelyard, reason string, n float64) {
	t.Helper()
	harness.Eventually(t, patience, fmt.Sprintf("%v failures are counted: %s", n, reason), func() bool { return failures(t, s, reason) == n })
}

// run runs steelyard to its end and returns what it printed.
func run(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(t), args...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("steelyard %q has not ended:\n%s", args, out)
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

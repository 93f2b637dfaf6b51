// Package backendtls_test shows TLS to backends from a file to the wire, with real
// Node.js servers behind.
package backendtls_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// world is a folder with a CA, in whose files configurations and apps find what
// they need.
type world struct {
	t   *testing.T
	dir string
	ca  *certtest.CA
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), ca: certtest.NewCA(t, "Backend CA")}
	certtest.Write(t, w.path("ca.pem"), w.ca.PEM())
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// issue writes a certificate of the CA as name.pem with name.key.
func (w *world) issue(name string, hosts []string, options ...certtest.Option) *certtest.Pair {
	p := w.ca.Issue(w.t, "ecdsa", hosts, options...)
	p.Files(w.t, w.dir, name)
	return p
}

// app starts an app with the certificate of that name.
func (w *world) app(name, cert string, env ...string) *harness.Node {
	return harness.StartNode(w.t, "test/backendtls/testdata/app.mjs",
		append([]string{"NAME=" + name, "CERT=" + w.path(cert+".pem"), "KEY=" + w.path(cert+".key")}, env...)...)
}

// start runs steelyard; DIR stands for the folder, and the pool has the keys.
func (w *world) start(pool string, top ...string) *harness.Steelyard {
	return harness.Start(w.t, w.yaml(pool, top...))
}

func (w *world) yaml(pool string, top ...string) string {
	return strings.ReplaceAll(fmt.Sprintf(`
listeners: {web: LISTEN}
routes: [{pool: web}]
admin: ADMIN
pools:
  web: {%s}
%s
`, pool, strings.Join(top, "\n")), "DIR", w.dir)
}

// answer is what the app says of a request.
type answer struct {
	Name, Path, Method, SNI, Version, Client, ALPN string
	Encrypted, Resumed                             bool
	Port, Connections, Checks                      int
	Received                                       int64
	SHA256                                         string
}

// ask gets an answer that has to be one of an app.
func ask(t *testing.T, s *harness.Steelyard, method, path, body string) (a answer) {
	t.Helper()
	status, text, err := harness.Do(harness.Client(t), method, s.URL+path, body)
	if err != nil || status != 200 {
		t.Fatalf("%s %s: %d %v %q", method, path, status, err, text)
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&a); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return a
}

// logged waits for a text in what steelyard has logged.
func logged(t *testing.T, s *harness.Steelyard, text string) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, "the log says "+text, func() bool { return strings.Contains(s.Output(), text) })
}

package tls_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// TestNodeClients lets real Node.js clients in: node:https with keep-alive and
// sessions, a client certificate, uploads, fetch, and WebSockets of ws.
func TestNodeClients(t *testing.T) {
	l := newLab(t)
	l.issue("a", "ecdsa", []string{"app.test"})
	l.issue("rsa", "rsa", []string{"app.test"})
	l.issue("ann", "ecdsa", []string{"Ann"})
	certtest.Write(t, l.path("ca.pem"), l.ca.PEM())
	app, ws := harness.App(t, "a"), harness.StartNode(t, "test/node/ws.mjs")
	listener := fmt.Sprintf("tls: {certificates: [{%s}, {%s}], client_auth: {mode: optional, ca: %s}}", l.files("a"), l.files("rsa"), l.path("ca.pem"))
	s := harness.Start(t, l.file(listener, `
routes:
  - {match: {path: /*}, pool: web, request_headers: {set: {x-client: "{tls_client_cn}"}}}
  - {match: {path: /ws}, pool: ws}
`, app.Address)+"  ws: {backends: ["+ws.Address+"]}\n")
	_, port, _ := strings.Cut(s.Address, ":")
	cmd := harness.NodeCommand(t, "test/node/tls-clients.mjs", port, l.path("ca.pem"), l.path("ann.pem"), l.path("ann.key"))
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "all is well") {
		t.Fatalf("%v\n%s", err, out)
	}
}

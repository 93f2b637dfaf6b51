package tls_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// finding is what testssl.sh says about one thing.
type finding struct{ ID, Severity, Finding string }

// safeApp is an app that sends what browsers want to hear from an app itself.
const safeApp = "HTTP/1.1 200 OK\r\nX-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'self'\r\n" +
	"Referrer-Policy: no-referrer\r\nContent-Length: 2\r\n\r\nok"

// TestTestsslFindsNothing runs Debian's testssl.sh against the defaults: nothing
// may be worse than LOW.
func TestTestsslFindsNothing(t *testing.T) {
	tool, err := exec.LookPath("testssl")
	if err != nil {
		t.Fatalf("%v; as root on Debian: make need", err)
	}
	l := newLab(t)
	r := newResponder(t, l.ca)
	at := func(c *x509.Certificate) { c.OCSPServer = []string{r.URL} }
	l.issue("rsa", "rsa", []string{"app.test"}, at)
	l.issue("ecdsa", "ecdsa", []string{"app.test"}, at)
	certtest.Write(t, l.path("ca.pem"), l.ca.PEM())
	app, _ := harness.Scripted(t, func(*harness.Message) string { return safeApp })
	s := l.front(fmt.Sprintf("tls: {certificates: [{%s}, {%s}]}, hsts: true", l.files("ecdsa"), l.files("rsa")), "", app)
	harness.Eventually(t, patience, "a response is stapled", func() bool { return stapled(t, s, l.trust("app.test")) != nil })

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out := l.path("testssl.json")
	_, port, _ := strings.Cut(s.Address, ":")
	cmd := exec.CommandContext(ctx, tool, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1", "--add-ca", l.path("ca.pem"),
		"--protocols", "--server-defaults", "--std", "--fs", "--headers", "--vulnerable", "--jsonfile", out, "app.test:"+port)
	cmd.Dir = l.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts many others
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	said, err := cmd.CombinedOutput() // it ends with the number of findings
	if ctx.Err() != nil {
		t.Fatalf("testssl.sh has not ended:\n%s", said)
	}
	text, readErr := os.ReadFile(out)
	var found []finding
	if readErr != nil || json.Unmarshal(text, &found) != nil || len(found) < 50 {
		t.Fatalf("%v %v: %d findings\n%s", err, readErr, len(found), said)
	}
	var seen []string
	for _, f := range found {
		if f.ID == "engine_problem" {
			continue // of this machine's openssl, not of what it looks at
		}
		seen = append(seen, f.ID)
		switch f.Severity {
		case "OK", "INFO", "DEBUG":
		case "LOW":
			t.Logf("low: %s: %s", f.ID, f.Finding)
		default:
			t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	for _, id := range []string{"TLS1_2", "TLS1_3", "PFS", "HSTS", "heartbleed", "ROBOT", "LUCKY13"} {
		if !slices.ContainsFunc(seen, func(s string) bool { return s == id || strings.HasPrefix(s, id+"_") || "P"+s == id }) {
			t.Errorf("testssl.sh did not look at %s", id)
		}
	}
}

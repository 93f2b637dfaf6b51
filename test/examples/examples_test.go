// Package examples_test runs what examples/ and the README promise.
package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"steelyard/test/harness"
)

const patience = 20 * time.Second

func TestEveryExampleIsValid(t *testing.T) {
	root := filepath.Join(harness.Root(t), "examples")
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".yaml" || d.Name() == "backends.yaml" {
			return nil // the latter is a list that a configuration names
		}
		found++
		if out, err := exec.Command(harness.Binary(t), "check", "-c", path).CombinedOutput(); err != nil {
			t.Errorf("steelyard check -c %s: %v\n%s", path, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("there is no example")
	}
}

// The Node.js example, started as its README says but on free ports.
func TestTheNodeExampleRunsBehindItsConfiguration(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(harness.Root(t), "examples/node/steelyard.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.ReplaceAll(string(file), "127.0.0.1:8080", "LISTEN")
	var addresses, ports []string
	for _, old := range regexp.MustCompile(`127\.0\.0\.1:300\d`).FindAllString(config, -1) {
		address := harness.FreeAddress(t)
		config = strings.ReplaceAll(config, old, address)
		addresses = append(addresses, address)
		ports = append(ports, strings.TrimPrefix(address, "127.0.0.1:"))
	}
	if len(addresses) != 3 {
		t.Fatalf("the example's configuration has the workers %v; want three", addresses)
	}
	cluster := harness.StartNode(t, "examples/node/cluster.js", "PORTS="+strings.Join(ports, ","), "TICK_MS=100")
	direct := harness.Client(t)
	for _, address := range addresses {
		harness.Eventually(t, patience, "the worker at "+address+" answers", func() bool {
			status, _, err := harness.Do(direct, "GET", "http://"+address+"/healthz", "")
			return err == nil && status == http.StatusOK
		})
	}
	s := harness.Start(t, config)
	browser := harness.Browser(t)

	if page := harness.Get(t, browser, s.URL+"/"); !strings.Contains(page, "Three workers, one address") {
		t.Errorf("the page is %.200q", page)
	}
	for _, asset := range []string{"/style.css", "/page.js", "/socket.io/socket.io.js"} {
		harness.Get(t, browser, s.URL+asset)
	}
	for want := 1; want <= 5; want++ {
		var got struct{ Count int }
		decode(t, harness.Get(t, browser, s.URL+"/counter"), &got)
		if got.Count != want {
			t.Errorf("the counter says %d; want %d", got.Count, want)
		}
	}

	var who struct{ IP, RequestID string }
	decode(t, harness.Get(t, browser, s.URL+"/whoami"), &who)
	if who.IP != "127.0.0.1" || who.RequestID == "" {
		t.Errorf("the worker knows of its client %+v", who)
	}

	var uploaded struct {
		Size   int
		SHA256 string
	}
	_, answer, err := harness.Do(browser, "POST", s.URL+"/upload", strings.Repeat("a", 1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, answer, &uploaded)
	if uploaded.Size != 1_000_000 || uploaded.SHA256 != "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" {
		t.Errorf("the upload arrived as %+v", uploaded)
	}

	ws := harness.OpenWebSocket(t, s.Address, "/ws")
	if err := ws.WriteFrame(harness.OpText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, echo, err := ws.ReadFrame(); err != nil || !bytes.Equal(echo, []byte("hello")) {
		t.Errorf("the echo is %q, %v", echo, err)
	}

	res, err := browser.Get(s.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var events strings.Builder
	for buf := make([]byte, 1024); strings.Count(events.String(), "data: ") < 3; {
		n, err := res.Body.Read(buf)
		if err != nil {
			t.Fatalf("the feed ended after %q: %v", events.String(), err)
		}
		events.Write(buf[:n])
	}

	// The workers stop as they should, with a stream and a WebSocket open.
	cluster.Signal(t, syscall.SIGTERM)
	if code := cluster.ExitCode(t, patience); code != 0 {
		t.Errorf("the cluster ended with %d", code)
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(fmt.Errorf("%w in %q", err, text))
	}
}

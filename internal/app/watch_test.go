package app

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAChangeDuringTheStartIsSeen: the file that is watched may change while the first
// checks are waited for.
func TestAChangeDuringTheStartIsSeen(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	address := freeAddress(t)
	text := func(status int) string {
		return fmt.Sprintf("reload: {watch: true}\nlisteners: {web: %q}\nroutes: [{match: {path: /x}, pool: web}, {respond: %d}]\n"+
			"pools: {web: {backends: [%q], check: {path: /, timeout: 700ms, interval: 10s}}}\n", address, status, mute.Addr())
	}
	file := filepath.Join(t.TempDir(), "steelyard.yaml")
	if err := os.WriteFile(file, []byte(text(201)), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := make(chan error, 1)
	go func() {
		c, err := mute.Accept() // the first check
		if err == nil {
			defer c.Close()
			err = os.WriteFile(file, []byte(text(202)), 0o600)
		}
		changed <- err
	}()
	a, err := StartFile(parse(t, text(201)), file)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if status, _ := get(t, "http://"+address); status == 202 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the file as it is now is not in force")
		}
	}
}

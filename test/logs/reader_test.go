package logs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"steelyard/test/harness"
)

// TestAReaderOfStandardOutputMayGo: a broken pipe, which ends a process by
// default, costs lines and nothing else.
func TestAReaderOfStandardOutputMayGo(t *testing.T) {
	t.Parallel()
	address, file := harness.FreeAddress(t), filepath.Join(t.TempDir(), "steelyard.yaml")
	yaml := fmt.Sprintf(`
listeners: {web: %q}
access_log: json
routes: [{respond: {status: 200, body: ok}}]
`, address)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(harness.Binary(t), "run", "-c", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b := make([]byte, 1)
	if _, err := out.Read(b); err != nil { // the line that says where it listens
		t.Fatal(err)
	}
	out.Close()
	c := harness.Client(t)
	for range 3 { // each is written, in vain, by itself
		for range 100 {
			if got := harness.Get(t, c, "http://"+address+"/"); got != "ok" {
				t.Fatalf("got %q", got)
			}
		}
		time.Sleep(200 * time.Millisecond) // lines are written together, every 100 ms
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

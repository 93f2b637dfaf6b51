package upgrade_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/test/harness"
)

// TestUnitIsVerified: systemd finds nothing to complain about in the units.
func TestUnitIsVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on this machine; tools/need systemd-analyze brings it")
	}
	dir := t.TempDir()
	units := []string{"steelyard.service", "steelyard.socket"}
	for i, name := range units {
		text, err := os.ReadFile(filepath.Join(harness.Root(t), "examples/deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		units[i] = filepath.Join(dir, name)
		unit := strings.ReplaceAll(string(text), "/usr/local/bin/steelyard", harness.Binary(t))
		if err := os.WriteFile(units[i], []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "steelyard") {
		t.Errorf("%v\n%s", err, out)
	}
}

package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Steelyard is a running steelyard.
type Steelyard struct {
	*Process
	Address string // of its listener
	URL     string
	Admin   string // address of the admin API, if the configuration opens it
}

// Start runs steelyard with a configuration in which LISTEN and ADMIN stand for
// free addresses, and waits until those it names accept connections.
func Start(t testing.TB, yaml string) *Steelyard {
	t.Helper()
	address := FreeAddress(t)
	file := filepath.Join(t.TempDir(), "steelyard.yaml")
	admin := FreeAddress(t)
	text := strings.NewReplacer("LISTEN", address, "ADMIN", admin).Replace(yaml)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Steelyard{
		Process: start(t, "steelyard", exec.Command(Binary(t), "run", "-c", file)),
		Address: address,
		URL:     "http://" + address,
		Admin:   admin,
	}
	t.Cleanup(func() {
		if strings.Contains(s.Output(), "goroutine ") {
			t.Error("steelyard panicked")
		}
	})
	Eventually(t, 10*time.Second, "steelyard listens", func() bool {
		if s.Ended() {
			t.Fatalf("steelyard ended instead of listening; its configuration:\n%s", yaml)
		}
		return dials("tcp", address) && (!strings.Contains(yaml, "ADMIN") || dials("tcp", admin))
	})
	return s
}

// dials reports whether somebody accepts connections on an address.
func dials(network, address string) bool {
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Steelyard is a running steelyard.
type Steelyard struct {
	*Process
	Address string // of its listener
	URL     string
	Admin   string // address of the admin API, if the configuration opens it
	File    string // its configuration
}

// Start is Begin, and waits until steelyard says that it serves.
func Start(t testing.TB, yaml string) *Steelyard {
	t.Helper()
	s := Begin(t, yaml)
	Eventually(t, 10*time.Second, "steelyard serves", func() bool { return strings.Contains(s.Output(), " on "+s.Address) })
	return s
}

// Begin runs steelyard with a configuration in which LISTEN and ADMIN stand for
// free addresses, and waits until those it names accept connections. Its first checks
// may not be over then.
func Begin(t testing.TB, yaml string) *Steelyard {
	t.Helper()
	address := FreeAddress(t)
	file := filepath.Join(t.TempDir(), "steelyard.yaml")
	admin := FreeAddress(t)
	s := &Steelyard{Address: address, URL: "http://" + address, Admin: admin, File: file}
	s.Write(t, yaml)
	s.Process = start(t, "steelyard", exec.Command(Binary(t), "run", "-c", file))
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

// Write puts another configuration in the place of its file, at once and whole,
// with LISTEN and ADMIN as in Start.
func (s *Steelyard) Write(t testing.TB, yaml string) {
	t.Helper()
	text := strings.NewReplacer("LISTEN", s.Address, "ADMIN", s.Admin).Replace(yaml)
	if err := os.WriteFile(s.File+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.File+".new", s.File); err != nil {
		t.Fatal(err)
	}
}

// GenerationView is the configuration in force as the admin API shows it.
type GenerationView struct {
	ID         int64
	Reloads    int64
	Failed     int64     `json:"reloads_failed"`
	LastOK     bool      `json:"last_reload_ok"`
	LastAt     time.Time `json:"last_reload_at"`
	Errors     []string
	Changes    []string
	RolledBack string `json:"rolled_back"`
}

// Generation asks the admin API, as Pool does.
func (s *Steelyard) Generation(t testing.TB) GenerationView {
	t.Helper()
	var g GenerationView
	s.ask(t, "GET", "/api/v1/generation", "", &g)
	return g
}

// Reload writes a configuration, sends SIGHUP, and waits for what becomes of it.
func (s *Steelyard) Reload(t testing.TB, yaml string) GenerationView {
	t.Helper()
	before := s.Generation(t)
	s.Write(t, yaml)
	s.Signal(t, syscall.SIGHUP)
	var after GenerationView
	Eventually(t, 15*time.Second, "the reload has ended", func() bool {
		after = s.Generation(t)
		return after.LastAt.After(before.LastAt)
	})
	return after
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

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var build struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Main is what a scenario package's TestMain calls: it runs the tests and
// removes what was built for them.
func Main(m *testing.M) {
	code := m.Run()
	if build.dir != "" {
		os.RemoveAll(build.dir)
	}
	os.Exit(code)
}

// Binary is the path of the steelyard binary under test: STEELYARD_BIN if it
// is set, otherwise one built from this tree, once for a run of a package.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		if build.path = os.Getenv("STEELYARD_BIN"); build.path != "" {
			return
		}
		if build.dir, build.err = os.MkdirTemp("", "steelyard-test-"); build.err != nil {
			return
		}
		build.path = filepath.Join(build.dir, "steelyard")
		cmd := exec.Command("go", "build", "-o", build.path, "./cmd/steelyard")
		cmd.Dir = Root(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("go build ./cmd/steelyard: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Root is the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}

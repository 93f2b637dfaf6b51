package overload_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"steelyard/test/harness"
)

// cgroup makes a group of processes with 200 MiB of memory, and returns the files
// that take its processes. Not every machine that runs tests may make one.
func cgroup(t *testing.T) (procs []string) {
	t.Helper()
	name := fmt.Sprintf("steelyard-test-%d", os.Getpid())
	make := func(dir string, limits map[string]string) {
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("this needs to make cgroups: %v", err)
		}
		t.Cleanup(func() {
			harness.Eventually(t, 10*time.Second, "the cgroup to be empty", func() bool { return os.Remove(dir) == nil })
		})
		for file, limit := range limits {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(limit), 0o644); err != nil {
				t.Skipf("this needs to limit cgroups: %v", err)
			}
		}
		procs = append(procs, filepath.Join(dir, "cgroup.procs"))
	}
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		make(root, map[string]string{"memory.max": "209715200"})
		return procs
	}
	make(root+"/memory", map[string]string{"memory.limit_in_bytes": "209715200"})
	return procs
}

// TestMemoryOfTheContainer: the garbage collector goes by what the container may
// have, not by what the machine has.
func TestMemoryOfTheContainer(t *testing.T) {
	procs := cgroup(t)
	admin, file := harness.FreeAddress(t), filepath.Join(t.TempDir(), "steelyard.yaml")
	yaml := fmt.Sprintf("listeners: {web: %q}\nroutes: [{respond: 200}]\nadmin: %q\n", harness.FreeAddress(t), admin)
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, p := range procs {
		fmt.Fprintf(&script, "echo $$ > %s && ", p)
	}
	cmd := exec.Command("sh", "-c", script.String()+`exec "$0" run -c "$1"`, harness.Binary(t), file)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := harness.Client(t)
	text := ""
	harness.Eventually(t, 10*time.Second, "its metrics", func() bool {
		_, body, err := harness.Do(c, "GET", "http://"+admin+"/metrics", "")
		text = body
		return err == nil
	})
	figure := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("there is no %s in\n%.2000s", name, text)
		}
		f, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if got, want := figure("go_gc_gomemlimit_bytes"), 0.9*209715200; got < want-4096 || got > want+4096 {
		t.Errorf("the garbage collector aims at %.0f bytes, want %.0f", got, want)
	}
}

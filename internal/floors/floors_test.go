// Package floors keeps the house standing: it holds every package of the
// module to the floor that DESIGN.md gives it. Imports go down only, never
// sideways and never in a circle.
package floors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "steelyard"

// floors lists every room of the house, lowest floor first. A package below a
// room (discovery/consul below discovery) belongs to that room.
var floors = [][]string{
	0: {"internal/wire"},
	1: {
		"balancer",
		"healthcheck",
		"discovery",
		"internal/access",
		"internal/accesslog",
		"internal/adaptive",
		"internal/auth",
		"internal/browser",
		"internal/certs",
		"internal/demo",
		"internal/errorlog",
		"internal/explain",
		"internal/metrics",
		"internal/outlier",
		"internal/proxyproto",
		"internal/ratelimit",
		"internal/rewrite",
		"internal/router",
		"internal/sticky",
		"internal/transport",
		"internal/upgrade",
	},
	2: {"config", "internal/pool"},
	3: {"internal/proxy", "internal/admin"},
	4: {"internal/app"},
	5: {"cmd/steelyard"},
	// What stands around the house may use all of it.
	6: {"test", "bench", "tools", "examples", "internal/floors"},
}

// alone lists the rooms that anyone may import and bench by themselves, and
// what none of their dependencies, direct or not, may be.
var (
	alone     = []string{"balancer", "healthcheck", "discovery"}
	forbidden = []string{"github.com/valyala/fasthttp", "gopkg.in/yaml", module + "/internal/"}
)

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range packages(t) {
		from, floor, err := place(p.ImportPath)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, path := range p.Imports {
			if !ours(path) {
				continue
			}
			to, below, err := place(path)
			if err != nil || to == from {
				continue // An unknown package is reported once, where it is listed.
			}
			if below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down only", p.ImportPath, floor, path, below)
			}
		}
	}
}

func TestSomeRoomsStandAlone(t *testing.T) {
	for _, p := range packages(t) {
		room, _, err := place(p.ImportPath)
		if err != nil || !slices.Contains(alone, room) {
			continue
		}
		for _, dep := range p.Deps {
			for _, bad := range forbidden {
				if strings.HasPrefix(dep, bad) {
					t.Errorf("%s depends on %s, but anyone must be able to import %s by itself", p.ImportPath, dep, room)
				}
			}
		}
	}
}

// TestPlace shows that the rules above can fail.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		path, room string
		floor      int
	}{
		{"steelyard/internal/wire", "internal/wire", 0},
		{"steelyard/discovery/consul", "discovery", 1},
		{"steelyard/config", "config", 2},
		{"steelyard/test/harness", "test", 6},
	} {
		room, floor, err := place(c.path)
		if err != nil || room != c.room || floor != c.floor {
			t.Errorf("place(%q) = %q, %d, %v; want %q, %d", c.path, room, floor, err, c.room, c.floor)
		}
	}
	for _, path := range []string{"steelyard/internal/kitchen", "steelyard/configuration", "steelyard"} {
		if _, _, err := place(path); err == nil {
			t.Errorf("place(%q) found a floor for a package that has none", path)
		}
	}
}

// place finds the room and the floor of one of our packages.
func place(path string) (room string, floor int, err error) {
	name := strings.TrimPrefix(path, module+"/")
	for floor, rooms := range floors {
		for _, room := range rooms {
			if name == room || strings.HasPrefix(name, room+"/") {
				return room, floor, nil
			}
		}
	}
	return "", 0, fmt.Errorf("%s has no floor: add it to the floors table in internal/floors/floors_test.go "+
		"(and to DESIGN.md and docs/architecture.md), as low as its imports allow", path)
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// packages lists every package of the module.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}

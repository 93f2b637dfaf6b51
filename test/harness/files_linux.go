package harness

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// WithoutFiles takes from the process that it can open one more file; what it
// has open it keeps. again gives it back.
func (p *Process) WithoutFiles(t testing.TB) (again func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(p.lowestFree(t))
	return func() { limit(before.Cur) }
}

// lowestFree is the lowest number of a file that the process does not have.
func (p *Process) lowestFree(t testing.TB) uint64 {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]bool{}
	for _, e := range list {
		taken[e.Name()] = true
	}
	for n := uint64(0); ; n++ {
		if !taken[fmt.Sprint(n)] {
			return n
		}
	}
}

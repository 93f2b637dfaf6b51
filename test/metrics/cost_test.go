package metrics_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"steelyard/test/harness"
)

// cpu is the processor time that the threads of a process have used so far. Go
// ends none of them.
func cpu(t *testing.T, p *harness.Process) (used time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID()))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		used += time.Duration(n) // nanoseconds
	}
	return used
}

// share is the part of a core that a process uses, the least of some seconds: what
// others do on the machine only makes it more.
func share(t *testing.T, p *harness.Process) float64 {
	t.Helper()
	least := 1.0
	for range 3 {
		before, began := cpu(t, p), time.Now()
		time.Sleep(2 * time.Second) // that is what is measured
		least = min(least, (cpu(t, p)-before).Seconds()/time.Since(began).Seconds())
	}
	return least
}

// TestLiveViewCostsLittle: 100 pools of 20 backends, three who watch: history,
// view, encoding and sending take less than 1 % of a core.
func TestLiveViewCostsLittle(t *testing.T) {
	var yaml strings.Builder
	yaml.WriteString("listeners: {web: {address: LISTEN}}\nroutes: [{match: {path: /*}, pool: p0}]\npools:\n")
	for i := range 100 {
		fmt.Fprintf(&yaml, "  p%d: {backends: [", i)
		for j := range 20 {
			fmt.Fprintf(&yaml, "\"127.0.%d.%d:1\",", i, j+1)
		}
		yaml.WriteString("]}\n")
	}
	bare := share(t, harness.Start(t, yaml.String()).Process)
	s := harness.Start(t, yaml.String()+"admin: ADMIN\n")
	var got atomic.Int64
	for range 3 {
		res, err := http.Get("http://" + s.Admin + "/api/v1/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := res.Body.Read(buf)
				if got.Add(int64(n)); err != nil {
					return // that too little was read is seen below
				}
			}
		}()
	}
	harness.Eventually(t, 10*time.Second, "the viewers see something", func() bool { return got.Load() > 3*100_000 })
	before := got.Load()
	watched := share(t, s.Process)
	if n := got.Load() - before; n < 3*5*100_000 {
		t.Errorf("the viewers got %d bytes in 6 s", n)
	}
	t.Logf("%.2f %% of a core without the admin API, %.2f %% with three viewers, who got %d MB", 100*bare, 100*watched, got.Load()>>20)
	if watched-bare > 0.01 {
		t.Errorf("the live view costs %.2f %% of a core", 100*(watched-bare))
	}
}

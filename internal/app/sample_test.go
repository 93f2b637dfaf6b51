package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/balancer"
	"steelyard/config"
	"steelyard/internal/metrics"
	"steelyard/internal/pool"
	"steelyard/internal/transport"
)

// TestSample: what was asked is counted at its place, and the next sample in the
// same memory forgets nothing and invents nothing.
func TestSample(t *testing.T) {
	warmUp(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202) }))
	defer backend.Close()
	address := freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: {address: "%s"}}
routes:
  - {name: all, match: {path: /*}, pool: web}
  - {name: hello, match: {path: /hello}, respond: {status: 203, body: hi}}
pools:
  web: {backends: ["%s"]}
  idle: {backends: ["127.0.0.1:1"]}
`, address, backend.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	for _, path := range []string{"/a", "/b", "/hello"} {
		get(t, "http://"+address+path)
	}
	var s metrics.Sample
	counted := func() bool { // a client may have its response a moment before
		a.Sample(&s)
		return s.Pools[0].Classes == [6]int64{0, 0, 2} && s.Routes[1].Classes == [6]int64{0, 0, 1}
	}
	for end := time.Now().Add(5 * time.Second); !counted(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("pool %+v, routes %+v", s.Pools[0].Classes, s.Routes)
		}
	}
	a.Sample(&s)
	if len(s.Pools) != 2 || s.Pools[0].Name != "web" || s.Pools[0].Requests != 2 || s.Pools[0].Latency.Count != 2 || s.Pools[1].Requests != 0 {
		t.Errorf("pools %+v", s.Pools)
	}
	b := &s.Pools[0].Backends[0]
	if len(s.Pools[0].Backends) != 1 || b.Address != backend.Listener.Addr().String() || b.Requests != 2 || b.FirstByte.Count != 2 || b.Open != 1 || b.Dials != 1 {
		t.Errorf("backend %+v", b)
	}
	if len(s.Routes) != 2 || s.Routes[0] != (metrics.RouteSample{Name: "all", Classes: [6]int64{0, 0, 2}}) ||
		s.Routes[1] != (metrics.RouteSample{Name: "hello", Classes: [6]int64{0, 0, 1}}) {
		t.Errorf("routes %+v", s.Routes)
	}
	if len(s.Listeners) != 1 || s.Listeners[0].Name != "web" || s.Listeners[0].Address != address || s.Listeners[0].Accepted != 1 {
		t.Errorf("listeners %+v", s.Listeners)
	}
	if s.At.IsZero() || s.Generation.ID != 1 || !s.Generation.LastReloadOK || s.Generation.Since.IsZero() {
		t.Errorf("at %v, generation %+v", s.At, s.Generation)
	}
}

// TestSampleLeavesOutClosedPools: a reload may close one at any moment.
func TestSampleLeavesOutClosedPools(t *testing.T) {
	var pools []*pool.Pool
	for _, name := range []string{"a", "b", "c"} {
		p, err := pool.New(name, pool.Options{Policy: balancer.Options{Policy: "round_robin"}, Transport: transport.DefaultOptions()})
		if err != nil {
			t.Fatal(err)
		}
		pools = append(pools, p)
	}
	pools[1].Close()
	var s metrics.Sample
	samplePools(&s, pools)
	if len(s.Pools) != 2 || s.Pools[0].Name != "a" || s.Pools[1].Name != "c" {
		t.Errorf("%+v", s.Pools)
	}
	pools[0].Close()
	pools[2].Close()
}

// crowd is a configuration of many pools of many backends, none of which is
// there.
func crowd(listener string, pools, backends int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listeners: {web: {address: %q}}\nroutes: [{match: {path: /*}, pool: p0}]\npools:\n", listener)
	for i := range pools {
		fmt.Fprintf(&b, "  p%d: {backends: [", i)
		for j := range backends {
			fmt.Fprintf(&b, "\"127.0.%d.%d:1\",", i, j+1)
		}
		b.WriteString("]}\n")
	}
	return b.String()
}

// TestSampleWhileReloading: pools come and go under it.
func TestSampleWhileReloading(t *testing.T) {
	warmUp(t)
	file := filepath.Join(t.TempDir(), "steelyard.yaml")
	address := freeAddress(t)
	write := func(pools int) {
		if err := os.WriteFile(file, []byte(crowd(address, pools, 3)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(5)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	a, err := StartFile(cfg, file)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var s metrics.Sample
			for {
				select {
				case <-stop:
					return
				default:
				}
				a.Sample(&s)
				for i := range s.Pools {
					if p := &s.Pools[i]; p.Name != fmt.Sprintf("p%d", i) || len(p.Backends) > 3 {
						t.Errorf("pool %d is %s with %d backends", i, p.Name, len(p.Backends))
						return
					}
				}
			}
		})
	}
	for i := range 20 {
		write(1 + i%7)
		if err := a.Reload(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	var s metrics.Sample
	if a.Sample(&s); len(s.Pools) != 1+19%7 || s.Generation.ID != 21 || s.Generation.Reloads != 20 {
		t.Errorf("%d pools, generation %+v", len(s.Pools), s.Generation)
	}
}

func BenchmarkSample(b *testing.B) {
	cfg, err := config.Parse("bench.yaml", []byte(crowd("unix:"+filepath.Join(b.TempDir(), "s"), 100, 20)), func(string) (string, bool) { return "", false })
	if err != nil {
		b.Fatal(err)
	}
	a, err := Start(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Stop()
	var s metrics.Sample
	b.ReportAllocs()
	for b.Loop() {
		a.Sample(&s)
	}
}

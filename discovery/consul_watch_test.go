package discovery

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextIndex(t *testing.T) {
	for _, tc := range []struct{ asked, answered, want uint64 }{
		{0, 0, 1}, {0, 7, 7}, {7, 7, 7}, {7, 9, 9}, {7, 6, 0}, {7, 0, 0}, {1, 1, 1},
	} {
		if got := nextIndex(tc.asked, tc.answered); got != tc.want {
			t.Errorf("nextIndex(%d, %d) = %d, want %d", tc.asked, tc.answered, got, tc.want)
		}
	}
}

// TestIndexRules follows the requests through changes, a timeout and an index
// that goes backwards.
func TestIndexRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		synctest.Wait()
		s.expect(t, "set 1")

		began := time.Now()
		fake.set(12, 1, 2)
		synctest.Wait()
		s.expect(t, "set 1,2")
		if took := time.Since(began); took != 0 {
			t.Errorf("a change took %v", took)
		}
		time.Sleep(2 * longWait) // It times out, and nothing is told.
		synctest.Wait()
		s.expect(t)
		fake.set(3, 3) // Restored from a backup.
		synctest.Wait()
		s.expect(t, "set 3")
		fake.set(4, 3) // Something else has changed.
		synctest.Wait()
		s.expect(t)

		var indexes []string
		for _, r := range fake.log() {
			index := "-"
			for part := range strings.SplitSeq(r, "&") {
				if rest, found := strings.CutPrefix(part[strings.Index(part, "?")+1:], "index="); found {
					index = rest
				}
			}
			indexes = append(indexes, index)
		}
		// The first is asked without an index, and the one after going backwards.
		want := "- 10 12 12 12 - 3 4"
		if got := strings.Join(indexes, " "); got != want && got != strings.Replace(want, "12 12 12", "12 12", 1) {
			t.Errorf("indexes %q, want %q", got, want)
		}
		if first := fake.log()[0]; !strings.Contains(first, "consistent") || strings.Contains(first, "stale") {
			t.Errorf("the first query is %q", first)
		}
		if second := fake.log()[1]; !strings.Contains(second, "stale") || !strings.Contains(second, "wait=") {
			t.Errorf("the second query is %q", second)
		}
	})
}

// TestNeverABusyLoop has an agent that answers everything at once.
func TestNeverABusyLoop(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*fakeConsul)
		most   int // requests in 10 s
	}{
		{"the index grows", func(f *fakeConsul) { f.busy = true }, 10*20 + paceBurst + 1},
		{"the index is 0", func(f *fakeConsul) { f.index = 0 }, 3},
		{"every query fails", func(f *fakeConsul) { f.status = 500 }, 12},
		{"access is denied", func(f *fakeConsul) { f.status = 403 }, 12},
		{"there is no leader", func(f *fakeConsul) { f.header = map[string]string{"X-Consul-KnownLeader": "false"} }, 12},
		{"no JSON", func(f *fakeConsul) { f.body = "<html>" }, 12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake()
				tc.change(fake)
				c := fakeClient(t, nil, fake)
				defer c.Close()
				_, stop := runFake(c, nil)
				defer stop()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if n := len(fake.log()); n > tc.most || n < 1 {
					t.Errorf("%d queries in 10 s, want at most %d", n, tc.most)
				}
				if fake.probes > 30 {
					t.Errorf("%d probes in 10 s", fake.probes)
				}
			})
		})
	}
}

// TestErrorsAreTold has every kind of bad answer once, and the members stay.
func TestErrorsAreTold(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*fakeConsul)
		want   []string
	}{
		{"refused", func(f *fakeConsul) { f.status, f.body = 403, "Permission denied" },
			[]string{"consul service api", "token", "403", "service:read and node:read"}},
		{"too many", func(f *fakeConsul) { f.status = 429 }, []string{"429", "max_connections", "http_max_conns_per_client"}},
		{"server", func(f *fakeConsul) { f.status, f.body = 500, "rpc error\nmore" }, []string{"500", "rpc error", "agent a:8500"}},
		{"datacenter", func(f *fakeConsul) { f.status, f.body = 500, "No path to datacenter" }, []string{"no way to the datacenter"}},
		{"bad request", func(f *fakeConsul) { f.status, f.body = 400, "Bad namespace" }, []string{"Bad namespace", "mend"}},
		{"no leader", func(f *fakeConsul) { f.header = map[string]string{"X-Consul-KnownLeader": "false"} }, []string{"leader"}},
		{"hidden", func(f *fakeConsul) {
			f.header, f.body = map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}, "[]"
		}, []string{"hides", "service:read and node:read"}},
		{"no JSON", func(f *fakeConsul) { f.body = "<html>" }, []string{"not what Consul answers"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake()
				fake.set(10, 1)
				c := fakeClient(t, nil, fake)
				defer c.Close()
				s, stop := runFake(c, nil)
				defer stop()
				synctest.Wait()
				s.expect(t, "set 1")
				fake.change(func() { fake.index++; tc.change(fake) })
				time.Sleep(20 * time.Second)
				told := s.take()
				if len(told) != 1 || !strings.HasPrefix(told[0], "fail ") {
					t.Fatalf("told %q, want one failure", told)
				}
				for _, want := range tc.want {
					if !strings.Contains(told[0], want) {
						t.Errorf("%q has no %q", told[0], want)
					}
				}
				fake.change(func() {
					fake.status, fake.header, fake.index, fake.body = 0, nil, 30, fakeInstances(1)
				})
				time.Sleep(13 * time.Second)
				s.expect(t, "set 1")
			})
		})
	}
}

// TestStaleAnswers repeats an answer that is too old with the leader.
func TestStaleAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		synctest.Wait()
		fake.change(func() { fake.header = map[string]string{"X-Consul-LastContact": "31000"} })
		fake.set(11, 2)
		synctest.Wait()
		s.expect(t, "set 1", "set 2")
		log := fake.log()
		// first, blocking, its repetition, blocking
		if len(log) != 4 || strings.Contains(log[2], "stale") || strings.Contains(log[2], "index") {
			t.Errorf("queries %q", log)
		}
	})
}

// TestStreamingAnswers believes the agent's own view only in what it adds.
func TestStreamingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		synctest.Wait()
		fake.change(func() {
			fake.header = map[string]string{"X-Consul-Query-Backend": "streaming", "X-Consul-KnownLeader": "false"}
		})
		fake.set(11, 1, 2)
		synctest.Wait()
		s.expect(t, "set 1", "set 1,2")
		before := len(fake.log())
		fake.set(12, 2) // The fake calls the repetition streaming too, without a leader.
		time.Sleep(time.Second)
		if told := s.take(); len(told) != 1 || !strings.Contains(told[0], "leader") {
			t.Errorf("told %q", told)
		}
		if len(fake.log()) < before+2 {
			t.Error("what was taken away was not asked for again")
		}
	})
}

// TestWatchesAreShared has several sources with one question.
func TestWatchesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		one, stopOne := runFake(c, func(q *ConsulQuery) { q.Tags = []string{"a", "b"} })
		two, stopTwo := runFake(c, func(q *ConsulQuery) { q.Tags = []string{"b", "a"}; q.Health = healthIgnore })
		other, stopOther := runFake(c, nil)
		synctest.Wait()
		for _, s := range []*fakeSink{one, two, other} {
			s.expect(t, "set 1")
		}
		if n := c.Stats().Watches; n != 2 {
			t.Errorf("%d watches, want 2", n)
		}
		stopOne()
		stopOther()
		fake.set(11, 2)
		synctest.Wait()
		one.expect(t)
		two.expect(t, "set 2")
		if n := c.Stats().Watches; n != 1 {
			t.Errorf("%d watches, want 1", n)
		}
		// One that comes later has the answer at once.
		late, stopLate := runFake(c, func(q *ConsulQuery) { q.Tags = []string{"a", "b"} })
		before := len(fake.log())
		synctest.Wait()
		late.expect(t, "set 2")
		if len(fake.log()) != before {
			t.Error("the answer was asked for again")
		}
		stopTwo()
		stopLate()
		if n := c.Stats().Watches; n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

// TestTurns has more watches than connections: each is asked about once a
// second, and never more queries are under way than there are slots.
func TestTurns(t *testing.T) {
	for _, tc := range []struct {
		watches, connections int
		least, most          int // requests in 10 s
	}{
		{6, 8, 0, 6},           // one each, which waits for long
		{20, 8, 180, 215},      // 6 slots in turns, each watch once a second
		{400, 100, 1800, 2100}, // the rate of all is bounded
		{3, 2, 27, 33},         // one slot
	} {
		t.Run(fmt.Sprintf("%d watches, %d connections", tc.watches, tc.connections), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake()
				fake.set(10, 1)
				c := fakeClient(t, func(o *ConsulOptions) { o.MaxConnections = tc.connections }, fake)
				defer c.Close()
				sinks := make([]*fakeSink, tc.watches)
				for i := range sinks {
					var stop func()
					sinks[i], stop = runFake(c, func(q *ConsulQuery) { q.Service = fmt.Sprintf("s%d", i) })
					defer stop()
				}
				time.Sleep(3 * time.Second)
				for _, s := range sinks {
					s.expect(t, "set 1")
				}
				before := len(fake.log())
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if n := len(fake.log()) - before; n < tc.least || n > tc.most {
					t.Errorf("%d queries in 10 s, want %d to %d", n, tc.least, tc.most)
				}
				if slots := cap(c.turns.slots); fake.peak > slots {
					t.Errorf("%d queries at a time, more than %d", fake.peak, slots)
				}
				fake.set(11, 2)
				time.Sleep(2500 * time.Millisecond)
				for _, s := range sinks {
					s.expect(t, "set 2")
				}
			})
		})
	}
}

// TestCrowding ends waits that hold all connections when one watch more comes.
func TestCrowding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, func(o *ConsulOptions) { o.MaxConnections = 6 }, fake)
		defer c.Close()
		for i := range 5 {
			if i == 4 {
				time.Sleep(5 * time.Second) // The others wait for long now.
			}
			s, stop := runFake(c, func(q *ConsulQuery) { q.Service = fmt.Sprintf("s%d", i) })
			defer stop()
			time.Sleep(time.Second) // One turn, at most.
			synctest.Wait()
			s.expect(t, "set 1")
		}
		if st := c.Stats(); st.Errors != 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}

// TestThousandChanges leaves no goroutine behind, with sources that come and go.
func TestThousandChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		fake.set(10, 1)
		c := fakeClient(t, nil, fake)
		defer c.Close()
		s, stop := runFake(c, nil)
		defer stop()
		synctest.Wait()
		s.expect(t, "set 1")
		before := runtime.NumGoroutine()
		for i := range 1000 {
			fake.set(uint64(11+i), 1, i+2)
			_, stop := runFake(c, func(q *ConsulQuery) { q.Service = "other" })
			time.Sleep(paceInterval)
			synctest.Wait()
			stop()
			s.expect(t, fmt.Sprintf("set 1,%d", i+2))
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before {
			t.Errorf("%d goroutines, %d before", after, before)
		}
		if st := c.Stats(); st.Watches != 1 || st.Errors != 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Now()
	for i := range paceBurst {
		if d := p.next(now); d != 0 {
			t.Errorf("repetition %d has to wait for %v", i, d)
		}
	}
	var sum time.Duration
	for range 100 {
		d := p.next(now)
		sum += d
		now = now.Add(d)
	}
	if sum < 99*paceInterval || sum > 101*paceInterval {
		t.Errorf("100 repetitions took %v", sum)
	}
	if d := p.next(now.Add(time.Second)); d != 0 {
		t.Errorf("after a second: %v", d)
	}
}

func TestBackoff(t *testing.T) {
	for failures := range 100 {
		d := backoff(failures+1, firstBackoff, lastBackoff)
		if d < firstBackoff*3/4 || d > lastBackoff*5/4 {
			t.Errorf("after %d failures: %v", failures+1, d)
		}
	}
}

package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"steelyard/internal/metrics"
)

// fakeProcess is a process with pools, whose counters a test moves.
type fakeProcess struct {
	metrics.Sample
	latency   []*metrics.Histogram   // by pool
	firstByte [][]*metrics.Histogram // by pool and backend

	mu     sync.Mutex // hands what the test has changed to who reads it
	passed time.Duration
}

// pass lets time pass.
func (f *fakeProcess) pass(d time.Duration) {
	f.mu.Lock()
	f.passed += d
	f.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

func newFakeProcess(pools, backends int) *fakeProcess {
	f := &fakeProcess{}
	f.Listeners = []metrics.ListenerSample{{Name: "web", Connections: 5}}
	f.Routes = []metrics.RouteSample{{Name: "all"}}
	f.Errors = []metrics.CauseCount{{Cause: "no_route"}, {Cause: "reset_before_response"}}
	for i := range pools {
		p := metrics.PoolSample{Name: fmt.Sprintf("pool%d", i), Policy: "round_robin"}
		f.latency = append(f.latency, &metrics.Histogram{})
		f.firstByte = append(f.firstByte, nil)
		for j := range backends {
			p.Backends = append(p.Backends, metrics.BackendSample{
				Address: fmt.Sprintf("10.0.%d.%d:80", i, j), State: "healthy", Usable: true, Weight: 1, Percent: 100,
			})
			f.firstByte[i] = append(f.firstByte[i], &metrics.Histogram{})
		}
		f.Pools = append(f.Pools, p)
	}
	return f
}

// serve counts n responses of a status by a backend, each after d.
func (f *fakeProcess) serve(pool, backend, n, status int, d time.Duration) {
	p := &f.Pools[pool]
	b := &p.Backends[backend]
	f.Routes[0].Classes[status/100] += int64(n)
	p.Classes[status/100] += int64(n)
	b.Classes[status/100] += int64(n)
	p.Requests += int64(n)
	b.Requests += int64(n)
	for range n {
		f.latency[pool].Observe(d)
		f.firstByte[pool][backend].Observe(d)
	}
}

// read implements what Control.Sample does, slices used anew included.
func (f *fakeProcess) read(into *metrics.Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	into.At = time.Now()
	into.Listeners = append(into.Listeners[:0], f.Listeners...)
	into.Routes = append(into.Routes[:0], f.Routes...)
	into.Errors = append(into.Errors[:0], f.Errors...)
	for len(into.Pools) < len(f.Pools) {
		into.Pools = append(into.Pools, metrics.PoolSample{})
	}
	into.Pools = into.Pools[:len(f.Pools)]
	for i := range f.Pools {
		p := &into.Pools[i]
		backends, errors := append(p.Backends[:0], f.Pools[i].Backends...), append(p.Errors[:0], f.Pools[i].Errors...)
		*p = f.Pools[i]
		p.Backends, p.Errors = backends, errors
		f.latency[i].Read(&p.Latency)
		for j := range backends {
			f.firstByte[i][j].Read(&backends[j].FirstByte)
		}
	}
}

// inHistory runs a test with the clock of its own, half a second after a sample.
func inHistory(t *testing.T, f *fakeProcess, do func(h *History)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := NewHistory(f.read)
		defer h.Close()
		f.pass(500 * time.Millisecond)
		do(h)
	})
}

func near(got Number, want float64) bool {
	return math.Abs(float64(got)-want) <= 0.03*math.Abs(want)
}

// TestLive: a second as it was, with shares and those intended.
func TestLive(t *testing.T) {
	f := newFakeProcess(1, 4)
	p := &f.Pools[0]
	p.Backends[0].Weight = 3
	p.Backends[1].State, p.Backends[1].Percent, p.Backends[1].Weight = "slow_start", 50, 2
	p.Backends[2].State, p.Backends[2].Usable, p.Backends[2].Percent, p.Backends[2].Reason = "unhealthy", false, 0, "status 500"
	p.Backends[3].Backup = true
	p.Sources = []metrics.SourceSample{{Name: "a", Failing: true, Held: 2}}
	inHistory(t, f, func(h *History) {
		if l := h.Now(); l == nil || !math.IsNaN(float64(l.Total.Rate)) || l.Pools[0].Total != 4 {
			t.Fatalf("before there was a second: %+v", l)
		}
		f.serve(0, 0, 80, 200, 10*time.Millisecond)
		f.serve(0, 1, 20, 503, 100*time.Millisecond)
		p.Backends[1].Requests += 5 // attempts without a response
		f.Errors[0].Count += 100
		p.Backends[0].InFlight = 7
		next := h.Changed()
		f.pass(time.Second)
		<-next
		l := h.Now()
		if n := l.Total; !near(n.Rate, 200) || !near(n.ErrorShare, 0.1) || n.Connections != 5 || len(n.Causes) != 1 || n.Causes[0].Cause != "no_route" {
			t.Errorf("total %+v", n)
		}
		v := l.Pools[0]
		if !near(v.Rate, 100) || !near(v.ErrorShare, 0.2) || v.Healthy != 3 || v.Total != 4 || v.Held != 2 || v.SourcesFailing != 1 {
			t.Errorf("pool %+v", v)
		}
		if v.P50 < 8 || v.P50 > 12.5 || v.P95 < 80 || v.P95 > 125 {
			t.Errorf("p50 %v, p95 %v", v.P50, v.P95)
		}
		for i, want := range []struct{ rate, share, intended, errors float64 }{
			{80, 80.0 / 105, 0.75, 0}, {25, 25.0 / 105, 0.25, 1}, {0, 0, 0, math.NaN()}, {0, 0, 0, math.NaN()},
		} {
			b := v.Backends[i]
			errorsAsWanted := near(b.ErrorShare, want.errors) || math.IsNaN(want.errors) && math.IsNaN(float64(b.ErrorShare))
			if !near(b.Rate, want.rate) || !near(b.Share, want.share) || !near(b.Intended, want.intended) || !errorsAsWanted {
				t.Errorf("backend %d: %+v", i, b)
			}
		}
	})
}

// TestIntended: backups count when no primary does, and in fail open all do.
func TestIntended(t *testing.T) {
	for _, c := range []struct {
		name     string
		all      []LiveBackend
		failOpen bool
		want     []Number
	}{
		{"nobody", []LiveBackend{{Weight: 1}}, false, []Number{0}},
		{"backups wait", []LiveBackend{{Usable: true, Weight: 1, Percent: 100}, {Usable: true, Weight: 9, Percent: 100, Backup: true}}, false, []Number{1, 0}},
		{"backups serve", []LiveBackend{{Weight: 1}, {Usable: true, Weight: 9, Percent: 100, Backup: true}}, false, []Number{0, 1}},
		{"fail open", []LiveBackend{{Usable: true, Weight: 1}, {Usable: true, Weight: 3}}, true, []Number{0.25, 0.75}},
		{"weight 0", []LiveBackend{{Usable: true, Weight: 0, Percent: 100}, {Usable: true, Weight: 3, Percent: 5}}, false, []Number{0, 1}},
	} {
		intend(c.all, c.failOpen)
		for i, want := range c.want {
			if c.all[i].Intended != want {
				t.Errorf("%s: backend %d is to get %v, want %v", c.name, i, c.all[i].Intended, want)
			}
		}
	}
}

// TestLiveJSON: what is written by hand is what the types say, also for texts
// that others wrote.
func TestLiveJSON(t *testing.T) {
	f := newFakeProcess(2, 2)
	p := &f.Pools[0]
	p.FailOpen, p.Why, p.Waiting = true, "all <b>down</b> \"\\ \x00 \xff ü", 3
	p.Backends[0].Reason, p.Backends[0].Left, p.Backends[0].Backup = "<script>alert(1)</script>&", true, true
	p.Backends[1].Address = "unix:/a \u2028 b"
	inHistory(t, f, func(h *History) {
		f.serve(0, 1, 7, 200, 1234567*time.Nanosecond)
		f.serve(1, 1, 1e6, 200, 0)
		f.Errors[1].Count = 2
		f.pass(time.Second)
		l := h.Now()
		want, err := json.Marshal(struct {
			At    time.Time  `json:"at"`
			Total LiveTotal  `json:"total"`
			Pools []LivePool `json:"pools"`
		}{l.At, l.Total, l.Pools})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(l.JSON()); got != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		var back Live
		if err := json.Unmarshal(l.JSON(), &back); err != nil || !reflect.DeepEqual(back.Pools[1].Backends[1].State, "healthy") {
			t.Errorf("%v %+v", err, &back)
		}
	})
}

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 1: "1", 0.5: "0.5", 1.0 / 3: "0.333", 0.0004: "0", -2.25: "-2.25", 1234567.8919: "1234567.892", 1e15: "1000000000000000",
		math.NaN(): "null", math.Inf(1): "null",
	} {
		if got := string(appendNumber(nil, f)); got != want {
			t.Errorf("%v is %s, want %s", f, got, want)
		}
	}
}

// values shows a column, "-" where it is not known.
func values(s Series, column string) string {
	var all []string
	for _, v := range s.Columns[column] {
		text := fmt.Sprintf("%.0f", float64(v))
		if math.IsNaN(float64(v)) {
			text = "-"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestHistory: seconds come back as they were; what is gone is unknown, and
// forgotten after 15 minutes.
func TestHistory(t *testing.T) {
	f := newFakeProcess(1, 2)
	inHistory(t, f, func(h *History) {
		second := func() { f.pass(time.Second) }
		f.serve(0, 0, 10, 200, 5*time.Millisecond)
		second()
		f.serve(0, 0, 20, 500, 5*time.Millisecond)
		f.Pools[0].Backends[0].InFlight = 3
		second()
		second()
		s := h.Read("pool0", "10.0.0.0:80", 900)
		for column, want := range map[string]string{
			"rps": "- 10 20 0", "errors": "- 0 20 0", "in_flight": "- 0 3 3", "connections": "- 0 0 0", "p50_ms": "- 5 5 -", "first_byte_ms": "- 5 5 -",
		} {
			if got := values(s, column); got != want {
				t.Errorf("%s: %s, want %s", column, got, want)
			}
		}
		if got := values(h.Read("pool0", "", 2), "rps"); got != "20 0" {
			t.Errorf("pool: %s", got)
		}
		if got := values(h.Read("", "", 3), "errors"); got != "0 20 0" {
			t.Errorf("process: %s", got)
		}
		if s := h.Read("pool0", "10.9.9.9:80", 10); len(s.Columns) != 0 {
			t.Errorf("a backend that there never was: %v", s)
		}
		if at := s.From.Add(3 * time.Second); !at.Equal(h.Now().At) {
			t.Errorf("it ends at %v, the newest second at %v", at, h.Now().At)
		}
		text, err := json.Marshal(h.Read("pool0", "10.0.0.0:80", 2))
		if err != nil || !strings.Contains(string(text), `"step_ms":1000,"from":"`) || !strings.Contains(string(text), `"rps":[20,0]`) {
			t.Errorf("%s %v", text, err)
		}

		// A backend goes, another comes in its place; then it comes back, with its
		// counters at 0.
		first := f.Pools[0].Backends[0]
		f.Pools[0].Backends = f.Pools[0].Backends[1:]
		f.firstByte[0] = f.firstByte[0][1:]
		second()
		second()
		f.Pools[0].Backends = append(f.Pools[0].Backends, metrics.BackendSample{Address: first.Address, State: "healthy", Requests: 4})
		f.firstByte[0] = append(f.firstByte[0], &metrics.Histogram{})
		second()
		if got := values(h.Read("pool0", first.Address, 7), "rps"); got != "- 10 20 0 - - 4" {
			t.Errorf("it went and came back: %s", got)
		}
		f.Pools[0].Backends = f.Pools[0].Backends[:1]
		f.firstByte[0] = f.firstByte[0][:1]
		f.pass(historySteps * time.Second)
		if s := h.Read("pool0", first.Address, 7); len(s.Columns) != 0 {
			t.Errorf("it is not forgotten: %v", values(s, "rps"))
		}
		if got := len(h.Read("pool0", "", 5000).Columns["rps"]); got != historySteps {
			t.Errorf("%d seconds are kept", got)
		}
	})
}

// TestCountersBeginAnew: a backend that goes and comes back between two samples
// counts from 0, which is no negative rate.
func TestCountersBeginAnew(t *testing.T) {
	f := newFakeProcess(1, 1)
	f.serve(0, 0, 100, 500, time.Second)
	inHistory(t, f, func(h *History) {
		f.Pools[0].Backends[0].Requests, f.Pools[0].Backends[0].Classes = 0, [6]int64{}
		*f.firstByte[0][0] = metrics.Histogram{}
		f.serve(0, 0, 4, 200, 10*time.Millisecond)
		f.pass(time.Second)
		if b := h.Now().Pools[0].Backends[0]; b.Rate != 4 || b.ErrorShare != 0 || b.FirstByte < 8 || b.FirstByte > 12 {
			t.Errorf("%+v", b)
		}
	})
}

// TestHistoryGap: seconds without a sample are not known, and what lies a whole
// ring back does not shine through.
func TestHistoryGap(t *testing.T) {
	tr := newTrack(0)
	for step := range int64(historySteps) {
		tr.put(step, &row{colRate: 1})
	}
	tr.put(historySteps+2, &row{colRate: 2})
	var got []string
	for step := int64(historySteps - 1); step <= historySteps+3; step++ {
		got = append(got, fmt.Sprint(tr.get(colRate, step)))
	}
	if s := strings.Join(got, " "); s != "1 NaN NaN 2 NaN" {
		t.Error(s)
	}
	tr.put(10*historySteps, &row{colRate: 3})
	for step := int64(9*historySteps + 1); step < 10*historySteps; step++ {
		if v := tr.get(colRate, step); v == v {
			t.Fatalf("second %d is %v", step, v)
		}
	}
}

// TestHistoryCauses: each cause that there was has a column.
func TestHistoryCauses(t *testing.T) {
	f := newFakeProcess(1, 1)
	inHistory(t, f, func(h *History) {
		for _, n := range []int64{0, 4, 0, 6} {
			f.Errors[1].Count += n
			f.pass(time.Second)
		}
		s := h.Causes(900)
		if got := values(s, "reset_before_response"); got != "- 0 4 0 6" || len(s.Columns) != 1 {
			t.Errorf("%s in %v", got, s.Columns)
		}
	})
}

// TestHistoryOfAPoolHasItsCauses: what went wrong for whom, each pool by itself;
// what has not happened for 15 minutes is forgotten.
func TestHistoryOfAPoolHasItsCauses(t *testing.T) {
	f := newFakeProcess(2, 1)
	second := func(counts ...metrics.CauseCount) {
		f.Pools[0].Errors = counts
		f.pass(time.Second)
	}
	inHistory(t, f, func(h *History) {
		second()
		second(metrics.CauseCount{Cause: "drained", Count: 4})
		// A cause that comes before those there were moves them.
		second(metrics.CauseCount{Cause: "connect_refused", Count: 1}, metrics.CauseCount{Cause: "drained", Count: 6})
		f.Pools[0].PassedOn += 7
		second(f.Pools[0].Errors...)
		s := h.Read("pool0", "", 900)
		for cause, want := range map[string]string{"drained": "- 0 4 2 0", "connect_refused": "- 0 0 1 0", PassedOn: "- 0 0 0 7"} {
			if got := values(Series{Columns: s.Causes}, cause); got != want {
				t.Errorf("%s: %s, want %s", cause, got, want)
			}
		}
		if len(s.Causes) != 3 || s.Columns["drained"] != nil {
			t.Errorf("causes %v, columns %v", s.Causes, s.Columns)
		}
		if others := [][]Number{h.Read("pool1", "", 900).Causes["drained"], h.Read("pool0", "10.0.0.0:80", 900).Causes["drained"], h.Causes(900).Columns["drained"]}; fmt.Sprint(others) != "[[] [] []]" {
			t.Errorf("others have them too: %v", others)
		}
		if got := h.Read("pool0", "", 1).Causes; len(got) != 1 || got[PassedOn] == nil {
			t.Errorf("the last second has %v", got)
		}
		text, err := json.Marshal(h.Read("pool1", "", 2))
		if err != nil || strings.Contains(string(text), "causes") {
			t.Errorf("%s %v", text, err)
		}
		f.pass((historySteps - 1) * time.Second)
		if n := len(h.causes); n != 1 {
			t.Errorf("%d causes are kept after 899 seconds", n)
		}
		f.pass(time.Second)
		if n := len(h.causes); n != 0 {
			t.Errorf("%d causes are kept after 900 seconds", n)
		}
	})
}

// TestCausesAreBounded: an outage of very many pools costs what is said, and takes
// no place from backends.
func TestCausesAreBounded(t *testing.T) {
	f := newFakeProcess(400, 1)
	for i := range f.Pools {
		for c := range 21 {
			f.Pools[i].Errors = append(f.Pools[i].Errors, metrics.CauseCount{Cause: fmt.Sprint("cause", c)})
		}
	}
	h := newIdleHistory(f)
	h.sample()
	for range 3 {
		for i := range f.Pools {
			for c := range f.Pools[i].Errors {
				f.Pools[i].Errors[c].Count++
			}
		}
		h.sample()
	}
	size := 0
	for _, t := range h.causes {
		size += t.size()
	}
	if len(h.causes) != maxCauseTracks || size > 8<<20 || len(h.tracks) != 1+400+400 {
		t.Errorf("%d causes in %d bytes, %d other histories", len(h.causes), size, len(h.tracks))
	}
}

// TestHistoryIsBounded: neither many names nor long times make it grow.
func TestHistoryIsBounded(t *testing.T) {
	f := newFakeProcess(1, 3000)
	synctest.Test(t, func(t *testing.T) {
		h := NewHistory(f.read)
		f.pass(500 * time.Millisecond) // between two samples
		for range 3 {
			for j := range f.Pools[0].Backends {
				f.serve(0, j, 1, 500, time.Millisecond)
				f.Pools[0].Backends[j].InFlight, f.Pools[0].Backends[j].Open = 1, 1
			}
			f.pass(time.Second)
		}
		h.Close()
		if n := len(h.tracks); n != maxTracks {
			t.Errorf("%d histories", n)
		}
		if size := h.Size(); size > 70<<20 {
			t.Errorf("%d bytes", size)
		}
	})
}

// busy moves all counters of all backends, as a busy process would.
func busy(f *fakeProcess) {
	for i := range f.Pools {
		p := &f.Pools[i]
		p.PassedOn++
		if p.Errors == nil {
			p.Errors = []metrics.CauseCount{{Cause: "no_backend"}, {Cause: "drained"}}
		}
		for c := range p.Errors {
			p.Errors[c].Count++
		}
		for j := range f.Pools[i].Backends {
			f.serve(i, j, 1, 200, time.Duration(i+j)*time.Millisecond)
			f.serve(i, j, 1, 200, time.Duration(100+j)*time.Millisecond)
			f.Pools[i].Backends[j].InFlight, f.Pools[i].Backends[j].Open = 3, 7
		}
	}
}

// newIdleHistory is a History whose goroutine is not running, so that a test
// samples when it wants; the clock of its samples goes a second each time.
func newIdleHistory(f *fakeProcess) *History {
	h := &History{origin: time.Now(), tracks: map[trackKey]*track{}, causes: map[causeKey]*track{}, changed: make(chan struct{})}
	at := h.origin
	h.read = func(into *metrics.Sample) {
		f.read(into)
		at = at.Add(time.Second)
		into.At = at
	}
	return h
}

// TestHistoryBudget: 100 pools of 20 backends cost less than 1 % of a core, view
// and its encoding included, and what they take is known.
func TestHistoryBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its own time")
	}
	f := newFakeProcess(100, 20)
	h := newIdleHistory(f)
	h.sample()
	best := time.Hour
	for range 10 {
		busy(f)
		began := time.Now()
		h.sample()
		if n := len(h.Now().JSON()); n < 100_000 {
			t.Fatalf("the view has %d bytes", n)
		}
		best = min(best, time.Since(began))
	}
	t.Logf("%v a second, %d bytes of JSON, %.1f MB of history", best, len(h.Now().JSON()), float64(h.Size())/1e6)
	if best > 10*time.Millisecond {
		t.Errorf("a second costs %v", best)
	}
	if size := h.Size(); size > 60<<20 {
		t.Errorf("the history takes %d bytes", size)
	}
}

func BenchmarkHistory(b *testing.B) {
	f := newFakeProcess(100, 20)
	h := newIdleHistory(f)
	h.sample()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		busy(f)
		b.StartTimer()
		h.sample()
		_ = h.Now().JSON()
	}
}
